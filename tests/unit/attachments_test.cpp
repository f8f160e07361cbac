#include "datapath/attachments.h"

#include <cap-ng.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <sys/prctl.h>

#include <algorithm>
#include <set>

#include "bpf/tc_filter.h"
#include "datapath/device_hook.h"
#include "datapath_fixture.h"
#include "netlink/filters.h"

namespace ls {
namespace {

using namespace test;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class AttachmentsTest : public DatapathFixture {
 protected:
  void SetUp() override {
    DatapathFixture::SetUp();
    if (IsSkipped()) return;
    group_ = make_group();
    add_veth("up0", "up0peer");
    add_veth("port1", "port1peer");
    run("ip link add br0 type bridge");
    add_veth("other", "otherpeer");
  }
  AttachmentConfig config() const {
    AttachmentConfig c;
    c.cgroup = group_;
    c.uplinks = {"up0"};
    c.ports = {"port?"};
    c.bridges = {"br0"};
    c.dns = false;  // dns_attachments_test.cpp
    return c;
  }
  std::set<std::pair<std::string, uint32_t>> link_ids(const Attachments& a) {
    std::set<std::pair<std::string, uint32_t>> out;
    for (auto& s : a.status()) out.insert({s.hook + s.device, s.link_id});
    return out;
  }

  struct Daemon {
    Programs programs;
    Attachments attachments;
    Daemon(Programs::Options o, AttachmentConfig c)
        : programs(std::move(o)), attachments(programs, std::move(c)) {
      auto r = programs.load();
      EXPECT_TRUE(r) << r.error().text();
      EXPECT_EQ(r->packet_error + r->socket_error, "");
      auto s = attachments.start();
      EXPECT_TRUE(s) << s.error().text();
    }
    /// As the daemon does when the descriptor is readable.
    void events() { EXPECT_TRUE(attachments.on_readable()); }
  };

  std::string group_;
};

TEST_F(AttachmentsTest, AttachesEveryRoleAndNothingElse) {
  Daemon d(options(), config());
  auto all = d.attachments.status();
  EXPECT_EQ(failures(all), "");
  EXPECT_THAT(all, SizeIs(8 + 2 + 2 + 1));
  EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), 1u);
  EXPECT_EQ(tcx_count("up0", bpf::kTcxEgress), 1u);
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
  EXPECT_EQ(tcx_count("lo", bpf::kTcxEgress), 1u);
  EXPECT_EQ(tcx_count("lo", bpf::kTcxIngress), 0u);
  EXPECT_EQ(tcx_count("other", bpf::kTcxIngress), 0u);
  EXPECT_EQ(cgroup_count(group_, BPF_CGROUP_INET4_CONNECT), 1u);
  EXPECT_EQ(cgroup_count(group_, BPF_CGROUP_INET6_GETPEERNAME), 1u);
  auto* s = find(all, "uplink_in", "up0");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->method, "tcx");
  EXPECT_EQ(s->target, uint64_t(ifindex("up0")));
  auto want = bpf::program_info(d.programs.program("ls_uplink_in"));
  EXPECT_EQ(s->program_id, want->id);
  EXPECT_THAT(pins("links"), Contains("uplink_in-" + std::to_string(ifindex("up0")) + "-up0"));
  struct stat st {};
  ASSERT_EQ(stat((pin() + "/links").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0750u);
}

TEST_F(AttachmentsTest, StoppedDaemonLeavesProgramsAndTheNextTakesThemOver) {
  std::set<std::pair<std::string, uint32_t>> before;
  uint32_t old_program = 0;
  {
    Daemon d(options(), config());
    before = link_ids(d.attachments);
    old_program = find(d.attachments.status(), "port_in", "port1")->program_id;
  }
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
  EXPECT_EQ(cgroup_count(group_, BPF_CGROUP_UDP4_SENDMSG), 1u);
  Daemon d(options(), config());
  EXPECT_EQ(link_ids(d.attachments), before) << "links are never detached and attached again";
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
  auto all = d.attachments.status();
  EXPECT_EQ(failures(all), "");
  EXPECT_NE(find(all, "port_in", "port1")->program_id, old_program) << "but they run the new programs";
  EXPECT_EQ(*d.attachments.check(true), 0);
}

