#pragma once
/// The masters' records (spec/mesos-dns.md 8.4), and the order of a list that was detected. Pure, thread: any.
#include <functional>
#include <optional>
#include <vector>

#include "derive/mesos_zone.h"

namespace ls {

/// "10.0.0.1:5050", "[fd01::1]:5050", "name:5050", with or without "anything@" in front (a master's pid, and up to a second '@').
std::optional<MasterAddress> parse_master(std::string_view text);

/// For a list that was detected (ZooKeeper): the leader first, the others by address, so that their numbers stay when the order of
/// detection changes (B32). A configured list is used as it is.
std::vector<MasterAddress> ordered_masters(const std::optional<MasterAddress>& leader, std::vector<MasterAddress> members);

namespace mesos {

/// `addresses_of` gives none for a name that is not known yet: such a master keeps its number and has no records. Two entries are
/// one master when host and port are equal, hosts compared as addresses where they are literals.
std::vector<Record> master_records(const std::optional<MasterAddress>& leader, const std::vector<MasterAddress>& list,
                                   const std::function<std::vector<IpAddress>(std::string_view host)>& addresses_of,
                                   uint16_t srv_weight);

}  // namespace mesos
}  // namespace ls
