#include "app/cluster.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>

#include "app/overlay_node.h"
#include "app/zookeeper_url.h"
#include "sources/mesos.h"
#include "sources/replay.h"
#include "util/log.h"

namespace ls {
namespace {

constexpr size_t kMaxDecodeProblems = 1000;
constexpr auto kOldestChange = std::chrono::hours(1);  // older is no measurement: a hub tells what is new

VipOptions vip_options(const Config& c) {
  VipOptions o;
  o.named_min = c.vips.named_min;
  o.named_max = c.vips.named_max;
  o.named_min6 = c.vips.named_min6;
  o.named_max6 = c.vips.named_max6;
  o.ipv6 = c.vips.ipv6;
  o.own_addresses = c.node.all_addresses();
  return o;
}

StateOptions state_options(const Config& c) {
  StateOptions o;
  o.reregister_timeout = c.mesos.reregister_timeout;
  return o;
}

MesosConfig mesos_config(const Config::Mesos& m) {
  MesosConfig c;
  for (auto& master : m.masters) c.masters.push_back(master.text());
  c.found = !m.zk.empty();
  c.tls = m.tls;
  c.ca_file = m.ca_file;
  c.cert_file = m.cert_file;
  c.key_file = m.key_file;
  c.principal = m.principal;
  c.secret_file = m.secret_file;
  c.token_file = m.token_file;
  c.connect_timeout = m.connect_timeout;
  c.response_timeout = m.response_timeout;
  c.backoff_min = m.backoff_min;
  c.backoff_max = m.backoff_max;
  c.record_limit = m.max_record.bytes;
  return c;
}

HubConfig hub_config(const Config& config) {
  auto& h = config.hub;
  HubConfig c;
  c.masters = h.masters;
  c.node = overlay_node_id(config);
  if (c.node.empty() && config.node.address) c.node = config.node.address->text();
  c.tls = h.tls;
  c.ca_file = h.ca_file;
  c.cert_file = h.cert_file;
  c.key_file = h.key_file;
  c.token_file = h.token_file;
  c.connect_timeout = h.connect_timeout;
  c.backoff_min = h.backoff_min;
  c.backoff_max = h.backoff_max;
  c.rebalance = h.rebalance;
  c.stale = h.stale;
  c.record_limit = config.mesos.max_record.bytes;
  return c;
}

/// Hosts of all that this node may ask for the state; a recording has none.
std::vector<std::string> hosts_of(const Config& c) {
  std::vector<std::string> out;
  if (c.source.kind == SourceKind::kMesos) {
    for (auto& m : c.mesos.masters) out.push_back(m.host);
    if (auto url = zk::parse_url(c.mesos.zk)) {
      for (auto& server : url->servers) out.push_back(server.host);
    }
  } else if (c.source.kind == SourceKind::kHub) {
    for (auto& text : c.hub.masters) {
      if (auto m = parse_master_address(text, kHubPort)) out.push_back(m->host);
    }
  }
  return out;
}

/// The kept time is rounded, and so is what a master tells of it.
bool same_second(const std::optional<std::chrono::system_clock::time_point>& a, const std::optional<std::chrono::system_clock::time_point>& b) {
  return a && b && std::chrono::abs(*a - *b) < std::chrono::seconds(1);
}

void append(StateDelta& to, StateDelta&& more) {
  auto move_all = [](auto& into, auto& from) { into.insert(into.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end())); };
  move_all(to.agents, more.agents);
  move_all(to.frameworks, more.frameworks);
  move_all(to.tasks, more.tasks);
  move_all(to.recovered, more.recovered);
}

struct KindOf {
  std::string operator()(const Subscribed&) const { return "subscribed"; }
  std::string operator()(const TaskAdded&) const { return "task_added"; }
  std::string operator()(const TaskUpdated&) const { return "task_updated"; }
  std::string operator()(const TaskRemoved&) const { return "task_removed"; }
  std::string operator()(const AgentAdded&) const { return "agent_added"; }
  std::string operator()(const AgentRemoved&) const { return "agent_removed"; }
  std::string operator()(const AgentRecovered&) const { return "agent_recovered"; }
  std::string operator()(const FrameworkAdded&) const { return "framework_added"; }
  std::string operator()(const FrameworkRemoved&) const { return "framework_removed"; }
  std::string operator()(const Heartbeat&) const { return "heartbeat"; }
  std::string operator()(const UnknownEvent&) const { return "unknown"; }
};

}  // namespace