TEST_F(AttachmentsTest, ChangedConfigurationMovesPrograms) {
  { Daemon d(options(), config()); }
  auto c = config();
  c.uplinks = {"other"};
  c.loopback = false;
  c.socket = false;
  Daemon d(options(), c);
  EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), 0u);
  EXPECT_EQ(tcx_count("other", bpf::kTcxIngress), 1u);
  EXPECT_EQ(tcx_count("lo", bpf::kTcxEgress), 0u);
  EXPECT_EQ(cgroup_count(group_, BPF_CGROUP_INET4_CONNECT), 0u);
  EXPECT_THAT(pins("links"), SizeIs(4));
}

TEST_F(AttachmentsTest, OtherGroupIsServedAndTheOldOneLeft) {
  { Daemon d(options(), config()); }
  auto c = config();
  c.cgroup = make_group();
  Daemon d(options(), c);
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_EQ(cgroup_count(c.cgroup, BPF_CGROUP_INET4_CONNECT), 1u);
  EXPECT_EQ(cgroup_count(group_, BPF_CGROUP_INET4_CONNECT), 0u);
}

TEST_F(AttachmentsTest, DevicesAreFollowedByEvents) {
  Daemon d(options(), config());
  add_veth("port2", "port2peer");
  run("ip link set other master br0");
  d.events();
  EXPECT_EQ(tcx_count("port2", bpf::kTcxIngress), 1u) << "new device of the glob";
  EXPECT_EQ(tcx_count("other", bpf::kTcxEgress), 1u) << "new port of the bridge";
  run("ip link set other nomaster");
  d.events();
  EXPECT_EQ(tcx_count("other", bpf::kTcxEgress), 0u);
  int index = ifindex("port2");
  run("ip link del port2");
  d.events();
  EXPECT_EQ(find(d.attachments.status(), "port_in", "port2"), nullptr);
  for (auto& name : pins("links"))
    EXPECT_EQ(name.find(fmt::format("-{}-", index)), std::string::npos) << name;
  EXPECT_EQ(d.attachments.drift_repaired(), 0u) << "devices that come and go are no drift";

  run("ip link set up0 name old0");
  d.events();
  EXPECT_EQ(tcx_count("old0", bpf::kTcxIngress), 0u) << "not an uplink by its new name";
  EXPECT_THAT(d.attachments.warnings(), Contains(HasSubstr("up0 does not exist")));
  run("ip link set other name up0");
  d.events();
  EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), 1u);
  EXPECT_EQ(failures(d.attachments.status()), "");
}

TEST_F(AttachmentsTest, BridgeThatIsMadeLater) {
  auto c = config();
  c.bridges = {"br7"};
  Daemon d(options(), c);
  run("ip link add tmp7 type bridge; ip link set other master tmp7");
  d.events();
  EXPECT_EQ(tcx_count("other", bpf::kTcxIngress), 0u);
  run("ip link set tmp7 name br7");
  d.events();
  EXPECT_EQ(tcx_count("other", bpf::kTcxIngress), 1u);
}

TEST_F(AttachmentsTest, NameWithADotIsPinned) {
  auto c = config();
  run("ip link set other name oth.7");
  c.uplinks = {"oth.7"};
  { Daemon d(options(), c); }
  Daemon d(options(), c);
  auto all = d.attachments.status();
  EXPECT_EQ(failures(all), "");
  EXPECT_THAT(pins("links"), Contains(HasSubstr("oth%2e7")));
}

TEST_F(AttachmentsTest, LinksOfDevicesThatWentMeanwhileAreRemoved) {
  { Daemon d(options(), config()); }
  EXPECT_THAT(pins("links"), SizeIs(13));
  run("ip link del port1");
  Daemon d(options(), config());
  EXPECT_THAT(pins("links"), SizeIs(11));
  EXPECT_EQ(failures(d.attachments.status()), "");
}

TEST_F(AttachmentsTest, DetachedFromOutsideIsRepairedAndCounted) {
  Daemon d(options(), config());
  for (auto& name : pins("links")) {
    if (!name.starts_with("port_in") && !name.starts_with("connect4")) continue;
    auto link = bpf::Link::open_pinned(pin() + "/links/" + name);
    ASSERT_TRUE(link && link->detach()) << name;
  }
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 0u);
  EXPECT_EQ(*d.attachments.check(false), 2);
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
  EXPECT_EQ(cgroup_count(group_, BPF_CGROUP_INET4_CONNECT), 1u);
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_EQ(*d.attachments.check(true), 0);
  EXPECT_EQ(d.attachments.drift_repaired(), 2u);
}

