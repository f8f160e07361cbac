#include "app/cluster_status.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "app/cluster.h"
#include "app/hub_feed.h"

namespace ls {
namespace {

using std::chrono::duration;

double age(Instant now, Instant since) { return since == Instant{} ? 0 : std::max(0.0, duration<double>(now - since).count()); }

template <class List>
void show_agents(api::AgentsView& v, const List& lost) {
  v.unreachable = lost.size();
  for (auto& a : lost) {
    if (v.addresses.size() == api::kShownAgents) break;
    v.addresses.push_back(a.text());
  }
}

api::MastersView masters_view(const ZkMastersStatus& z, Instant now) {
  api::MastersView v;
  v.connected = z.connected;
  v.since_s = age(now, z.since);
  v.server = z.server;
  v.last_error = z.last_error;
  for (auto& m : z.masters) v.masters.push_back(m.text());
  v.leads_s = age(now, z.leads_since);
  v.sessions = z.sessions;
  v.expired = z.expired;
  v.losses = z.connects - std::min<uint64_t>(z.connects, z.connected);
  return v;
}

api::FollowView follow_view(const HubSource& source) {
  auto s = source.status();
  auto h = source.hub_status();
  auto& health = source.health();
  api::FollowView v;
  v.run = source.run();
  v.seq = h.at.run == source.run() ? h.at.seq : 0;  // a snapshot of another run is not applied yet
  v.behind = h.told > v.seq ? h.told - v.seq : 0;
  if (auto error = source.clock_error(); source.age_of(0)) v.clock_error_s = duration<double>(error).count();
  v.masters = h.masters;
  v.place = h.place;
  v.connects = s.connects;
  v.reconnects = s.reconnects;
  v.failures = s.failures;
  v.snapshots = h.snapshots;
  v.resumed = h.resumed;
  v.moves = h.moves;
  v.faults = h.faults;
  v.bytes = s.bytes;
  v.fed = health.connected;
  v.starved_s = double(health.lost_ms) / 1000;
  v.leader = health.leader;
  return v;
}

api::HubView hub_view(const hub::Server& server, const hub::ServerStatus& s, const Config::HubServer& config) {
  api::HubView v;
  v.run = s.run;
  v.seq = s.seq;
  for (auto& e : server.bound()) v.listen.push_back(e.text());
  v.tls = !config.cert_file.empty();
  v.token = !config.token_file.empty();
  v.client_certificates = !config.client_ca_file.empty();
  v.followers = s.followers;
  v.max_followers = config.max_followers;
  v.connects = s.connects;
  v.resumed = s.resumed;
  v.snapshots = s.snapshots;
  v.dropped_behind = s.dropped_behind;
  v.refused = s.refused;
  v.failed = s.failed;
  v.history_bytes = s.history_bytes;
  v.history_limit = config.history.bytes;
  v.history_changes = s.history_changes;
  v.snapshot_bytes = s.snapshot_bytes;
  v.snapshots_made = s.snapshots_made;
  v.sent_bytes = s.sent_bytes;
  return v;
}

void describe_source(api::StatusView& v, const Cluster& cluster, Instant now) {
  if (auto kept = cluster.restored()) v.source.kept_s = std::max(0.0, duration<double>(std::chrono::system_clock::now() - *kept).count());
  if (auto z = cluster.zookeeper()) {
    v.source.zookeeper = masters_view(*z, now);
    if (!z->connected)
      v.warnings.push_back("ZooKeeper (mesos.zk) does not answer: a new leader of Mesos is only found among the masters that are known" + (z->last_error.empty() ? "" : ": " + z->last_error));
    else if (z->masters.empty())
      v.warnings.push_back("ZooKeeper (mesos.zk) names no master of Mesos" + (z->last_error.empty() ? "" : ": " + z->last_error));
  }
  auto* source = cluster.hub();
  if (!source) return;
  v.source.hub = follow_view(*source);
  if (!v.source.connected)
    v.warnings.push_back(fmt::format("no hub of {} is followed since {}{}", v.source.hub->masters == 1 ? "the one master" : fmt::format("{} masters", v.source.hub->masters),
                                     api::duration_text(v.source.since_s), v.source.last_error.empty() ? "" : ": " + v.source.last_error));
  v.agents.emplace();
  show_agents(*v.agents, source->health().unreachable);
}

void describe_hub(api::StatusView& v, const Config& config, const HubFeed& hub) {
  if (auto* server = hub.server()) {
    auto s = server->status();
    v.hub = hub_view(*server, s, config.hub_server);
    v.warnings.insert(v.warnings.end(), s.warnings.begin(), s.warnings.end());
  }
  auto* watch = hub.watch();
  if (!watch) return;
  auto& a = v.agents.emplace();
  a.watched = watch->watched();
  a.isolated = watch->isolated();
  show_agents(a, watch->unreachable());
  if (a.isolated)
    v.warnings.push_back("more than half of all agents do not answer: this master is likely cut off, so none of them is taken out of rotation");
  if (a.unreachable)
    v.warnings.push_back(fmt::format("agents that cannot be reached: {} of {}; their backends are left out while others are there: {}{}", a.unreachable, *a.watched,
                                     fmt::join(a.addresses, ", "), a.unreachable > a.addresses.size() ? ", ..." : ""));
}

}  // namespace

void describe_cluster(api::StatusView& view, const Config& config, const Cluster* cluster, const HubFeed& hub, Instant now) {
  if (cluster) describe_source(view, *cluster, now);
  describe_hub(view, config, hub);
}

}  // namespace ls
