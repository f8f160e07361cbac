#pragma once
/// Allocator: who has which addresses of the overlay. One in a cluster gives them out (role master).
///
/// Same node, same allocation, for ever; an operator's delete is the only end. Nothing is ever given to two nodes. Every change is on
/// disk before it is in memory or told to anybody: a change that could not be written has not happened and says so. What an
/// allocation did before a crash is there after it.
///
/// Identity: the node's own IPv4 address, together with the id it chose. A machine that comes with the address of another and another
/// id takes over what the other had, once the other was not heard of for Options::takeover.
///
/// Hold-down: with Options::hold_down, what a removed node had goes to others only after this time without a word from the node. A
/// removal outlives a restart; the time then starts anew. A removed node that registers again gets back what it had.
///
/// Threads: one (the owner's); calls wait for the disk. Cost of a registration: one record written, logarithmic in nodes and blocks; one that
/// changes nothing writes nothing. Numbers: AllocatorCounters. Source: spec/overlay-modules.md 4, 6.6, 7 and 12.
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "overlay/allocation_draft.h"
#include "overlay/overlay_json.h"
#include "overlay/plan_pools.h"
#include "store/store.h"
#include "util/clock.h"

namespace ls::overlay {

inline constexpr size_t kMaxNodeId = 64;
inline constexpr size_t kMaxHeldBlocks = 2 * kMaxOverlays;
inline constexpr size_t kMaxReportError = 1024;  ///< octets kept of what a node says went wrong

struct AllocatorOptions {
  Millis hold_down{0};
  Millis takeover{120'000};
  std::string id{};  ///< random; becomes the identity of a store that has none. Empty: it stays without
};

/// Since the start.
struct AllocatorCounters {
  uint64_t registered = 0, refused = 0;
  uint64_t exhausted = 0, conflicts = 0;  ///< overlays not given, each time it was said
  uint64_t adopted = 0;                   ///< addresses and blocks taken over from what a node held
  uint64_t removed = 0, store_failures = 0;
};

struct Registered {
  Allocation allocation;
  std::vector<std::string> notes;  ///< what the node said that was not followed
};

class Allocator {
 public:
  /// Reads what the store holds, before anything is served. `wanted`: the plan of the configuration; nullopt: the one in the store
  /// stays. A wanted plan that may not replace the stored one is refused (rejected()) and the stored one stays in force.
  /// Errors: EILSEQ and the name of the record that is damaged or contradicts another; ENOENT without any plan; those of the store.
  static Result<std::unique_ptr<Allocator>> open(Store&, const Clock&, std::optional<Plan> wanted, AllocatorOptions = {});

  const std::optional<Refusal>& rejected() const { return rejected_; }

  /// Another plan while running. Refused as at open (pool-changed, oui-changed, pool-overlap, pool-overlaps-vtep), or store-failed.
  std::optional<Refusal> set_plan(const Plan& wanted);

  /// Refused, and nothing has changed: vtep-exhausted, vtep6-exhausted, node-address, id-invalid, holding-too-long, identity,
  /// store-failed.
  tl::expected<Registered, Refusal> register_node(const RegisterRequest&);

  /// What a node says about its overlays; not kept over a restart. Refused: node-unknown, overlay-unknown.
  std::optional<Refusal> report(const IpAddress& node, std::vector<OverlayReport>);

  /// The node lives: its id keeps its allocation, or what it had before its removal stays held.
  void heard(const IpAddress& node, std::string_view id);

  /// An operator's delete. Unknown ones and repetitions are passed over; the number that was removed. An error names the node whose
  /// record could not be changed: those before it are removed, it and those behind it are not.
  Result<size_t> remove_nodes(std::span<const IpAddress>);

  /// Gives free what was held long enough. Called by every other change; call it once a second besides.
  void release_due();

  Plan plan() const { return pools_.plan(); }
  /// Of the records, for as long as they are kept: a node tells by it that another allocator knows nothing of what this one gave.
  const std::string& id() const { return id_; }
  std::vector<PoolUsage> usage() const { return pools_.usage(); }
  size_t size() const { return nodes_.size() - removed_; }  ///< nodes with an allocation
  /// Valid until the next change.
  const NodeState* find(const IpAddress& node) const;
  std::vector<const NodeState*> nodes() const;  ///< sorted by address
  const AllocatorCounters& counters() const { return counters_; }

  enum class Event : uint8_t { kAdded, kChanged, kRemoved };
  using Observer = std::function<void(Event, const Allocation&)>;
  /// Told after each change of what a node has; must not call back. For the state before: nodes().
  void observe(Observer o) { observers_.push_back(std::move(o)); }

 private:
  struct Node {
    NodeState state;
    uint64_t version = 0;  ///< of its record
    bool removed = false;
    Instant heard;
  };

  Allocator(Store& store, const Clock& clock, AllocatorOptions options, PlanPools pools)
      : store_(store), clock_(clock), options_(options), pools_(std::move(pools)) {}
  Result<> recover(const std::vector<StoredRecord>& records);
  void forget_lost_overlays();

  tl::expected<Registered, Refusal> refuse(std::string_view reason, std::string detail);
  std::optional<Refusal> fault_of(const RegisterRequest&, const Node* known) const;
  Result<> save(Node&, const Allocation&, bool removed);
  std::string owner_of(const IpNetwork&) const;
  void tell(Event, const Allocation&);
  static void must(const std::optional<std::string>& fault);

  Store& store_;
  const Clock& clock_;
  AllocatorOptions options_;
  PlanPools pools_;
  uint64_t plan_version_ = 0;
  std::string id_;
  std::optional<Refusal> rejected_;
  std::map<IpAddress, Node> nodes_;
  size_t removed_ = 0;                         ///< of nodes_
  std::multimap<Instant, IpAddress> due_;      ///< when to look at a removed node again
  AllocatorCounters counters_;
  std::vector<Observer> observers_;
};

}  // namespace ls::overlay
