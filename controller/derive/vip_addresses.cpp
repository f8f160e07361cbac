#include "derive/vip_addresses.h"

#include <array>

namespace ls {

Address128 to_number(const IpAddress& address) {
  Address128 n = 0;
  for (uint8_t byte : address.bytes()) n = n << 8 | byte;
  return n;
}

IpAddress to_address(Address128 number) {
  std::array<uint8_t, 16> bytes;
  for (int i = 15; i >= 0; i--, number >>= 8) bytes[size_t(i)] = uint8_t(number);
  return IpAddress::from_bytes(bytes.data());
}

VipAddresses::VipAddresses(const IpAddress& min, const IpAddress& max)
    : min_(min), max_(max), base_(to_number(min)), last_(to_number(max) - base_) {}

Address128 VipAddresses::start(std::string_view name) const {
  // Modulo (max - min), not the number of addresses: as the former system did.
  return min_.is_v4() ? start_offset_v4(name, last_) : start_offset_v6(name, last_);
}

std::optional<Address128> VipAddresses::cell_of(const IpAddress& address) const {
  Address128 n = to_number(address);
  if (n < base_ || n - base_ > last_) return std::nullopt;
  return n - base_;
}

/// Looks for a cell for `name` from `from` on. Whoever ranks lower gives way and goes on looking behind.
void VipAddresses::place(Node* name, Address128 from, Moved& moved) {
  Address128 cell = from;
  for (;;) {
    probes_++;
    auto [it, free] = cells_.try_emplace(cell, name);
    if (free) {
      name->second.at = cell;
      moved.insert(name->first);
      return;
    }
    Node* there = it->second;
    if (there && NameRank{}(name->first, there->first)) {
      it->second = name;
      name->second.at = cell;
      there->second.at.reset();
      moved.insert(name->first);
      moved.insert(there->first);
      name = there;
    }
    // Only the last cell before its own start is left: everything has been asked.
    if (after(cell) == name->second.home) {
      unplaced_.insert(name->first);
      return;
    }
    cell = after(cell);
  }
}

/// `hole` became free: the best-ranked of those who would rather have it moves in, and its own cell is the next hole.
void VipAddresses::fill(Address128 hole, Moved& moved) {
  for (;;) {
    Node* best = nullptr;
    // Whoever wants the hole sits behind it with no free cell in between, or has no cell at all.
    for (Address128 cell = after(hole); cell != hole; cell = after(cell)) {
      probes_++;
      auto it = cells_.find(cell);
      if (it == cells_.end()) break;
      Node* name = it->second;
      if (!name || distance(name->second.home, hole) > distance(name->second.home, cell)) continue;
      if (!best || NameRank{}(name->first, best->first)) best = name;
    }
    if (!unplaced_.empty() && (!best || NameRank{}(*unplaced_.begin(), best->first)))
      best = &*names_.find(*unplaced_.begin());
    if (!best) return;
    moved.insert(best->first);
    auto former = best->second.at;
    best->second.at = hole;
    cells_[hole] = best;
    if (!former) {
      unplaced_.erase(best->first);
      return;
    }
    cells_.erase(*former);
    hole = *former;
  }
}

std::vector<std::string> VipAddresses::insert(const std::string& name) {
  auto [it, fresh] = names_.try_emplace(name, Place{start(name), std::nullopt});
  if (!fresh) return {};
  Moved moved;
  place(&*it, it->second.home, moved);
  return {moved.begin(), moved.end()};
}

std::vector<std::string> VipAddresses::erase(const std::string& name) {
  auto it = names_.find(name);
  if (it == names_.end()) return {};
  Moved moved;
  auto at = it->second.at;
  unplaced_.erase(name);
  names_.erase(it);
  if (at) {
    moved.insert(name);
    cells_.erase(*at);
    fill(*at, moved);
  }
  return {moved.begin(), moved.end()};
}

std::vector<std::string> VipAddresses::avoid(const IpAddress& address) {
  auto cell = cell_of(address);
  if (!cell) return {};
  auto [it, free] = cells_.try_emplace(*cell, nullptr);
  if (free || !it->second) return {};
  Moved moved;
  Node* there = it->second;
  it->second = nullptr;
  there->second.at.reset();
  moved.insert(there->first);
  if (after(*cell) == there->second.home) {
    unplaced_.insert(there->first);
  } else {
    place(there, after(*cell), moved);
  }
  return {moved.begin(), moved.end()};
}

std::vector<std::string> VipAddresses::release(const IpAddress& address) {
  auto cell = cell_of(address);
  if (!cell) return {};
  auto it = cells_.find(*cell);
  if (it == cells_.end() || it->second) return {};
  Moved moved;
  cells_.erase(it);
  fill(*cell, moved);
  return {moved.begin(), moved.end()};
}

std::optional<IpAddress> VipAddresses::find(std::string_view name) const {
  auto it = names_.find(name);
  if (it == names_.end() || !it->second.at) return std::nullopt;
  return to_address(base_ + *it->second.at);
}

}  // namespace ls
