// The overlay's programs at their places: before the others, whatever is attached first, with tcx and with clsact.
#include <cap-ng.h>
#include <grp.h>
#include <sys/prctl.h>

#include <algorithm>

#include "bpf/tc_filter.h"
#include "datapath/attachments.h"
#include "datapath/device_hook.h"
#include "datapath_fixture.h"
#include "netlink/filters.h"

namespace ls {
namespace {

using namespace test;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using State = AttachmentStatus::State;

class OverlayAttachmentsTest : public DatapathFixture, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    DatapathFixture::SetUp();
    if (IsSkipped()) return;
    add_veth("up0", "up0peer");
    add_veth("port1", "port1peer");
    add_veth("ls0001", "cpeer1");  // as loadstar-cni makes them
    run("ip link set ls0001 up alias 'loadstar-cni m-dcos c1 eth0'");
    add_veth("dock1", "dockpeer1");
    run("ip link add d-dcos type bridge; ip link set dock1 master d-dcos");
    run("ip link add vtep1024 type vxlan external dstport 64000");
  }
  AttachmentConfig config(bool overlay = true) const {
    AttachmentConfig c;
    c.socket = false;
    c.uplinks = {"up0"};
    c.ports = {"port?"};
    c.bridges = {};
    c.loopback = false;
    c.dns_xdp = datapath::XdpChoice::kOff;
    c.tcx = GetParam();
    if (overlay) {
      c.vtep = "vtep1024";
      c.overlay_bridges = {"d-dcos", "m-dcos"};
    }
    return c;
  }
  Programs::Options overlay_options(bool overlay = true) const {
    auto o = options();
    o.overlay = overlay;
    return o;
  }

  struct Daemon {
    Programs programs;
    Attachments attachments;
    Daemon(Programs::Options o, AttachmentConfig c) : programs(std::move(o)), attachments(programs, std::move(c)) {
      auto r = programs.load();
      EXPECT_TRUE(r) << r.error().text();
      EXPECT_EQ(r->packet_error + r->overlay_error + r->dns_tc_error, "");
      auto s = attachments.start();
      EXPECT_TRUE(s) << s.error().text();
    }
    std::string name_of(uint32_t id) const {
      for (auto& p : programs.programs())
        if (p.id == id) return p.name;
      return fmt::format("({})", id);
    }
    void events() { EXPECT_TRUE(attachments.on_readable()); }
    int check() { return attachments.check(true).value_or(-1); }
  };

