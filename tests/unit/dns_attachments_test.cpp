// The hooks that answer DNS: XDP or tc, across restarts, beside the hooks of load balancing.
#include <cap-ng.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <sys/prctl.h>

#include "bpf/tc_filter.h"
#include "datapath/device_hook.h"
#include "datapath/xdp_choice.h"
#include "datapath_fixture.h"
#include "netlink/driver.h"
#include "netlink/filters.h"

namespace ls {
namespace {

using namespace test;
using datapath::XdpChoice;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using State = AttachmentStatus::State;

TEST(XdpObjection, OnlyNetworkCardsHaveNone) {
  netlink::Device card;
  card.name = "eth0";
  EXPECT_EQ(datapath::xdp_objection(card, "mlx5_core"), "");
  EXPECT_EQ(datapath::xdp_objection(card, ""), "");
  EXPECT_THAT(datapath::xdp_objection(card, "virtio_net"), HasSubstr("receive offloads"));
  EXPECT_THAT(datapath::xdp_objection(card, "tun"), HasSubstr("no network card"));
  for (auto* kind : {"veth", "bridge", "bond", "vlan", "vxlan", "dummy", "macvlan", "tun"}) {
    auto d = card;
    d.kind = kind;
    EXPECT_THAT(datapath::xdp_objection(d, ""), HasSubstr(kind));
  }
  auto slave = card;
  slave.master = 7;
  EXPECT_THAT(datapath::xdp_objection(slave, "mlx5_core"), HasSubstr("member"));
  auto lo = card;
  lo.loopback = true;
  EXPECT_THAT(datapath::xdp_objection(lo, ""), HasSubstr("loopback"));
}

class DnsAttachmentsTest : public DatapathFixture {
 protected:
  void SetUp() override {
    DatapathFixture::SetUp();
    if (IsSkipped()) return;
    add_veth("up0", "up0peer");
    add_veth("port1", "port1peer");
    run("ip link add br0 type bridge");
    add_veth("other", "otherpeer");
    run("ip link set other master br0");
  }
  static AttachmentConfig config(XdpChoice xdp = XdpChoice::kAuto) {
    AttachmentConfig c;
    c.socket = false;
    c.uplinks = {"up0"};
    c.ports = {"port?"};
    c.bridges = {"br0"};
    c.dns_xdp = xdp;
    return c;
  }
  struct Daemon {
    Programs programs;
    Attachments attachments;
    datapath::LoadReport report;
    Daemon(Programs::Options o, AttachmentConfig c)
        : programs(std::move(o)), attachments(programs, std::move(c)) {
      auto r = programs.load();
      EXPECT_TRUE(r) << r.error().text();
      if (r) report = std::move(*r);
      auto s = attachments.start();
      EXPECT_TRUE(s) << s.error().text();
    }
    uint32_t id(const char* program) const { return bpf::program_info(programs.program(program))->id; }
  };
  /// Programs that tcx runs at one side of a device.
  static std::vector<uint32_t> tcx_programs(const std::string& device, int type) {
    uint32_t ids[64], n = 64;
    EXPECT_EQ(bpf_prog_query(ifindex(device), bpf_attach_type(type), 0, nullptr, ids, &n), 0) << device;
    return {ids, ids + n};
  }
  static size_t own_filters(const std::string& device) {
    auto filters = netlink::list_bpf_filters(ifindex(device));
    return size_t(std::count_if(filters->begin(), filters->end(), datapath::is_own_filter));
  }
};

TEST_F(DnsAttachmentsTest, DriversAreTold) {
  EXPECT_EQ(netlink::driver_of("up0"), "veth");
  EXPECT_EQ(netlink::driver_of("br0"), "bridge");
  EXPECT_EQ(netlink::driver_of("nothing"), "");
}

TEST_F(DnsAttachmentsTest, EveryRoleBesideLoadBalancing) {
  Daemon d(options(), config());
  auto all = d.attachments.status();
  EXPECT_EQ(failures(all), "");
  EXPECT_THAT(all, SizeIs(3 + 3 + 3 + 2));
  EXPECT_THAT(tcx_programs("up0", bpf::kTcxIngress), Contains(d.id("ls_dns_uplink")));
  EXPECT_THAT(tcx_programs("up0", bpf::kTcxIngress), Contains(d.id("ls_uplink_in")));
  EXPECT_THAT(tcx_programs("port1", bpf::kTcxIngress), Contains(d.id("ls_dns_port")));
  EXPECT_THAT(tcx_programs("other", bpf::kTcxIngress), Contains(d.id("ls_dns_port")));
  EXPECT_THAT(tcx_programs("lo", bpf::kTcxEgress), Contains(d.id("ls_dns_lo")));
  EXPECT_EQ(tcx_count("port1", bpf::kTcxEgress), 1u);
  EXPECT_EQ(xdp_program("up0"), 0u);
  auto* up = find(all, "dns_uplink", "up0");
  ASSERT_TRUE(up);
  EXPECT_EQ(up->method, "tcx");
  EXPECT_THAT(up->note, HasSubstr("native XDP: veth")) << "status says why it is tc";
  EXPECT_EQ(find(all, "dns_xdp", "up0"), nullptr);
  EXPECT_EQ(find(all, "uplink_in", "up0")->note, "");
}

TEST_F(DnsAttachmentsTest, LivesWithoutPacketHooks) {
  auto c = config();
  c.packet = false;
  c.loopback = false;
  Daemon d(options(), c);
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_THAT(d.attachments.status(), SizeIs(3));
  EXPECT_EQ(tcx_programs("port1", bpf::kTcxIngress), std::vector<uint32_t>{d.id("ls_dns_port")});
  EXPECT_EQ(tcx_count("lo", bpf::kTcxEgress), 0u) << "follows lb.loopback";
}

TEST_F(DnsAttachmentsTest, NativeXdpIsAdoptedAndExchanged) {
  uint32_t link = 0, program = 0;
  {
    Daemon d(real_options(), config(XdpChoice::kNative));
    auto all = d.attachments.status();
    EXPECT_EQ(failures(all), "");
    auto* s = find(all, "dns_xdp", "up0");
    ASSERT_TRUE(s);
    EXPECT_EQ(s->method, "xdp");
    EXPECT_EQ(s->target, uint64_t(ifindex("up0")));
    EXPECT_EQ(xdp_program("up0"), s->program_id);
    EXPECT_EQ(find(all, "dns_uplink", "up0"), nullptr) << "one of the two";
    EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), 1u);
    EXPECT_THAT(pins("links"), Contains(fmt::format("dns_xdp-{}-up0", ifindex("up0"))));
    link = s->link_id;
    program = s->program_id;
  }
  EXPECT_EQ(xdp_program("up0"), program) << "outlives the daemon";
  Daemon d(options(), config(XdpChoice::kNative));
  auto all = d.attachments.status();
  EXPECT_EQ(failures(all), "");
  auto* s = find(all, "dns_xdp", "up0");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->link_id, link) << "never detached";
  EXPECT_NE(s->program_id, program);
  EXPECT_EQ(xdp_program("up0"), d.id("ls_dns_xdp"));
  EXPECT_EQ(*d.attachments.check(true), 0);
  run("ip link del up0");
  ASSERT_TRUE(d.attachments.on_readable());
  EXPECT_THAT(pins("links"), Not(Contains(HasSubstr("dns_xdp"))));
}

