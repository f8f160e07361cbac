#include <fmt/format.h>

#include <algorithm>
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

Outcome<> in_time() {
  if (Deadline::passed()) return refuse(Code::kTryAgain, "the operation took too long");
  return {};
}

/// What went wrong, with what could not be undone behind it.
tl::unexpected<Failure> undone(Failure why, const Outcome<>& undo) {
  if (!undo) {
    if (!why.details.empty()) why.details += "; ";
    why.details += fmt::format("undoing it failed too, a DEL will have to: {}", undo.error().msg);
  }
  return tl::make_unexpected(std::move(why));
}

void first_addresses(const AddResult& r, Attachment& a) {
  for (auto& ip : r.ips) {
    auto& place = ip.address.is_v4() ? a.v4 : a.v6;
    if (!place) place = ip.address;
  }
}

/// Somebody else made the interface: `a` gets a record and its port mappings.
Outcome<> map_ports_of(const Config& c, Attachment& a) {
  if (a.mappings.empty()) return {};
  if (!a.v4 && !a.v6) return refuse(Code::kPortMapping, "there are port mappings, and no address to map them to");
  {
    auto leases = open_leases(c);
    if (!leases) return tl::make_unexpected(leases.error());
    auto kept = leases->reserve(a, {}, {});
    if (!kept) return tl::make_unexpected(kept.error());
  }
  auto done = add_port_mappings(c.pin, a.mappings, {a.v4, a.v6, 0});
  if (done) done = in_time();
  if (done) return {};
  Deadline::extend(kUndoTime);
  return undone(std::move(done.error()), tear_down(c, a, ""));
}

Attachment wish_of(const Request& q, const Config& c) {
  Attachment a;
  a.container = q.container;
  a.ifname = q.ifname;
  a.mode = c.mode;
  a.mappings = c.mappings;
  return a;
}

Outcome<std::string> add_chained(const Request& q, const Config& c) {
  auto& config = *q.config;
  auto it = config.find("prevResult");
  if (it == config.end() || it->is_null())
    return refuse(Code::kConfig, "the configuration has neither ipam nor prevResult: there is nothing to attach to");
  auto previous = parse_result(*it, "prevResult");
  if (!previous) return tl::make_unexpected(previous.error());
  auto a = wish_of(q, c);
  first_addresses(*previous, a);
  LS_CNI_TRY(map_ports_of(c, a));
  auto version = it->find("cniVersion");
  if (version != it->end() && *version == q.asked_version) return it->dump();
  return result_document(q.version, *previous);
}

Outcome<std::string> add_by_delegate(const Request& q, const Config& c) {
  auto output = call_delegate(c.delegate->type, q.path, "ADD", c.delegate->config);
  Outcome<AddResult> result;
  Outcome<> done;
  if (!output) {
    done = tl::make_unexpected(output.error());
  } else if (auto json = parse_object(*output, "the delegate's result"); !json) {
    done = refuse(Code::kDelegate, json.error().msg);
  } else if (result = parse_result(**json, "the delegate's result"); !result) {
    done = refuse(Code::kDelegate, result.error().msg);
  } else {
    auto a = wish_of(q, c);
    a.mode = Mode::kChained;
    first_addresses(*result, a);
    done = map_ports_of(c, a);
  }
  std::string document;
  if (done) {
    auto text = result_document(q.version, *result);
    if (text) return text;
    done = refuse(Code::kDelegate, fmt::format("delegate {}: {}", c.delegate->type, text.error().msg));
  }
  Deadline::extend(kUndoTime);
  auto undo = call_delegate(c.delegate->type, q.path, "DEL", c.delegate->config);
  return undone(std::move(done.error()), undo ? Outcome<>() : Outcome<>(tl::make_unexpected(undo.error())));
}

AddResult result_of(const Request& q, const Config& c, const AttachPlan& p, const Attached& made) {
  AddResult out;
  if (p.mode == Mode::kBridge) out.interfaces.push_back({p.bridge, to_text(made.bridge_mac), "", p.mtu});
  out.interfaces.push_back({p.host_device, to_text(p.host_mac), "", p.mtu});
  out.interfaces.push_back({p.ifname, to_text(p.mac), q.netns, p.mtu});
  for (auto ip : p.ips) {
    ip.interface = out.interfaces.size() - 1;
    out.ips.push_back(ip);
  }
  out.routes = p.routes;
  out.dns = c.dns;
  return out;
}