  /// Names of the programs at one side of a device in the order they run in. A number in brackets is not of this daemon.
  std::vector<std::string> names(const Daemon& d, const std::string& device, bool ingress = true) const {
    std::vector<std::string> out;
    if (GetParam()) {
      auto ids = bpf::list_tcx(ifindex(device), ingress ? bpf::TcSide::kIngress : bpf::TcSide::kEgress);
      EXPECT_TRUE(ids);
      for (auto id : *ids) out.push_back(d.name_of(id));
      return out;
    }
    auto filters = netlink::list_bpf_filters(ifindex(device));
    EXPECT_TRUE(filters);
    std::sort(filters->begin(), filters->end(), [](auto& a, auto& b) { return a.priority < b.priority; });
    for (auto& f : *filters)
      if (f.ingress == ingress) out.push_back(d.name_of(f.program_id));
    return out;
  }
  void expect_all(const Daemon& d) const {
    EXPECT_EQ(failures(d.attachments.status()), "");
    EXPECT_THAT(names(d, "vtep1024"), ElementsAre("ls_ovl_in", "ls_uplink_in"));
    EXPECT_THAT(names(d, "vtep1024", false), ElementsAre("ls_ovl_out", "ls_uplink_out"));
    EXPECT_THAT(names(d, "up0"), ElementsAre("ls_ovl_uplink", "ls_uplink_in", "ls_dns_uplink"));
    EXPECT_THAT(names(d, "ls0001"), ElementsAre("ls_ovl_port", "ls_port_in", "ls_dns_port"));
    EXPECT_THAT(names(d, "ls0001", false), ElementsAre("ls_port_out"));
    EXPECT_THAT(names(d, "dock1"), ElementsAre("ls_ovl_bridge", "ls_bridge_in", "ls_dns_port"));
    EXPECT_THAT(names(d, "port1"), ElementsAre("ls_port_in", "ls_dns_port")) << "not of the overlay";
  }
  void expect_none(const Daemon& d) const {
    EXPECT_EQ(failures(d.attachments.status()), "");
    EXPECT_THAT(names(d, "vtep1024"), IsEmpty());
    EXPECT_THAT(names(d, "vtep1024", false), IsEmpty());
    EXPECT_THAT(names(d, "up0"), ElementsAre("ls_uplink_in", "ls_dns_uplink"));
    EXPECT_THAT(names(d, "ls0001"), ElementsAre("ls_port_in", "ls_dns_port")) << "a port by its alias";
    EXPECT_THAT(names(d, "dock1"), IsEmpty());
    EXPECT_THAT(names(d, "port1"), ElementsAre("ls_port_in", "ls_dns_port"));
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, OverlayAttachmentsTest, ::testing::Bool(), [](auto& p) { return p.param ? "Tcx" : "Clsact"; });

TEST_P(OverlayAttachmentsTest, ComesFirstEverywhereAndIsTakenOver) {
  {
    Daemon d(overlay_options(), config());
    expect_all(d);
    EXPECT_EQ(d.check(), 0);
  }
  Daemon d(overlay_options(), config());
  expect_all(d);
  EXPECT_EQ(d.check(), 0);
}

TEST_P(OverlayAttachmentsTest, ComesAndGoesWhileTheDaemonRuns) {
  Daemon d(overlay_options(), config(false));
  expect_none(d);
  ASSERT_TRUE(d.attachments.set_overlay("vtep1024", {"d-dcos"}));
  expect_all(d);
  EXPECT_EQ(d.check(), 0);
  ASSERT_TRUE(d.attachments.set_overlay("", {}));
  expect_none(d);
  EXPECT_EQ(d.check(), 0);
}

TEST_P(OverlayAttachmentsTest, WhatTheDaemonBeforeAttachedGoesWithTheOverlay) {
  { Daemon d(overlay_options(), config()); }
  Daemon d(overlay_options(false), config(false));
  expect_none(d);
}

TEST_P(OverlayAttachmentsTest, DevicesAreFollowed) {
  Daemon d(overlay_options(), config());
  add_veth("ls0002", "cpeer2");
  run("ip link set ls0002 up");  // the kernel tells of another alias only while the device is up
  d.events();
  EXPECT_THAT(names(d, "ls0002"), IsEmpty()) << "nobody has said yet whose it is";
  run("ip link set ls0002 alias 'loadstar-cni m-dcos c2 eth0'");
  d.events();
  EXPECT_THAT(names(d, "ls0002"), ElementsAre("ls_ovl_port", "ls_port_in", "ls_dns_port"));
  // A device of a CNI bridge that is none of the overlay's is a bridge port of load balancing only.
  run("ip link add cni7 type bridge; ip link set ls0002 master cni7");
  d.events();
  EXPECT_THAT(names(d, "ls0002"), ElementsAre("ls_bridge_in", "ls_dns_port"));
  run("ip link set ls0002 nomaster; ip link del cni7; ip link add m-dcos type bridge; ip link set ls0002 master m-dcos");
  d.events();
  EXPECT_THAT(names(d, "ls0002"), ElementsAre("ls_ovl_bridge", "ls_bridge_in", "ls_dns_port"));
  // The VTEP is made anew.
  run("ip link del vtep1024; ip link add vtep1024 type vxlan external dstport 64000");
  d.events();
  expect_all(d);
}

TEST_P(OverlayAttachmentsTest, TakenOffFromOutsideComesBackInItsPlace) {
  Daemon d(overlay_options(), config());
  if (GetParam()) {
    for (auto& name : pins("links")) {
      if (!name.starts_with("ovl_uplink") && !name.starts_with("ovl_bridge")) continue;
      auto link = bpf::Link::open_pinned(pin() + "/links/" + name);
      ASSERT_TRUE(link && link->detach()) << name;
    }
  } else {
    run("tc filter del dev up0 ingress pref 20; tc filter del dev dock1 ingress pref 20");
  }
  EXPECT_THAT(names(d, "up0"), ElementsAre("ls_uplink_in", "ls_dns_uplink"));
  EXPECT_EQ(d.check(), 2);
  expect_all(d);
  EXPECT_EQ(d.check(), 0);
}

TEST_P(OverlayAttachmentsTest, WithoutItsProgramsThePlacesSayWhy) {
  Daemon d(overlay_options(false), config());
  auto all = d.attachments.status();
  ASSERT_TRUE(find(all, "ovl_in", "vtep1024"));
  EXPECT_EQ(find(all, "ovl_in", "vtep1024")->state, State::kFailed);
  EXPECT_THAT(find(all, "ovl_in", "vtep1024")->error, HasSubstr("ls_ovl_in is not loaded"));
  EXPECT_EQ(find(all, "uplink_in", "up0")->state, State::kAttached);
}

TEST_P(OverlayAttachmentsTest, HeldPlacesStayAsTheyWereLeft) {
  auto ids = [&] {
    std::vector<uint32_t> out;
    if (GetParam()) return *bpf::list_tcx(ifindex("vtep1024"), bpf::TcSide::kIngress);
    auto filters = netlink::list_bpf_filters(ifindex("vtep1024"));
    for (auto& f : *filters)
      if (f.ingress) out.push_back(f.program_id);
    return out;
  };
  { Daemon d(overlay_options(), config()); }
  auto left = ids();
  auto c = config(false);
  c.hold_overlay = true;
  Daemon d(overlay_options(), c);
  EXPECT_TRUE(d.attachments.overlay_held());
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_EQ(ids(), left);
  EXPECT_EQ(names(d, "dock1").size(), 3u) << "a port of a bridge that nobody has named yet";
  EXPECT_EQ(d.check(), 0) << "what is held is no drift";
  EXPECT_EQ(ids(), left);
  ASSERT_TRUE(d.attachments.set_overlay("vtep1024", {"d-dcos", "m-dcos"}));
  EXPECT_FALSE(d.attachments.overlay_held());
  expect_all(d);
  EXPECT_EQ(d.check(), 0);
}

TEST_P(OverlayAttachmentsTest, HeldPlacesGoWhenThereIsNoOverlayAnyMore) {
  { Daemon d(overlay_options(), config()); }
  auto c = config(false);
  c.hold_overlay = true;
  Daemon d(overlay_options(), c);
  run("ip link del ls0001");
  d.events();
  for (auto& name : pins("links")) EXPECT_THAT(name, Not(HasSubstr("ls0001")));
  ASSERT_TRUE(d.attachments.set_overlay("", {}));
  add_veth("ls0001", "cpeer1");
  run("ip link set ls0001 up alias 'loadstar-cni m-dcos c1 eth0'");
  d.events();
  expect_none(d);
}

TEST_P(OverlayAttachmentsTest, PurgeTakesEverything) {
  { Daemon d(overlay_options(), config()); }
  auto report = datapath::purge(pin());
  EXPECT_THAT(report.problems, IsEmpty());
  for (auto* device : {"vtep1024", "up0", "ls0001", "dock1"}) {
    EXPECT_EQ(tcx_count(device, bpf::kTcxIngress), 0u);
    EXPECT_EQ(netlink::count_filters(ifindex(device)).value_or(0), 0u);
  }
  EXPECT_THAT(everything(), IsEmpty());
}

/// The unit gives CAP_PERFMON for loading; the daemon gives it up at once.
TEST_P(OverlayAttachmentsTest, PerfmonIsOnlyNeededToLoad) {
  ASSERT_TRUE(bpf::make_pin_dir(pin(), 0750));
  ASSERT_EQ(chown(pin().c_str(), 65534, 65534), 0);
  int status = in_child([&] {
    if (prctl(PR_SET_KEEPCAPS, 1) != 0 || setgroups(0, nullptr) != 0) return 1;
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) return 2;
    capng_clear(CAPNG_SELECT_CAPS);
    for (auto cap : {CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON}) capng_update(CAPNG_ADD, capng_type_t(CAPNG_EFFECTIVE | CAPNG_PERMITTED), unsigned(cap));
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) return 3;
    auto o = overlay_options();
    auto c = config(false);
    Daemon d(o, c);
    capng_update(CAPNG_DROP, capng_type_t(CAPNG_EFFECTIVE | CAPNG_PERMITTED), CAP_PERFMON);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) return 8;
    if (!d.attachments.set_overlay("vtep1024", {"d-dcos"})) return 4;
    auto text = failures(d.attachments.status());
    std::fputs(text.c_str(), stderr);
    if (!text.empty()) return 5;
    if (names(d, "up0") != std::vector<std::string>{"ls_ovl_uplink", "ls_uplink_in", "ls_dns_uplink"}) return 6;
    return d.check() == 0 ? 0 : 7;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << WEXITSTATUS(status);
}