TEST_F(DnsAttachmentsTest, ChoiceChangesBothWays) {
  { Daemon d(options(), config(XdpChoice::kNative)); }
  for (auto choice : {XdpChoice::kOff, XdpChoice::kNative, XdpChoice::kAuto, XdpChoice::kNative}) {
    SCOPED_TRACE(int(choice));
    Daemon d(options(), config(choice));
    auto all = d.attachments.status();
    EXPECT_EQ(failures(all), "");
    bool xdp = choice == XdpChoice::kNative;
    EXPECT_EQ(xdp_program("up0") != 0, xdp);
    EXPECT_EQ(find(all, "dns_xdp", "up0") != nullptr, xdp);
    EXPECT_EQ(find(all, "dns_uplink", "up0") != nullptr, !xdp);
    EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), xdp ? 1u : 2u);
    if (choice == XdpChoice::kOff) {
      EXPECT_EQ(find(all, "dns_uplink", "up0")->note, "") << "as it was asked for";
    }
  }
}

TEST_F(DnsAttachmentsTest, ProgramOfSomebodyElseKeepsItsPlace) {
  auto other = foreign(BPF_PROG_TYPE_XDP);
  auto theirs = bpf::Link::create_xdp(other.get(), ifindex("up0"));
  ASSERT_TRUE(theirs) << theirs.error().text();
  auto info = theirs->info();
  ASSERT_TRUE(info);
  EXPECT_EQ(info->kind, bpf::LinkInfo::Kind::kXdp);
  EXPECT_EQ(info->target, uint64_t(ifindex("up0")));
  auto their_id = bpf::program_info(other.get())->id;
  uint32_t tc_link = 0;
  for (int start = 0; start < 2; start++) {
    Daemon d(options(), config(XdpChoice::kNative));
    auto all = d.attachments.status();
    EXPECT_EQ(failures(all), "");
    auto* s = find(all, "dns_uplink", "up0");
    ASSERT_TRUE(s);
    EXPECT_THAT(s->note, HasSubstr("native XDP: "));
    EXPECT_THAT(s->note, HasSubstr("busy"));
    EXPECT_THAT(s->note, HasSubstr("tc instead"));
    EXPECT_EQ(s->program_id, d.id("ls_dns_uplink")) << "with the new program, also after a restart";
    if (start) {
      EXPECT_EQ(s->link_id, tc_link) << "taken over, not attached anew";
    }
    tc_link = s->link_id;
    EXPECT_EQ(find(all, "dns_xdp", "up0"), nullptr);
    EXPECT_EQ(xdp_program("up0"), their_id);
    EXPECT_EQ(*d.attachments.check(true), 0);
    EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), 2u);
  }
  // It goes away: no daemon that runs takes the place, since that could interrupt the device; the next start does.
  Daemon d(options(), config(XdpChoice::kNative));
  ASSERT_TRUE(theirs->detach());
  EXPECT_EQ(*d.attachments.check(true), 0);
  EXPECT_EQ(xdp_program("up0"), 0u);
  EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), 2u);
  Daemon next(options(), config(XdpChoice::kNative));
  EXPECT_EQ(xdp_program("up0"), next.id("ls_dns_xdp"));
  EXPECT_EQ(tcx_count("up0", bpf::kTcxIngress), 1u);
}

