#pragma once
/// OwnAddresses: keeps ls_own equal to the machine's own addresses, at which host ports are answered. Loopback, link-local and
/// multicast addresses are no such addresses.
/// Thread: control loop. Cost: sync() of what is already right reads 128 KiB of shared memory. An address that finds none of its
/// LS_OWN_PROBES places free is left out (one in millions at a hundred addresses): host ports are not answered there.
#include <set>

#include "bpf/mmap_array.h"
#include "loadstar/abi/portmap.h"
#include "util/address.h"
#include "util/result.h"

namespace ls::datapath {

class OwnAddresses {
 public:
  /// `map`: descriptor of ls_own, which stays the caller's.
  static Result<OwnAddresses> open(int map);
  /// How many of `addresses` found no place.
  size_t sync(const std::set<IpAddress>& addresses);

 private:
  explicit OwnAddresses(MmapArray<ls_own> map) : map_(std::move(map)) {}
  bool put(const IpAddress& a);
  MmapArray<ls_own> map_;
};

}  // namespace ls::datapath
