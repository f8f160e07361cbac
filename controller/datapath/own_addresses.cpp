#include "datapath/own_addresses.h"

#include <fcntl.h>

#include <cerrno>

#include "datapath/abi_convert.h"

namespace ls::datapath {
namespace {

bool answers_host_ports(const IpAddress& a) {
  auto* b = a.bytes().data();
  if (a.is_zero()) return false;
  if (a.is_v4()) return b[12] != 127 && b[12] < 224 && !(b[12] == 169 && b[13] == 254) && b[12] != 0;
  bool loopback = a == *IpAddress::parse("::1");
  bool link_local = b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
  return !loopback && !link_local && b[0] != 0xff;
}

}  // namespace

Result<OwnAddresses> OwnAddresses::open(int map) {
  UniqueFd fd(fcntl(map, F_DUPFD_CLOEXEC, 3));
  if (!fd) return fail(errno, "duplicate the descriptor of ls_own");
  LS_ASSIGN(auto array, MmapArray<ls_own>::adopt(std::move(fd)));
  if (array.size() != LS_OWN_SLOTS) return fail(EPROTO, "open ls_own: it has another size");
  return OwnAddresses(std::move(array));
}

bool OwnAddresses::put(const IpAddress& a) {
  ls_own entry{};
  put_address(entry.addr_be, a);
  uint32_t first = ls_own_place(entry.addr_be);
  for (uint32_t i = 0; i < LS_OWN_PROBES; i++) {
    uint32_t at = (first + i) & (LS_OWN_SLOTS - 1);
    if (map_[at].used) continue;
    map_.write(at, entry);  // still unused: no program believes it
    map_.publish(at, &ls_own::used, 1);
    return true;
  }
  return false;
}

size_t OwnAddresses::sync(const std::set<IpAddress>& addresses) {
  std::set<IpAddress> missing;
  for (auto& a : addresses)
    if (answers_host_ports(a)) missing.insert(a);
  for (uint32_t at = 0; at < map_.size(); at++) {
    if (!map_[at].used) continue;
    // One that is there already, at a place where programs find it; else it goes.
    auto distance = (at - ls_own_place(map_[at].addr_be)) & (LS_OWN_SLOTS - 1);
    if (distance < LS_OWN_PROBES && missing.erase(get_address(map_[at].addr_be))) continue;
    map_.publish(at, &ls_own::used, 0);
  }
  size_t left_out = 0;
  for (auto& a : missing) left_out += !put(a);
  return left_out;
}

}  // namespace ls::datapath
