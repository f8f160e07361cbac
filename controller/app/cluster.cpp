#include "app/cluster.h"

#include <malloc.h>

#include "app/zookeeper_url.h"
#include "sources/mesos.h"
#include "sources/replay.h"
#include "util/log.h"

namespace ls {
namespace {

constexpr size_t kMaxDecodeProblems = 1000;

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
  if (config_.source.kind == SourceKind::kMesos) {
    LS_ASSIGN(source_, make_mesos_source(io_, mesos_config(config_.mesos), *this));
    LS_TRY(find_masters());
  } else {
    ReplayConfig replay;
    replay.file = config_.replay.file;
    replay.speed = config_.replay.speed;
    LS_ASSIGN(source_, make_replay_source(io_, replay, *this));
  }
  source_->start();
  return {};
}

Result<> Cluster::find_masters() {
  auto& m = config_.mesos;
  if (m.zk.empty()) return {};
  ZkMastersOptions options;
  LS_ASSIGN(options.session.url, zookeeper_url(m.zk, m.zk_login_file, "mesos.zk_login_file"));
  options.session.session = m.zk_session;
  zk_masters_ = std::make_unique<ZkMasters>(io_, std::move(options), [this](const std::vector<MasterAddress>& masters) {
    source_->set_masters(masters);
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
}

void Cluster::on_connected(const SourceInfo& info) {
  leader_changed_ = info.leader == LeaderChange::kChanged || info.leader == LeaderChange::kUnknown;
  log::info("source_connected", {{"endpoint", info.endpoint}, {"leader", info.leader_id}, {"leader_changed", leader_changed_}});
  hooks_.connected();
  if (config_.source.kind == SourceKind::kMesos) hooks_.leader(info.endpoint);
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
    hooks_.leader(subscribed->leader);
  record = {};  // a snapshot's text is not needed while it is applied
  bool snapshot = std::holds_alternative<Subscribed>(decoded->event);
  apply(std::move(decoded->event), {.leader_changed = leader_changed_}, kind, received);
  if (!snapshot) return;
  decoded = fail("taken");  // what is left of the event
  malloc_trim(0);  // a snapshot takes several times what it leaves
}

void Cluster::apply(Event&& event, SnapshotContext context, std::string_view kind, Instant received) {
  bool snapshot = std::holds_alternative<Subscribed>(event);
  bool first = snapshot && !state_.synced();
  StateDelta change = state_.apply(std::move(event), clock_.now(), context);
  VipDelta delta = vips_.apply(change);
  arm_timer();
  if (snapshot) {
    log::info("snapshot", {{"first", first}, {"tasks", state_.task_count()}, {"services", vips_.service_count()},
                           {"held_agents", state_.held_agents().size()}});
    delta = {};  // a snapshot's followers look at all services
    hooks_.snapshot(change);
  } else if (!delta.empty() || !change.empty()) {
    hooks_.changed(change, std::move(delta), kind, received);
  }
}

void Cluster::set_reachable(const IpAddress& agent, bool reachable) {
  VipDelta delta = vips_.set_reachable(agent, reachable);
  if (!delta.empty()) hooks_.changed({}, std::move(delta), reachable ? "agent_reachable" : "agent_unreachable", clock_.now());
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
