// The overlay's self-tests on the loopback of a namespace, where every address of 44.128.0.0/16 answers.
#include <gmock/gmock.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <deque>

#include "app/overlay_check.h"
#include "app/overlay_probe.h"
#include "app/overlay_probe_echo.h"
#include "app/overlay_probe_offload.h"
#include "app/overlay_probe_talk.h"
#include "support/netns_fixture.h"

namespace ls::overlay_probe {
namespace {

using asio::ip::tcp;
using asio::ip::udp;
using Steady = std::chrono::steady_clock;

constexpr uint16_t kPort = 64001;
IpAddress vtep(uint32_t n) { return IpAddress::from_v4(0x2c800000 + n); }
const TalkLimits kLimits{Millis(200), Millis(500), Millis(500)};

class OverlayProbeKernel : public test::NetnsFixture {
 protected:
  void SetUp() override {
    NetnsFixture::SetUp();
    if (IsSkipped()) return;
    run("ip route add local 44.128.0.0/16 dev lo && sysctl -q -w net.ipv4.ping_group_range='0 2147483647'");
    lo = ifindex("lo");
  }
  Via via(uint32_t n) const { return {vtep(n), lo}; }
  std::shared_ptr<Echo> echo(uint32_t n) {
    EchoEvents events;
    events.peer = [this](const IpAddress& a) { return a != stranger; };
    events.unheard = [this](const IpAddress&) { unheard++; };
    auto e = Echo::open(io.get_executor(), via(n), kPort, events);
    EXPECT_TRUE(e) << e.error().text();
    return e ? *e : nullptr;
  }
  template <class Condition>
  void run_until(Condition c, Millis most = Millis(10'000)) {
    auto end = Steady::now() + most;
    while (!c() && Steady::now() < end) io.run_one_for(Millis(20));
    EXPECT_TRUE(c());
  }
  TalkReport talk_now(uint32_t from, uint32_t to, size_t bytes = kMaxBytes) {
    std::optional<TalkReport> out;
    auto go = [&]() -> asio::awaitable<void> { out = co_await talk(via(from), {vtep(to), kPort}, bytes, 1450, kLimits); };
    asio::co_spawn(io, go, asio::detached);
    run_until([&] { return out.has_value(); });
    return out.value_or(TalkReport{});
  }
  tcp::socket dial(uint32_t from, uint32_t to) {
    tcp::socket s(io);
    Code ec;
    open_via(s, via(from), 0, ec);
    s.connect({to_asio(vtep(to)), kPort}, ec);
    EXPECT_FALSE(ec) << ec.message();
    return s;
  }
  OverlayProbeOptions options() const {
    OverlayProbeOptions o;
    o.first = Millis(10), o.witness = Millis(200), o.connect = o.data = Millis(500), o.ping = Millis(300);
    return o;
  }

  asio::io_context io{1};
  int lo = 0, unheard = 0;
  IpAddress stranger;
};

TEST_F(OverlayProbeKernel, TalksToAnEcho) {
  auto e = echo(1);
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kGood);
  EXPECT_EQ(talk_now(2, 1, 1).verdict, Verdict::kGood);
  EXPECT_EQ(talk_now(2, 3).verdict, Verdict::kNoPeer);
  stranger = vtep(2);
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kNoPeer);
  EXPECT_EQ(unheard, 0);
}

TEST_F(OverlayProbeKernel, EchoIsBounded) {
  auto e = echo(1);
  std::deque<tcp::socket> held;
  for (size_t i = 0; i < kMaxSessions; i++) held.push_back(dial(2, 1));
  io.run_for(Millis(50));
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kUnclear) << "one connection too many is closed";
  held.clear();
  io.run_for(Millis(50));
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kGood);
  // More data than is taken: closed without an answer.
  auto s = dial(2, 1);
  std::string much(kMaxBytes + 1000, 'x'), back(16, '\0');
  Code ec;
  s.non_blocking(true);
  size_t sent = 0, got = 1;
  run_until([&] {
    if (sent < much.size()) sent += s.write_some(asio::buffer(much.data() + sent, much.size() - sent), ec);
    got = s.read_some(asio::buffer(back), ec);
    return ec == asio::error::eof || ec == asio::error::connection_reset || ec == asio::error::broken_pipe;
  });
  EXPECT_EQ(got, 0u);
}