TEST_F(AttachmentsTest, RemovedOrReplacedPinsAndProgramsAreRepaired) {
  Daemon d(options(), config());
  auto port = pin() + "/links/port_in-" + std::to_string(ifindex("port1")) + "-port1";
  ASSERT_TRUE(bpf::unpin(port));
  EXPECT_EQ(*d.attachments.check(false), 1);
  EXPECT_TRUE(bpf::exists(port));
  // Another link of somebody under our name.
  auto program = foreign(BPF_PROG_TYPE_SCHED_CLS);
  auto strange = bpf::Link::create_tcx(program.get(), ifindex("other"), bpf::TcSide::kIngress);
  ASSERT_TRUE(strange);
  ASSERT_TRUE(bpf::unpin(port));
  ASSERT_TRUE(strange->pin(port, 0600));
  EXPECT_EQ(*d.attachments.check(true), 1);
  auto link = bpf::Link::open_pinned(port);
  ASSERT_TRUE(link);
  EXPECT_EQ(link->info()->target, uint64_t(ifindex("port1")));
  // Another program behind our link.
  ASSERT_TRUE(link->update(program.get()));
  EXPECT_EQ(*d.attachments.check(false), 1);
  EXPECT_EQ(link->info()->program_id, bpf::program_info(d.programs.program("ls_port_in"))->id);
  EXPECT_EQ(d.attachments.drift_repaired(), 3u);
}

TEST_F(AttachmentsTest, UnmountedBpffsDoesNotStopTrafficAndHealsWhenItIsBack) {
  Daemon d(options(), config());
  ASSERT_EQ(umount2(bpffs().c_str(), MNT_DETACH), 0);
  (void)d.attachments.check(true);
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
  auto all = d.attachments.status();
  EXPECT_EQ(find(all, "port_in", "port1")->state, AttachmentStatus::State::kDegraded);
  EXPECT_THAT(find(all, "port_in", "port1")->error, HasSubstr("mount -t bpf"));
  ASSERT_EQ(mount("bpf", bpffs().c_str(), "bpf", 0, nullptr), 0);
  EXPECT_GT(*d.attachments.check(false), 0);
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_THAT(pins("links"), SizeIs(13));
}

TEST_F(AttachmentsTest, GroupRemovedAndMadeAgain) {
  auto c = config();
  c.cgroup = make_group(group_, "svc");
  Daemon d(options(), c);
  ASSERT_EQ(rmdir(c.cgroup.c_str()), 0);
  ASSERT_TRUE(d.attachments.check(false));
  auto all = d.attachments.status();
  EXPECT_EQ(find(all, "connect4", c.cgroup)->state, AttachmentStatus::State::kFailed);
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u) << "the rest is not disturbed";
  ASSERT_EQ(mkdir(c.cgroup.c_str(), 0755), 0);
  ASSERT_TRUE(d.attachments.check(false));
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_EQ(cgroup_count(c.cgroup, BPF_CGROUP_INET4_CONNECT), 1u);
  EXPECT_THAT(pins("links"), SizeIs(13));
}

TEST_F(AttachmentsTest, ExclusiveProgramInTheWayIsNamedAndLeftAlone) {
  for (uint32_t flags : {0u, uint32_t(BPF_F_ALLOW_OVERRIDE)}) {
    SCOPED_TRACE(flags);
    auto parent = make_group();
    auto c = config();
    c.cgroup = make_group(parent);
    auto program = foreign(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT);
    UniqueFd dir(open(parent.c_str(), O_RDONLY | O_DIRECTORY));
    ASSERT_EQ(bpf_prog_attach(program.get(), dir.get(), BPF_CGROUP_INET4_CONNECT, flags), 0);
    auto foreign_info = bpf::program_info(program.get());
    {
      Daemon d(options(), c);
      auto all = d.attachments.status();
      auto* s = find(all, "connect4", c.cgroup);
      ASSERT_TRUE(s);
      EXPECT_EQ(s->state, AttachmentStatus::State::kForeign);
      EXPECT_THAT(s->error, HasSubstr(fmt::format("program {} \"somebody_else\" (tag {})", foreign_info->id,
                                                  foreign_info->tag)));
      EXPECT_THAT(s->error, HasSubstr(parent));
      EXPECT_EQ(find(all, "connect6", c.cgroup)->state, AttachmentStatus::State::kAttached);
      EXPECT_EQ(find(all, "port_in", "port1")->state, AttachmentStatus::State::kAttached);
      ASSERT_EQ(*d.attachments.check(false), 0);
      EXPECT_EQ(cgroup_count(parent, BPF_CGROUP_INET4_CONNECT), 1u);
      EXPECT_EQ(cgroup_count(c.cgroup, BPF_CGROUP_INET4_CONNECT), 0u);
      // It goes away: ours comes without a restart, and it is not drift.
      ASSERT_EQ(bpf_prog_detach2(program.get(), dir.get(), BPF_CGROUP_INET4_CONNECT), 0);
      EXPECT_EQ(*d.attachments.check(false), 0);
      EXPECT_EQ(failures(d.attachments.status()), "");
    }
    datapath::purge(pin());
  }
}

