/// Kills a start between any two of its steps; the next start must find its way, and purge must leave
/// nothing.
#include <signal.h>

#include "datapath_fixture.h"

namespace ls {
namespace {

using namespace test;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr size_t kMaps = 34, kLinks = 16;

class RestartTest : public DatapathFixture {
 protected:
  void SetUp() override {
    DatapathFixture::SetUp();
    if (IsSkipped()) return;
    config_.cgroup = make_group();
    config_.uplinks = {"up0"};
    config_.ports = {"port1"};
    config_.dns_xdp = datapath::XdpChoice::kNative;
    add_veth("up0", "up0peer");
    add_veth("port1", "port1peer");
  }

  /// A whole start as the daemon does it; `steps` may end the process.
  Result<> start(Sizes sizes, datapath::Steps steps,
                 const std::function<void(Programs&, Attachments&)>& then = {}) {
    auto o = options(sizes);
    o.steps = std::move(steps);
    o.migrate_flows = no_flows;
    Programs programs(std::move(o));
    auto report = programs.load();
    if (!report) return tl::make_unexpected(report.error());
    Attachments attachments(programs, config_);
    LS_TRY(attachments.start());
    if (then) then(programs, attachments);
    return {};
  }

  /// Dies with SIGKILL before step `k`. False: there are not so many steps.
  bool start_and_die(Sizes sizes, int k, std::string* died_at) {
    int pipe_fds[2];
    EXPECT_EQ(pipe(pipe_fds), 0);
    int status = in_child([&] {
      int n = 0;
      auto r = start(sizes, [&](std::string_view what) {
        if (n++ != k) return;
        (void)!write(pipe_fds[1], what.data(), what.size());
        raise(SIGKILL);
      });
      return r ? 0 : 1;
    });
    close(pipe_fds[1]);
    char text[256];
    ssize_t got = read(pipe_fds[0], text, sizeof text);
    close(pipe_fds[0]);
    if (died_at) died_at->assign(text, size_t(std::max<ssize_t>(got, 0)));
    if (WIFSIGNALED(status)) return true;
    EXPECT_EQ(WEXITSTATUS(status), 0) << "the start itself failed";
    return false;
  }

  /// Before the next start: the set under `maps` is complete, or the next start can complete one of the two
  /// complete ones.
  void expect_whole_set(bool had_one) {
    bool maps = bpf::exists(pin() + "/maps"), old = bpf::exists(pin() + "/maps_old");
    if (maps) {
      EXPECT_THAT(pins("maps"), SizeIs(kMaps));
    } else if (had_one) {
      ASSERT_TRUE(old);
      EXPECT_THAT(pins("maps_old"), SizeIs(kMaps));
      EXPECT_THAT(pins("maps_next"), SizeIs(kMaps));
    }
  }

  /// DNS is answered by XDP on the uplink, and by a second program elsewhere.
  void expect_attached() {
    EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), 1u);
    EXPECT_NE(xdp_program("up0"), 0u);
    EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 2u);
    EXPECT_EQ(tcx_count("lo", bpf::kTcxEgress), 2u);
  }

  void expect_good(Programs& p, Attachments& a) {
    EXPECT_EQ(failures(a.status()), "");
    EXPECT_THAT(pins("maps"), SizeIs(kMaps));
    EXPECT_THAT(pins("links"), SizeIs(kLinks));
    EXPECT_FALSE(bpf::exists(pin() + "/maps_next"));
    EXPECT_FALSE(bpf::exists(pin() + "/maps_old"));
    EXPECT_EQ(a.check(true).value_or(-1), 0);
    expect_attached();
    EXPECT_EQ(tcx_count("up0", bpf::kTcxEgress), 1u);
    EXPECT_EQ(tcx_count("port1", bpf::kTcxEgress), 1u);
    EXPECT_EQ(cgroup_count(config_.cgroup, BPF_CGROUP_INET4_CONNECT), 1u);
    EXPECT_GE(p.map("ls_be"), 0);
  }

  void expect_nothing() {
    auto report = datapath::purge(pin());
    EXPECT_THAT(report.problems, IsEmpty());
    EXPECT_THAT(everything(), IsEmpty());
    for (auto* d : {"up0", "port1", "lo"}) {
      EXPECT_EQ(tcx_count(d, bpf::kTcxIngress) + tcx_count(d, bpf::kTcxEgress), 0u) << d;
    }
    EXPECT_EQ(xdp_program("up0"), 0u);
    EXPECT_EQ(cgroup_count(config_.cgroup, BPF_CGROUP_INET4_CONNECT), 0u);
  }

  static void put_service(Programs& p) {
    ls_svc_key key{};
    key.port_be = 80;
    ls_svc_ref ref{7};
    EXPECT_EQ(bpf_map_update_elem(p.map("ls_svc"), &key, &ref, BPF_ANY), 0);
  }
  static bool has_service(Programs& p) {
    ls_svc_key key{};
    key.port_be = 80;
    ls_svc_ref ref{};
    return bpf_map_lookup_elem(p.map("ls_svc"), &key, &ref) == 0 && ref.id == 7;
  }

  AttachmentConfig config_;
};

