#pragma once
/// Inside of OverlayTables: the pools as programs see them, and where in the maps a network's entry is. Pure. Thread: any.
/// Cost: O(pools) each.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "datapath/abi_convert.h"
#include "loadstar/abi/overlay.h"
#include "overlay/model.h"
#include "util/network.h"
#include "util/result.h"

namespace ls::datapath {

/// One entry of one map.
struct OverlayTarget {
  enum class Map : uint8_t { kBlock, kHash, kNet };
  Map map = Map::kHash;
  uint32_t number = 0;  ///< kBlock: its place; else the prefix length of the 128 bits
  IpAddress address;    ///< kHash, kNet
  auto operator<=>(const OverlayTarget&) const = default;

  ls_ovl_key hash_key() const {
    ls_ovl_key k{};
    put_address(k.addr_be, address);
    k.prefix = number;
    return k;
  }
  ls_ovl_net_key net_key() const {
    ls_ovl_net_key k{};
    put_address(k.addr_be, address);
    k.prefix = number;
    return k;
  }
  static OverlayTarget block(uint32_t place) { return {Map::kBlock, place, {}}; }
  static OverlayTarget exact(const IpNetwork& n) { return {Map::kHash, n.prefix, n.address}; }
  static OverlayTarget longest(const IpNetwork& n) { return {Map::kNet, n.prefix, n.address}; }
};

/// A pool that is wanted.
struct OverlayPool {
  IpNetwork network;
  uint8_t share = 0;  ///< of the 128 bits
  bool vtep = false;
  bool v4() const { return network.address.is_v4(); }
  /// How many shares it has; no array has room for 2^32 or more.
  uint64_t blocks() const { return uint64_t(1) << std::min(32, share - network.prefix); }
  /// Which one an address in it is in.
  uint32_t block_of(const IpAddress& address) const;
  /// Network of a share.
  IpNetwork block(uint32_t number) const;
  auto operator<=>(const OverlayPool&) const = default;
};

/// Pools of a plan: VTEP pools, then overlays. Error: names the pool.
Result<std::vector<OverlayPool>> pools_of(const overlay::Plan& plan);

/// What programs see of it, without a place in the array.
ls_ovl_pool pool_entry(const OverlayPool& pool);

/// A pool in its place.
struct OverlayPoolSlot {
  OverlayPool pool;
  uint32_t number = 0;  ///< in conf.pool4 or conf.pool6
  bool array = false;   ///< blocks are in ls_ovl_block, from `first` on
  uint32_t first = 0;
};
/// Those in use. Entries that say nothing sensible are left out: whoever adopts the maps clears them.
std::vector<OverlayPoolSlot> slots_of(const ls_ovl_conf& conf);

/// Where a network's entry is, and in which pool; nullopt: in no pool, and no single address.
struct OverlayPlace {
  OverlayTarget target;
  const OverlayPoolSlot* slot = nullptr;  ///< null: a single address outside of all pools
};
std::optional<OverlayPlace> place_of(std::span<const OverlayPoolSlot> slots, const IpNetwork& network);
/// The network that a target stands for; nullopt for a block of no pool.
std::optional<IpNetwork> network_of(std::span<const OverlayPoolSlot> slots, const OverlayTarget& target);

/// First place of `blocks` entries in a row that no pool uses; nullopt: there is none.
std::optional<uint32_t> find_room(std::span<const OverlayPoolSlot> slots, uint64_t blocks, uint32_t size);

}  // namespace ls::datapath
