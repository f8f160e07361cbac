#include "dns/access.h"

#include <algorithm>

namespace ls::dns {
namespace {

IpAddress masked(const IpAddress& a, uint8_t prefix) {
  auto bytes = a.bytes();
  size_t whole = prefix / 8;
  if (whole < 16) {
    bytes[whole] &= uint8_t(0xff00 >> (prefix % 8));
    std::fill(bytes.begin() + whole + 1, bytes.end(), uint8_t(0));
  }
  return IpAddress::from_bytes(bytes.data());
}

bool before(const IpNetwork& a, const IpNetwork& b) {
  return a.prefix != b.prefix ? a.prefix < b.prefix : a.address < b.address;
}

}  // namespace

AccessList::AccessList(std::vector<IpNetwork> networks) : networks_(std::move(networks)) {
  std::sort(networks_.begin(), networks_.end(), before);
}

bool AccessList::allows(const IpAddress& client) const {
  if (networks_.empty()) return true;
  for (auto at = networks_.begin(); at != networks_.end();) {
    uint8_t prefix = at->prefix;
    auto end = std::upper_bound(at, networks_.end(), prefix,
                                [](uint8_t p, const IpNetwork& n) { return p < n.prefix; });
    if (std::binary_search(at, end, IpNetwork{masked(client, prefix), prefix}, before)) return true;
    at = end;
  }
  return false;
}

}  // namespace ls::dns
