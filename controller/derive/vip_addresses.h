#pragma once
/// Addresses of named VIPs of one family: a pure function of the set of names and of the set of avoided addresses.
///
/// Rule: every name has a start address (vip_hash.h). Names are ranked by (length, bytes). Each name, best rank first, takes the first free
/// address from its start on, wrapping from the end of the range to its beginning; avoided addresses are never free. So any
/// order and history of insertions and removals give the same table on every node, and a name without collision has
/// its start address, as in the system this one replaces.
///
/// Threading: one thread. Cost of a change: O(length of the run of taken addresses it falls into), one in the
/// collision-free case; a full range costs O(range). Errors: names that find no address have none; the others are not affected.
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "derive/vip_hash.h"
#include "util/address.h"

namespace ls {

Address128 to_number(const IpAddress& address);
IpAddress to_address(Address128 number);

/// true if `a` ranks before `b`.
struct NameRank {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  }
};

class VipAddresses {
 public:
  /// `min` and `max` are inclusive and of one family; which one decides the hash. min <= max.
  VipAddresses(const IpAddress& min, const IpAddress& max);

  /// Each returns the names whose address changed (appeared, moved, went), in rank order.
  std::vector<std::string> insert(const std::string& name);
  std::vector<std::string> erase(const std::string& name);
  /// Keeps `address` from being given out. Both are without effect outside the range.
  std::vector<std::string> avoid(const IpAddress& address);
  std::vector<std::string> release(const IpAddress& address);

  std::optional<IpAddress> find(std::string_view name) const;
  /// Names without an address, in rank order.
  std::vector<std::string> unplaced() const { return {unplaced_.begin(), unplaced_.end()}; }
  size_t size() const { return names_.size(); }
  const IpAddress& min() const { return min_; }
  const IpAddress& max() const { return max_; }
  uint64_t probes() const { return probes_; }  ///< cells looked at since the start; for tests of the cost

 private:
  struct Place {
    Address128 home;
    std::optional<Address128> at;
  };
  struct CellHash {
    size_t operator()(Address128 n) const {
      return size_t(n ^ (n >> 64)) * 0x9e3779b97f4a7c15ull;
    }
  };
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  using Names = std::unordered_map<std::string, Place, NameHash, std::equal_to<>>;
  using Node = Names::value_type;
  using Moved = std::set<std::string, NameRank>;

  Address128 start(std::string_view name) const;
  Address128 after(Address128 cell) const { return cell == last_ ? 0 : cell + 1; }
  Address128 distance(Address128 from, Address128 to) const { return to >= from ? to - from : last_ - from + to + 1; }
  std::optional<Address128> cell_of(const IpAddress& address) const;
  void place(Node* name, Address128 from, Moved& moved);
  void fill(Address128 hole, Moved& moved);

  IpAddress min_, max_;
  Address128 base_;
  Address128 last_;  ///< number of the last cell; cells are 0..last_
  Names names_;
  std::unordered_map<Address128, Node*, CellHash> cells_;  ///< null: avoided
  std::set<std::string, NameRank> unplaced_;
  uint64_t probes_ = 0;
};

}  // namespace ls
