#include "datapath/overlay_targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "util/result.h"

namespace ls::datapath {
namespace {

constexpr uint8_t kV4Bits = 96;  // in front of an IPv4 address in its 16 bytes

IpAddress mask_of(uint8_t prefix) {
  uint8_t bytes[16] = {};
  for (unsigned bit = 0; bit < prefix; bit++) bytes[bit / 8] |= uint8_t(0x80 >> (bit % 8));
  return IpAddress::from_bytes(bytes);
}

/// nullopt unless the bits are ones followed by zeros.
std::optional<uint8_t> prefix_of(const __be32 (&mask)[4]) {
  uint8_t n = 0;
  bool ended = false;
  for (auto word : mask) {
    for (uint32_t bits = ntohl(word), i = 0; i < 32; i++, bits <<= 1) {
      bool one = bits >> 31;
      if (one && ended) return std::nullopt;
      ended = !one;
      n = uint8_t(n + one);
    }
  }
  return n;
}

/// nullopt for an entry that is not in use or says nothing sensible.
std::optional<OverlayPool> pool_of(const ls_ovl_pool& e, bool v4) {
  auto prefix = prefix_of(e.mask_be);
  if (!(e.flags & LS_OVL_POOL_USED) || !prefix) return std::nullopt;
  OverlayPool p{{get_address(e.net_be), *prefix}, e.share, (e.flags & LS_OVL_POOL_VTEP) != 0};
  if (p.v4() != v4 || p.share < *prefix || p.share > 128 || (v4 && *prefix < kV4Bits)) return std::nullopt;
  return p;
}

}  // namespace

uint32_t OverlayPool::block_of(const IpAddress& address) const {
  uint32_t n = 0;
  for (unsigned bit = network.prefix; bit < share; bit++) n = n << 1 | (address.bytes()[bit / 8] >> (7 - bit % 8) & 1);
  return n;
}

IpNetwork OverlayPool::block(uint32_t number) const {
  auto bytes = network.address.bytes();
  for (unsigned i = 0; i < unsigned(share - network.prefix) && i < 32; i++) {
    unsigned bit = share - 1u - i;
    if (number >> i & 1) bytes[bit / 8] = uint8_t(bytes[bit / 8] | 0x80 >> (bit % 8));
  }
  return {IpAddress::from_bytes(bytes.data()), share};
}

Result<std::vector<OverlayPool>> pools_of(const overlay::Plan& plan) {
  std::vector<OverlayPool> out;
  out.push_back({plan.vtep4, 128, true});
  if (plan.vtep6) out.push_back({*plan.vtep6, 128, true});
  for (auto& o : plan.overlays) {
    if (o.v4) out.push_back({o.v4->network, uint8_t(o.v4->share + kV4Bits), false});
    if (o.v6) out.push_back({o.v6->network, o.v6->share, false});
  }
  int count[2] = {};
  for (auto& p : out) {
    if (p.share < p.network.prefix || p.share > 128)
      return fail(EINVAL, fmt::format("pool {}: shares of length {} do not fit into it", p.network.text(),
                                      p.v4() ? p.share - kV4Bits : p.share));
    if (++count[p.v4()] > LS_OVL_POOLS)
      return fail(E2BIG, fmt::format("pool {}: there are more than {} pools of its family", p.network.text(), LS_OVL_POOLS));
  }
  return out;
}

ls_ovl_pool pool_entry(const OverlayPool& pool) {
  ls_ovl_pool e{};
  put_address(e.net_be, pool.network.address);
  put_address(e.mask_be, mask_of(pool.network.prefix));
  put_address(e.share_be, mask_of(pool.share));
  e.share = pool.share;
  e.shift = uint8_t(128 - pool.share);
  e.flags = LS_OVL_POOL_USED | (pool.vtep ? LS_OVL_POOL_VTEP : 0);
  return e;
}

std::vector<OverlayPoolSlot> slots_of(const ls_ovl_conf& conf) {
  std::vector<OverlayPoolSlot> out;
  auto add = [&out](std::span<const ls_ovl_pool> entries, bool v4) {
    for (uint32_t i = 0; i < entries.size(); i++) {
      if (auto pool = pool_of(entries[i], v4))
        out.push_back({*pool, i, (entries[i].flags & LS_OVL_POOL_ARRAY) != 0, entries[i].first});
    }
  };
  add(conf.pool4, true);
  add(conf.pool6, false);
  return out;
}

std::optional<OverlayPlace> place_of(std::span<const OverlayPoolSlot> slots, const IpNetwork& network) {
  for (auto& s : slots) {
    if (network.prefix < s.pool.network.prefix || !s.pool.network.contains(network.address)) continue;
    if (network.prefix != s.pool.share) return OverlayPlace{OverlayTarget::longest(network), &s};
    if (!s.array) return OverlayPlace{OverlayTarget::exact(network), &s};
    return OverlayPlace{OverlayTarget::block(s.first + s.pool.block_of(network.address)), &s};
  }
  if (network.prefix == 128) return OverlayPlace{OverlayTarget::exact(network), nullptr};
  return std::nullopt;
}

std::optional<IpNetwork> network_of(std::span<const OverlayPoolSlot> slots, const OverlayTarget& target) {
  if (target.map != OverlayTarget::Map::kBlock) return IpNetwork{target.address, uint8_t(target.number)};
  for (auto& s : slots) {
    if (!s.array || target.number < s.first || target.number - s.first >= s.pool.blocks()) continue;
    return s.pool.block(target.number - s.first);
  }
  return std::nullopt;
}

std::optional<uint32_t> find_room(std::span<const OverlayPoolSlot> slots, uint64_t blocks, uint32_t size) {
  std::vector<std::pair<uint64_t, uint64_t>> used;  // first, end
  for (auto& s : slots) {
    if (s.array) used.emplace_back(s.first, s.first + s.pool.blocks());
  }
  std::sort(used.begin(), used.end());
  uint64_t at = 0;
  for (auto& [first, end] : used) {
    if (at + blocks <= first) break;
    at = std::max(at, end);
  }
  return at + blocks <= size ? std::optional(uint32_t(at)) : std::nullopt;
}

}  // namespace ls::datapath