TEST_F(DnsAttachmentsTest, DriverWithoutXdpGetsTc) {
  run("ip link add plain0 type bridge");
  auto c = config(XdpChoice::kNative);
  c.uplinks = {"plain0"};
  Daemon d(options(), c);
  auto all = d.attachments.status();
  EXPECT_EQ(failures(all), "");
  auto* s = find(all, "dns_uplink", "plain0");
  ASSERT_TRUE(s);
  EXPECT_THAT(s->note, HasSubstr("not supported"));
  EXPECT_EQ(xdp_program("plain0"), 0u) << "and never generic XDP";
  // The device is made anew, under its name: a new number, a new try, the same end.
  run("ip link del plain0; ip link add plain0 type bridge");
  ASSERT_TRUE(d.attachments.on_readable());
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_EQ(tcx_count("plain0", bpf::kTcxIngress), 2u);
}

TEST_F(DnsAttachmentsTest, TakenOffFromOutsideIsRepaired) {
  Daemon d(options(), config(XdpChoice::kNative));
  auto detach = [&](const std::string& hook) {
    for (auto& name : pins("links")) {
      if (!name.starts_with(hook)) continue;
      auto link = bpf::Link::open_pinned(pin() + "/links/" + name);
      ASSERT_TRUE(link && link->detach()) << name;
    }
  };
  detach("dns_xdp");
  detach("dns_lo");
  EXPECT_EQ(xdp_program("up0"), 0u);
  EXPECT_EQ(*d.attachments.check(false), 2);
  EXPECT_EQ(xdp_program("up0"), d.id("ls_dns_xdp"));
  EXPECT_EQ(failures(d.attachments.status()), "");
  // Somebody else was faster.
  detach("dns_xdp");
  auto other = foreign(BPF_PROG_TYPE_XDP);
  auto theirs = bpf::Link::create_xdp(other.get(), ifindex("up0"));
  ASSERT_TRUE(theirs);
  EXPECT_EQ(*d.attachments.check(false), 1);
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_TRUE(find(d.attachments.status(), "dns_uplink", "up0"));
  EXPECT_EQ(*d.attachments.check(true), 0);
}

