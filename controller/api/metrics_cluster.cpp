#include "api/metrics_cluster.h"

namespace ls::api {
namespace {

void one(Families& out, const char* name, const char* help, double value) {
  gauge(out, name, help, [&](Family& f) { f.add(value); });
}
void total(Families& out, const char* name, const char* help, uint64_t value) {
  counter(out, name, help, [&](Family& f) { f.add(double(value)); });
}

void masters(Families& out, const MastersView& z) {
  one(out, "loadstar_masters_zookeeper_connected", "1 while ZooKeeper says who the masters are.", z.connected);
  one(out, "loadstar_masters_known", "Masters in the last list of ZooKeeper.", double(z.masters.size()));
  total(out, "loadstar_masters_zookeeper_sessions_total", "Sessions with ZooKeeper, to know the masters.", z.sessions);
  total(out, "loadstar_masters_zookeeper_expired_total", "Of these, those that expired.", z.expired);
  total(out, "loadstar_masters_zookeeper_losses_total", "Connections of those sessions that were lost.", z.losses);
}

void turns(Families& out, const TurnsView& t) {
  one(out, "loadstar_zookeeper_connected", "1 while this master has a session with the store's ZooKeeper and a server answers.", t.connected);
  one(out, "loadstar_leader", "1 while this master leads: it alone registers names and gives addresses out.", t.leading);
  one(out, "loadstar_leader_known", "1 while a master is known to lead.", !t.leader.empty());
  one(out, "loadstar_term", "Number of this master's turn; 0 while another leads.", double(t.term));
  one(out, "loadstar_candidates", "Masters that stand in line to lead, the leader among them.", double(t.candidates.size()));
  total(out, "loadstar_terms_total", "Turns of this master.", t.terms);
  total(out, "loadstar_zookeeper_sessions_total", "Sessions with the store's ZooKeeper.", t.sessions);
  total(out, "loadstar_zookeeper_expired_total", "Of these, those that expired.", t.expired);
  total(out, "loadstar_zookeeper_losses_total", "Connections of those sessions that were lost.", t.losses);
}

void hub(Families& out, const HubView& h) {
  one(out, "loadstar_hub_listening", "Addresses at which the hub of this master can be reached.", double(h.listen.size()));
  one(out, "loadstar_hub_followers", "Nodes that follow this master's hub.", double(h.followers));
  one(out, "loadstar_hub_followers_max", "Of these, the most that are let in.", double(h.max_followers));
  one(out, "loadstar_hub_seq", "Number of the newest change; begins anew with the daemon.", double(h.seq));
  total(out, "loadstar_hub_streams_total", "Streams that followers began.", h.connects);
  total(out, "loadstar_hub_resumed_total", "Of these, those that went on where the follower was.", h.resumed);
  total(out, "loadstar_hub_snapshots_sent_total", "Snapshots sent to followers.", h.snapshots);
  total(out, "loadstar_hub_snapshots_made_total", "Snapshots made; one is sent to all that need one at the time.", h.snapshots_made);
  total(out, "loadstar_hub_dropped_behind_total", "Followers that were slower than the history is long and got a new snapshot.", h.dropped_behind);
  total(out, "loadstar_hub_refused_total", "Requests that were refused: no token, no room, not ready.", h.refused);
  total(out, "loadstar_hub_failed_total", "Connections that ended by an error.", h.failed);
  total(out, "loadstar_hub_sent_bytes_total", "Bytes sent to followers.", h.sent_bytes);
  one(out, "loadstar_hub_history_bytes", "Bytes of changes that are kept for followers that come back.", double(h.history_bytes));
  one(out, "loadstar_hub_history_limit_bytes", "Bytes of changes that may be kept.", double(h.history_limit));
  one(out, "loadstar_hub_history_changes", "Changes in the history.", double(h.history_changes));
  one(out, "loadstar_hub_snapshot_bytes", "Size of the newest snapshot.", double(h.snapshot_bytes));
}

void follower(Families& out, const SourceView& s) {
  auto& f = *s.hub;
  one(out, "loadstar_hub_client_connected", "1 while this node follows a master's hub.", s.connected);
  one(out, "loadstar_hub_client_preferred", "1 while that master is the first in this node's order.", s.connected && f.place == 0);
  one(out, "loadstar_hub_client_seq", "Number of the last change that was applied, of the hub's run.", double(f.seq));
  one(out, "loadstar_hub_client_behind", "Changes that the hub spoke of and that are not applied.", double(f.behind));
  one(out, "loadstar_hub_client_hub_fed", "1 while the followed hub has its own source.", s.connected && f.fed);
  if (f.clock_error_s) one(out, "loadstar_hub_client_clock_error_seconds", "By how much a measured convergence may be wrong.", *f.clock_error_s);
  total(out, "loadstar_hub_client_streams_total", "Streams of hubs that stood.", f.connects);
  total(out, "loadstar_hub_client_reconnects_total", "Of these, all but the first.", f.reconnects);
  total(out, "loadstar_hub_client_resumed_total", "Of these, those that went on where this node was.", f.resumed);
  total(out, "loadstar_hub_client_snapshots_total", "Of these, those that began with a snapshot.", f.snapshots);
  total(out, "loadstar_hub_client_moves_total", "Streams left for a better master.", f.moves);
  total(out, "loadstar_hub_client_failures_total", "Streams that ended.", f.failures);
  total(out, "loadstar_hub_client_faults_total", "Streams ended by a record that was no record, or not the next one.", f.faults);
  total(out, "loadstar_hub_client_received_bytes_total", "Bytes of streams.", f.bytes);
}

void agents(Families& out, const AgentsView& a) {
  if (a.watched) one(out, "loadstar_agents_watched", "Machines of Mesos agents that this master looks after.", double(*a.watched));
  one(out, "loadstar_agents_unreachable", "Machines whose backends are left out because they cannot be reached.", double(a.unreachable));
  if (a.watched) one(out, "loadstar_agents_isolated", "1 while more than half of the machines are silent, so that none counts as lost.", a.isolated);
}

}  // namespace

void cluster_families(Families& out, const StatusView& s) {
  if (s.source.zookeeper) masters(out, *s.source.zookeeper);
  one(out, "loadstar_source_from_disk", "1 while what is served is from this node's disk.", s.source.kept_s.has_value());
  if (s.source.hub) follower(out, s.source);
  if (s.turns) turns(out, *s.turns);
  if (s.hub) hub(out, *s.hub);
  if (s.agents) agents(out, *s.agents);
}

}  // namespace ls::api
