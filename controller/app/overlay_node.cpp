#include "app/overlay_node.h"

#include "app/overlay_node_impl.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <fstream>

#include "datapath/svc_tables.h"
#include "overlay/command.h"
#include "util/log.h"

namespace ls {

namespace asio = boost::asio;
using overlay::ShareState;

namespace {

constexpr auto kSettle = Millis(100);  // changes of the network come in groups
constexpr int kLookShare = 50;

}  // namespace

std::string overlay_node_id(const Config& config, const std::filesystem::path& machine_id) {
  if (!config.node.id.empty()) return config.node.id;
  std::string text;
  std::ifstream in(machine_id);
  if (!(in >> text) || text.size() != 32) return {};
  // The machine's own id is not for the network (machine-id(5)).
  text += " loadstar overlay";
  size_t first = hash_bytes(text.data(), text.size());
  size_t second = hash_bytes(text.data(), text.size(), first);
  return fmt::format("{:016x}{:016x}", first, second);
}

// ---- start and end ----

Result<> OverlayNode::Impl::start(const datapath::Programs& programs, MakeLink make_link) {
  state.node = *config.node.address;
  id = overlay_node_id(config);
  if (auto why = programs.load_error(datapath::ProgramObject::kOverlay); !why.empty()) programs_problem = "programs of the overlay refused by the kernel: " + why;
  MapOpener opener = [&programs](std::string_view name) -> Result<UniqueFd> {
    int fd = programs.map(std::string(name));
    UniqueFd own(fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!own) return fail(fd < 0 ? ENOENT : errno, "open map " + std::string(name));
    return own;
  };
  LS_ASSIGN(auto maps, datapath::OverlayMaps::open(opener));
  LS_ASSIGN(tables, datapath::OverlayTables::adopt(std::move(maps), wait_for_programs));
  LS_ASSIGN(counters, OverlayCounters::open(opener));
  LS_ASSIGN(auto local_fd, opener("ls_ovl_local"));
  LS_ASSIGN(admin_local, (Map<ls_ovl_addr, ls_ovl_local>::adopt(std::move(local_fd))));
  LS_ASSIGN(admin_maps, datapath::OverlayMaps::open(opener, MapAccess::kRead));
  OverlayProbeOptions options;
  options.port = uint16_t(config.overlay.probe_port);
  options.known = [this](const OverlayProbePeer& p) {
    auto owner = tables->find(p.vtep4);
    return owner && *owner && (*owner)->node == p.node;
  };
  options.check = api::kOverlayCheckTime - Millis(5'000);  // so that what there is by then is still heard
  probe.emplace(io, std::move(options));
  LS_ASSIGN(watch, netlink::Watch::open());
  watch_fd.emplace(io, watch->fd());
  wait_network();

  OverlayLinkEvents events;
  events.allocated = [this](overlay::RegistrationAnswer&& a) { on_allocated(std::move(a)); };
  events.fed = [this](overlay::AllocationFeed&& f) { on_feed(std::move(f)); };
  LS_ASSIGN(auto copy, recall());
  LS_ASSIGN(link, make_link(std::move(events), std::move(copy)));
  say();
  if (allocated) bring_about();
  link->start();
  publish();
  return {};
}

/// What was heard last before this start; nothing of it is given up before somebody says something newer.
Result<std::optional<OverlayHeld>> OverlayNode::Impl::recall() {
  auto file = config.store.path.parent_path() / "overlay-nodes";
  OverlayMemory kept;
  if (auto loaded = load_overlay_memory(file)) kept = std::move(*loaded);
  else if (loaded.error().code != std::errc::no_such_file_or_directory) log::warn("overlay_memory_unreadable", {{"error", loaded.error().text()}});
  memory.emplace(io, file, kept);
  auto copy = kept.held();
  // Another machine's, or of this one under another address.
  if (kept.answer && kept.answer->allocation.node == state.node) {
    take_plan(std::move(kept.answer->plan));
    take_self(std::move(kept.answer->allocation));
  }
  if (kept.feed) {
    take_plan(std::move(kept.feed->plan));
    book.replace(std::move(kept.feed->nodes));
    if (allocated) book.put(state.self.allocation);
    fed = all_due = true;
    log::info("overlay_recalled", {{"nodes", book.size()}});
  }
  return copy;
}

void OverlayNode::Impl::stop() {
  if (stopping) return;
  stopping = true;
  if (link) link->stop();
  settle_timer.cancel();
  again_timer.cancel();
  worker.reset();
  docker_keeper.reset();
  if (probe) probe->stop();
  if (memory) memory->stop();
  if (watch_fd) watch_fd->release();
  watch_fd.reset();
}

void OverlayNode::Impl::wait_network() {
  watch_fd->async_wait(asio::posix::stream_descriptor::wait_read, [self = shared_from_this()](boost::system::error_code ec) {
    if (ec || self->stopping) return;
    bool ours = false;
    auto drained = self->watch->drain([&](const netlink::Event& e) { ours |= self->concerns(e); });
    if (!drained) log::warn("overlay_watch", {{"error", drained.error().text()}});
    if (ours || !drained) self->settle();
    self->wait_network();
  });
}

/// Containers come and go all the time; of interest are the tunnel's device, the one below it, and routes.
bool OverlayNode::Impl::concerns(const netlink::Event& e) const {
  if (auto* gone = std::get_if<netlink::DeviceRemoved>(&e)) return gone->ifindex == device.ifindex || gone->ifindex == underlay_ifindex;
  if (auto* changed = std::get_if<netlink::DeviceChanged>(&e)) {
    auto& d = changed->device;
    return d.name == overlay::kVtepName || (d.ifindex == underlay_ifindex && d.mtu != underlay_mtu);
  }
  if (auto* address = std::get_if<netlink::AddressChanged>(&e)) return address->ifindex == device.ifindex || address->ifindex == underlay_ifindex;
  if (auto* neighbour = std::get_if<netlink::NeighbourChanged>(&e)) return neighbour->ifindex == device.ifindex;
  return std::holds_alternative<netlink::RouteChanged>(e) || std::holds_alternative<netlink::ResyncNeeded>(e);
}

void OverlayNode::Impl::settle() {
  if (settling || !have_plan()) return;
  settling = true;
  // A routing daemon may change routes all the time, and there may be many: looking at them takes a fiftieth of the time at most.
  settle_timer.expires_after(std::max<Instant::duration>(kSettle, kLookShare * took));
  settle_timer.async_wait([self = shared_from_this()](boost::system::error_code ec) {
    self->settling = false;
    if (!ec && !self->stopping) self->bring_about();
  });
}

// ---- what is heard ----

void OverlayNode::Impl::say() {
  overlay::NodeRegistration out;
  auto& r = out.request;
  bool agent = config.node.has_role(Role::kAgent);
  r.node = state.node;
  r.id = id;
  // Masters take no share that nobody uses (spec/overlay-modules.md 12, 10).
  r.allocate_subnet = agent;
  r.mesos_bridge = agent && config.overlay.mesos;
  r.docker_bridge = agent && config.overlay.docker;
  if (allocated) {
    auto& a = state.self.allocation;
    r.holding.vtep4 = a.vtep.v4.text();
    if (a.vtep.v6) r.holding.vtep6 = a.vtep.v6->text();
    for (auto& [overlay, block] : held) r.holding.blocks.push_back(block);
  }
  out.reports = state.self.reports;
  link->say(std::move(out));
}

void OverlayNode::Impl::on_allocated(overlay::RegistrationAnswer&& answer) {
  memory->allocated(answer);
  for (auto& note : answer.notes) {
    bool told = std::find(notes.begin(), notes.end(), note) != notes.end();
    if (!told) log::warn("overlay_registration_note", {{"note", note}});
  }
  notes = std::move(answer.notes);
  bool first = !allocated;
  bool new_plan = answer.plan != plan, new_self = first || answer.allocation != state.self.allocation;
  if (!new_plan && !new_self) return;
  take_plan(std::move(answer.plan));
  if (new_self) {
    take_self(std::move(answer.allocation));
    say();  // it claims what it has from now on
  }
  bring_about();
}

void OverlayNode::Impl::take_plan(overlay::Plan&& now) {
  plan = std::move(now);
  shown_plan.publish(*plan);
}

void OverlayNode::Impl::take_self(overlay::Allocation&& now) {
  auto& before = state.self.allocation;
  for (auto& s : before.shares) {
    auto other = std::find_if(now.shares.begin(), now.shares.end(), [&](auto& n) { return n.overlay == s.overlay; });
    bool kept = other != now.shares.end() && other->v4 == s.v4 && other->v6 == s.v6;
    if (allocated && s.state == ShareState::kOk && !kept)
      log::warn("overlay_share_changed", {{"overlay", s.overlay}, {"before", s.v4 ? s.v4->text() : s.v6 ? s.v6->text() : ""}, {"containers", "those that run keep addresses that are not this node's any more"}});
  }
  if (!allocated || before.vtep != now.vtep) log::info("overlay_allocated", {{"vtep", now.vtep.v4.text()}, {"shares", now.shares.size()}});
  before = std::move(now);
  allocated = true;
  for (auto& s : before.shares) {
    if (s.state == ShareState::kOk && (s.v4 || s.v6)) held[s.overlay] = {s.overlay, s.v4 ? s.v4->text() : "", s.v6 ? s.v6->text() : ""};
  }
  book.put(before);
  std::erase_if(state.self.reports, [&](auto& r) {
    return std::none_of(before.shares.begin(), before.shares.end(), [&](auto& s) { return s.overlay == r.overlay; });
  });
}

void OverlayNode::Impl::on_feed(overlay::AllocationFeed&& feed) {
  memory->fed(feed);
  bool new_plan = feed.plan != plan;
  if (new_plan) take_plan(std::move(feed.plan));
  for (auto& a : feed.nodes) {
    if (a.node != state.node) continue;
    // Another's change of it: an overlay that was added, an operator.
    if (!allocated || a != state.self.allocation) {
      take_self(overlay::Allocation(a));
      say();
      new_plan = true;
    }
  }
  if (std::find(feed.removed.begin(), feed.removed.end(), state.node) != feed.removed.end()) {
    log::warn("overlay_node_removed", {{"node", state.node.text()}, {"by", "an operator"}, {"then", "it registers again, with what it has"}});
    link->say_again();
  }
  fed = true;
  if (feed.full) {
    book.replace(std::move(feed.nodes));
    if (allocated) book.put(state.self.allocation);
    all_due = true;
  } else if (tables_ready && !all_due && !new_plan) {
    apply_delta(feed);
  } else {
    for (auto& n : feed.removed) book.remove(n);
    for (auto& a : feed.nodes) book.put(std::move(a));
    all_due = true;
  }
  if (new_plan || all_due) bring_about();
}

void OverlayNode::Impl::apply_delta(overlay::AllocationFeed& feed) {
  auto failed = [&](Error&& e, const IpAddress& node) {
    log::error("overlay_entry_failed", {{"node", node.text()}, {"error", e.text()}});
    tables_problem = e.text();
    all_due = true;
  };
  for (auto& node : feed.removed) {
    if (node == state.node) continue;
    if (auto r = tables->remove(node); !r) failed(std::move(r.error()), node);
    probe->remove_peer(node);
    book.remove(node);
  }
  std::vector<std::string> problems;
  for (auto& a : feed.nodes) {
    if (auto r = tables->put(a, &problems); !r) failed(std::move(r.error()), a.node);
    if (auto peer = probe_peer(a)) probe->put_peer(*peer);
    book.put(std::move(a));
  }
  for (auto& p : problems) log::warn("overlay_left_out", {{"why", p}});
}

Result<> OverlayNode::Impl::check() {
  if (!tables_ready) return {};
  LS_ASSIGN(auto wrong, tables->check());
  repaired += wrong;
  return {};
}

// ---- the node ----

OverlayNode::OverlayNode(asio::io_context& io, const Config& config, const Clock& clock) : impl_(std::make_shared<Impl>(io, config, clock)) {}
OverlayNode::~OverlayNode() { stop(); }
Result<> OverlayNode::start(const datapath::Programs& programs, MakeLink make_link) { return impl_->start(programs, std::move(make_link)); }
void OverlayNode::stop() { impl_->stop(); }
void OverlayNode::use_attachments(Attach attach) {
  impl_->attach = std::move(attach);
  if (impl_->tables_ready) impl_->attach(overlay::kVtepName, impl_->bridges());
}
void OverlayNode::tick() { impl_->publish(); }
Result<> OverlayNode::check() { return impl_->check(); }

void OverlayNode::check(const std::string& node, std::function<void(api::OverlayCheckView)> done) {
  asio::post(impl_->io, [weak = std::weak_ptr(impl_), node, done = std::move(done)] {
    auto self = weak.lock();
    if (!self || self->stopping) return;
    auto begun = self->probe->check(node, done);
    if (begun) return;
    api::OverlayCheckView none;
    none.done = true;
    none.results.push_back({node.empty() ? self->state.node.text() : node, "", false, 0, begun.error().text()});
    done(std::move(none));
  });
}

api::OverlayBody OverlayNode::agent_body() const {
  auto text = impl_->agent_text.get();
  if (!text->empty()) return *text;
  return tl::make_unexpected(api::OverlayFailure{api::OverlayFailure::Kind::kUnavailable, "this node has not been given its share yet"});
}

std::vector<std::string> purge_overlay(std::vector<std::string>& problems) {
  std::vector<std::string> out;
  auto removed = datapath::remove_overlay_device();
  if (!removed) problems.push_back(removed.error().text());
  if (removed && *removed) out.push_back(fmt::format("device {}", overlay::kVtepName));
  auto table = overlay::remove_masquerade();
  if (!table) problems.push_back(table.error().text());
  if (table && *table) out.push_back(fmt::format("table {}", overlay::kMasqueradeTable));
  auto runner = overlay::ProcessRunner::make();
  if (!runner) {
    problems.push_back(runner.error().text());
    return out;
  }
  auto filter = overlay::remove_docker_filter(*runner, {});
  for (auto& w : filter.warnings) problems.push_back(w);
  if (filter.written) out.push_back("rules in Docker's packet filter");
  return out;
}

}  // namespace ls