TEST_F(DnsAttachmentsTest, SwitchedOffTakesOff) {
  { Daemon d(options(), config(XdpChoice::kNative)); }
  auto o = options();
  o.dns = false;
  auto c = config(XdpChoice::kNative);
  c.dns = false;
  Daemon d(o, c);
  EXPECT_EQ(failures(d.attachments.status()), "");
  EXPECT_THAT(d.attachments.status(), SizeIs(2 + 2 + 2 + 1));
  EXPECT_EQ(xdp_program("up0"), 0u);
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
  EXPECT_EQ(tcx_count("lo", bpf::kTcxEgress), 1u);
  EXPECT_THAT(pins("links"), Not(Contains(HasSubstr("dns"))));
}

TEST_F(DnsAttachmentsTest, ClsactHasAPlaceForBoth) {
  auto c = config();
  c.tcx = false;
  {
    Daemon d(options(), c);
    auto all = d.attachments.status();
    EXPECT_EQ(failures(all), "");
    EXPECT_EQ(find(all, "dns_port", "port1")->method, "clsact");
    EXPECT_EQ(own_filters("port1"), 3u);
    EXPECT_EQ(own_filters("lo"), 2u);
  }
  {
    Daemon d(options(), c);
    EXPECT_EQ(own_filters("port1"), 3u) << "exchanged, not added";
    auto filters = netlink::list_bpf_filters(ifindex("port1"));
    EXPECT_THAT(*filters, Contains(::testing::Field(&netlink::BpfFilter::program_id, d.id("ls_dns_port"))));
    EXPECT_THAT(*filters, Contains(::testing::Field(&netlink::BpfFilter::program_id, d.id("ls_port_in"))));
    run("tc filter del dev port1 ingress pref 22");
    EXPECT_EQ(own_filters("port1"), 2u);
    EXPECT_EQ(*d.attachments.check(false), 1);
    EXPECT_EQ(own_filters("port1"), 3u);
    run("ip link set other nomaster");
    ASSERT_TRUE(d.attachments.on_readable());
    EXPECT_EQ(own_filters("other"), 0u);
    EXPECT_THAT(output("tc qdisc show dev other"), Not(HasSubstr("clsact"))) << "we made it, we remove it";
  }
  {
    // Off: only those of DNS go.
    auto off = c;
    off.dns = false;
    Daemon d(options(), off);
    EXPECT_EQ(own_filters("port1"), 2u);
    EXPECT_EQ(own_filters("lo"), 1u);
    EXPECT_THAT(output("tc qdisc show dev port1"), HasSubstr("clsact"));
  }
  {
    // And the other way round.
    auto only = c;
    only.packet = false;
    Daemon d(options(), only);
    EXPECT_EQ(own_filters("port1"), 1u);
    auto filters = netlink::list_bpf_filters(ifindex("port1"));
    EXPECT_EQ((*filters)[0].program_id, d.id("ls_dns_port"));
  }
  { Daemon d(options(), config()); }
  EXPECT_EQ(own_filters("port1"), 0u) << "tcx is there now";
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 2u);
}

