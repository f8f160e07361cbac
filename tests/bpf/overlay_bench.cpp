#include "overlay_bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "loadstar/abi/flow_place.h"
#include "overlay_probe.h"
#include "overlay_probe.skel.h"

namespace ls::test {
namespace {

void must(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error(what + ": " + std::strerror(errno));
}

IpNetwork network(const std::string& text) { return IpNetwork::parse(text).value(); }

IpAddress plus(const IpAddress& base, size_t octet, uint32_t n) {
  auto b = base.bytes();
  for (size_t i = 0; i < 4; i++) b[octet - i] = uint8_t(n >> (8 * i));
  return IpAddress::from_bytes(b.data());
}

}  // namespace

overlay::Mac overlay_mac(uint32_t n) { return {0x70, 0xb3, 0xd5, 0x80, uint8_t(n >> 8), uint8_t(n)}; }

overlay::Plan overlay_plan() {
  overlay::Plan p;
  p.vtep4 = network("44.128.0.0/16");
  p.vtep6 = network("fd01:a::/64");
  p.oui = {0x70, 0xb3, 0xd5, 0, 0, 0};
  p.overlays.push_back({"dcos", overlay::Pool{network("9.0.0.0/8"), 24}, std::nullopt, true});
  p.overlays.push_back({"dcos6", std::nullopt, overlay::Pool{network("fd01:b::/64"), 80}, true});
  return p;
}

overlay::Allocation overlay_node(uint32_t n) {
  overlay::Allocation a;
  a.node = IpAddress::from_v4(0x0a000000 + n);
  a.vtep.v4 = {IpAddress::from_v4(0x2c800000 + n), 16};
  a.vtep.v6 = overlay::InterfaceAddress{plus(*IpAddress::parse("fd01:a::"), 15, n), 64};
  a.vtep.mac = overlay_mac(n);
  overlay::Share v4, v6;
  v4.overlay = "dcos";
  v4.v4 = IpNetwork{IpAddress::from_v4(0x09000000 + ((n - 1) << 8)), 120};
  v6.overlay = "dcos6";
  v6.v6 = IpNetwork{plus(*IpAddress::parse("fd01:b::"), 9, n - 1), 80};
  a.shares = {v4, v6};
  return a;
}

OverlayBench::OverlayBench(OverlaySizes sizes) {
  must(unshare(CLONE_NEWNET) == 0, "own network namespace");
  skel_ = overlay_probe__open();
  must(skel_, "open overlay_probe");
  bpf_map__set_max_entries(skel_->maps.ls_ovl_block, sizes.blocks);
  bpf_map__set_max_entries(skel_->maps.ls_ovl_hash, sizes.entries);
  must(overlay_probe__load(skel_) == 0, "load overlay_probe");
  auto maps = datapath::OverlayMaps::open(opener());
  if (!maps) throw std::runtime_error(maps.error().text());
  auto tables = datapath::OverlayTables::adopt(std::move(*maps), +[] {});
  if (!tables) throw std::runtime_error(tables.error().text());
  tables_ = std::move(*tables);
  datapath::OverlaySelf self;
  self.node = overlay_node(1).node;
  self.mac = overlay_mac(1);
  self.vtep_ifindex = kVtep;
  self.mtu = kMtu;
  self.redirect_peer = false;
  auto done = tables_->configure(self, overlay_plan());
  if (!done) throw std::runtime_error(done.error().text());
  for (uint32_t n : {1, 2, 3}) {
    if (auto r = tables_->put(overlay_node(n)); !r) throw std::runtime_error(r.error().text());
  }
}

OverlayBench::~OverlayBench() { overlay_probe__destroy(skel_); }

int OverlayBench::map_fd(const char* name) const { return bpf_object__find_map_fd_by_name(skel_->obj, name); }

MapOpener OverlayBench::opener() const {
  return [this](std::string_view name) -> Result<UniqueFd> {
    int fd = map_fd(std::string(name).c_str());
    if (fd < 0) return fail(ENOENT, "open " + std::string(name));
    return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  };
}

OverlayBench::Outcome OverlayBench::run(const char* program, const Bytes& frame, const std::string& outer, uint32_t vni,
                                        uint32_t ifindex) {
  auto& probe = skel_->bss->probe;
  std::memset(&probe, 0, sizeof probe);
  if (!outer.empty()) probe.outer_source = IpAddress::parse(outer).value().v4();
  probe.vni = vni;
  Outcome out;
  out.frame.resize(frame.size() + 256);
  __sk_buff ctx{};
  ctx.ifindex = ifindex;
  LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_out = out.frame.data(), .data_size_in = uint32_t(frame.size()),
              .data_size_out = uint32_t(out.frame.size()), .ctx_in = &ctx, .ctx_size_in = sizeof ctx, .repeat = 1);
  auto* p = bpf_object__find_program_by_name(skel_->obj, program);
  int rc = p ? bpf_prog_test_run_opts(bpf_program__fd(p), &opts) : -1;
  if (rc && errno == EINVAL) {
    out.verdict = kRefused;
    out.frame = frame;
    return out;
  }
  must(rc == 0, std::string("test run of ") + program);
  out.verdict = int(opts.retval);
  out.frame.resize(opts.data_size_out);
  out.remote = probe.remote;
  out.local = probe.local;
  out.vni = probe.vni;
  out.redirect = probe.redirect;
  out.tc_index = probe.tc_index;
  out.peer = probe.peer;
  return out;
}