/// Everything after the reservation; whatever fails is undone by the caller.
Outcome<AddResult> build(const Request& q, const Config& c, AttachPlan& p, const Attachment& a, Attacher& attacher, const Netns& netns,
                         netlink::RouteSocket& container) {
  for (auto& r : c.ranges) {
    auto& address = r.network.address.is_v4() ? a.v4 : a.v6;
    if (address) p.ips.push_back({*address, r.network.prefix, r.gateway, {}});
  }
  auto made = attacher.make(p, netns, container);
  if (!made) return tl::make_unexpected(made.error());
  LS_CNI_TRY(in_time());
  if (p.mode == Mode::kDirect) {
    std::vector<IpAddress> addresses;
    for (auto& ip : p.ips) addresses.push_back(ip.address);
    LS_CNI_TRY(add_local_devices(c.pin, addresses, {uint32_t(made->host_ifindex), p.mac, p.host_mac}));
  }
  LS_CNI_TRY(add_port_mappings(c.pin, a.mappings, {a.v4, a.v6, uint32_t(made->bridge_ifindex)}));
  LS_CNI_TRY(in_time());
  return result_of(q, c, p, *made);
}

Outcome<std::string> add_own(const Request& q, Config& c) {
  LS_CNI_TRY(resolve_overlay(c));
  auto netns = Netns::open(q.netns);
  if (!netns) return tl::make_unexpected(netns.error());
  auto lock = AttachmentLock::take(c.data_dir, c.network, q.container, q.ifname, true);
  if (!lock) return tl::make_unexpected(lock.error());
  auto container = netns->connect();
  if (!container) return tl::make_unexpected(container.error());
  auto there = Attacher::find_device(*container, q.ifname);
  if (!there) return tl::make_unexpected(there.error());
  if (*there) return refuse(Code::kUnknown, fmt::format("device {} is in the container already", q.ifname), q.netns);
  auto attacher = Attacher::open();
  if (!attacher) return tl::make_unexpected(attacher.error());
  AttachPlan p;
  p.mode = c.mode;
  p.ifname = q.ifname;
  p.host_device = random_device_name();
  p.bridge = c.bridge;
  p.mac = c.mac.value_or(random_mac());
  p.host_mac = random_mac();
  p.hairpin = c.hairpin;
  p.gateway_on_bridge = c.gateway_on_bridge;
  p.routes = c.routes;
  p.alias = device_alias(c.network, q.container, q.ifname);
  auto mtu = choose_mtu(c, *attacher);
  if (!mtu) return tl::make_unexpected(mtu.error());
  p.mtu = *mtu;
  auto wish = wish_of(q, c);
  wish.mac = p.mac;
  wish.host_device = p.host_device;
  wish.bridge = c.mode == Mode::kBridge ? c.bridge : "";
  Outcome<Attachment> reserved;
  {
    auto leases = open_leases(c);
    if (!leases) return tl::make_unexpected(leases.error());
    reserved = leases->reserve(wish, c.ranges, c.requested);
  }
  if (!reserved) return tl::make_unexpected(reserved.error());
  auto result = build(q, c, p, *reserved, *attacher, *netns, *container);
  Outcome<std::string> document = result ? result_document(q.version, *result) : Outcome<std::string>(tl::make_unexpected(result.error()));
  if (document) return document;
  Deadline::extend(kUndoTime);
  return undone(std::move(document.error()), tear_down(c, *reserved, ""));
}

}  // namespace

Outcome<std::string> run_add(const Request& q, Config& c) {
  if (c.mode != Mode::kChained && !c.delegate) return add_own(q, c);
  auto lock = AttachmentLock::take(c.data_dir, c.network, q.container, q.ifname, true);
  if (!lock) return tl::make_unexpected(lock.error());
  return c.delegate ? add_by_delegate(q, c) : add_chained(q, c);
}

Outcome<> run_del(const Request& q, const Config& c) {
  auto lock = AttachmentLock::take(c.data_dir, c.network, q.container, q.ifname, false);
  if (!lock) return tl::make_unexpected(lock.error());
  std::optional<Attachment> have;
  {
    auto leases = open_existing_leases(c);
    if (!leases) return tl::make_unexpected(leases.error());
    if (*leases) {
      auto found = (*leases)->find(q.container, q.ifname);
      if (!found) return tl::make_unexpected(found.error());
      have = std::move(*found);
    }
  }
  if (!have) {
    have = wish_of(q, c);
    // The configuration says what a record would: an interface that somebody else made is not ours to remove.
    if (c.delegate || q.config->contains("prevResult")) have->mode = Mode::kChained;
    have->mappings.clear();
  } else if (have->ifname.empty()) {
    have->ifname = q.ifname;
  }
  LS_CNI_TRY(tear_down(c, *have, q.netns));
  if (!c.delegate) return {};
  auto r = call_delegate(c.delegate->type, q.path, "DEL", c.delegate->config);
  if (!r) return tl::make_unexpected(r.error());
  return {};
}

}  // namespace ls::cni
