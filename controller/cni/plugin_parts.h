#pragma once
/// Inside of ls_cni: what the operations share.
#include <string>
#include <vector>

#include "cni/attach.h"
#include "cni/config.h"
#include "cni/leases.h"
#include "cni/request.h"

namespace ls::cni {

/// The half of the overlay in the place of `overlay`, and the bridge's name if the configuration has none.
Outcome<> resolve_overlay(Config& c);
/// The device's MTU: as configured, but never more than fits into the tunnel or the underlay.
Outcome<uint32_t> choose_mtu(const Config& c, Attacher& attacher);
/// "loadstar-cni <network> "
std::string alias_prefix(const std::string& network);
/// Alias of the host's device of an attachment; cut where it is longer than the kernel takes.
std::string device_alias(const std::string& network, const std::string& container, const std::string& ifname);

/// Undoes an attachment in the order of spec/cni.md 1.4, releases its addresses last. `netns` is only needed for imported ones; the
/// caller holds the attachment's lock.
Outcome<> tear_down(const Config& c, const Attachment& a, const std::string& netns);
Outcome<Leases> open_leases(const Config& c);
Outcome<std::optional<Leases>> open_existing_leases(const Config& c);

Outcome<std::string> run_add(const Request& q, Config& c);
Outcome<> run_del(const Request& q, const Config& c);
Outcome<> run_check(const Request& q, const Config& c);
Outcome<> run_gc(const Request& q, const Config& c);
Outcome<> run_status(const Request& q, Config& c);

}  // namespace ls::cni
