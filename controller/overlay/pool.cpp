#include "overlay/pool.h"

namespace ls::overlay {
namespace {

Number blocks_in(const Pool& p) { return Number(1) << (long_prefix(p.network.address, p.share) - p.network.prefix); }

/// Without the first and the last; a network of one or two addresses has none.
Number addresses_in(const IpNetwork& n) { return n.prefix > 126 ? 0 : n.prefix == 0 ? ~Number(0) - 1 : (Number(1) << (128 - n.prefix)) - 2; }

}  // namespace

bool PlacePool::taken(Number place) const {
  auto after = taken_.upper_bound(place);
  return after != taken_.begin() && std::prev(after)->second >= place;
}

std::optional<Number> PlacePool::lowest_free() const {
  if (taken_count_ == size_) return std::nullopt;
  // Runs do not touch, so behind a first run that starts at 0 there is a free place.
  if (taken_.empty() || taken_.begin()->first != 0) return Number(0);
  return taken_.begin()->second + 1;
}

bool PlacePool::take(Number place) {
  if (!is_free(place)) return false;
  auto after = taken_.upper_bound(place);
  bool joins_after = after != taken_.end() && after->first == place + 1;
  auto before = after == taken_.begin() ? taken_.end() : std::prev(after);
  bool joins_before = before != taken_.end() && before->second + 1 == place;
  Number last = joins_after ? after->second : place;
  if (joins_after) taken_.erase(after);
  if (joins_before) {
    before->second = last;
  } else {
    taken_.emplace(place, last);
  }
  taken_count_++;
  return true;
}

bool PlacePool::hold(Number place) { return place < size_ && taken(place) && held_.insert(place).second; }

bool PlacePool::resume(Number place) { return held_.erase(place) == 1; }

bool PlacePool::release(Number place) {
  auto run = taken_.upper_bound(place);
  if (run == taken_.begin()) return false;
  --run;
  auto [first, last] = *run;
  if (last < place) return false;
  if (first == place) {
    taken_.erase(run);
  } else {
    run->second = place - 1;
  }
  if (place < last) taken_.emplace(place + 1, last);
  held_.erase(place);
  taken_count_--;
  return true;
}

BlockPool::BlockPool(const Pool& p) : PlacePool(blocks_in(p)), pool_(p), shift_(128 - long_prefix(p.network.address, p.share)) {}

IpNetwork BlockPool::block(Number place) const {
  return {address_of(number_of(pool_.network.address) + (place << shift_)), uint8_t(128 - shift_)};
}

std::optional<Number> BlockPool::place(const IpNetwork& block) const {
  if (block.prefix != 128 - shift_ || !pool_.network.contains(block.address)) return std::nullopt;
  return (number_of(block.address) - number_of(pool_.network.address)) >> shift_;
}

AddressPool::AddressPool(const IpNetwork& n) : PlacePool(addresses_in(n)), network_(n) {}

InterfaceAddress AddressPool::address(Number place) const {
  return {address_of(number_of(network_.address) + 1 + place), uint8_t(own_prefix(network_))};
}

std::optional<Number> AddressPool::place(const InterfaceAddress& a) const {
  if (a.prefix != own_prefix(network_) || !network_.contains(a.address)) return std::nullopt;
  // The network's own address gives the largest number there is, which is no place either.
  Number place = number_of(a.address) - number_of(network_.address) - 1;
  if (place >= size()) return std::nullopt;
  return place;
}

}  // namespace ls::overlay
