#pragma once
/// OverlayTables: owner of the maps that say whose an overlay address is (include/loadstar/abi/overlay.h), kept equal to the plan and
/// the allocations of all nodes.
///
///   LS_ASSIGN(auto maps, OverlayMaps::open(opener));
///   LS_ASSIGN(auto tables, OverlayTables::adopt(std::move(maps), wait_readers));
///   LS_TRY(tables.configure(self, plan));                    // pools; at start and when the plan or the own device changed
///   LS_TRY(tables.sync(all));                                // everything, at start and after configure()
///   tables.put(allocation); tables.remove(node);             // then by delta
///
/// Thread: control loop only; programs read meanwhile. Cost: put() and remove() O(shares of the node): a store for a block, a system
/// call for a node's own address, a block of a pool that has no room in the array and a share of unusual length; nothing grows with the
/// number of nodes. adopt() and check() read everything. configure() waits for a grace period (8 to 20 ms) when a pool goes or
/// changes, not when one is added.
/// An entry is one word and holds everything that programs need of its node, so no order between entries matters and none is ever seen
/// half. A program that read an entry just before it changed sends that one packet to the old owner, which drops it.
/// Errors: the map and errno; E2BIG when a table is full. What was written before an error stays and is known, so that a later put() or
/// sync() goes on from there.
/// Two nodes that claim one block: the last put() has it, and removing the other leaves it alone; view().conflicts counts.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bpf/mmap_array.h"
#include "loadstar/abi/overlay.h"
#include "overlay/model.h"

namespace ls::datapath {

struct OverlayMaps {
  MmapArray<ls_ovl_conf> conf;
  MmapArray<ls_ovl_owner> blocks;
  Map<ls_ovl_key, ls_ovl_owner> hash;
  Map<ls_ovl_net_key, ls_ovl_owner> nets;
  static Result<OverlayMaps> open(const MapOpener& opener, MapAccess access = MapAccess::kReadWrite);
};

/// Whose an address is, as a program finds it in the maps. nullopt: nobody's.
struct OverlayOwner {
  bool self = false;
  IpAddress node;
  overlay::Mac mac{};
};
/// Thread: any, with maps opened for it alone (kRead). Cost: O(pools) and one or two look-ups.
Result<std::optional<OverlayOwner>> find_owner(const OverlayMaps& maps, const IpAddress& address);

/// This node and its VTEP device.
struct OverlaySelf {
  IpAddress node;  ///< IPv4, the outer source address
  overlay::Mac mac{};
  uint32_t vtep_ifindex = 0;
  uint32_t mtu = 1420;         ///< of inner packets
  /// LS_OVL_PEER: packets go straight into the container, past the egress of its device on the host; load balancing's own still pass
  /// there. False where somebody else has filters or shaping at that place.
  bool redirect_peer = true;
  bool operator==(const OverlaySelf&) const = default;
};

struct OverlaySync {
  size_t changed = 0;  ///< nodes that were written
  size_t removed = 0;
  std::vector<std::string> problems;  ///< shares that lie in no pool, nodes that cannot be, one sentence each
};

struct OverlayTablesView {
  size_t peers = 0;
  size_t entries = 0, blocks = 0;  ///< addresses and shares, all maps together; places in ls_ovl_block
  uint64_t conflicts = 0;
};

class OverlayTables {
 public:
  /// Takes over what the maps hold. Entries that mean nothing are removed. `wait_readers` returns when every
  /// program that was running has ended.
  static Result<OverlayTables> adopt(OverlayMaps maps, void (*wait_readers)());
  OverlayTables(OverlayTables&&) noexcept;
  OverlayTables& operator=(OverlayTables&&) noexcept;
  ~OverlayTables();

  /// Own node and pools; programs act from here on. True: pools, the OUI or the own address changed, so that sync() has to follow. A pool that
  /// has no room in ls_ovl_block is kept in the hash. Error: more pools of a family than LS_OVL_POOLS, or a pool that
  /// is shorter than its shares.
  Result<bool> configure(const OverlaySelf& self, const overlay::Plan& plan);
  /// Programs leave everything to the stack.
  void disable();

  /// New or changed. Nothing is written for what is there already. EINVAL: no IPv4 address, or a MAC without the plan's OUI.
  /// `problems`: as OverlaySync::problems.
  Result<> put(const overlay::Allocation& allocation, std::vector<std::string>* problems = nullptr);
  /// Absent is success.
  Result<> remove(const IpAddress& node);
  /// Exactly these nodes. Those that are missing go last.
  Result<OverlaySync> sync(std::span<const overlay::Allocation> all);
  /// Compares the maps with what was put and repairs them; how many entries were wrong.
  Result<size_t> check();

  Result<std::optional<OverlayOwner>> find(const IpAddress& address) const;
  OverlayTablesView view() const;
  /// All entries that name other nodes' shares, as (share, node, MAC): what `overlay ls` shows of the kernel's side.
  struct Entry {
    IpNetwork network;
    IpAddress node;
    overlay::Mac mac{};
  };
  std::vector<Entry> remote_shares() const;

 private:
  struct Impl;
  explicit OverlayTables(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::datapath
