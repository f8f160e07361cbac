// CHECK, GC and STATUS.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <nlohmann/json.hpp>

#include "cni/deadline.h"
#include "cni/delegate.h"
#include "cni/fields.h"
#include "cni/plugin.h"
#include "cni/plugin_parts.h"
#include "cni/port_maps.h"

namespace ls::cni {
namespace {

using Json = nlohmann::json;
using Key = std::pair<std::string, std::string>;

constexpr const char* kValidKey = "cni.dev/valid-attachments";

/// The delegate's configuration with what a runtime adds for this operation.
std::string delegate_input(const Request& q, const Config& c, std::initializer_list<const char*> keys) {
  Json j = Json::parse(c.delegate->config);
  j["cniVersion"] = q.asked_version;
  for (auto key : keys)
    if (auto it = q.config->find(key); it != q.config->end()) j[key] = *it;
  return j.dump();
}

Outcome<> forward(const Request& q, const Config& c, std::initializer_list<const char*> keys) {
  auto r = call_delegate(c.delegate->type, q.path, std::string(to_text(q.command)), delegate_input(q, c, keys));
  if (!r) return tl::make_unexpected(r.error());
  return {};
}

/// What the record and the result of ADD say must be there.
Outcome<> check_devices(const Request& q, const Config& c, const Attachment& a, const AddResult& previous) {
  AttachPlan p;
  p.mode = a.mode;
  p.ifname = q.ifname;
  p.host_device = a.host_device;
  p.bridge = a.bridge;
  p.mac = a.mac;
  p.routes = previous.routes;
  std::vector<IpAddress> addresses;
  for (auto& address : {a.v4, a.v6}) {
    if (!address) continue;
    auto ip = std::find_if(previous.ips.begin(), previous.ips.end(), [&](auto& i) { return i.address == *address; });
    if (ip == previous.ips.end()) return refuse(Code::kConfig, fmt::format("prevResult does not have the reserved address {}", address->text()));
    p.ips.push_back(*ip);
    addresses.push_back(*address);
  }
  auto mac = std::find_if(previous.interfaces.begin(), previous.interfaces.end(), [&](auto& i) { return i.name == q.ifname && !i.sandbox.empty(); });
  if (mac != previous.interfaces.end() && !mac->mac.empty()) {
    auto parsed = parse_mac(mac->mac);
    if (!parsed) return refuse(Code::kConfig, fmt::format("prevResult has \"{}\" as a hardware address", mac->mac));
    if (a.imported) p.mac = *parsed;
    else if (*parsed != a.mac) return refuse(Code::kConfig, fmt::format("prevResult has hardware address {} instead of {}", mac->mac, to_text(a.mac)));
  }
  auto netns = Netns::open(q.netns);
  if (!netns) return tl::make_unexpected(netns.error());
  auto container = netns->connect();
  if (!container) return tl::make_unexpected(container.error());
  auto attacher = Attacher::open();
  if (!attacher) return tl::make_unexpected(attacher.error());
  if (a.imported) {
    auto device = Attacher::find_device(*container, q.ifname);
    if (!device) return tl::make_unexpected(device.error());
    if (!*device) return refuse(Code::kIo, fmt::format("device {} is not in the container", q.ifname));
    return {};
  }
  LS_CNI_TRY(attacher->check(p, *container));
  auto host = attacher->find_device(a.host_device);
  if (!host) return tl::make_unexpected(host.error());
  if (!*host) return refuse(Code::kIo, fmt::format("device {} is not on the host", a.host_device));
  if (a.mode == Mode::kDirect) LS_CNI_TRY(check_local_devices(c.pin, addresses, {uint32_t((*host)->ifindex), a.mac, (*host)->mac}));
  if (!programs_attached(c.pin, (*host)->ifindex)) return refuse(Code::kIo, fmt::format("no program of loadstard is attached to device {}", a.host_device));
  return {};
}

/// nullopt in the second place: any interface of the container.
Outcome<std::set<Key>> valid_attachments(const Request& q) {
  std::set<Key> out;
  Fields f(*q.config, "");
  auto list = f.list(kValidKey);
  if (!list) return tl::make_unexpected(list.error());
  if (!*list) return refuse(Code::kConfig, fmt::format("{} is missing: without it GC would remove everything", kValidKey));
  for (size_t i = 0; i < (*list)->size(); i++) {
    auto& e = (**list)[i];
    if (!e.is_object()) return f.wrong(kValidKey, "a list of objects");
    Fields a(e, fmt::format("{}[{}]", kValidKey, i));
    auto container = a.text("containerID"), ifname = a.text("ifname");
    if (!container) return tl::make_unexpected(container.error());
    if (!ifname) return tl::make_unexpected(ifname.error());
    if (!*container || !*ifname) return refuse(Code::kConfig, fmt::format("{} needs containerID and ifname", a.name("")));
    out.emplace(**container, **ifname);
  }
  return out;
}

bool is_valid(const std::set<Key>& valid, const Attachment& a) {
  if (valid.contains({a.container, a.ifname})) return true;
  // Taken over from host-local without the name of the interface.
  bool any_interface = a.imported && (a.ifname.empty() || a.ifname.starts_with("+"));
  return any_interface && std::any_of(valid.begin(), valid.end(), [&](auto& v) { return v.first == a.container; });
}

struct Problems {
  size_t count = 0;
  std::optional<Failure> first;
  void note(const Outcome<>& r, const std::string& what) {
    if (r) return;
    count++;
    if (!first) first = Failure{r.error().code, r.error().msg, ""};
    first->details += fmt::format("{}{}: {}", first->details.empty() ? "" : "; ", what, r.error().msg);
  }
};

}  // namespace

Outcome<> run_check(const Request& q, const Config& c) {
  auto previous = q.config->find("prevResult");
  if (previous == q.config->end() || previous->is_null()) return refuse(Code::kConfig, "CHECK needs prevResult");
  auto result = parse_result(*previous, "prevResult");
  if (!result) return tl::make_unexpected(result.error());
  auto lock = AttachmentLock::take(c.data_dir, c.network, q.container, q.ifname, false);
  if (!lock) return tl::make_unexpected(lock.error());
  std::optional<Attachment> a;
  {
    auto leases = open_existing_leases(c);
    if (!leases) return tl::make_unexpected(leases.error());
    if (*leases) {
      auto found = (*leases)->find(q.container, q.ifname);
      if (!found) return tl::make_unexpected(found.error());
      a = std::move(*found);
    }
  }
  bool others = c.delegate || c.mode == Mode::kChained;
  if (!a && !(others && c.mappings.empty()))
    return refuse(Code::kUnknown, fmt::format("{} of container {} is not attached to network {}", q.ifname, q.container, c.network));
  if (a) {
    if (a->mode != Mode::kChained) LS_CNI_TRY(check_devices(q, c, *a, *result));
    LS_CNI_TRY(check_port_mappings(c.pin, a->mappings, {a->v4, a->v6, 0}));
    if (!a->imported && a->mappings.size() != c.mappings.size() && !c.mappings.empty())
      return refuse(Code::kPortMapping, fmt::format("{} port mappings were made, the configuration has {}", a->mappings.size(), c.mappings.size()));
  }
  if (c.delegate) return forward(q, c, {"prevResult"});
  return {};
}

Outcome<> run_gc(const Request& q, const Config& c) {
  auto valid = valid_attachments(q);
  if (!valid) return tl::make_unexpected(valid.error());
  auto attacher = Attacher::open();
  if (!attacher) return tl::make_unexpected(attacher.error());
  // Devices before records: the device of an ADD that runs now has its record already.
  auto devices = attacher->devices_of(alias_prefix(c.network));
  if (!devices) return tl::make_unexpected(devices.error());
  std::vector<Attachment> all;
  {
    auto leases = open_existing_leases(c);
    if (!leases) return tl::make_unexpected(leases.error());
    if (*leases) {
      auto found = (*leases)->all();
      if (!found) return tl::make_unexpected(found.error());
      all = std::move(*found);
    }
  }
  Problems problems;
  std::set<std::string> known;
  for (auto& a : all) {
    known.insert(a.host_device);
    if (is_valid(*valid, a)) continue;
    auto what = fmt::format("{} of container {}", a.ifname.empty() ? "any interface" : a.ifname, a.container);
    auto lock = AttachmentLock::take(c.data_dir, c.network, a.container, a.ifname, false);
    if (!lock) {
      problems.note(tl::make_unexpected(lock.error()), what);
      continue;
    }
    problems.note(tear_down(c, a, ""), what);
  }
  for (auto& d : *devices) {
    if (known.contains(d.name)) continue;
    auto rest = d.alias.substr(alias_prefix(c.network).size());
    auto space = rest.find(' ');
    if (space != rest.npos && valid->contains({rest.substr(0, space), rest.substr(space + 1)})) continue;
    problems.note(attacher->remove(d.name), "device " + d.name);
  }
  if (c.delegate) problems.note(forward(q, c, {kValidKey, "cni.dev/attachments"}), "delegate " + c.delegate->type);
  if (!problems.first) return {};
  problems.first->msg = fmt::format("{} of the network's attachments could not be removed", problems.count);
  return tl::make_unexpected(*problems.first);
}

Outcome<> run_status(const Request& q, Config& c) {
  if (c.delegate) return forward(q, c, {});
  if (c.mode == Mode::kChained) return {};
  bool overlay = !c.overlay.empty();
  if (auto r = resolve_overlay(c); !r) return refuse(Code::kNotAvailable, r.error().msg, r.error().details);
  auto leases = open_existing_leases(c);
  if (!leases) return tl::make_unexpected(leases.error());
  if (*leases)
    if (auto r = (*leases)->room(c.ranges); !r) return refuse(Code::kNotAvailable, r.error().msg, r.error().details);
  if (overlay && !tunnel_mtu(c.pin)) return refuse(Code::kDegraded, fmt::format("overlay {} has its addresses, but its data plane is not there", c.overlay), fmt::format("{}/maps/ls_ovl_conf", c.pin));
  return {};
}

}  // namespace ls::cni
