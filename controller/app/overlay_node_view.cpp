// What OverlayNode shows: the view of `loadstar overlay ls` and status, the nodes, the way of a packet.
#include <fmt/format.h>

#include <array>

#include "app/overlay_node_impl.h"
#include "datapath/abi_convert.h"

namespace ls {

using overlay::ShareState;

namespace {

std::string pool_text(const std::optional<overlay::Pool>& p) { return p ? p->network.text() : std::string(); }

}  // namespace

// ---- the view ----

std::string OverlayNode::Impl::status_word() const {
  if (!allocated) return "registering";
  if (!device_problem.empty() || !tables_problem.empty() || !programs_problem.empty()) return "failed";
  if (!tables_ready || !files_written) return "configuring";
  auto s = link->status();
  return s.connected ? "ok" : "last known";
}

api::OverlayLocalView OverlayNode::Impl::local_view(const overlay::Share& s) const {
  api::OverlayLocalView out;
  out.share = share_view(s);
  for (auto& o : plan->overlays) {
    if (o.name != s.overlay) continue;
    out.pool4 = pool_text(o.v4);
    out.pool6 = pool_text(o.v6);
  }
  out.error = s.state == ShareState::kOk ? share_problem(s.overlay) : s.detail;
  out.status = !out.error.empty() || s.state != ShareState::kOk ? "failed" : files_written ? "ok" : "configuring";
  if (auto it = cni_paths.find(s.overlay); it != cni_paths.end()) out.cni_file = it->second;
  if (s.docker_bridge) {
    out.docker_network = "not looked at yet";
    for (auto& d : docker.networks) {
      if (d.name == s.overlay) out.docker_network = d.line();
    }
  }
  return out;
}

void OverlayNode::Impl::publish() {
  api::OverlayNodeView v;
  v.enabled = true;
  v.state = status_word();
  auto s = link->status();
  v.master = s.endpoint;
  v.last_error = s.refused.empty() ? s.last_error : s.refused;
  if (s.heard != Instant{}) v.heard_s = std::chrono::duration<double>(clock.now() - s.heard).count();
  v.registrations = s.registrations;
  v.failures = s.failures;
  v.updates = s.updates;
  for (auto* p : {&programs_problem, &device_problem, &tables_problem, &files_problem}) {
    if (v.problem.empty()) v.problem = *p;
  }
  if (v.problem.empty() && v.state != "ok") v.problem = v.last_error;
  v.node = state.node.text();
  v.id = id;
  if (allocated) {
    auto& a = state.self.allocation;
    v.vtep4 = a.vtep.v4.text();
    if (a.vtep.v6) v.vtep6 = a.vtep.v6->text();
    v.mac = overlay::to_text(a.vtep.mac);
    for (auto& share : a.shares) {
      if (plan) v.shares.push_back(local_view(share));
    }
  }
  v.device = overlay::kVtepName;
  v.ifindex = uint32_t(device.ifindex);
  v.mtu = device.mtu;
  v.underlay_mtu = underlay_mtu;
  auto t = tables->view();
  v.peers = t.peers;
  v.entries = t.entries;
  v.conflicts = t.conflicts;
  v.repaired = repaired;
  v.offload = probe->offload_text();
  auto p = probe->status();
  v.offload_state = to_text(p.offload);
  v.talks_good = p.good;
  v.talks_lost_here = p.ours;
  v.talks_lost_there = p.theirs;
  v.docker_failures = docker.failures;
  v.warnings = left_out;
  for (auto& share : v.shares) {
    if (!share.error.empty() && share.error != v.problem) v.warnings.push_back("overlay " + share.share.overlay + ": " + share.error);
  }
  for (auto& w : probe->warnings()) v.warnings.push_back(w);
  for (auto& w : docker.warnings) v.warnings.push_back(w);
  if (!memory->error().empty()) v.warnings.push_back("what the masters say is not kept on disk: " + memory->error());
  if (!masquerade_problem.empty()) v.warnings.push_back("containers are not masqueraded towards the outside: " + masquerade_problem);
  if (auto counts = counters->read()) {
    constexpr std::array<std::string_view, LS_OVL_HOOK_MAX> kHookLabels{
#define LS_OVL_LABEL(name, num, label, text) label,
        LS_OVL_HOOKS(LS_OVL_LABEL)};
    constexpr std::array<std::string_view, LS_OVL_RESULT_MAX> kResultLabels{LS_OVL_RESULTS(LS_OVL_LABEL)};
#undef LS_OVL_LABEL
    for (size_t hook = 0; hook < counts->size(); hook++) {
      for (size_t result = 0; result < LS_OVL_RESULT_MAX; result++) {
        auto& c = (*counts)[hook][result];
        v.hooks.push_back({std::string(kHookLabels[hook]), std::string(kResultLabels[result]), c.packets, c.bytes});
      }
    }
  }
  shown.publish(std::move(v));
}

std::shared_ptr<const api::OverlayNodeView> OverlayNode::view() const { return impl_->shown.get(); }

std::vector<api::OverlayPeerView> OverlayNode::nodes(const std::string& after, size_t most) const {
  std::vector<api::OverlayPeerView> out;
  for (auto& one : impl_->book.some(IpAddress::parse(after), most)) out.push_back(peer_view(*one, impl_->state.node));
  return out;
}

// ---- the way of a packet ----

/// Admin thread: with handles and copies of its own.
Result<api::OverlayTraceView> OverlayNode::trace(const std::string& text) const {
  auto parsed = IpAddress::parse(text);
  if (!parsed) return fail(EINVAL, fmt::format("\"{}\" is no address", text.substr(0, 64)));
  auto& address = *parsed;
  auto& m = *impl_;
  auto plan = m.shown_plan.get();
  api::OverlayTraceView out;
  out.address = address.text();
  out.kind = "outside";
  auto step = [&](std::string s) { out.steps.push_back(std::move(s)); };
  if (plan->overlays.empty()) {
    step("This node has heard of no plan of the overlay.");
    out.verdict = "unknown";
    return out;
  }
  auto in = [&](const std::optional<IpNetwork>& n) { return n && n->contains(address); };
  for (auto& o : plan->overlays) {
    for (auto* pool : {&o.v4, &o.v6}) {
      if (!*pool || !(*pool)->network.contains(address)) continue;
      out.kind = "unallocated";
      out.overlay = o.name;
      out.pool = (*pool)->network.text();
    }
  }
  bool vtep = plan->vtep4.contains(address) || in(plan->vtep6);
  if (vtep) {
    out.kind = "unallocated";
    out.pool = plan->vtep4.contains(address) ? plan->vtep4.text() : plan->vtep6->text();
  }
  step(out.pool.empty() ? "It is in no pool of the overlay." : fmt::format("It is in the pool {} of {}.", out.pool, vtep ? "tunnel addresses" : "overlay " + out.overlay));

  // Who has it by what the master said, and by what the kernel's tables hold.
  OverlayBook::One owner;
  for (auto& one : m.book.all()) {
    bool node = one->node == address;
    bool tunnel = one->vtep.v4.address == address || (one->vtep.v6 && one->vtep.v6->address == address);
    auto share = std::find_if(one->shares.begin(), one->shares.end(), [&](auto& s) { return s.state == ShareState::kOk && (in(s.v4) || in(s.v6)); });
    if (!node && !tunnel && share == one->shares.end()) continue;
    owner = one;
    out.kind = node ? "node" : tunnel ? "vtep" : "container";
    if (share != one->shares.end()) out.share = in(share->v4) ? share->v4->text() : share->v6->text();
    break;
  }
  if (owner) {
    step(fmt::format("The master gave {} to node {}.", out.share.empty() ? "it" : out.share, owner->node.text()));
  } else if (!out.pool.empty()) {
    step("The master gave it to nobody.");
  }
  LS_ASSIGN(auto kernel, datapath::find_owner(*m.admin_maps, address));
  if (!kernel) {
    out.verdict = out.pool.empty() ? "not of the overlay: as the routes of this machine say" : "dropped: unallocated";
    if (owner && !out.pool.empty()) step("The kernel's tables do not have it: they lag behind, or the entry could not be written (see warnings in the status).");
    return out;
  }
  out.node = kernel->node.text();
  out.mac = overlay::to_text(kernel->mac);
  out.self = kernel->self;
  if (!owner || owner->node != kernel->node) step(fmt::format("The kernel's tables lead to {}, which the master did not say.", out.node));
  if (!kernel->self) {
    step(fmt::format("{} puts it into the tunnel: UDP {} to {}, VNI {}, MAC {}, at most {} octets.", overlay::kVtepName, overlay::kUdpPort, out.node, overlay::kVni, out.mac, m.shown.get()->mtu));
    out.verdict = "tunnel to " + out.node;
    return out;
  }
  ls_ovl_addr key{};
  put_address(key.addr_be, address);
  LS_ASSIGN(auto entry, m.admin_local->get(key));
  if (entry && entry->ifindex) {
    step(fmt::format("It is a container of this node; its device has number {}.", entry->ifindex));
    out.verdict = fmt::format("handed to the device with number {}", entry->ifindex);
  } else {
    step("It is this node's; no container is known by it (bridged containers never are).");
    out.verdict = "left to the stack of this node";
  }
  return out;
}

}  // namespace ls
