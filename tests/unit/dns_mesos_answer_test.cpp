// Answers of the Mesos domain: every row of spec/mesos-dns.md 10.2 to 10.6 with the verdict of section 15.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns_ldns.h"
#include "dns_world.h"

namespace ls::dns {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using test::Ask;
using test::LdnsMessage;

const std::string kSoa = " 60 SOA ns1.mesos. root.ns1.mesos. 1 60 600 86400 60";

class MesosAnswerTest : public testing::Test {
 protected:
  test::DnsWorld world;

  MesosAnswerTest() {
    world.zone("mesos", test::mesos_rules());
    ZoneView& view = world.view("mesos");
    view.ttl = view.ns_ttl = view.soa.ttl = view.soa.negative_ttl = view.soa.minimum = 60;
    view.soa.mname = test::name_of("ns1.mesos");
    view.soa.rname = test::name_of("root.ns1.mesos");
    view.soa.refresh = 60, view.soa.retry = 600, view.soa.expire = 86400;
    view.name_servers = {test::name_of("ns1.mesos")};
    add("web.marathon.mesos", "A", "10.0.0.1");
    add("web.marathon.mesos", "AAAA", "fd01::1");
    add("_web._tcp.marathon.mesos", "SRV", "0 1 31000 web-1-s0.marathon.mesos");
    add("_web._tcp.marathon.mesos", "SRV", "0 1 31001 web-1-s0.marathon.mesos");
    add("web-1-s0.marathon.mesos", "A", "10.0.0.1");
    add("web-1-s0.marathon.mesos", "A", "10.0.0.2");
  }
  void add(const std::string& owner, const std::string& type, const std::string& value) { world.add("mesos", owner, type, value); }
  LdnsMessage ask(const Ask& q) {
    auto m = test::read_message(world.ask(test::write_query(q)));
    EXPECT_TRUE(m) << q.name;
    return m.value_or(LdnsMessage{});
  }
};

TEST_F(MesosAnswerTest, Header) {
  const auto m = ask({"web.marathon.mesos", "A"});
  EXPECT_TRUE(m.aa && m.ra && m.rd);
  EXPECT_FALSE(m.ad || m.tc || m.cd);
}

TEST_F(MesosAnswerTest, Addresses) {
  EXPECT_THAT(ask({"web.marathon.mesos", "A"}).answer, ElementsAre("web.marathon.mesos. 60 A 10.0.0.1"));
  EXPECT_THAT(ask({"web.marathon.mesos", "AAAA"}).answer, ElementsAre("web.marathon.mesos. 60 AAAA fd01::1"));
  // B12: the question's spelling.
  EXPECT_THAT(ask({"WEB.marathon.MESOS", "A"}).answer, ElementsAre("WEB.marathon.MESOS. 60 A 10.0.0.1"));
}

TEST_F(MesosAnswerTest, NegativeAnswers) {
  struct Row {
    const char *name, *type;
    int rcode;
  };
  for (const Row& row : std::vector<Row>{{"none.mesos", "A", 3},
                                         {"web.marathon.mesos", "TXT", 0},
                                         {"web.marathon.mesos", "CNAME", 0},
                                         {"_web._tcp.marathon.mesos", "A", 0},
                                         {"mesos", "A", 3},                 // B7
                                         {"mesos", "TXT", 3},
                                         {"_tcp.marathon.mesos", "A", 3},   // B7
                                         {"marathon.mesos", "MX", 3},
                                         {"web.marathon.mesos", "DS", 0},   // B13
                                         {"none.mesos", "DS", 3},
                                         {"none.mesos", "AXFR", 3}}) {
    const auto m = ask({row.name, row.type});
    EXPECT_EQ(m.rcode, row.rcode) << row.name << " " << row.type;
    EXPECT_TRUE(m.aa);
    EXPECT_THAT(m.answer, IsEmpty());
    EXPECT_THAT(m.authority, ElementsAre(row.name + std::string(".") + kSoa)) << row.name << " " << row.type;
  }
}

/// B6: "no instances" is no error.
TEST_F(MesosAnswerTest, ServicesNeverSayNo) {
  for (const char* name : {"_none._tcp.marathon.mesos", "web.marathon.mesos", "mesos"}) {
    const auto m = ask({name, "SRV"});
    EXPECT_EQ(m.rcode, 0) << name;
    EXPECT_THAT(m.answer, IsEmpty());
    EXPECT_THAT(m.authority, IsEmpty());
  }
}

/// B29: all addresses of a target.
TEST_F(MesosAnswerTest, Services) {
  const auto m = ask({"_WEB._tcp.marathon.mesos", "SRV"});
  EXPECT_THAT(m.answer, UnorderedElementsAre("_WEB._tcp.marathon.mesos. 60 SRV 0 1 31000 web-1-s0.marathon.mesos.",
                                             "_WEB._tcp.marathon.mesos. 60 SRV 0 1 31001 web-1-s0.marathon.mesos."));
  EXPECT_THAT(m.additional, UnorderedElementsAre("web-1-s0.marathon.mesos. 60 A 10.0.0.1", "web-1-s0.marathon.mesos. 60 A 10.0.0.2"));
  EXPECT_THAT(m.authority, IsEmpty());
}

TEST_F(MesosAnswerTest, SoaAndNsAreInTheAuthoritySection) {
  for (const char* name : {"mesos", "web.marathon.mesos", "none.mesos"}) {
    const auto soa = ask({name, "SOA"}), ns = ask({name, "NS"});
    EXPECT_EQ(soa.rcode, 0);
    EXPECT_EQ(ns.rcode, 0);
    EXPECT_THAT(soa.answer, IsEmpty());
    EXPECT_THAT(ns.answer, IsEmpty());
    EXPECT_THAT(soa.authority, ElementsAre(name + std::string(".") + kSoa));
    EXPECT_THAT(ns.authority, ElementsAre(name + std::string(". 60 NS ns1.mesos.")));
    EXPECT_THAT(ns.additional, IsEmpty());
  }
}

TEST_F(MesosAnswerTest, Any) {
  world.limits.tcp = true;
  auto m = ask({"web.marathon.mesos", "ANY"});
  EXPECT_THAT(m.answer, UnorderedElementsAre("web.marathon.mesos. 60 A 10.0.0.1", "web.marathon.mesos. 60 AAAA fd01::1"));
  EXPECT_THAT(m.authority, UnorderedElementsAre("web.marathon.mesos." + kSoa, "web.marathon.mesos. 60 NS ns1.mesos."));
  m = ask({"_web._tcp.marathon.mesos", "ANY"});
  EXPECT_EQ(m.answer.size(), 2u);
  EXPECT_EQ(m.additional.size(), 2u);
  m = ask({"none.mesos", "ANY"});
  EXPECT_EQ(m.rcode, 3);
  EXPECT_THAT(m.authority, UnorderedElementsAre("none.mesos." + kSoa, "none.mesos. 60 NS ns1.mesos.", "none.mesos." + kSoa));
  // RFC 8482 over UDP.
  world.limits.tcp = false;
  EXPECT_THAT(ask({"web.marathon.mesos", "ANY"}).answer, ElementsAre("web.marathon.mesos. 60 A 10.0.0.1"));
}

TEST_F(MesosAnswerTest, StarLabelsAreTakenOut) {
  const auto m = ask({"web.*.marathon.mesos", "A"});
  EXPECT_THAT(m.answer, ElementsAre("web.*.marathon.mesos. 60 A 10.0.0.1"));
  EXPECT_THAT(ask({"web.marathon.*.mesos", "A"}).answer.size(), 1u);
  EXPECT_THAT(ask({"we.*b.marathon.mesos", "A"}).answer.size(), 1u) << "two characters, wherever they are";
  EXPECT_EQ(ask({"*.marathon.mesos", "A"}).rcode, 3) << "no wildcard";
  EXPECT_EQ(ask({"*.*.*.marathon.mesos", "A"}).rcode, 3);
  EXPECT_EQ(ask({std::string(60, 'x') + ".*" + std::string(50, 'y') + ".mesos", "A"}).rcode, 3) << "a label no zone has";
  // A name that shrinks to nothing but the domain is the domain.
  EXPECT_EQ(ask({"x.*.mesos", "A"}).rcode, 3);
}

/// Strict modes of B6 and B7.
TEST_F(MesosAnswerTest, Strict) {
  world.view("mesos").rules = {};
  world.rebuild();
  EXPECT_EQ(ask({"_none._tcp.marathon.mesos", "SRV"}).rcode, 3);
  EXPECT_EQ(ask({"_tcp.marathon.mesos", "A"}).rcode, 0);
  EXPECT_EQ(ask({"mesos", "A"}).rcode, 0);
  EXPECT_THAT(ask({"mesos", "SOA"}).answer, ElementsAre("mesos." + kSoa));
  EXPECT_THAT(ask({"none.mesos", "A"}).authority, ElementsAre("mesos." + kSoa));
}

TEST_F(MesosAnswerTest, RareHeaderBits) {
  auto wire = test::write_query({"web.marathon.mesos", "A"});
  wire[3] |= 0x70;  // Z, AD, CD
  const auto m = test::read_message(world.ask(wire));
  EXPECT_TRUE(m->cd);
  EXPECT_FALSE(m->ad);
  wire[2] |= 0x28;  // UPDATE
  const auto update = test::read_message(world.ask(wire));
  EXPECT_EQ(update->rcode, 4);
  EXPECT_EQ(update->opcode, 5);
  EXPECT_FALSE(update->rd || update->cd) << "10.3: only for questions";
}

}  // namespace
}  // namespace ls::dns