TEST_F(OverlayProbeKernel, EchoTakesRubbish) {
  auto e = echo(1);
  udp::socket s(io);
  Code ec;
  open_via(s, via(2), 0, ec);
  for (std::string m : {std::string(), std::string(1, 'L'), std::string(15, 'L'), std::string(16, '\0'), std::string(9000, 'L'),
                        to_wire({true, Seen::kNothing, 1, 1})})
    s.send_to(asio::buffer(m), {to_asio(vtep(1)), kPort});
  io.run_for(Millis(50));
  EXPECT_EQ(s.available(), 0u) << "an answer to rubbish";
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kGood);
}

TEST_F(OverlayProbeKernel, WitnessKnowsTheConnection) {
  auto e = echo(1);
  auto seen = [&](uint16_t port) { return connection_seen({vtep(1), kPort}, {vtep(2), port}, lo); };
  EXPECT_EQ(seen(1), Seen::kNothing);
  auto s = dial(2, 1);
  EXPECT_EQ(seen(s.local_endpoint().port()), Seen::kConnection);
  // Answers of the listener get lost.
  run("nft 'add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c tcp sport 64001 drop'");
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kTheirsLost);
  EXPECT_EQ(unheard, 1) << "the peer is told";
  // Requests get lost.
  run("nft 'flush chain ip t c; add rule ip t c tcp dport 64001 drop'");
  auto r = talk_now(2, 1);
  EXPECT_EQ(r.verdict, Verdict::kOursLost) << r.what;
  EXPECT_EQ(unheard, 1);
  // Data gets lost, with the requests passing: by its length, with and without the large questions of the witness.
  run("nft 'flush chain ip t c; add rule ip t c tcp dport 64001 ip length > 500 drop'");
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kOursLost);
  run("nft 'flush chain ip t c; add rule ip t c ip length > 500 drop'");
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kTooLarge);
  run("nft 'flush chain ip t c; add rule ip t c tcp sport 64001 ip length > 500 drop'");
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kTheirsLost);
  // The tunnel goes away in between: nothing is concluded.
  run("nft 'flush chain ip t c; add rule ip t c tcp dport 64001 drop; add rule ip t c udp dport 64001 numgen inc mod 8 > 0 drop'");
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kUnclear);
}

TEST_F(OverlayProbeKernel, DataThatComesBackChanged) {
  // A witness and a server that changes one octet.
  udp::socket witness(io);
  tcp::acceptor server(io);
  Code ec;
  open_via(witness, via(1), kPort, ec);
  open_via(server, via(1), kPort, ec);
  server.listen();
  auto testify = [&]() -> asio::awaitable<void> {
    for (;;) {
      char buffer[2000];
      udp::endpoint from;
      auto n = co_await witness.async_receive_from(asio::buffer(buffer), from, asio::use_awaitable);
      auto w = from_wire({buffer, n});
      w->answer = true;
      witness.send_to(asio::buffer(to_wire(*w)), from);
    }
  };
  auto serve = [&]() -> asio::awaitable<void> {
    auto s = co_await server.async_accept(asio::use_awaitable);
    std::string data;
    for (Code e; !e;) {
      char part[4096];
      auto n = co_await s.async_read_some(asio::buffer(part), asio::redirect_error(asio::use_awaitable, e));
      data.append(part, n);
    }
    data[data.size() / 2] ^= 1;
    co_await asio::async_write(s, asio::buffer(data), asio::use_awaitable);
  };
  asio::co_spawn(io, testify, asio::detached);
  asio::co_spawn(io, serve, asio::detached);
  EXPECT_EQ(talk_now(2, 1).verdict, Verdict::kChanged);
}

TEST_F(OverlayProbeKernel, OffloadOfADevice) {
  run("ip link add vx type vxlan external dstport 64000");
  auto vx = ifindex("vx");
  EXPECT_TRUE(read_tx_checksum(vx).value());
  ASSERT_TRUE(write_tx_checksum(vx, false));
  EXPECT_FALSE(read_tx_checksum(vx).value());
  EXPECT_THAT(output("ethtool -k vx"), ::testing::HasSubstr("tx-tcp-segmentation: off"));
  ASSERT_TRUE(write_tx_checksum(vx, true));
  EXPECT_TRUE(read_tx_checksum(vx).value());
  EXPECT_THAT(output("ethtool -k vx"), ::testing::HasSubstr("tx-tcp-segmentation: on"));
  run("ip link del vx");
  EXPECT_EQ(read_tx_checksum(vx).error().code.value(), ENODEV);
  EXPECT_FALSE(read_tx_checksum(0));
}

