#pragma once
/// What the API shows of the cluster's own machinery: the hub that a master serves, the hub that a node follows, agents that cannot be reached,
/// the masters that ZooKeeper names, and whose turn at the store it is.
/// Thread: plain values. Durations are seconds on the monotonic clock; counts begin with the process. What of it stands in lists is bounded by
/// whoever fills it (kShownAgents).
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace ls::api {

/// Agents that are named; all are counted.
inline constexpr size_t kShownAgents = 20;

/// The hub that this master serves (hub/server.h).
struct HubView {
  std::string run;                  ///< a new one with each start of the daemon
  uint64_t seq = 0;                 ///< number of the newest change
  std::vector<std::string> listen;  ///< addresses that are bound
  bool tls = false, token = false, client_certificates = false;  ///< what followers need
  uint64_t followers = 0, max_followers = 0;
  uint64_t connects = 0, resumed = 0, snapshots = 0;     ///< streams; of these, those that went on; snapshots sent
  uint64_t dropped_behind = 0, refused = 0, failed = 0;  ///< given a new snapshot; not let in; ended by an error
  uint64_t history_bytes = 0, history_limit = 0, history_changes = 0;
  uint64_t snapshot_bytes = 0, snapshots_made = 0, sent_bytes = 0;
};

/// The hub that this node follows (sources/hub.h). Where it is and since when, SourceView says.
struct FollowView {
  std::string run;
  uint64_t seq = 0;     ///< of the last change that was applied
  uint64_t behind = 0;  ///< changes that the hub spoke of and that are not applied
  std::optional<double> clock_error_s;  ///< by how much an age may be wrong; nullopt: the clocks were not compared yet
  uint64_t masters = 0, place = 0;      ///< how many there are; place of this one in the node's order, 0 is the preferred one
  uint64_t connects = 0, reconnects = 0, failures = 0, snapshots = 0, resumed = 0, moves = 0, faults = 0;
  uint64_t bytes = 0;
  bool fed = false;        ///< the hub's own source is connected
  double starved_s = 0;    ///< how long it has not been
  std::string leader;      ///< Mesos master that leads, as the hub says
};

/// Machines of the cluster as a master finds them, or as a node is told.
struct AgentsView {
  std::optional<uint64_t> watched;     ///< nullopt: this node looks at none and is told
  uint64_t unreachable = 0;
  std::vector<std::string> addresses;  ///< the first kShownAgents of those
  bool isolated = false;               ///< more than half are silent: this master is likely cut off itself, so none counts as lost
};

/// The masters that ZooKeeper names, and how that goes.
struct MastersView {
  bool connected = false;
  std::string server;                ///< of the ensemble; empty: none
  std::string last_error;
  std::vector<std::string> masters;  ///< the last list, the leader first
  uint64_t sessions = 0, expired = 0;
  uint64_t losses = 0;   ///< connections that were lost
  double since_s = 0;    ///< how long it has been connected, or not
  double leads_s = 0;    ///< how long the first of `masters` has been the first, as far as this node saw
};

/// Masters that take turns at a store in ZooKeeper, as this one sees it.
struct TurnsView {
  bool leading = false;
  std::string leader;       ///< "10.0.0.1:62080"; empty: nobody is known to lead
  uint64_t term = 0;        ///< of this master's turn; 0: it is not its turn
  std::vector<std::string> candidates;  ///< whoever stands in line, the leader first
  bool connected = false;   ///< with ZooKeeper
  std::string server;       ///< of the ensemble; empty: none
  std::string last_error;
  uint64_t terms = 0;       ///< turns of this master since its start
  uint64_t sessions = 0, expired = 0;
  uint64_t losses = 0;      ///< connections that were lost
  double since_s = 0;       ///< how long it has been connected, or not
  double leads_s = 0;       ///< how long `leader` has been what it is
};

/// One node that follows this master's hub.
struct HubFollowerView {
  std::string node, address;  ///< what it calls itself, at most 128 octets; where it comes from
  uint64_t seq = 0, behind = 0;
  double connected_s = 0;
};

void to_json(nlohmann::json&, const HubView&);
void to_json(nlohmann::json&, const FollowView&);
void to_json(nlohmann::json&, const AgentsView&);
void to_json(nlohmann::json&, const MastersView&);
void to_json(nlohmann::json&, const TurnsView&);
void to_json(nlohmann::json&, const HubFollowerView&);

}  // namespace ls::api
