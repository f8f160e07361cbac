#pragma once
/// What the tests of the overlay's wiring share: the maps, a plan, nodes as the allocator makes them.
#include <string>
#include <vector>

#include "bpf_maps.h"
#include "datapath/overlay_tables.h"

namespace ls::test {

inline IpNetwork net(const std::string& text) { return IpNetwork::parse(text).value(); }
inline IpAddress addr(const std::string& text) { return IpAddress::parse(text).value(); }

inline overlay::Plan small_plan() {
  overlay::Plan p;
  p.vtep4 = net("44.128.0.0/16");
  p.vtep6 = net("fd01:a::/64");
  p.oui = {0x70, 0xb3, 0xd5, 0, 0, 0};
  p.overlays.push_back({"dcos", overlay::Pool{net("9.0.0.0/8"), 24}, std::nullopt, true});
  p.overlays.push_back({"dcos6", std::nullopt, overlay::Pool{net("fd01:b::/64"), 80}, true});
  return p;
}

inline IpAddress at(const IpAddress& base, size_t last_octet, uint32_t n) {
  auto b = base.bytes();
  b[last_octet] = uint8_t(n);
  b[last_octet - 1] = uint8_t(n >> 8);
  b[last_octet - 2] = uint8_t(n >> 16);
  return IpAddress::from_bytes(b.data());
}

/// The n-th node, n from 1 on: lowest free of everything.
inline overlay::Allocation nth_node(uint32_t n) {
  overlay::Allocation a;
  a.node = IpAddress::from_v4(0x0a000000 + n);
  a.vtep.v4 = {IpAddress::from_v4(0x2c800000 + n), 16};
  a.vtep.v6 = overlay::InterfaceAddress{at(addr("fd01:a::"), 15, n), 64};
  a.vtep.mac = {0x70, 0xb3, 0xd5, 0x80, uint8_t(n >> 8), uint8_t(n)};
  overlay::Share v4, v6;
  v4.overlay = "dcos";
  v4.v4 = IpNetwork{IpAddress::from_v4(0x09000000 + ((n - 1) << 8)), 120};
  v6.overlay = "dcos6";
  v6.v6 = IpNetwork{at(addr("fd01:b::"), 9, n - 1), 80};
  a.shares = {v4, v6};
  return a;
}

struct OverlayMapSizes {
  uint32_t blocks = 3 * 65536, hash = 1024;
};

/// Maps of the overlay that stay while handles come and go.
class OverlayWorld {
 public:
  explicit OverlayWorld(OverlayMapSizes n = {}) {
    set_.add("ls_ovl_conf", make_map(BPF_MAP_TYPE_ARRAY, "ls_ovl_conf", 4, sizeof(ls_ovl_conf), 1, BPF_F_MMAPABLE));
    set_.add("ls_ovl_block", make_map(BPF_MAP_TYPE_ARRAY, "ls_ovl_block", 4, sizeof(ls_ovl_owner), n.blocks, BPF_F_MMAPABLE));
    set_.add("ls_ovl_hash", make_map(BPF_MAP_TYPE_HASH, "ls_ovl_hash", sizeof(ls_ovl_key), sizeof(ls_ovl_owner), n.hash, BPF_F_NO_PREALLOC));
    set_.add("ls_ovl_net",
             make_map(BPF_MAP_TYPE_LPM_TRIE, "ls_ovl_net", sizeof(ls_ovl_net_key), sizeof(ls_ovl_owner), n.hash, BPF_F_NO_PREALLOC));
  }
  datapath::OverlayMaps maps() const {
    auto m = datapath::OverlayMaps::open(set_.opener());
    EXPECT_TRUE(m) << m.error().text();
    return std::move(*m);
  }
  datapath::OverlayTables adopt(void (*wait)() = +[] {}) const {
    auto t = datapath::OverlayTables::adopt(maps(), wait);
    EXPECT_TRUE(t) << t.error().text();
    return std::move(*t);
  }
  static datapath::OverlaySelf self(uint32_t n = 1) {
    datapath::OverlaySelf s;
    s.node = nth_node(n).node;
    s.mac = nth_node(n).vtep.mac;
    s.vtep_ifindex = 7;
    return s;
  }
  /// Adopted and configured.
  datapath::OverlayTables tables(const overlay::Plan& plan = small_plan()) const {
    auto t = adopt();
    auto done = t.configure(self(), plan);
    EXPECT_TRUE(done) << done.error().text();
    return t;
  }

 private:
  MapSet set_;
};

/// "10.0.0.2", "self" or "nobody".
inline std::string owner_of(const datapath::OverlayTables& t, const std::string& address) {
  auto o = t.find(addr(address));
  EXPECT_TRUE(o) << o.error().text();
  if (!o || !*o) return "nobody";
  return (*o)->self ? "self" : (*o)->node.text();
}

}  // namespace ls::test