Cluster::Cluster(boost::asio::io_context& io, const Config& config, const Clock& clock, Hooks hooks)
    : io_(io),
      config_(config),
      clock_(clock),
      hooks_(std::move(hooks)),
      state_(state_options(config)),
      vips_(vip_options(config)),
      timer_(io) {}

Result<> Cluster::start() {
  hosts_ = hosts_of(config_);
  if (!hosts_.empty() && config_.state.save_every > Millis(0)) {
    restore();
    keeper_ = std::make_unique<StateKeeper>(io_, state_file(config_), config_.state.save_every, [this] { return to_save(); });
  }
  LS_TRY(make_source());
  source_->start();
  return {};
}

Result<> Cluster::make_source() {
  if (config_.source.kind == SourceKind::kMesos) {
    LS_ASSIGN(source_, make_mesos_source(io_, mesos_config(config_.mesos), *this));
    return find_masters();
  }
  if (config_.source.kind == SourceKind::kHub) {
    LS_ASSIGN(auto hub, make_hub_source(io_, hub_config(config_), *this));
    hub_ = hub.get();
    source_ = std::move(hub);
    // When it was written all of it was so; a clock that was set back makes it no newer than now.
    if (restored_) hub_->holds(std::max(Millis(0), std::chrono::duration_cast<Millis>(std::chrono::system_clock::now() - *restored_)));
    return {};
  }
  ReplayConfig replay;
  replay.file = config_.replay.file;
  replay.speed = config_.replay.speed;
  LS_ASSIGN(source_, make_replay_source(io_, replay, *this));
  return {};
}

// --- what is kept ----------------------------------------------------------------------------------------------------------

std::filesystem::path Cluster::state_file(const Config& config) { return config.store.path.parent_path() / "cluster"; }

void Cluster::restore() {
  auto kept = load_state(state_file(config_));
  if (!kept) {
    if (kept.error().code.value() == ENOENT) return;
    state_problem_ = "the kept state of the cluster could not be used: " + kept.error().text();
    log::warn("state_unusable", {{"error", kept.error().text()}});
    return;
  }
  if (!same_cluster(kept->hosts, hosts_)) {
    state_problem_ = fmt::format("the kept state is of another cluster, whose masters are {}", fmt::join(kept->hosts, ", "));
    log::warn("state_of_another_cluster", {{"masters", fmt::format("{}", fmt::join(kept->hosts, ", "))}});
    return;
  }
  restored_ = kept->saved;
  state_from_.leader_id = kept->leader_id;
  state_from_.elected = kept->elected;
  StateDelta change;
  for (auto& event : hub::events_of(std::move(kept->image), kDefaultHeartbeat)) append(change, state_.apply(std::move(event), clock_.now()));
  auto age = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - kept->saved);
  log::info("state_restored", {{"tasks", state_.task_count()}, {"age_s", age.count()}});
  if (!kept->leader.empty()) set_leader(kept->leader);
  set_masters(kept->masters);
  vips_.apply(change);
  hooks_.snapshot(change);
  malloc_trim(0);
}

SavedState Cluster::to_save() const {
  SavedState s;
  s.hosts = hosts_;
  s.leader = leader_;
  s.masters = masters_;
  s.leader_id = state_from_.leader_id;
  s.elected = state_from_.elected;
  s.image = image_of(state_.everything());
  return s;
}

Result<> Cluster::find_masters() {
  auto& m = config_.mesos;
  if (m.zk.empty()) return {};
  ZkMastersOptions options;
  LS_ASSIGN(options.session.url, zookeeper_url(m.zk, m.zk_login_file, "mesos.zk_login_file"));
  options.session.session = m.zk_session;
  zk_masters_ = std::make_unique<ZkMasters>(io_, std::move(options), [this](const std::vector<MasterAddress>& masters) {
    source_->set_masters(masters);
    masters_.clear();
    for (auto& found : masters) masters_.push_back(found.text());
    hooks_.masters(masters);
  });
  zk_masters_->start();
  return {};
}

std::optional<ZkMastersStatus> Cluster::zookeeper() const {
  if (!zk_masters_) return std::nullopt;
  return zk_masters_->status();
}

void Cluster::stop() {
  timer_.cancel();
  if (zk_masters_) zk_masters_->stop();
  if (source_) source_->stop();
  if (keeper_) keeper_->stop();
}

