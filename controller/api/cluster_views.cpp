#include "api/cluster_views.h"

#include <nlohmann/json.hpp>

namespace ls::api {
namespace {

using Json = nlohmann::json;

template <class T>
Json optional(const std::optional<T>& v) {
  return v ? Json(*v) : Json(nullptr);
}

}  // namespace

void to_json(Json& j, const HubView& h) {
  j = {{"run", h.run},
       {"seq", h.seq},
       {"listen", h.listen},
       {"tls", h.tls},
       {"token", h.token},
       {"client_certificates", h.client_certificates},
       {"followers", h.followers},
       {"max_followers", h.max_followers},
       {"connects", h.connects},
       {"resumed", h.resumed},
       {"snapshots", h.snapshots},
       {"dropped_behind", h.dropped_behind},
       {"refused", h.refused},
       {"failed", h.failed},
       {"history", {{"bytes", h.history_bytes}, {"limit", h.history_limit}, {"changes", h.history_changes}}},
       {"snapshot_bytes", h.snapshot_bytes},
       {"snapshots_made", h.snapshots_made},
       {"sent_bytes", h.sent_bytes}};
}

void to_json(Json& j, const FollowView& f) {
  j = {{"run", f.run},
       {"seq", f.seq},
       {"behind", f.behind},
       {"clock_error_s", optional(f.clock_error_s)},
       {"masters", f.masters},
       {"place", f.place},
       {"connects", f.connects},
       {"reconnects", f.reconnects},
       {"failures", f.failures},
       {"snapshots", f.snapshots},
       {"resumed", f.resumed},
       {"moves", f.moves},
       {"faults", f.faults},
       {"bytes", f.bytes},
       {"fed", f.fed},
       {"starved_s", f.starved_s},
       {"leader", f.leader}};
}

void to_json(Json& j, const AgentsView& a) {
  j = {{"watched", optional(a.watched)}, {"unreachable", a.unreachable}, {"addresses", a.addresses}, {"isolated", a.isolated}};
}

void to_json(Json& j, const MastersView& m) {
  j = {{"connected", m.connected}, {"since_s", m.since_s},   {"server", m.server},   {"last_error", m.last_error}, {"masters", m.masters},
       {"leads_s", m.leads_s},     {"sessions", m.sessions}, {"expired", m.expired}, {"losses", m.losses}};
}

void to_json(Json& j, const TurnsView& t) {
  j = {{"leading", t.leading},     {"leader", t.leader},     {"leads_s", t.leads_s}, {"term", t.term},
       {"candidates", t.candidates}, {"connected", t.connected}, {"since_s", t.since_s}, {"server", t.server},
       {"terms", t.terms},         {"sessions", t.sessions}, {"expired", t.expired}, {"losses", t.losses},
       {"last_error", t.last_error}};
}

void to_json(Json& j, const HubFollowerView& f) {
  j = {{"node", f.node}, {"address", f.address}, {"seq", f.seq}, {"behind", f.behind}, {"connected_s", f.connected_s}};
}

}  // namespace ls::api
