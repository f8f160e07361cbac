// What OverlayNode brings about on this machine, step by step.
#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "app/overlay_node_impl.h"
#include "netlink/links.h"
#include "util/log.h"

namespace ls {

namespace asio = boost::asio;
using overlay::ReportStatus;
using overlay::ShareState;

namespace {

constexpr size_t kReportedError = 256;  // octets; the status has the whole
constexpr auto kLookAgain = Millis(10'000);  // at the device, and at what failed

}  // namespace

/// Everything, in the order in which each can rely on the one before. What fails is tried again; what does not depend on it goes on.
void OverlayNode::Impl::bring_about() {
  if (!have_plan() || !allocated || stopping) return;
  auto begin = clock.now();
  auto r = bring_device();
  device_problem = r ? std::string() : r.error().text();
  if (!r && device_problem != told_problem) log::error("overlay_device_failed", {{"error", device_problem}});
  told_problem = device_problem;
  if (r) {
    auto t = bring_tables();
    tables_problem = t ? std::string() : t.error().text();
    if (!t) log::error("overlay_tables_failed", {{"error", tables_problem}});
    if (t && attach) attach(overlay::kVtepName, bridges());
  }
  bring_probe();
  auto m = bring_masquerade();
  if (!m && masquerade_problem != m.error().text()) log::error("overlay_masquerade_failed", {{"error", m.error().text()}});
  masquerade_problem = m ? std::string() : m.error().text();
  bring_docker();
  bring_files();
  report();
  publish();
  again();
  took = clock.now() - begin;
}

/// The device that has the node's address, and how large its packets may be.
Result<> OverlayNode::Impl::find_underlay() {
  LS_ASSIGN(auto devices, netlink::list_devices());
  for (auto& d : devices) {
    if (std::find(d.addresses.begin(), d.addresses.end(), state.node) == d.addresses.end()) continue;
    if (underlay_mtu && d.mtu != underlay_mtu) log::info("overlay_underlay_mtu", {{"device", d.name}, {"before", underlay_mtu}, {"now", d.mtu}});
    underlay_ifindex = d.ifindex;
    underlay_mtu = d.mtu;
    return {};
  }
  return fail(EADDRNOTAVAIL, fmt::format("node.address {} is on no device of this machine", state.node.text()));
}

Result<> OverlayNode::Impl::bring_device() {
  LS_TRY(find_underlay());
  auto spec = datapath::device_spec(*plan, state.self.allocation, underlay_mtu);
  LS_ASSIGN(auto report, datapath::ensure_overlay_device(spec));
  if (!report.repaired.empty()) {
    if (device.ifindex) repaired += report.repaired.size();
    log::info(report.made ? "overlay_device_made" : "overlay_device_changed", {{"device", spec.name}, {"what", fmt::format("{}", fmt::join(report.repaired, " "))}});
  }
  device.ifindex = report.ifindex;
  device.mtu = spec.mtu;
  return {};
}

Result<> OverlayNode::Impl::bring_tables() {
  datapath::OverlaySelf self;
  self.node = state.node;
  self.mac = state.self.allocation.vtep.mac;
  self.vtep_ifindex = uint32_t(device.ifindex);
  self.mtu = device.mtu;
  self.redirect_peer = config.overlay.redirect_peer;
  LS_ASSIGN(bool changed, tables->configure(self, *plan));
  all_due |= changed;  // until it was done
  if (all_due || !tables_ready) {
    // Of the others only what was heard: without a feed what an earlier run left stays.
    if (fed) {
      std::vector<overlay::Allocation> all;
      for (auto& one : book.all()) all.push_back(*one);
      LS_ASSIGN(auto synced, tables->sync(all));
      std::vector<OverlayProbePeer> peers;
      for (auto& a : all) {
        if (auto peer = probe_peer(a)) peers.push_back(*peer);
      }
      probe->set_peers(std::move(peers));
      left_out = std::move(synced.problems);
      for (auto& p : left_out) log::warn("overlay_left_out", {{"why", p}});
      all_due = false;
    }
    tables_ready = fed;
  }
  return tables->put(state.self.allocation);
}

std::vector<std::string> OverlayNode::Impl::bridges() const {
  std::vector<std::string> out;
  for (auto& s : state.self.allocation.shares) {
    if (s.state != ShareState::kOk) continue;
    if (s.docker_bridge) out.push_back("d-" + s.overlay);
    if (s.mesos_bridge) out.push_back("m-" + s.overlay);
  }
  return out;
}

namespace {

/// Everything that is the overlay's: packets between these keep their addresses.
std::vector<IpNetwork> inside_of(const overlay::Plan& plan) {
  std::vector<IpNetwork> out{plan.vtep4};
  if (plan.vtep6) out.push_back(*plan.vtep6);
  for (auto& o : plan.overlays) {
    if (o.v4) out.push_back(o.v4->network);
    if (o.v6) out.push_back(o.v6->network);
  }
  return out;
}

}  // namespace

Result<> OverlayNode::Impl::bring_masquerade() {
  overlay::MasqueradeSpec spec;
  spec.inside = inside_of(*plan);
  spec.inside_devices = bridges();
  spec.inside_devices.push_back(overlay::kVtepName);
  for (auto& s : state.self.allocation.shares) {
    auto o = std::find_if(plan->overlays.begin(), plan->overlays.end(), [&](auto& p) { return p.name == s.overlay; });
    if (!config.overlay.masquerade || s.state != ShareState::kOk || o == plan->overlays.end()) continue;
    if (s.v4 && o->v4) spec.sources.push_back(o->v4->network);
    if (s.v6 && o->v6) spec.sources.push_back(o->v6->network);
  }
  LS_ASSIGN(auto report, overlay::ensure_masquerade(spec));
  if (report.repaired) repaired++;
  if (report.made || report.repaired) log::info("overlay_masquerade", {{"what", report.made ? "made" : "put right"}, {"pools", spec.sources.size()}});
  return {};
}

std::optional<OverlayProbePeer> OverlayNode::Impl::probe_peer(const overlay::Allocation& a) const {
  if (a.node == state.node) return std::nullopt;
  return OverlayProbePeer{a.node, a.vtep.v4.address, a.vtep.v6 ? std::optional(a.vtep.v6->address) : std::nullopt};
}

void OverlayNode::Impl::bring_probe() {
  auto& vtep = state.self.allocation.vtep;
  probe->set_self({state.node, vtep.v4.address, vtep.v6 ? std::optional(vtep.v6->address) : std::nullopt, device.ifindex, device.mtu});
}

void OverlayNode::Impl::bring_docker() {
  overlay::DockerWanted want;
  for (auto& s : state.self.allocation.shares) {
    if (s.state != ShareState::kOk || !s.docker_bridge) continue;
    overlay::DockerNetwork n{s.overlay, {}, {}, container_mtu()};
    if (s.v4) n.v4 = overlay::half_of(*s.v4, true);
    if (s.v6) n.v6 = overlay::half_of(*s.v6, true);
    want.networks.push_back(std::move(n));
    want.filter.bridges.push_back("d-" + s.overlay);
  }
  for (auto& s : state.self.allocation.shares) {
    if (s.state != ShareState::kOk) continue;
    if (s.v4) want.filter.shares.push_back(*s.v4);
    if (s.v6) want.filter.shares.push_back(*s.v6);
  }
  want.filter.inside = inside_of(*plan);
  if ((want.empty() && !docker_keeper) || !device.ifindex) return;
  if (!docker_keeper) {
    overlay::DockerKeeperOptions options;
    options.docker = {config.overlay.docker_binary, config.overlay.command_timeout};
    options.filter.limit = config.overlay.command_timeout;
    auto made = overlay::DockerKeeper::make(options, [&loop = io, weak = weak_from_this()](overlay::DockerReport&& r) {
      asio::post(loop, [weak, r = std::move(r)] {
        if (auto self = weak.lock(); self && !self->stopping) self->on_docker(r);
      });
    });
    if (!made) {
      log::error("overlay_docker_failed", {{"error", made.error().text()}});
      return;
    }
    docker_keeper = std::move(*made);
  }
  docker_keeper->want(std::move(want));
}

void OverlayNode::Impl::on_docker(const overlay::DockerReport& now) {
  docker = now;
  // A network that was just made brings a bridge, whose ports are the overlay's.
  report();
  publish();
}

uint32_t OverlayNode::Impl::container_mtu() const { return config.overlay.mtu ? std::min(config.overlay.mtu, device.mtu) : device.mtu; }

void OverlayNode::Impl::bring_files() {
  auto body = overlay::agent_overlay_json(*plan, state.self, attempts);
  auto files = overlay_files(config, state.self.allocation, body, container_mtu());
  agent_text.publish(std::move(body));
  cni_paths.clear();
  for (auto& c : files.cni) cni_paths[c.overlay] = c.path.string();
  next_files = std::move(files);
  write_files();
}

/// One job at a time, with the newest of what there was meanwhile: a disk may hang.
void OverlayNode::Impl::write_files() {
  if (writing || !next_files) return;
  writing = true;
  worker->post([&loop = io, weak = weak_from_this(), files = *std::exchange(next_files, std::nullopt)] {
    asio::post(loop, [weak, written = write_overlay_files(files)] {
      auto self = weak.lock();
      if (!self || self->stopping) return;
      self->writing = false;
      self->on_written(written);
      self->write_files();
    });
  });
}

void OverlayNode::Impl::on_written(const OverlayFilesWritten& written) {
  if (written.state_error != files_problem && !written.state_error.empty()) log::error("overlay_files_failed", {{"error", written.state_error}});
  files_problem = written.state_error;
  cni_errors = written.by_name;
  for (auto& [overlay, why] : cni_errors) {
    if (!why.empty()) log::error("overlay_files_failed", {{"overlay", overlay}, {"error", why}});
  }
  files_written = true;
  report();
  publish();
}

/// How this node fares with each of its overlays, for the master and the agent's own document.
void OverlayNode::Impl::report() {
  std::vector<overlay::OverlayReport> now;
  for (auto& s : state.self.allocation.shares) {
    if (s.state != ShareState::kOk) continue;
    auto why = share_problem(s.overlay);
    auto status = !why.empty() ? ReportStatus::kFailed : files_written ? ReportStatus::kOk : ReportStatus::kConfiguring;
    now.push_back({s.overlay, status, why.substr(0, kReportedError)});
  }
  if (now == state.self.reports) return;
  state.self.reports = std::move(now);
  attempts++;
  bring_files();  // the document says how it stands
  say();
}

std::string OverlayNode::Impl::share_problem(const std::string& overlay) const {
  for (auto* p : {&programs_problem, &device_problem, &tables_problem, &files_problem}) {
    if (!p->empty()) return *p;
  }
  if (auto it = cni_errors.find(overlay); it != cni_errors.end() && !it->second.empty()) return it->second;
  for (auto& d : docker.networks) {
    bool bad = d.state == overlay::DockerState::kConflict || d.state == overlay::DockerState::kFailed;
    if (d.name == overlay && bad) return "Docker network " + d.line();
  }
  return {};
}

void OverlayNode::Impl::again() {
  again_timer.expires_after(kLookAgain);
  again_timer.async_wait([self = shared_from_this()](boost::system::error_code ec) {
    if (!ec && !self->stopping) self->bring_about();
  });
}

}  // namespace ls
