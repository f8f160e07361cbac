#pragma once
/// Pools: which blocks or addresses are free, lowest first.
///
/// A place is free, used, or held (given back, not yet to be given to somebody else). How long it is held is the allocator's business,
/// because that has to survive a restart.
///
/// Thread: one (the owner's). Cost: lowest free in constant time, everything else logarithmic in the number of runs of places that are
/// not free; memory follows that number, not the size of the pool. Errors: a place that is not what a call needs changes nothing and
/// gives false. Source of the rules: spec/overlay-modules.md 4.2 to 4.7.
#include <map>
#include <optional>
#include <set>

#include "overlay/model.h"
#include "overlay/number.h"

namespace ls::overlay {

/// Places 0 to size - 1.
class PlacePool {
 public:
  explicit PlacePool(Number size) : size_(size) {}

  Number size() const { return size_; }
  Number used() const { return taken_count_ - held_.size(); }
  Number held() const { return held_.size(); }
  Number free() const { return size_ - taken_count_; }

  std::optional<Number> lowest_free() const;
  bool is_free(Number place) const { return place < size_ && !taken(place); }
  bool is_held(Number place) const { return held_.contains(place); }

  bool take(Number place);     ///< free -> used
  bool hold(Number place);     ///< used -> held
  bool resume(Number place);   ///< held -> used
  bool release(Number place);  ///< used or held -> free

 private:
  bool taken(Number place) const;

  Number size_, taken_count_ = 0;
  std::map<Number, Number> taken_;  ///< runs of places that are not free: first -> last; two runs never touch
  std::set<Number> held_;
};

/// The blocks of one pool, all of its share's length; the first and the last count too.
class BlockPool : public PlacePool {
 public:
  explicit BlockPool(const Pool&);
  const Pool& pool() const { return pool_; }
  IpNetwork block(Number place) const;
  /// nullopt: not a block of this pool (outside, another length).
  std::optional<Number> place(const IpNetwork& block) const;

 private:
  Pool pool_;
  unsigned shift_;  ///< bits behind a block's prefix
};

/// The addresses of a network strictly between its first and its last.
class AddressPool : public PlacePool {
 public:
  explicit AddressPool(const IpNetwork&);
  const IpNetwork& network() const { return network_; }
  /// With the network's prefix length, as it is put on a device.
  InterfaceAddress address(Number place) const;
  std::optional<Number> place(const InterfaceAddress&) const;

 private:
  IpNetwork network_;
};

}  // namespace ls::overlay
