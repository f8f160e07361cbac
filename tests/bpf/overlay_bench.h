#pragma once
/// The overlay's programs with the maps as OverlayTables fills them, one packet at a time, in a network namespace of their own.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "bench.h"
#include "datapath/overlay_tables.h"

struct overlay_probe;

namespace ls::test {

/// "10.0.0.<n>" with VTEP n of 44.128.0.0/20 and fd01:a::/64, share n - 1 of 9.0.0.0/8 (/24) and of fd01:b::/64 (/80), as the allocator
/// gives them out.
overlay::Allocation overlay_node(uint32_t n);
overlay::Plan overlay_plan();
overlay::Mac overlay_mac(uint32_t n);  ///< 70:b3:d5:80:..

struct OverlaySizes {
  uint32_t blocks = 3 * 65536, entries = 4096;
};

class OverlayBench {
 public:
  static constexpr uint32_t kVtep = 77, kMtu = 1420;  ///< device numbers need not exist here
  explicit OverlayBench(OverlaySizes sizes = {});
  ~OverlayBench();

  struct Outcome {
    int verdict = 0;
    Bytes frame;
    uint32_t remote = 0, local = 0, vni = 0, redirect = 0, tc_index = 0;  ///< host order
    bool peer = false;
    Seen seen() const { return see(frame); }
  };
  /// `outer`: the packet came through a tunnel from there, in network `vni`. `ifindex`: the device it came in on.
  Outcome run(const char* program, const Bytes& frame, const std::string& outer = {}, uint32_t vni = overlay::kVni, uint32_t ifindex = 1);
  /// ns per run of a cost_ program, each run with another of `peers` peers (numbers 2 and up).
  uint32_t cost(const char* program, const Bytes& frame, uint32_t peers, int repeat);

  void container(const std::string& address, uint32_t ifindex, const Bytes& mac, const Bytes& gw_mac);
  /// An entry as load balancing makes it for replies from `src` to `dst`.
  void flow(const std::string& src, uint16_t sport, const std::string& dst, uint16_t dport, Protocol proto);
  uint64_t drops(ls_hook hook, ls_drop_reason reason) const;
  uint64_t drops_total() const;
  uint64_t count(ls_ovl_hook hook, ls_ovl_result result) const;
  int map_fd(const char* name) const;
  MapOpener opener() const;
  datapath::OverlayTables& tables() { return *tables_; }

 private:
  overlay_probe* skel_;
  std::optional<datapath::OverlayTables> tables_;
};

}  // namespace ls::test