TEST_F(AttachmentsTest, WrongGroupSaysWhereCgroup2Is) {
  auto c = config();
  c.cgroup = "/tmp";
  Daemon d(options(), c);
  auto all = d.attachments.status();
  auto* s = find(all, "connect4", "/tmp");
  ASSERT_TRUE(s);
  EXPECT_THAT(s->error, HasSubstr("not in a cgroup v2 tree; it is mounted at " + cgroup2_mount()));
  EXPECT_EQ(find(all, "port_in", "port1")->state, AttachmentStatus::State::kAttached);
}

TEST_F(AttachmentsTest, StrictReversePathFilterIsNamed) {
  auto write = [](const std::string& path, int v) { std::ofstream(path) << v; };
  write("/proc/sys/net/ipv4/conf/all/rp_filter", 0);
  write("/proc/sys/net/ipv4/conf/up0/rp_filter", 0);
  Daemon d(options(), config());
  EXPECT_THAT(d.attachments.warnings(), IsEmpty());
  write("/proc/sys/net/ipv4/conf/up0/rp_filter", 1);
  EXPECT_THAT(d.attachments.warnings(), Contains(HasSubstr("uplink up0")));
  write("/proc/sys/net/ipv4/conf/up0/rp_filter", 2);
  write("/proc/sys/net/ipv4/conf/all/rp_filter", 1);
  EXPECT_THAT(d.attachments.warnings(), IsEmpty()) << "loose wins over strict";
  write("/proc/sys/net/ipv4/conf/up0/rp_filter", 0);
  EXPECT_THAT(d.attachments.warnings(), SizeIs(1));
}

TEST_F(AttachmentsTest, EventsVoidNextHops) {
  Daemon d(options(), config());
  auto gen = [&] {
    ls_ctl c{};
    uint32_t zero = 0;
    EXPECT_EQ(bpf_map_lookup_elem(d.programs.map("ls_ctl"), &zero, &c), 0);
    return c.nh_gen;
  };
  d.events();
  auto before = gen();
  run("ip addr add 192.0.2.1/24 dev other; ip link set other up");
  d.events();
  EXPECT_GT(gen(), before);
  before = gen();
  d.events();
  EXPECT_EQ(gen(), before);
}

// ---- clsact ----

TEST_F(AttachmentsTest, ClsactIsTheFallback) {
  auto c = config();
  c.tcx = false;
  run("tc qdisc add dev port1 clsact");
  auto other = foreign(BPF_PROG_TYPE_SCHED_CLS);
  ASSERT_TRUE(bpf::attach_filter({ifindex("port1"), bpf::TcSide::kIngress, 7, 7}, other.get(), false));
  auto own = [&](const std::string& device) {
    size_t n = 0;
    auto filters = netlink::list_bpf_filters(ifindex(device));
    for (auto& f : *filters) n += datapath::is_own_filter(f);
    return n;
  };
  {
    Daemon d(options(), c);
    auto all = d.attachments.status();
    EXPECT_EQ(failures(all), "");
    EXPECT_EQ(find(all, "port_in", "port1")->method, "clsact");
    EXPECT_EQ(own("port1"), 2u);
    EXPECT_EQ(own("lo"), 1u);
  }
  {
    Daemon d(options(), c);
    EXPECT_EQ(own("port1"), 2u) << "exchanged, not added";
    auto filters = netlink::list_bpf_filters(ifindex("port1"));
    auto id = bpf::program_info(d.programs.program("ls_port_in"))->id;
    EXPECT_TRUE(std::any_of(filters->begin(), filters->end(),
                            [&](auto& f) { return f.ingress && f.program_id == id; }));
    run("tc filter del dev port1 ingress pref 21");
    EXPECT_EQ(own("port1"), 1u);
    EXPECT_EQ(*d.attachments.check(false), 1);
    EXPECT_EQ(own("port1"), 2u);
    run("ip link set other master br0");
    d.events();
    EXPECT_EQ(own("other"), 2u);
    run("ip link set other nomaster");
    d.events();
    EXPECT_EQ(own("other"), 0u);
    EXPECT_EQ(output("tc qdisc show dev other clsact").find("clsact"), std::string::npos)
        << "we made it, we remove it";
  }
  auto report = datapath::purge(pin());
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_EQ(own("port1") + own("lo") + own("up0"), 0u);
  EXPECT_EQ(*netlink::count_filters(ifindex("port1")), 1u) << "the other's filter stays";
  EXPECT_THAT(output("tc qdisc show dev port1"), HasSubstr("clsact"))
      << "and so does the qdisc that was there";
  EXPECT_EQ(output("tc qdisc show dev lo").find("clsact"), std::string::npos);
  EXPECT_THAT(everything(), IsEmpty());
}