// ---- only tcx has an order that can be wrong ----

class OverlayOrderTest : public OverlayAttachmentsTest {};
INSTANTIATE_TEST_SUITE_P(Ways, OverlayOrderTest, ::testing::Values(true));

TEST_P(OverlayOrderTest, WrongOrderIsPutRight) {
  Daemon d(overlay_options(), config());
  // Somebody moves ours behind the others, keeping the pin.
  auto path = fmt::format("{}/links/ovl_port-{}-ls0001", pin(), ifindex("ls0001"));
  auto link = bpf::Link::open_pinned(path);
  ASSERT_TRUE(link && link->detach());
  auto moved = bpf::Link::create_tcx(d.programs.program("ls_ovl_port"), ifindex("ls0001"), bpf::TcSide::kIngress);
  ASSERT_TRUE(moved);
  ASSERT_TRUE(bpf::unpin(path));
  ASSERT_TRUE(moved->pin(path, 0640));
  EXPECT_THAT(names(d, "ls0001"), ElementsAre("ls_port_in", "ls_dns_port", "ls_ovl_port"));
  // The next daemon takes the pinned link over as it is, and puts it right when it looks closely.
  moved = {};
  Daemon next(overlay_options(), config());
  EXPECT_THAT(names(next, "ls0001"), ElementsAre("ls_port_in", "ls_dns_port", "ls_ovl_port"));
  EXPECT_EQ(next.check(), 1);
  expect_all(next);
  EXPECT_EQ(next.check(), 0);
  EXPECT_EQ(next.attachments.drift_repaired(), 1u);
}

TEST_P(OverlayOrderTest, ProgramsOfOthersStayWhereTheyAre) {
  auto program = foreign(BPF_PROG_TYPE_SCHED_CLS), second = foreign(BPF_PROG_TYPE_SCHED_CLS);
  auto theirs = bpf::Link::create_tcx(program.get(), ifindex("up0"), bpf::TcSide::kIngress);
  ASSERT_TRUE(theirs);
  Daemon d(overlay_options(), config(false));
  auto last = bpf::Link::create_tcx(second.get(), ifindex("up0"), bpf::TcSide::kIngress);
  ASSERT_TRUE(last);
  ASSERT_TRUE(d.attachments.set_overlay("vtep1024", {"d-dcos"}));
  auto number = [](const UniqueFd& fd) { return fmt::format("({})", bpf::program_info(fd.get())->id); };
  EXPECT_THAT(names(d, "up0"), ElementsAre(number(program), "ls_ovl_uplink", "ls_uplink_in", "ls_dns_uplink", number(second)));
  EXPECT_EQ(d.check(), 0);
}

}  // namespace
}  // namespace ls