uint32_t OverlayBench::cost(const char* program, const Bytes& frame, uint32_t peers, int repeat) {
  skel_->bss->probe.peers = peers;
  Bytes out(frame.size() + 256);
  LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_out = out.data(), .data_size_in = uint32_t(frame.size()),
              .data_size_out = uint32_t(out.size()), .repeat = repeat);
  auto* p = bpf_object__find_program_by_name(skel_->obj, program);
  must(p && bpf_prog_test_run_opts(bpf_program__fd(p), &opts) == 0, std::string("test run of ") + program);
  return opts.duration;
}

void OverlayBench::container(const std::string& address, uint32_t ifindex, const Bytes& mac, const Bytes& gw_mac) {
  ls_ovl_addr key{};
  std::memcpy(key.addr_be, IpAddress::parse(address).value().bytes().data(), 16);
  ls_ovl_local value{};
  value.ifindex = ifindex;
  std::memcpy(value.mac, mac.data(), 6);
  std::memcpy(value.gw_mac, gw_mac.data(), 6);
  must(bpf_map_update_elem(map_fd("ls_ovl_local"), &key, &value, BPF_ANY) == 0, "write ls_ovl_local");
}

void OverlayBench::flow(const std::string& src, uint16_t sport, const std::string& dst, uint16_t dport, Protocol proto) {
  auto from = IpAddress::parse(src).value(), to = IpAddress::parse(dst).value();
  ls_tuple t{};
  t.v6 = !from.is_v4();
  std::memcpy(t.src + (t.v6 ? 0 : 3), from.bytes().data() + (t.v6 ? 0 : 12), t.v6 ? 16 : 4);
  std::memcpy(t.dst + (t.v6 ? 0 : 3), to.bytes().data() + (t.v6 ? 0 : 12), t.v6 ? 16 : 4);
  t.sport = htons(sport);
  t.dport = htons(dport);
  t.proto = uint8_t(proto);
  auto hash = ls_flow_hash(&t, skel_->rodata->ls_seed0, skel_->rodata->ls_seed1);
  auto put = [&](auto bucket, const char* map, uint32_t mask) {
    auto& e = bucket.way[0];
    if constexpr (sizeof e == sizeof(ls_flow4)) {
      e.src_be = t.src[3];
      e.dst_be = t.dst[3];
    } else {
      std::memcpy(e.src_be, t.src, 16);
      std::memcpy(e.dst_be, t.dst, 16);
    }
    e.sport_be = t.sport;
    e.dport_be = t.dport;
    e.proto = t.proto;
    e.kind = LS_FLOW_REVERSE;
    e.be = 1;
    uint32_t place = ls_bucket1(hash, mask);
    must(bpf_map_update_elem(map_fd(map), &place, &bucket, BPF_ANY) == 0, "write a flow");
  };
  if (t.v6) {
    put(ls_flow6_bucket{}, "ls_flow6", skel_->rodata->ls_flow6_mask);
  } else {
    put(ls_flow4_bucket{}, "ls_flow4", skel_->rodata->ls_flow4_mask);
  }
}

uint64_t OverlayBench::drops(ls_hook hook, ls_drop_reason reason) const {
  std::vector<uint64_t> values(static_cast<size_t>(libbpf_num_possible_cpus()));
  uint32_t key = uint32_t(hook) * LS_DROP_SLOTS + uint32_t(reason);
  uint64_t sum = 0;
  if (bpf_map_lookup_elem(map_fd("ls_drops"), &key, values.data()) == 0)
    for (auto v : values) sum += v;
  return sum;
}

uint64_t OverlayBench::drops_total() const {
  uint64_t n = 0;
  for (int h = 0; h < LS_HOOK_MAX; h++)
    for (int r = 1; r < LS_DROP_MAX; r++) n += drops(ls_hook(h), ls_drop_reason(r));
  return n;
}

uint64_t OverlayBench::count(ls_ovl_hook hook, ls_ovl_result result) const {
  std::vector<ls_stat> values(static_cast<size_t>(libbpf_num_possible_cpus()));
  uint32_t key = uint32_t(hook) * LS_OVL_RESULT_MAX + uint32_t(result);
  uint64_t sum = 0;
  if (bpf_map_lookup_elem(map_fd("ls_ovl_stats"), &key, values.data()) == 0)
    for (auto& v : values) sum += v.packets;
  return sum;
}

}  // namespace ls::test
