#pragma once
/// Cluster: from the records of a source to changes of the VIP table: decode, apply to ClusterState, derive.
///
/// What was known last is kept on the disk (state_file.h). start() gives it to hooks.snapshot before there is a source; restored() tells
/// until the first real snapshot. That one is a hub's, which replaces everything, or of Mesos: then it is treated as of a new leader, which
/// may not know its agents yet, unless it is of the very leader that the kept state came from.
///
/// Thread: control loop. Cost: a record costs what it changes. What it may not do: touch the kernel.
/// Errors: a record that is no JSON is logged, counted, and the rest of the stream goes on; unreadable parts of one are left out and
/// shown as problems. What a hub sends is taken whole or not at all (sources/hub.h).
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "app/settings.h"
#include "app/state_file.h"
#include "derive/vips.h"
#include "sources/hub.h"
#include "sources/mesos_json.h"
#include "sources/source.h"
#include "sources/zk_masters.h"
#include "state/cluster_state.h"

namespace ls {

class Cluster final : public SourceSink, public HubSink {
 public:
  struct Hooks {
    std::function<void()> connected;
    /// Who leads, "10.0.0.1:5050"; may be told again.
    std::function<void(const std::string& leader)> leader;
    /// All masters that are known besides those of the configuration, the leader first.
    std::function<void(const std::vector<MasterAddress>& masters)> masters;
    /// A snapshot has been applied: the whole table is to be compared with the kernel. While restored() it is only what was kept.
    std::function<void(const StateDelta&)> snapshot;
    /// One change; either of the two may be empty, not both. `kind` is a word for the convergence metric ("task_updated"),
    /// `received` when its record came; of kind "hub" when it came to the master whose hub told it, by our clock.
    std::function<void(const StateDelta&, VipDelta&&, std::string_view kind, Instant received)> changed;
  };

  Cluster(boost::asio::io_context& io, const Config& config, const Clock& clock, Hooks hooks);

  Result<> start();
  void stop();

  /// What is known from elsewhere of an agent (app/agent_watch.h): told as a change, or with the first snapshot of a source.
  void set_reachable(const IpAddress& agent, bool reachable);

  const ClusterState& state() const { return state_; }
  const VipDeriver& vips() const { return vips_; }
  SourceStatus source() const { return source_ ? source_->status() : SourceStatus{}; }
  /// As others may rely on it: connected once a whole state came by this connection; else `since` is when the newest record was taken over.
  SourceStatus fed() const;
  /// The follower of a hub; null when the source is another one.
  const HubSource* hub() const { return hub_; }
  /// When what is served was kept, as long as it is from the disk.
  std::optional<std::chrono::system_clock::time_point> restored() const { return restored_; }
  static std::filesystem::path state_file(const Config& config);
  /// About the source and what is kept, for people.
  std::vector<std::string> warnings() const;
  /// How the masters are found; nullopt: by the configuration only.
  std::optional<ZkMastersStatus> zookeeper() const;
  /// Problems of labels and of records; the first ones, and how many there are.
  std::vector<VipProblem> problems(size_t limit, size_t& total) const;
  const std::map<std::string, uint64_t>& events() const { return events_; }
  /// The master of this connection is not the one of the connection before, or it is not known whether it is.
  bool leader_changed() const { return leader_changed_; }

  void on_connected(const SourceInfo& info) override;
  void on_record(PaddedRecord record) override;
  void on_disconnected(const Error& why) override;
  void on_end_of_recording() override;
  void on_snapshot(hub::Image image) override;
  void on_changes(hub::Changes changes) override;
  void on_health(const hub::SourceHealth& health) override;

 private:
  /// Ours of two things that sources tell: who leads, and who the masters are.
  void set_leader(const std::string& leader);
  void set_masters(const std::vector<std::string>& masters);
  Result<> make_source();
  void restore();
  SavedState to_save() const;
  void apply(Event&& event, SnapshotContext context, std::string_view kind, Instant received);
  void applied_snapshot(const StateDelta& change, bool first);
  void applied(const StateDelta& change, std::string_view kind, Instant received);
  void arm_timer();
  Result<> find_masters();

  boost::asio::io_context& io_;
  const Config& config_;
  const Clock& clock_;
  Hooks hooks_;
  RecordDecoder decoder_;
  ClusterState state_;
  VipDeriver vips_;
  std::unique_ptr<Source> source_;
  HubSource* hub_ = nullptr;  ///< source_, when it is one
  std::unique_ptr<ZkMasters> zk_masters_;
  boost::asio::steady_timer timer_;
  bool leader_changed_ = false;
  std::string leader_;
  std::vector<std::string> masters_;
  SourceInfo connection_;                   ///< of Mesos, the newest
  bool whole_ = false;                      ///< a snapshot came by the connection that stands or stood last
  std::optional<Instant> taken_;            ///< when the newest record came that belongs to a whole state
  std::vector<std::string> hosts_;          ///< whom this node asks: what its cluster is known by
  std::vector<IpAddress> unreachable_;      ///< agents, by the hub
  std::optional<std::chrono::system_clock::time_point> restored_;
  SourceInfo state_from_;                   ///< the leader whose state this is: of `connection_`, once its snapshot was there
  std::string state_problem_;               ///< why what was kept was not taken
  std::unique_ptr<StateKeeper> keeper_;     ///< null: nothing is kept
  std::map<std::string, uint64_t> events_;
  std::map<std::string, VipProblem> decode_problems_;  ///< by item and field, so that a repeated one counts once
};

}  // namespace ls