std::vector<OverlayProbePeer> many(uint32_t count) {
  std::vector<OverlayProbePeer> out;
  for (uint32_t n = 0; n < count; n++) out.push_back({IpAddress::from_v4(0x0a000000 + n), vtep(n + 2), std::nullopt});
  return out;
}

TEST_F(OverlayProbeKernel, ARoundAsksAFewOfMany) {
  OverlayProbe probe(io, options());
  probe.set_self({IpAddress::from_v4(0x7f000001), vtep(1), std::nullopt, lo, 1450});
  auto all = many(20'000);
  all.push_back({IpAddress::from_v4(0x7f000001), vtep(1), std::nullopt});
  probe.set_peers(std::move(all));
  EXPECT_EQ(probe.check("127.0.0.1", [](auto) {}).error().code.value(), ENOENT) << "the node itself is no peer";
  run_until([&] { return probe.status().rounds == 1; });
  auto s = probe.status();
  EXPECT_EQ(s.good + s.ours + s.theirs + s.unclear, options().tries);
  EXPECT_EQ(s.offload, OverlayProbeStatus::Offload::kNotProbed);
  EXPECT_EQ(probe.offload_text(), "not probed: nobody answers on port 64001 of its tunnel address");
}

TEST_F(OverlayProbeKernel, ChecksManyAndOne) {
  auto o = options();
  OverlayProbe probe(io, o);
  auto none = [](api::OverlayCheckView) { FAIL(); };
  EXPECT_EQ(probe.check("10.0.0.9", none).error().code.value(), ENOENT);
  EXPECT_EQ(probe.check("n1", none).error().code.value(), EINVAL);
  probe.set_self({IpAddress::from_v4(0x7f000001), vtep(1), std::nullopt, lo, 1450});
  probe.set_peers(many(8'000));
  std::optional<api::OverlayCheckView> view;
  auto begin = Steady::now();
  ASSERT_TRUE(probe.check("", [&](auto v) { view = std::move(v); }));
  EXPECT_FALSE(view) << "within the call";
  EXPECT_EQ(probe.check("", none).error().code.value(), EBUSY);
  Millis longest{0};
  while (!view && Steady::now() - begin < std::chrono::seconds(50)) {
    auto turn = Steady::now();
    io.run_one_for(Millis(20));
    longest = std::max(longest, std::chrono::duration_cast<Millis>(Steady::now() - turn));
  }
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->done);
  EXPECT_EQ(view->asked, 8'000u);
  EXPECT_EQ(view->answered, 8'000u);
  auto bad = std::count_if(view->results.begin(), view->results.end(), [](auto& r) { return !r.ok; });
  EXPECT_EQ(bad, 0) << view->results.front().node << ": " << view->results.front().cause;
  fmt::print("8000 peers in {} ms, longest turn of the loop {} ms\n",
             std::chrono::duration_cast<Millis>(Steady::now() - begin).count(), longest.count());

  for (auto* name : {"10.0.0.7", "44.128.0.9"}) {
    view.reset();
    ASSERT_TRUE(probe.check(name, [&](auto v) { view = std::move(v); }));
    run_until([&] { return view.has_value(); });
    ASSERT_EQ(view->results.size(), 1u);
    EXPECT_EQ(view->results[0].node, "10.0.0.7");
    EXPECT_GT(view->results[0].rtt_ms, 0);
  }
}

TEST_F(OverlayProbeKernel, ACheckEnds) {
  run("nft 'add table ip t; add chain ip t c { type filter hook output priority 0; }; add rule ip t c ip daddr 44.128.0.0/16 drop'");
  auto o = options();
  o.check = Millis(400);
  OverlayProbe probe(io, o);
  probe.set_self({IpAddress::from_v4(0x7f000001), vtep(1), std::nullopt, lo, 1450});
  probe.set_peers(many(1'000));
  std::optional<api::OverlayCheckView> view;
  ASSERT_TRUE(probe.check("", [&](auto v) { view = std::move(v); }));
  run_until([&] { return view.has_value(); });
  EXPECT_FALSE(view->done);
  EXPECT_EQ(view->asked, 1'000u);
  EXPECT_EQ(view->answered, 0u);
  // Another one may begin at once, and stop() ends it without a word.
  view.reset();
  ASSERT_TRUE(probe.check("", [&](auto v) { view = std::move(v); }));
  io.run_for(Millis(50));
  probe.stop();
  io.run_for(Millis(700));
  EXPECT_FALSE(view);
  EXPECT_TRUE(io.stopped() || io.poll() == 0);
}

}  // namespace
}  // namespace ls::overlay_probe
