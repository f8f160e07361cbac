// What loadstar-cni and the daemon write into real maps: host ports, devices of containers; whether programs are attached; entries made anew
// and orphans removed from the records.
#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <fstream>

#include "bpf/link.h"
#include "bpf/map.h"
#include "bpf/pin.h"
#include "cni/attach.h"
#include "cni/keeper.h"
#include "cni/leases.h"
#include "cni/port_maps.h"
#include "loadstar/abi/overlay.h"
#include "loadstar/abi/portmap.h"
#include "support/netns_fixture.h"

namespace ls::cni {
namespace {

namespace fs = std::filesystem;

class CniKernel : public test::NetnsFixture {
 protected:
  void SetUp() override {
    NetnsFixture::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    std::string name = (fs::temp_directory_path() / "ls-cni-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    pin_ = bpffs() + "/loadstar";
    ASSERT_TRUE(bpf::make_pin_dir(pin_ + "/maps", 0755));
  }
  void TearDown() override {
    if (!dir_.empty()) fs::remove_all(dir_);
    NetnsFixture::TearDown();
  }

  void make_maps(uint32_t entries = 1024) {
    make("ls_portmap", sizeof(ls_portmap_key), sizeof(ls_portmap), entries);
    make("ls_ovl_local", 16, sizeof(ls_ovl_local), entries);
  }
  void make(const char* name, uint32_t key, uint32_t value, uint32_t entries, bpf_map_type type = BPF_MAP_TYPE_HASH) {
    UniqueFd fd(bpf_map_create(type, name, key, value, entries, nullptr));
    ASSERT_TRUE(fd) << std::strerror(errno);
    ASSERT_TRUE(bpf::pin(fd.get(), pin_ + "/maps/" + name, 0600));
  }
  size_t entries(const char* name) {
    auto fd = bpf::open_pinned(pin_ + "/maps/" + name, bpf::PinKind::kMap);
    EXPECT_TRUE(fd);
    size_t n = 0;
    char key[16], next[16];
    for (void* at = nullptr; bpf_map_get_next_key(fd->get(), at, next) == 0; at = key, n++) std::memcpy(key, next, 16);
    return n;
  }

  fs::path dir_;
  std::string pin_;
};

const std::vector<PortMapping> kMappings = {{Protocol::kTcp, 31000, 80}, {Protocol::kUdp, 31000, 53}};

PortTarget target(const char* v4, const char* v6 = nullptr) { return {IpAddress::parse(v4), v6 ? IpAddress::parse(v6) : std::nullopt, 7}; }

TEST_F(CniKernel, HostPorts) {
  auto none = add_port_mappings(pin_, kMappings, target("9.0.0.2"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::kTryAgain);
  EXPECT_TRUE(remove_port_mappings(pin_, kMappings, target("9.0.0.2")));
  make_maps();
  ASSERT_TRUE(add_port_mappings(pin_, kMappings, target("9.0.0.2", "fd01::2")));
  EXPECT_EQ(entries("ls_portmap"), 4u);
  auto map = Map<ls_portmap_key, ls_portmap>::adopt(std::move(*bpf::open_pinned(pin_ + "/maps/ls_portmap", bpf::PinKind::kMap)));
  auto value = map->get({htons(31000), 17, 6});
  ASSERT_TRUE(value && *value);
  EXPECT_EQ(IpAddress::from_bytes(reinterpret_cast<const uint8_t*>((*value)->addr_be)).text(), "fd01::2");
  EXPECT_EQ(ntohs((*value)->port_be), 53);
  EXPECT_EQ((*value)->bridge_ifindex, 7u);
  EXPECT_TRUE(check_port_mappings(pin_, kMappings, target("9.0.0.2", "fd01::2")));
  EXPECT_FALSE(check_port_mappings(pin_, kMappings, target("9.0.0.3")));
  // Another container: all or none, and the owner is named.
  auto taken = add_port_mappings(pin_, {{Protocol::kTcp, 500, 1}, {Protocol::kTcp, 31000, 80}}, target("9.0.0.3"));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Code::kPortMapping);
  EXPECT_NE(taken.error().details.find("9.0.0.2:80"), std::string::npos);
  EXPECT_EQ(entries("ls_portmap"), 4u);
  // Its DEL does not touch what is not its own.
  ASSERT_TRUE(remove_port_mappings(pin_, kMappings, target("9.0.0.3")));
  EXPECT_EQ(entries("ls_portmap"), 4u);
  ASSERT_TRUE(remove_port_mappings(pin_, kMappings, target("9.0.0.2", "fd01::2")));
  EXPECT_EQ(entries("ls_portmap"), 0u);
}

TEST_F(CniKernel, FullMapAndStrangeMap) {
  make_maps(1);
  auto full = add_port_mappings(pin_, kMappings, target("9.0.0.2"));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kPortMapping);
  EXPECT_EQ(entries("ls_portmap"), 0u);
  ASSERT_TRUE(bpf::unpin(pin_ + "/maps/ls_portmap"));
  make("ls_portmap", 8, 8, 10);
  EXPECT_EQ(add_port_mappings(pin_, kMappings, target("9.0.0.2")).error().code, Code::kPortMapping);
}

TEST_F(CniKernel, TunnelMtu) {
  EXPECT_FALSE(tunnel_mtu(pin_));
  make("ls_ovl_conf", 4, sizeof(ls_ovl_conf), 1, BPF_MAP_TYPE_ARRAY);
  EXPECT_FALSE(tunnel_mtu(pin_));
  auto map = Map<uint32_t, ls_ovl_conf>::adopt(std::move(*bpf::open_pinned(pin_ + "/maps/ls_ovl_conf", bpf::PinKind::kMap)));
  ls_ovl_conf conf{};
  conf.mtu = 1430;
  ASSERT_TRUE(map->put(0, conf));
  EXPECT_EQ(tunnel_mtu(pin_), 1430u);
}

TEST_F(CniKernel, ProgramsAttached) {
  add_veth("v1", "v2");
  add_veth("v3", "v4");
  const int a = ifindex("v1"), c = ifindex("v3");
  EXPECT_TRUE(programs_attached(pin_, a)) << "nothing is attached anywhere";
  bpf_insn code[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  UniqueFd program(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "t", "GPL", code, 2, nullptr));
  ASSERT_TRUE(program) << std::strerror(errno);
  auto on_a = bpf::Link::create_tcx(program.get(), a, bpf::TcSide::kIngress);
  auto on_c = bpf::Link::create_tcx(program.get(), c, bpf::TcSide::kIngress);
  if (!on_a) GTEST_SKIP() << on_a.error().text();
  ASSERT_TRUE(bpf::make_pin_dir(pin_ + "/links", 0755));
  ASSERT_TRUE(on_c->pin(pin_ + "/links/bridge_in-" + std::to_string(c) + "-v3", 0600));
  EXPECT_TRUE(programs_attached(pin_, c));
  EXPECT_FALSE(programs_attached(pin_, a)) << "others have programs, this one has none";
  ASSERT_TRUE(on_a->pin(pin_ + "/links/bridge_in-" + std::to_string(a) + "-v1", 0600));
  EXPECT_TRUE(programs_attached(pin_, a));
  ASSERT_TRUE(on_a->detach());
  EXPECT_FALSE(programs_attached(pin_, a)) << "detached from outside";
}

TEST_F(CniKernel, EntriesAreMadeAnew) {
  run("ip link add ls0 type veth peer name x");
  Attachment wish;
  wish.mode = Mode::kDirect;
  wish.container = "a";
  wish.ifname = "eth0";
  wish.host_device = "ls0";
  wish.mac = {2, 0, 0, 0, 0, 1};
  wish.mappings = kMappings;
  {
    auto leases = Leases::open({dir_, "net", true, 0});
    ASSERT_TRUE(leases);
    ASSERT_TRUE((*leases)->reserve(wish, {*range_of(*IpNetwork::parse("9.0.0.0/25"))}, {}));
    wish.container = "gone";
    wish.host_device = "ls1";
    wish.mappings = {{Protocol::kTcp, 500, 1}};
    ASSERT_TRUE((*leases)->reserve(wish, {*range_of(*IpNetwork::parse("9.0.0.0/25"))}, {}));
  }
  make_maps();
  for (int round = 0; round < 2; round++) {
    auto r = restore_entries(dir_, pin_);
    ASSERT_TRUE(r) << r.error().msg;
    EXPECT_EQ(r->attachments, 2u);
    EXPECT_EQ(r->problems, 0u) << r->first_problem;
    EXPECT_EQ(entries("ls_portmap"), 3u);
    EXPECT_EQ(entries("ls_ovl_local"), 1u);
  }
  EXPECT_EQ(*list_networks(dir_), std::vector<std::string>{"net"});
  EXPECT_TRUE(list_networks(dir_ / "none")->empty());
}

TEST_F(CniKernel, OrphansOfMesos) {
  make_maps();
  auto ranges = std::vector<Range>{*range_of(*IpNetwork::parse("9.0.0.0/25"))};
  for (auto name : {"a", "b", "a.nested"}) {
    Attachment wish;
    wish.container = name;
    wish.ifname = "eth0";
    wish.mappings = {{Protocol::kTcp, uint16_t(name[0] + std::strlen(name)), 1}};
    auto leases = Leases::open({dir_, "net", true, 0});
    auto kept = (*leases)->reserve(wish, ranges, {});
    ASSERT_TRUE(kept);
    ASSERT_TRUE(add_port_mappings(pin_, wish.mappings, {kept->v4, {}, 0}));
  }
  OrphanSearch s{dir_, "net", {dir_ / "run", dir_ / "work"}, pin_};
  auto r = collect_orphans(s);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->kept, 3u) << "without a root nothing is known";
  fs::create_directories(dir_ / "run" / "a" / "net");
  fs::create_directories(dir_ / "run" / "b" / "another");
  r = collect_orphans(s);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->removed, 2u) << r->first_problem;
  EXPECT_EQ(r->kept, 1u);
  EXPECT_EQ(entries("ls_portmap"), 1u);
  auto leases = Leases::open({dir_, "net", true, 0});
  EXPECT_TRUE(*(*leases)->find("a", "eth0"));
  EXPECT_FALSE(*(*leases)->find("b", "eth0"));
}

}  // namespace
}  // namespace ls::cni
