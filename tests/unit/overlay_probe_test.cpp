// What the overlay's self-tests conclude, without a packet: messages of the witness, the choice of peers, causes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "app/overlay_check.h"
#include "app/overlay_probe_peers.h"
#include "app/overlay_probe_wire.h"

namespace ls::overlay_probe {
namespace {

using ::testing::HasSubstr;

TEST(OverlayProbeWire, RoundTrip) {
  for (bool answer : {false, true}) {
    for (auto seen : {Seen::kNothing, Seen::kRequest, Seen::kConnection, Seen::kCannotTell}) {
      Witness w{answer, seen, 0xfe01, 0x0123456789abcdef};
      EXPECT_EQ(to_wire(w).size(), kWitnessBytes);
      EXPECT_EQ(to_wire(w, 1422).size(), 1422u);
      EXPECT_EQ(from_wire(to_wire(w)), w);
      EXPECT_EQ(from_wire(to_wire(w, 1422)), w);
    }
  }
}

TEST(OverlayProbeWire, OfAnotherKind) {
  auto good = to_wire({false, Seen::kNothing, 7, 9});
  for (size_t n = 0; n < good.size(); n++) EXPECT_FALSE(from_wire(good.substr(0, n))) << n;
  for (auto [at, octet] : {std::pair{0, 'l'}, {3, '2'}, {4, '\0'}, {4, '\3'}, {5, '\4'}, {5, '\xff'}}) {
    auto bad = good;
    bad[size_t(at)] = octet;
    EXPECT_FALSE(from_wire(bad)) << at;
  }
}

OverlayProbePeer peer(uint32_t n, uint32_t vtep) { return {IpAddress::from_v4(0x0a000000 + n), IpAddress::from_v4(0x2c800000 + vtep), std::nullopt}; }

TEST(OverlayProbePeers, SampleIsOfDifferentOnes) {
  Peers peers;
  std::minstd_rand random(1);
  EXPECT_TRUE(peers.sample(3, random).empty());
  for (uint32_t n = 0; n < 10; n++) peers.put(peer(n, n));
  std::map<IpAddress, int> seen;
  for (int i = 0; i < 2000; i++) {
    auto some = peers.sample(3, random);
    std::set<IpAddress> nodes;
    for (auto& p : some) nodes.insert(p.node), seen[p.node]++;
    ASSERT_EQ(nodes.size(), 3u);
  }
  ASSERT_EQ(seen.size(), 10u);
  for (auto& [node, count] : seen) EXPECT_NEAR(count, 600, 150) << node.text();
  EXPECT_EQ(peers.sample(99, random).size(), 10u);
}

TEST(OverlayProbePeers, RandomHistory) {
  Peers peers;
  std::map<IpAddress, OverlayProbePeer> model;
  std::mt19937 random(7);
  for (int i = 0; i < 20000; i++) {
    auto p = peer(random() % 50, random() % 60);
    if (random() % 3) {
      // An address that goes to another node is taken from its owner first, as the allocator does.
      auto owner = std::find_if(model.begin(), model.end(), [&](auto& m) { return m.second.vtep4 == p.vtep4 && m.first != p.node; });
      if (owner != model.end()) {
        peers.remove(owner->first);
        model.erase(owner);
      }
      EXPECT_EQ(peers.put(p), !model.contains(p.node));
      model[p.node] = p;
    } else {
      peers.remove(p.node);
      model.erase(p.node);
    }
    ASSERT_EQ(peers.size(), model.size());
    auto* found = peers.find(p.node);
    ASSERT_EQ(found != nullptr, model.contains(p.node));
    if (found) {
      ASSERT_EQ(*found, model[p.node]);
    }
  }
  for (uint32_t v = 0; v < 60; v++) {
    auto vtep = IpAddress::from_v4(0x2c800000 + v);
    bool there = std::any_of(model.begin(), model.end(), [&](auto& m) { return m.second.vtep4 == vtep; });
    EXPECT_EQ(peers.has_vtep(vtep), there) << vtep.text();
    if (there) {
      EXPECT_EQ(peers.find(vtep)->vtep4, vtep);
    }
  }
}

std::string cause(const PairFindings& f) { return probable_cause(f, "10.0.0.3", 64001); }

PairFindings whole() {
  PairFindings f;
  f.tunnel = true;
  f.large = f.tunnel6 = true;
  f.talk = TalkReport{Verdict::kGood, "good", 0.3};
  f.mtu = 1450;
  return f;
}

TEST(OverlayCheckCause, NothingIsWrong) {
  EXPECT_EQ(cause(whole()), "");
  auto f = whole();
  f.large.reset(), f.tunnel6.reset(), f.talk.reset();
  EXPECT_EQ(cause(f), "");
  for (auto v : {Verdict::kNoPeer, Verdict::kUnclear}) {
    f = whole();
    f.talk->verdict = v;
    EXPECT_EQ(cause(f), "") << "an old node, or one that is busy, is no fault";
  }
}

TEST(OverlayCheckCause, NotThroughTheTunnel) {
  auto f = whole();
  f.device = false;
  EXPECT_THAT(cause(f), HasSubstr("vtep1024 of this node is missing or down"));
  f = whole();
  f.known = false;
  EXPECT_THAT(cause(f), HasSubstr("tables do not lead to 10.0.0.3"));
  f = PairFindings{};
  EXPECT_THAT(cause(f), HasSubstr("not looked at further"));
  f.outside = false;
  EXPECT_THAT(cause(f), HasSubstr("it is down, or cannot be reached from here"));
  f.outside = true;
  EXPECT_THAT(cause(f), HasSubstr("UDP 64000 is filtered"));
  EXPECT_THAT(cause(f), HasSubstr("TCP 64001"));
  f.port_refused = true;
  EXPECT_THAT(cause(f), HasSubstr("nobody listens on UDP 64000 there"));
}

TEST(OverlayCheckCause, ThroughTheTunnelAndNotWhole) {
  auto f = whole();
  f.large = false;
  EXPECT_THAT(cause(f), HasSubstr("small packets pass, those of 1450 octets do not"));
  f.passes = 1392;
  EXPECT_THAT(cause(f), HasSubstr("takes less than 1500 octets; raise its MTU or set overlay.vtep_mtu to 1392"));
  f = whole();
  f.tunnel6 = false;
  EXPECT_THAT(cause(f), HasSubstr("IPv6 does not"));
  const std::pair<Verdict, const char*> all[] = {{Verdict::kOursLost, "offload of this node's network card"},
                                                 {Verdict::kTheirsLost, "network card of 10.0.0.3"},
                                                 {Verdict::kOneSideLost, "of this node or of 10.0.0.3"},
                                                 {Verdict::kTooLarge, "those of 1450 octets do not"},
                                                 {Verdict::kChanged, "arrives changed"}};
  for (auto& [verdict, text] : all) {
    f = whole();
    f.talk->verdict = verdict;
    f.talk->what = "what";
    EXPECT_THAT(cause(f), HasSubstr(text));
    EXPECT_FALSE(f.good());
  }
}

}  // namespace
}  // namespace ls::overlay_probe