TEST_F(DnsAttachmentsTest, ClsactAndXdpOnOneUplink) {
  auto c = config(XdpChoice::kNative);
  c.tcx = false;
  {
    Daemon d(options(), c);
    EXPECT_EQ(failures(d.attachments.status()), "");
    EXPECT_EQ(xdp_program("up0"), d.id("ls_dns_xdp"));
    EXPECT_EQ(own_filters("up0"), 2u);
  }
  c.dns_xdp = XdpChoice::kOff;
  {
    Daemon d(options(), c);
    EXPECT_EQ(xdp_program("up0"), 0u);
    EXPECT_EQ(own_filters("up0"), 3u);
  }
  c.dns_xdp = XdpChoice::kNative;
  Daemon d(options(), c);
  EXPECT_EQ(xdp_program("up0"), d.id("ls_dns_xdp"));
  EXPECT_EQ(own_filters("up0"), 2u);
  EXPECT_EQ(*d.attachments.check(true), 0);
}

TEST_F(DnsAttachmentsTest, PurgeTakesEverything) {
  { Daemon d(options(), config(XdpChoice::kNative)); }
  auto report = datapath::purge(pin());
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_THAT(report.removed, Contains(HasSubstr("dns_xdp-")));
  EXPECT_EQ(xdp_program("up0"), 0u);
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 0u);
  EXPECT_EQ(tcx_count("lo", bpf::kTcxEgress), 0u);
  EXPECT_THAT(everything(), IsEmpty());
  auto c = config();
  c.tcx = false;
  { Daemon d(options(), c); }
  report = datapath::purge(pin());
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_EQ(own_filters("port1") + own_filters("lo") + own_filters("up0"), 0u);
}

// ---- until the tables are filled ----

TEST_F(DnsAttachmentsTest, HeldHooksGoOnWithTheirProgramsAndMaps) {
  uint32_t xdp = 0;
  std::vector<uint32_t> port, lb;
  {
    Daemon d(options(), config(XdpChoice::kNative));
    xdp = d.id("ls_dns_xdp");
    port = {d.id("ls_dns_port")};
    lb = {d.id("ls_port_in")};
  }
  auto o = options();
  o.sizes.dns_megabytes *= 2;
  auto c = config(XdpChoice::kNative);
  c.hold_dns = true;
  Daemon d(o, c);
  EXPECT_FALSE(d.report.dns_kept);
  EXPECT_TRUE(d.attachments.dns_held());
  auto all = d.attachments.status();
  EXPECT_EQ(failures(all), "");
  EXPECT_EQ(xdp_program("up0"), xdp);
  EXPECT_THAT(tcx_programs("port1", bpf::kTcxIngress), Contains(port[0]));
  EXPECT_THAT(tcx_programs("port1", bpf::kTcxIngress), Not(Contains(lb[0]))) << "load balancing does not wait";
  EXPECT_EQ(find(all, "dns_xdp", "up0")->program_id, xdp);
  EXPECT_THAT(find(all, "dns_xdp", "up0")->note, HasSubstr("daemon before"));
  add_veth("port2", "port2peer");
  EXPECT_EQ(*d.attachments.check(true), 0) << "what is held is no drift";
  EXPECT_EQ(xdp_program("up0"), xdp);
  EXPECT_EQ(tcx_count("port2", bpf::kTcxIngress), 1u);
  run("ip link del port1");
  ASSERT_TRUE(d.attachments.on_readable());

  ASSERT_TRUE(d.attachments.release_dns());
  EXPECT_FALSE(d.attachments.dns_held());
  EXPECT_EQ(xdp_program("up0"), d.id("ls_dns_xdp"));
  EXPECT_THAT(tcx_programs("port2", bpf::kTcxIngress), Contains(d.id("ls_dns_port")));
  EXPECT_THAT(tcx_programs("lo", bpf::kTcxEgress), Contains(d.id("ls_dns_lo")));
  all = d.attachments.status();
  EXPECT_EQ(failures(all), "");
  EXPECT_EQ(find(all, "dns_port", "port1"), nullptr);
  EXPECT_EQ(find(all, "dns_xdp", "up0")->note, "");
  EXPECT_EQ(*d.attachments.check(true), 0);
  ASSERT_TRUE(d.attachments.release_dns());
}