void Cluster::on_connected(const SourceInfo& info) {
  whole_ = whole_ && hub_ && info.leader == LeaderChange::kSame;
  leader_changed_ = info.leader == LeaderChange::kChanged || info.leader == LeaderChange::kUnknown;
  // What is held is of the disk, so the leader of before is the one that was kept with it.
  if (restored_) leader_changed_ = info.leader_id.empty() || info.leader_id != state_from_.leader_id || !same_second(info.elected, state_from_.elected);
  log::info("source_connected", {{"endpoint", info.endpoint}, {"leader", info.leader_id}, {"leader_changed", leader_changed_}});
  hooks_.connected();
  if (config_.source.kind != SourceKind::kMesos) return;
  connection_ = info;
  set_leader(info.endpoint);
}

SourceStatus Cluster::fed() const {
  auto s = source();
  s.connected = s.connected && whole_;
  if (hub_) s.connected = s.connected && hub_->health().connected;
  if (!s.connected && taken_) s.since = *taken_;
  return s;
}

void Cluster::set_leader(const std::string& leader) {
  leader_ = leader;
  hooks_.leader(leader);
}

void Cluster::set_masters(const std::vector<std::string>& masters) {
  if (masters.empty() || masters == masters_) return;
  masters_ = masters;
  std::vector<MasterAddress> list;
  for (auto& text : masters) {
    if (auto m = parse_master_address(text)) list.push_back(std::move(*m));
  }
  hooks_.masters(list);
}

void Cluster::on_disconnected(const Error& why) {
  log::warn("source_disconnected", {{"why", why.text()}, {"kept_tasks", state_.task_count()}});
}

void Cluster::on_end_of_recording() { log::info("replay_complete", {{"tasks", state_.task_count()}}); }

void Cluster::on_record(PaddedRecord record) {
  Instant received = clock_.now();
  auto text = record.text();
  auto decoded = decoder_.decode(const_cast<char*>(text.data()), text.size(), record.allocated());
  if (!decoded) {
    events_["undecodable"]++;
    log::warn("record_undecodable", {{"why", decoded.error().text()}, {"bytes", text.size()}});
    return;
  }
  for (auto& p : decoded->problems) {
    if (decode_problems_.size() >= kMaxDecodeProblems) break;
    decode_problems_.try_emplace(p.item + " " + p.field, VipProblem{p.item, p.field, p.why});
  }
  std::string kind = std::visit(KindOf{}, decoded->event);
  events_[kind]++;
  if (auto* subscribed = std::get_if<Subscribed>(&decoded->event))
    source_->set_heartbeat_interval(subscribed->heartbeat);
  if (auto* subscribed = std::get_if<Subscribed>(&decoded->event); subscribed && !subscribed->leader.empty())
    set_leader(subscribed->leader);
  record = {};  // a snapshot's text is not needed while it is applied
  bool snapshot = std::holds_alternative<Subscribed>(decoded->event);
  apply(std::move(decoded->event), {.leader_changed = leader_changed_}, kind, received);
  if (!snapshot) return;
  decoded = fail("taken");  // what is left of the event
  malloc_trim(0);  // a snapshot takes several times what it leaves
}

void Cluster::apply(Event&& event, SnapshotContext context, std::string_view kind, Instant received) {
  bool snapshot = std::holds_alternative<Subscribed>(event);
  if (whole_) taken_ = received;
  bool first = snapshot && (!state_.synced() || restored_);
  StateDelta change = state_.apply(std::move(event), clock_.now(), context);
  if (snapshot) {
    applied_snapshot(change, first);
  } else {
    applied(change, kind, received);
  }
}

/// The followers of a snapshot look at all services.
void Cluster::applied_snapshot(const StateDelta& change, bool first) {
  restored_.reset();
  whole_ = true;
  taken_ = clock_.now();
  state_from_ = connection_;
  vips_.apply(change);
  arm_timer();
  log::info("snapshot", {{"first", first}, {"tasks", state_.task_count()}, {"services", vips_.service_count()},
                         {"held_agents", state_.held_agents().size()}});
  if (keeper_) keeper_->changed();
  hooks_.snapshot(change);
}

void Cluster::applied(const StateDelta& change, std::string_view kind, Instant received) {
  VipDelta delta = vips_.apply(change);
  arm_timer();
  if (keeper_ && !change.empty()) keeper_->changed();
  if (!delta.empty() || !change.empty()) hooks_.changed(change, std::move(delta), kind, received);
}

// --- of a hub --------------------------------------------------------------------------------------------------------------

