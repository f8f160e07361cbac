#pragma once
/// Which domain names settings may give to zones. Pure. Thread: any. An answer is the end of the sentence "NAME: ...", nullopt where
/// the name is good. Sources: spec/mesos-dns.md section 2 (domain), spec/spartan-dns.md sections 2 and 5.5.
#include <optional>
#include <string>
#include <string_view>

namespace ls {

/// The Mesos domain: labels of letters, digits and hyphens joined by single dots, and short enough for DNS.
std::optional<std::string> domain_fault(std::string_view name);
/// A zone that is forwarded: as a domain, and the underscore may occur.
std::optional<std::string> zone_fault(std::string_view name);
/// A zone that is static or registered in: below thisdcos.directory, and none that loadstar makes itself.
std::optional<std::string> static_zone_fault(std::string_view name);
/// A name that every node answers itself, so a forward zone there would never be asked: the zone's name; nullopt where it may be
/// forwarded. `name` is in lower case.
std::optional<std::string_view> built_in_zone(std::string_view name);
/// Both in lower case: `name` is `zone` or lies below it.
bool within_zone(std::string_view name, std::string_view zone);
/// The public half of a cluster's key: 52 characters of z-base-32 for 32 bytes.
std::optional<std::string> cluster_id_fault(std::string_view text);

}  // namespace ls