TEST_F(DnsAttachmentsTest, HeldFiltersStayToo) {
  auto c = config();
  c.tcx = false;
  uint32_t before = 0;
  {
    Daemon d(options(), c);
    before = d.id("ls_dns_port");
  }
  c.hold_dns = true;
  Daemon d(options(), c);
  auto ids = [&] {
    std::vector<uint32_t> out;
    auto filters = netlink::list_bpf_filters(ifindex("port1"));
    for (auto& f : *filters) out.push_back(f.program_id);
    return out;
  };
  EXPECT_THAT(ids(), Contains(before));
  EXPECT_THAT(ids(), Contains(d.id("ls_port_in")));
  EXPECT_EQ(*d.attachments.check(true), 0);
  ASSERT_TRUE(d.attachments.release_dns());
  EXPECT_THAT(ids(), Not(Contains(before)));
  EXPECT_THAT(ids(), Contains(d.id("ls_dns_port")));
  EXPECT_THAT(ids(), SizeIs(3));
}

// ---- rights ----

/// Becomes "nobody" with just these capabilities; the process ends so.
bool become(const std::vector<unsigned>& caps) {
  if (prctl(PR_SET_KEEPCAPS, 1) != 0 || setgroups(0, nullptr) != 0) return false;
  if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) return false;
  capng_clear(CAPNG_SELECT_CAPS);
  for (auto c : caps) capng_update(CAPNG_ADD, capng_type_t(CAPNG_EFFECTIVE | CAPNG_PERMITTED), c);
  return capng_apply(CAPNG_SELECT_CAPS) == 0;
}

TEST_F(DnsAttachmentsTest, WithoutPerfmonTheProcessAnswersAndTheRestWorks) {
  { Daemon d(options(), config(XdpChoice::kNative)); }  // whose programs this one cannot replace
  for (auto& e : std::filesystem::recursive_directory_iterator(pin())) (void)!chown(e.path().c_str(), 65534, 65534);
  ASSERT_EQ(chown(pin().c_str(), 65534, 65534), 0);
  int status = in_child([&] {
    if (!become({CAP_BPF, CAP_NET_ADMIN})) return 1;
    Programs programs(real_options());
    auto report = programs.load();
    if (!report) return 2;
    if (report->dns_tc_error.find("CAP_PERFMON") == report->dns_tc_error.npos) return 3;
    if (report->dns_xdp_error.find("CAP_PERFMON") == report->dns_xdp_error.npos) return 4;
    if (!(report->packet_error + report->socket_error).empty()) return 5;
    Attachments attachments(programs, config(XdpChoice::kNative));
    if (!attachments.start()) return 6;
    for (auto& s : attachments.status()) {
      bool dns = s.hook.starts_with("dns_");
      if (s.state != (dns ? State::kDegraded : State::kAttached)) return 7;
      if (dns && (s.error.find("CAP_PERFMON") == s.error.npos || s.program_id != 0)) return 8;
    }
    if (!find(attachments.status(), "dns_uplink", "up0")) return 9;
    if (attachments.check(true).value_or(-1) != 0) return 10;
    return 0;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << WEXITSTATUS(status);
  EXPECT_EQ(xdp_program("up0"), 0u) << "nobody writes its tables any more";
  EXPECT_EQ(tcx_count("port1", bpf::kTcxIngress), 1u);
}

TEST_F(DnsAttachmentsTest, PerfmonIsOnlyNeededToLoad) {
  ASSERT_TRUE(bpf::make_pin_dir(pin(), 0750));
  ASSERT_EQ(chown(pin().c_str(), 65534, 65534), 0);
  int status = in_child([&] {
    if (!become({CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON})) return 1;
    Programs programs(options());
    auto report = programs.load();
    if (!report || !(report->dns_tc_error + report->dns_xdp_error).empty()) return 2;
    capng_update(CAPNG_DROP, capng_type_t(CAPNG_EFFECTIVE | CAPNG_PERMITTED), CAP_PERFMON);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) return 3;
    Attachments attachments(programs, config(XdpChoice::kNative));
    if (!attachments.start()) return 4;
    auto text = failures(attachments.status());
    std::fputs(text.c_str(), stderr);
    if (!text.empty()) return 5;
    return xdp_program("up0") ? 0 : 6;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << WEXITSTATUS(status);
}

}  // namespace
}  // namespace ls