TEST_F(AttachmentsTest, ForeignFilterInOurPlaceDegradesThatDeviceOnly) {
  auto c = config();
  c.tcx = false;
  ASSERT_TRUE(bpf::make_clsact(ifindex("port1")));
  auto other = foreign(BPF_PROG_TYPE_SCHED_CLS);
  ASSERT_TRUE(bpf::attach_filter(
      {ifindex("port1"), bpf::TcSide::kIngress, datapath::kTcPriority, datapath::kTcHandle}, other.get(),
      false));
  Daemon d(options(), c);
  auto all = d.attachments.status();
  EXPECT_EQ(find(all, "port_in", "port1")->state, AttachmentStatus::State::kFailed);
  EXPECT_THAT(find(all, "port_in", "port1")->error, HasSubstr("somebody_else"));
  EXPECT_EQ(find(all, "port_out", "port1")->state, AttachmentStatus::State::kAttached);
  EXPECT_EQ(find(all, "uplink_in", "up0")->state, AttachmentStatus::State::kAttached);
  datapath::purge(pin());
  EXPECT_EQ(*netlink::count_filters(ifindex("port1")), 1u);
}

TEST_F(AttachmentsTest, FiltersOfTheOldWayGoWhenTcxIsThere) {
  auto c = config();
  c.tcx = false;
  { Daemon d(options(), c); }
  Daemon d(options(), config());
  EXPECT_EQ(*netlink::count_filters(ifindex("port1")), 0u);
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
  EXPECT_THAT(pins("clsact"), IsEmpty());
}

// ---- purge ----

TEST_F(AttachmentsTest, PurgeLeavesNothingOfOursAndEverythingOfOthers) {
  auto other = foreign(BPF_PROG_TYPE_SCHED_CLS);
  auto strange = bpf::Link::create_tcx(other.get(), ifindex("port1"), bpf::TcSide::kIngress);
  ASSERT_TRUE(strange);
  ASSERT_TRUE(bpf::make_pin_dir(bpffs() + "/theirs", 0700));
  ASSERT_TRUE(strange->pin(bpffs() + "/theirs/link", 0600));
  { Daemon d(options(), config()); }
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 2u);
  auto report = datapath::purge(pin());
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_THAT(report.removed, Contains(HasSubstr("uplink_in-")));
  EXPECT_THAT(report.removed, Contains(HasSubstr("/maps")));
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
  EXPECT_EQ(tcx_count("lo", bpf::kTcxEgress), 0u);
  EXPECT_EQ(cgroup_count(group_, BPF_CGROUP_INET4_CONNECT), 0u);
  EXPECT_THAT(everything(), SizeIs(2)) << "theirs, and the link in it";
  auto again = datapath::purge(pin());
  EXPECT_THAT(again.removed, IsEmpty());
  EXPECT_THAT(again.problems, IsEmpty());
}

TEST_F(AttachmentsTest, PurgeDetachesEvenWhatSomebodyHoldsOpen) {
  Daemon d(options(), config());
  datapath::purge(pin());
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 0u);
  EXPECT_EQ(cgroup_count(group_, BPF_CGROUP_INET4_CONNECT), 0u);
}

TEST_F(AttachmentsTest, PurgeKeepsStrangersInOurFolder) {
  { Daemon d(options(), config()); }
  ASSERT_TRUE(bpf::make_pin_dir(pin() + "/visitor", 0700));
  auto report = datapath::purge(pin());
  EXPECT_THAT(report.problems, Contains(HasSubstr("visitor")));
  EXPECT_TRUE(bpf::exists(pin() + "/visitor"));
  EXPECT_FALSE(bpf::exists(pin() + "/maps"));
}