void Cluster::on_snapshot(hub::Image image) {
  bool first = !state_.synced() || restored_;
  hub::Position at{hub_->run(), image.seq};
  events_["snapshot"]++;
  StateDelta change;
  for (auto& event : hub::events_of(std::move(image), kDefaultHeartbeat)) append(change, state_.apply(std::move(event), clock_.now()));
  hub_->applied(at);
  applied_snapshot(change, first);
  malloc_trim(0);
}

void Cluster::on_changes(hub::Changes changes) {
  Instant now = clock_.now();
  hub::Position at{hub_->run(), changes.last};
  // Without a comparison of the clocks its age is not known, and it is measured nowhere.
  auto age = hub_->age_of(changes.received_us);
  std::string_view kind = age ? "hub" : "hub_unmeasured";
  Instant received = now - std::clamp<Instant::duration>(age.value_or(std::chrono::microseconds(0)), Instant::duration(0), kOldestChange);
  events_["changes"]++;
  StateDelta change;
  for (auto& event : hub::events_of(std::move(changes))) append(change, state_.apply(std::move(event), now));
  hub_->applied(at);
  if (whole_) taken_ = now;
  applied(change, kind, received);
}

void Cluster::on_health(const hub::SourceHealth& health) {
  if (!health.leader.empty()) set_leader(health.leader);
  set_masters(health.masters);
  auto before = std::exchange(unreachable_, health.unreachable);
  // Whoever can read this is not lost, whatever the hub's node makes of it.
  for (auto& own : config_.node.all_addresses()) std::erase(unreachable_, own);
  auto among = [](const std::vector<IpAddress>& list, const IpAddress& a) { return std::find(list.begin(), list.end(), a) != list.end(); };
  for (auto& agent : unreachable_) {
    if (!among(before, agent)) set_reachable(agent, false);
  }
  for (auto& agent : before) {
    if (!among(unreachable_, agent)) set_reachable(agent, true);
  }
}

void Cluster::set_reachable(const IpAddress& agent, bool reachable) {
  VipDelta delta = vips_.set_reachable(agent, reachable);
  // Until a source has said what there is, the kernel may hold what is newer than what was kept. The first snapshot has this in it.
  if (restored_ || !state_.synced()) return;
  if (!delta.empty()) hooks_.changed({}, std::move(delta), reachable ? "agent_reachable" : "agent_unreachable", clock_.now());
}

std::vector<std::string> Cluster::warnings() const {
  std::vector<std::string> out;
  if (restored_) {
    auto age = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - *restored_);
    out.push_back(fmt::format("state from disk, saved {} s ago, until the source is back", std::max<int64_t>(age.count(), 0)));
  } else if (!state_problem_.empty() && !state_.synced()) {
    out.push_back(state_problem_);
  }
  if (size_t held = state_.held_agents().size())
    out.push_back(fmt::format("agents that the leader does not know yet: {}; their tasks are served as before the restart or the change of "
                              "leader until they are back", held));
  if (keeper_ && !keeper_->error().empty()) out.push_back("the state is not kept on disk: " + keeper_->error());
  if (hub_ && hub_->status().connected && !hub_->health().connected)
    out.push_back(fmt::format("hub {} has been without its own source for {} s", hub_->status().endpoint, hub_->health().lost_ms / 1000));
  return out;
}

void Cluster::arm_timer() {
  auto at = state_.next_deadline();
  if (!at) {
    timer_.cancel();
    return;
  }
  timer_.expires_after(std::max<std::chrono::nanoseconds>(*at - clock_.now(), std::chrono::milliseconds(1)));
  timer_.async_wait([this](boost::system::error_code ec) {
    if (ec) return;
    Instant now = clock_.now();
    StateDelta change = state_.expire(now);
    VipDelta delta = vips_.apply(change);
    if (keeper_ && !change.empty()) keeper_->changed();
    if (!delta.empty() || !change.empty()) {
      log::info("held_agents_given_up", {{"changed", delta.upsert.size()}, {"removed", delta.remove.size()}});
      hooks_.changed(change, std::move(delta), "expired", now);
    }
    arm_timer();
  });
}

std::vector<VipProblem> Cluster::problems(size_t limit, size_t& total) const {
  auto all = vips_.problems();
  for (auto& [key, p] : decode_problems_) all.push_back(p);
  total = all.size();
  if (all.size() > limit) all.resize(limit);
  return all;
}

}  // namespace ls
