#include "datapath/hooks.h"
#include "datapath/programs.h"

#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <array>

#include "datapath_fixture.h"
#include "loadstar/abi/dns.h"
#include "loadstar/abi/flow.h"

namespace ls {
namespace {

using datapath::map_entries;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using namespace test;

TEST(MapEntries, FollowTheConfiguration) {
  auto e = map_entries(
      {.services = 100, .backends = 200, .ring_slots = 17, .flows = 5000, .flows6 = 1, .socket_replies = 7});
  EXPECT_EQ(e["ls_svc"], 100u);
  EXPECT_EQ(e["ls_svc_tab"], 101u) << "number 0 is never given out";
  EXPECT_EQ(e["ls_be"], 201u);
  EXPECT_EQ(e["ls_be_stat"], e["ls_be"]);
  EXPECT_EQ(e["ls_ring"], 2u);
  EXPECT_EQ(e["ls_flow4"], 8192u) << "a power of two, so that 5000 flows of two entries fill at most half";
  EXPECT_EQ(e["ls_flow6"], 1024u) << "the smallest";
  // The configured number of flows fills no more than half of the ways, whatever the number.
  for (uint32_t flows : {1024u, 1025u, 262144u, 262145u}) {
    auto buckets = map_entries({.flows = flows})["ls_flow4"];
    EXPECT_EQ(buckets & (buckets - 1), 0u);
    EXPECT_LE(2.0 * flows, 0.5 * LS_FLOW_WAYS * buckets) << flows;
  }
}

TEST(MapEntries, BucketsOfDnsAreNeverMoreThanThreeQuartersFull) {
  auto e = map_entries({.dns_names = 1'000'000, .dns_megabytes = 96, .dns_cached = 4096});
  EXPECT_EQ(e["ls_dns_bucket"], 262144u);
  EXPECT_EQ(e["ls_dns_data"], 96u);
  for (uint32_t names : {0u, 1u, 6144u, 6145u, 786432u, 786433u, 1u << 26}) {
    auto buckets = map_entries({.dns_names = names, .dns_cached = 0})["ls_dns_bucket"];
    EXPECT_EQ(buckets & (buckets - 1), 0u);
    EXPECT_LE(names, 0.75 * LS_DNS_WAYS * buckets) << names;
    EXPECT_GE(buckets, 1024u);
  }
  EXPECT_EQ(map_entries({.dns_names = 1'000'000, .dns_cached = 572'864})["ls_dns_bucket"], 262144u);
  EXPECT_EQ(map_entries({.dns_names = 1'000'000, .dns_cached = 572'865})["ls_dns_bucket"], 524288u);
}

size_t cpus() {
  return size_t(libbpf_num_possible_cpus());
}

class ProgramsTest : public DatapathFixture {};

TEST_F(ProgramsTest, LoadsPinsAndDescribes) {
  auto all = real_options();
  all.overlay = true;
  Programs p(all);
  auto r = p.load();
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(r->packet_error, "");
  EXPECT_EQ(r->socket_error, "");
  EXPECT_EQ(r->dns_xdp_error, "");
  EXPECT_EQ(r->overlay_error, "");
  EXPECT_EQ(r->dns_tc_error, "");
  EXPECT_FALSE(r->tables_kept);
  EXPECT_FALSE(r->dns_kept);
  EXPECT_EQ(story(*r, "ls_be").origin, MapOrigin::kCreated);
  EXPECT_FALSE(bpf::exists(pin() + "/maps")) << "not before commit";
  ASSERT_TRUE(p.commit());
  EXPECT_THAT(pins("maps"), SizeIs(p.maps().size()));
  EXPECT_FALSE(bpf::exists(pin() + "/maps_next"));
  EXPECT_FALSE(bpf::exists(pin() + "/maps_old"));
  for (auto [path, mode] :
       {std::pair(pin(), 0750u), {pin() + "/maps", 0750u}, {pin() + "/maps/ls_be", 0640u}}) {
    struct stat st {};
    ASSERT_EQ(stat(path.c_str(), &st), 0) << path;
    EXPECT_EQ(st.st_mode & 07777, mode) << path;
  }
  for (auto& m : p.maps()) {
    EXPECT_GE(m.fd, 0);
    bpf_map_info info{};
    uint32_t len = sizeof info;
    ASSERT_EQ(bpf_obj_get_info_by_fd(m.fd, &info, &len), 0);
    // A tree without entries has no memory.
    EXPECT_TRUE(m.memory_bytes > 0 || info.type == BPF_MAP_TYPE_LPM_TRIE) << m.layout.name;
    if (info.type == BPF_MAP_TYPE_RINGBUF) continue;
    EXPECT_NE(info.btf_value_type_id, 0u) << m.layout.name << " has no type data";
  }
  for (auto& hook : ls::datapath::kHooks) EXPECT_GE(p.program(hook.program), 0) << hook.program;
  EXPECT_GE(p.program("ls_inject"), 0);
  EXPECT_GE(p.program("ls_dns_try"), 0);
  for (auto& prog : p.programs()) {
    EXPECT_TRUE(prog.name.starts_with("ls_")) << prog.name;
    EXPECT_GT(prog.verified, 0u);
    EXPECT_LE(prog.verified, 500000u) << prog.name << ": verifier work stays below half of the limit";
    EXPECT_THAT(prog.tag, SizeIs(16));
  }
  EXPECT_EQ(p.map("nonsense"), -1);
  EXPECT_EQ(p.program("nonsense"), -1);
}

ls_meta read_meta(const Programs& p) {
  ls_meta m{};
  uint32_t zero = 0;
  EXPECT_EQ(bpf_map_lookup_elem(p.map("ls_meta"), &zero, &m), 0);
  return m;
}

TEST_F(ProgramsTest, SecondStartUsesTheSameMaps) {
  uint32_t be = 0;
  ls_meta meta{};
  {
    Programs p(options());
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
    be = id_of(p.map("ls_be"));
    meta = read_meta(p);
    EXPECT_EQ(meta.abi_version, uint32_t(LS_ABI_VERSION));
    EXPECT_NE(meta.seed[0], meta.seed[1]);
    EXPECT_STREQ(meta.build, LS_VERSION);
  }
  Programs p(options());
  auto r = p.load();
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_TRUE(r->tables_kept);
  EXPECT_TRUE(r->dns_kept);
  for (auto& s : r->maps) EXPECT_EQ(s.origin, MapOrigin::kReused) << s.name << ": " << s.why;
  EXPECT_EQ(id_of(p.map("ls_be")), be);
  EXPECT_EQ(std::memcmp(&meta, std::array{read_meta(p)}.data(), sizeof meta), 0);
}

TEST_F(ProgramsTest, OtherHostsOtherSeed) {
  Programs a(options());
  ASSERT_TRUE(a.load());
  auto o = options();
  o.pin += "_b";
  Programs b(o);
  ASSERT_TRUE(b.load());
  EXPECT_NE(read_meta(a).seed[0], read_meta(b).seed[0]);
}

TEST_F(ProgramsTest, ResizeCarriesTablesAndFlowsOver) {
  ls_meta meta{};
  {
    Programs p(options());
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
    ls_svc_key key{};
    key.port_be = 80;
    ls_svc_ref ref{7};
    ASSERT_EQ(bpf_map_update_elem(p.map("ls_svc"), &key, &ref, BPF_ANY), 0);
    ls_be be{};
    be.svc = 7;
    uint32_t n = 100;
    ASSERT_EQ(bpf_map_update_elem(p.map("ls_be"), &n, &be, BPF_ANY), 0);
    std::vector<ls_be_stat> stat(cpus(), ls_be_stat{3, 4});
    ASSERT_EQ(bpf_map_update_elem(p.map("ls_be_stat"), &n, stat.data(), BPF_ANY), 0);
    meta = read_meta(p);
  }
  auto bigger = small();
  bigger.services *= 2;
  bigger.backends = 9000;  // more than one batch of the copy
  bigger.flows = 4096;
  auto o = options(bigger);
  std::vector<std::pair<uint32_t, uint32_t>> migrated;
  o.migrate_flows = [&](int from, int to) {
    migrated.emplace_back(bpf::map_layout(from)->max_entries, bpf::map_layout(to)->max_entries);
    return Result<>();
  };
  Programs p(o);
  auto r = p.load();
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_TRUE(r->tables_kept);
  EXPECT_EQ(story(*r, "ls_be").origin, MapOrigin::kCopied);
  EXPECT_THAT(story(*r, "ls_be").why, HasSubstr("entries 9001, pinned was 129"));
  EXPECT_EQ(story(*r, "ls_flow4").origin, MapOrigin::kCopied);
  EXPECT_EQ(story(*r, "ls_flow6").origin, MapOrigin::kReused);
  EXPECT_TRUE(migrated.empty()) << "flows are carried over as late as possible";
  ASSERT_TRUE(p.commit());
  EXPECT_EQ(migrated, (std::vector<std::pair<uint32_t, uint32_t>>{{1024, 4096}}));
  ls_svc_key key{};
  key.port_be = 80;
  ls_svc_ref ref{};
  EXPECT_EQ(bpf_map_lookup_elem(p.map("ls_svc"), &key, &ref), 0);
  EXPECT_EQ(ref.id, 7u);
  ls_be be{};
  uint32_t n = 100;
  ASSERT_EQ(bpf_map_lookup_elem(p.map("ls_be"), &n, &be), 0);
  EXPECT_EQ(be.svc, 7u);
  std::vector<ls_be_stat> stat(cpus());
  ASSERT_EQ(bpf_map_lookup_elem(p.map("ls_be_stat"), &n, stat.data()), 0);
  EXPECT_EQ(stat.back().flows_sock, 4u);
  EXPECT_EQ(read_meta(p).seed[0], meta.seed[0]) << "the seed lives as long as the flows";
}

TEST_F(ProgramsTest, ShrunkTablesAreNotCalledKept) {
  {
    auto o = options();
    o.sizes.backends = 1000;
    Programs p(o);
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
  }
  Programs p(options());
  auto r = p.load();
  ASSERT_TRUE(r);
  EXPECT_EQ(story(*r, "ls_be").origin, MapOrigin::kCopied);
  EXPECT_FALSE(r->tables_kept);
}

TEST_F(ProgramsTest, FailedMigrationStartsWithEmptyFlowsAndSaysSo) {
  {
    Programs p(options());
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
  }
  auto o = options();
  o.sizes.flows *= 4;
  o.migrate_flows = [](int, int) { return Result<>(fail(EIO, "carry flows")); };
  Programs p(o);
  ASSERT_TRUE(p.load());
  ASSERT_TRUE(p.commit());
  for (auto& m : p.maps()) {
    if (m.layout.name != "ls_flow4") continue;
    EXPECT_EQ(m.story.origin, MapOrigin::kRebuilt);
    EXPECT_THAT(m.story.why, HasSubstr("carry flows"));
  }
}

TEST_F(ProgramsTest, PinnedMapOfAnotherLayoutIsRebuilt) {
  uint32_t svc = 0;
  {
    Programs p(options());
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
    svc = id_of(p.map("ls_svc"));
    ASSERT_TRUE(bpf::unpin(pin() + "/maps/ls_nh"));
    UniqueFd other(bpf_map_create(BPF_MAP_TYPE_ARRAY, "ls_nh", 4, 24, 4096, nullptr));
    ASSERT_TRUE(bpf::pin(other.get(), pin() + "/maps/ls_nh", 0640));
  }
  Programs p(options());
  auto r = p.load();
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(story(*r, "ls_nh").origin, MapOrigin::kRebuilt);
  EXPECT_TRUE(r->dns_kept);
  EXPECT_THAT(story(*r, "ls_nh").why, HasSubstr("value bytes 56, pinned was 24"));
  EXPECT_EQ(story(*r, "ls_svc").origin, MapOrigin::kReused);
  EXPECT_TRUE(r->tables_kept);
  ASSERT_TRUE(p.commit());
  EXPECT_EQ(id_of(p.map("ls_svc")), svc);
  auto pinned = bpf::open_pinned(pin() + "/maps/ls_nh", bpf::PinKind::kMap);
  ASSERT_TRUE(pinned);
  EXPECT_EQ(id_of(pinned->get()), id_of(p.map("ls_nh")));
}

TEST_F(ProgramsTest, SomethingElsePinnedUnderOurNameIsReplaced) {
  {
    Programs p(options());
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
    ASSERT_TRUE(bpf::unpin(pin() + "/maps/ls_be"));
    auto program = foreign(BPF_PROG_TYPE_SCHED_CLS);
    ASSERT_TRUE(bpf::pin(program.get(), pin() + "/maps/ls_be", 0640));
  }
  Programs p(options());
  auto r = p.load();
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(story(*r, "ls_be").origin, MapOrigin::kRebuilt);
  EXPECT_EQ(story(*r, "ls_flow4").origin, MapOrigin::kRebuilt) << "flows name backends by number";
  EXPECT_FALSE(r->tables_kept);
}

TEST_F(ProgramsTest, OtherLayoutVersionRebuildsAllButFlowsAndTheirNumbers) {
  uint64_t seed = 0;
  {
    Programs p(options());
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
    auto meta = read_meta(p);
    seed = meta.seed[0];
    meta.abi_version = LS_ABI_VERSION + 1;
    uint32_t zero = 0;
    ASSERT_EQ(bpf_map_update_elem(p.map("ls_meta"), &zero, &meta, BPF_ANY), 0);
  }
  Programs p(options());
  auto r = p.load();
  ASSERT_TRUE(r);
  EXPECT_EQ(story(*r, "ls_svc").origin, MapOrigin::kRebuilt);
  EXPECT_THAT(story(*r, "ls_svc").why, HasSubstr("another version"));
  EXPECT_EQ(story(*r, "ls_flow4").origin, MapOrigin::kReused);
  EXPECT_EQ(story(*r, "ls_be").origin, MapOrigin::kReused);
  EXPECT_EQ(read_meta(p).seed[0], seed);
  EXPECT_EQ(read_meta(p).abi_version, uint32_t(LS_ABI_VERSION));
  EXPECT_FALSE(r->tables_kept);
}

TEST_F(ProgramsTest, OtherFlowVersionStartsFlowsAnew) {
  uint64_t seed = 0;
  {
    Programs p(options());
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
    auto meta = read_meta(p);
    seed = meta.seed[0];
    meta.flow_version = LS_FLOW_VERSION + 1;
    uint32_t zero = 0;
    ASSERT_EQ(bpf_map_update_elem(p.map("ls_meta"), &zero, &meta, BPF_ANY), 0);
  }
  Programs p(options());
  auto r = p.load();
  ASSERT_TRUE(r);
  EXPECT_EQ(story(*r, "ls_flow4").origin, MapOrigin::kRebuilt);
  EXPECT_EQ(story(*r, "ls_svc").origin, MapOrigin::kReused);
  EXPECT_NE(read_meta(p).seed[0], seed);
}

TEST_F(ProgramsTest, NoBpffsIsAnErrorThatHelps) {
  auto o = options();
  o.pin = "/tmp/ls-no-bpffs-here";
  auto r = Programs(o).load();
  ASSERT_FALSE(r);
  EXPECT_THAT(r.error().text(), HasSubstr("mount -t bpf bpf /sys/fs/bpf"));
}

TEST_F(ProgramsTest, RemovedPinsComeBackWithTheSameMaps) {
  Programs p(options());
  ASSERT_TRUE(p.load());
  ASSERT_TRUE(p.commit());
  EXPECT_EQ(*p.check(true), 0);
  ASSERT_TRUE(bpf::unpin(pin() + "/maps/ls_be"));
  EXPECT_EQ(*p.check(false), 1);
  ASSERT_TRUE(bpf::unpin(pin() + "/maps/ls_svc"));
  UniqueFd other(bpf_map_create(BPF_MAP_TYPE_ARRAY, "x", 4, 24, 1, nullptr));
  ASSERT_TRUE(bpf::pin(other.get(), pin() + "/maps/ls_svc", 0640));
  EXPECT_EQ(*p.check(false), 0) << "the cheap check only looks for names";
  EXPECT_EQ(*p.check(true), 1);
  auto pinned = bpf::open_pinned(pin() + "/maps/ls_svc", bpf::PinKind::kMap);
  EXPECT_EQ(id_of(pinned->get()), id_of(p.map("ls_svc")));
  // The whole bpffs goes away and another one is mounted.
  ASSERT_EQ(umount2(bpffs().c_str(), MNT_DETACH), 0);
  EXPECT_FALSE(p.check(false)) << "nothing to pin to";
  ASSERT_EQ(mount("bpf", bpffs().c_str(), "bpf", 0, nullptr), 0);
  EXPECT_EQ(*p.check(false), int(p.maps().size()));
  EXPECT_EQ(*p.check(true), 0);
}

// ---- DNS ----

constexpr std::array kDnsAnswers{"ls_dns_conf", "ls_dns_bucket", "ls_dns_data", "ls_dns_listen"};

TEST_F(ProgramsTest, AnswersBeginAnewTogetherAndNothingElseDoes) {
  ls_dns_conf conf{};
  conf.enabled = 1;
  uint32_t zero = 0, rate = 0;
  std::map<std::string, uint32_t> before;
  {
    Programs p(options());
    ASSERT_TRUE(p.load());
    ASSERT_TRUE(p.commit());
    ASSERT_EQ(bpf_map_update_elem(p.map("ls_dns_conf"), &zero, &conf, BPF_ANY), 0);
    rate = id_of(p.map("ls_dns_rate"));
    for (auto* name : kDnsAnswers) before[name] = id_of(p.map(name));
  }
  for (bool names : {true, false}) {
    SCOPED_TRACE(names);
    auto o = options();
    names ? o.sizes.dns_names = 7000 : o.sizes.dns_megabytes = 3;
    Programs p(o);
    auto r = p.load();
    ASSERT_TRUE(r) << r.error().text();
    EXPECT_FALSE(r->dns_kept);
    EXPECT_TRUE(r->tables_kept);
    for (auto* name : kDnsAnswers) {
      EXPECT_EQ(story(*r, name).origin, MapOrigin::kRebuilt) << name;
      EXPECT_NE(id_of(p.map(name)), before[name]) << name;
    }
    auto changed = names ? "ls_dns_bucket" : "ls_dns_data";
    EXPECT_THAT(story(*r, changed).why, HasSubstr("entries"));
    EXPECT_THAT(story(*r, "ls_dns_listen").why, HasSubstr("starts empty"));
    EXPECT_EQ(id_of(p.map("ls_dns_rate")), rate);
    EXPECT_EQ(story(*r, "ls_svc").origin, MapOrigin::kReused);
    ls_dns_conf now{};
    ASSERT_EQ(bpf_map_lookup_elem(p.map("ls_dns_conf"), &zero, &now), 0);
    EXPECT_EQ(now.enabled, 0u) << "nothing is answered from tables that are not filled";
    // Not committed: the set before still counts, and the next start finds it.
  }
  Programs p(options());
  auto r = p.load();
  ASSERT_TRUE(r);
  EXPECT_TRUE(r->dns_kept);
  for (auto* name : kDnsAnswers) EXPECT_EQ(id_of(p.map(name)), before[name]) << name;
}

TEST_F(ProgramsTest, MissingOrStrangeAnswerMapTakesTheOthersAlong) {
  for (std::string gone : {"ls_dns_conf", "ls_dns_data", "ls_dns_listen"}) {
    SCOPED_TRACE(gone);
    {
      Programs p(options());
      ASSERT_TRUE(p.load());
      ASSERT_TRUE(p.commit());
      ASSERT_TRUE(bpf::unpin(pin() + "/maps/" + gone));
    }
    Programs p(options());
    auto r = p.load();
    ASSERT_TRUE(r) << r.error().text();
    EXPECT_FALSE(r->dns_kept);
    EXPECT_EQ(story(*r, gone).origin, MapOrigin::kRebuilt);
    // The listeners alone are written anew at every start, names are not found by them.
    auto others = gone == "ls_dns_listen" ? MapOrigin::kReused : MapOrigin::kRebuilt;
    EXPECT_EQ(story(*r, "ls_dns_bucket").origin, others);
    ASSERT_TRUE(p.commit());
  }
}

TEST_F(ProgramsTest, SwitchedOffDnsIsNotLoaded) {
  auto o = options();
  o.dns = false;
  Programs p(o);
  auto r = p.load();
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(r->dns_xdp_error + r->dns_tc_error, "") << "no fault";
  EXPECT_EQ(p.program("ls_dns_xdp"), -1);
  EXPECT_EQ(p.program("ls_dns_try"), -1);
  EXPECT_THAT(p.load_error(datapath::ProgramObject::kDnsTc), HasSubstr("dns.kernel"));
  EXPECT_GE(p.map("ls_dns_conf"), 0);
}

TEST_F(ProgramsTest, NetworkChangesVoidNextHops) {
  Programs p(options());
  ASSERT_TRUE(p.load());
  auto gen = [&] {
    ls_ctl c{};
    uint32_t zero = 0;
    EXPECT_EQ(bpf_map_lookup_elem(p.map("ls_ctl"), &zero, &c), 0);
    return c.nh_gen;
  };
  auto before = gen();
  p.on_network_change();
  EXPECT_EQ(gen(), before + 1);
}

}  // namespace
}  // namespace ls