// ---- rights ----

/// Becomes "nobody" with just these capabilities; the rest of the process life is spent so.
bool become(const std::vector<unsigned>& caps) {
  if (prctl(PR_SET_KEEPCAPS, 1) != 0 || setgroups(0, nullptr) != 0) return false;
  if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) return false;
  capng_clear(CAPNG_SELECT_CAPS);
  for (auto c : caps)
    capng_update(CAPNG_ADD, capng_type_t(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE), c);
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return false;
  // Ambient, as systemd gives them: for the programs a test runs.
  return std::all_of(caps.begin(), caps.end(),
                     [](unsigned c) { return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0) == 0; });
}

/// The whole life of a daemon under `caps`: fresh, taking over, resizing, purging. 0 or the number of what
/// failed.
class RightsTest : public AttachmentsTest {
 protected:
  int live(const std::vector<unsigned>& caps, AttachmentConfig c) {
    if (!become(caps)) return 1;
    for (int start = 0; start < 2; start++) {
      Programs programs(options());
      if (!programs.load()) return 2;
      Attachments attachments(programs, c);
      if (!attachments.start()) return 3;
      auto text = failures(attachments.status());
      std::fputs(text.c_str(), stderr);
      if (!text.empty()) return 4;
      if (attachments.check(true).value_or(-1) != 0) return 5;
      if (!programs.maps()[0].memory_bytes) return 6;
      add_veth("port9", "port9peer");
      if (!attachments.on_readable()) return 7;
      auto all = attachments.status();
      if (c.packet != (find(all, "port_in", "port9") != nullptr)) return 8;
      run("ip link del port9");
    }
    auto o = options();
    o.sizes.backends *= 2;
    Programs bigger(o);
    if (!bigger.load() || !Attachments(bigger, c).start()) return 9;
    auto report = datapath::purge(pin());
    for (auto& p : report.problems) std::fprintf(stderr, "%s\n", p.c_str());
    return report.problems.size() <= 1 ? 0 : 10;  // only the folder itself stays: its parent is root's
  }
  void expect_life(const std::vector<unsigned>& caps, const AttachmentConfig& c) {
    // As the unit does: the folder is made by root, the daemon is nobody in particular.
    ASSERT_TRUE(bpf::make_pin_dir(pin(), 0750));
    ASSERT_EQ(chown(pin().c_str(), 65534, 65534), 0);
    int status = in_child([&] { return live(caps, c); });
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << std::hex << status;
  }
};

TEST_F(RightsTest, SocketHooksNeedTwoCapabilities) {
  auto c = config();
  c.packet = false;
  expect_life({CAP_BPF, CAP_NET_ADMIN}, c);
}

/// Without CAP_PERFMON: the programs keep packet offsets constant for its sake (bpf/lib/parse.h).
TEST_F(RightsTest, PacketHooksByTcx) {
  expect_life({CAP_BPF, CAP_NET_ADMIN}, config());
}

TEST_F(RightsTest, PacketHooksByClsact) {
  auto c = config();
  c.tcx = false;
  expect_life({CAP_BPF, CAP_NET_ADMIN}, c);
}

TEST_F(AttachmentsTest, WithoutNetAdminTheErrorSaysSo) {
  int status = in_child([&] {
    if (!become({CAP_BPF})) return 1;
    auto r = Programs(options()).load();
    return r ? 2
           : r.error().code.value() == EPERM || r.error().text().find("not permitted") != std::string::npos
               ? 0
               : 3;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(AttachmentsTest, WithoutSysAdminAForeignProgramIsKnownByNumber) {
  auto program = foreign(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT);
  UniqueFd dir(open(group_.c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_EQ(bpf_prog_attach(program.get(), dir.get(), BPF_CGROUP_INET4_CONNECT, 0), 0);
  auto id = bpf::program_info(program.get())->id;
  int status = in_child([&] {
    if (!become({CAP_BPF, CAP_NET_ADMIN})) return 1;
    auto group = datapath::CgroupGroup::open(group_);
    if (!group) return 2;
    auto r = group->look(BPF_CGROUP_INET4_CONNECT);
    if (r) return 3;
    return r.error().text().find(fmt::format("program {} ", id)) != std::string::npos ? 0 : 4;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace ls