TEST_F(RestartTest, FirstStartKilledAnywhere) {
  int k = 0;
  for (std::string where; start_and_die(small(), k, &where); k++) {
    SCOPED_TRACE(fmt::format("killed before step {}: {}", k, where));
    expect_whole_set(false);
    if (k % 2) {  // purge works on every half of a start, too
      expect_nothing();
    }
    auto r = start(small(), {}, [&](Programs& p, Attachments& a) { expect_good(p, a); });
    ASSERT_TRUE(r) << r.error().text();
    expect_nothing();
    if (HasFailure()) return;
  }
  EXPECT_GT(k, int(kMaps + 2 * kLinks)) << "as many steps as there are things to leave behind";
  expect_nothing();
}

TEST_F(RestartTest, ResizeKilledAnywhereKeepsServicesAndPrograms) {
  auto bigger = small();
  bigger.services *= 2;
  bigger.backends *= 2;
  bigger.flows *= 4;
  bigger.dns_megabytes *= 2;
  auto first = start(small(), {}, [&](Programs& p, Attachments&) { put_service(p); });
  ASSERT_TRUE(first) << first.error().text();
  int k = 0;
  for (bool more = true; more; k++) {
    // To and fro, so that each round resizes what the round before left.
    auto sizes = k % 2 ? small() : bigger;
    std::string where;
    more = start_and_die(sizes, k, &where);
    SCOPED_TRACE(fmt::format("killed before step {}: {}", k, where));
    expect_whole_set(true);
    // The programs of one of the two daemons are on every device all the time.
    expect_attached();
    EXPECT_EQ(cgroup_count(config_.cgroup, BPF_CGROUP_INET6_CONNECT), 1u);
    auto r = start(sizes, {}, [&](Programs& p, Attachments& a) {
      expect_good(p, a);
      EXPECT_TRUE(has_service(p));
      EXPECT_EQ(bpf::map_layout(p.map("ls_flow4"))->max_entries, sizes.flows);
      EXPECT_EQ(bpf::map_layout(p.map("ls_dns_data"))->max_entries, sizes.dns_megabytes);
    });
    ASSERT_TRUE(r) << r.error().text();
    if (HasFailure()) return;
  }
  expect_nothing();
  EXPECT_GT(k, int(kMaps + kLinks));
}

TEST_F(RestartTest, PlainRestartKilledAnywhereNeverDetaches) {
  auto first = start(small(), {}, [&](Programs& p, Attachments&) { put_service(p); });
  ASSERT_TRUE(first) << first.error().text();
  int k = 0;
  for (std::string where; start_and_die(small(), k, &where); k++) {
    SCOPED_TRACE(fmt::format("killed before step {}: {}", k, where));
    expect_attached();
    EXPECT_EQ(cgroup_count(config_.cgroup, BPF_CGROUP_UDP4_RECVMSG), 1u);
    EXPECT_THAT(pins("maps"), SizeIs(kMaps));
    EXPECT_THAT(pins("links"), SizeIs(kLinks));
  }
  EXPECT_GE(k, int(kLinks));
  auto r = start(small(), {}, [&](Programs& p, Attachments& a) {
    expect_good(p, a);
    EXPECT_TRUE(has_service(p));
  });
  EXPECT_TRUE(r);
  expect_nothing();
}

}  // namespace
}  // namespace ls
