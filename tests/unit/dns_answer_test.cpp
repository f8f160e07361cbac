// Answers of plain zones and of the resolver's own zones (spec/spartan-dns.md section 4), read by ldns.
#include "dns/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "dns_ldns.h"
#include "dns_world.h"

namespace ls::dns {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using test::Ask;
using test::DnsWorld;
using test::LdnsMessage;

const std::string kSoaData = "SOA ns.spartan. support.mesosphere.com. 1 60 180 86400 1";

class AnswerTest : public testing::Test {
 protected:
  DnsWorld world;

  AnswerTest() {
    const AnswerRules rules = test::resolver_rules();
    world.zone("spartan", rules);
    world.zone("c.thisdcos.directory", rules);
    world.zone("t.thisdcos.directory", rules);
    world.zone("thisdcos.directory", rules);
    world.view("thisdcos.directory").rules.refuse_below = true;
    world.zone("plain");
    world.zone("late", {}, false);
    world.add("spartan", "ns.spartan", "A", "198.51.100.1");
    world.add("t.thisdcos.directory", "one.fw.t.thisdcos.directory", "A", "10.0.0.1");
    world.add("t.thisdcos.directory", "two.fw.t.thisdcos.directory", "A", "10.0.0.1");
    world.add("t.thisdcos.directory", "two.fw.t.thisdcos.directory", "A", "10.0.0.2");
    world.add("t.thisdcos.directory", "two.fw.t.thisdcos.directory", "AAAA", "fd01::2");
    world.add("t.thisdcos.directory", "own.fw.t.thisdcos.directory", "A", "10.0.0.9", 77);
    world.add("c.thisdcos.directory", "near.c.thisdcos.directory", "CNAME", "far.c.thisdcos.directory");
    world.add("c.thisdcos.directory", "far.c.thisdcos.directory", "CNAME", "two.fw.t.thisdcos.directory");
    world.add("c.thisdcos.directory", "ext.c.thisdcos.directory", "CNAME", "www.example.com");
    world.add("c.thisdcos.directory", "dang.c.thisdcos.directory", "CNAME", "none.c.thisdcos.directory");
    world.add("c.thisdcos.directory", "self.c.thisdcos.directory", "CNAME", "self.c.thisdcos.directory");
    world.add("c.thisdcos.directory", "l1.c.thisdcos.directory", "CNAME", "l2.c.thisdcos.directory");
    world.add("c.thisdcos.directory", "l2.c.thisdcos.directory", "CNAME", "l3.c.thisdcos.directory");
    world.add("c.thisdcos.directory", "l3.c.thisdcos.directory", "CNAME", "l2.c.thisdcos.directory");
    world.add("c.thisdcos.directory", "late.c.thisdcos.directory", "CNAME", "x.late");
    world.add("plain", "_s._tcp.plain", "SRV", "1 2 80 a.b.plain");
    world.add("plain", "_s._tcp.plain", "SRV", "1 2 81 a.b.plain");
    world.add("plain", "_s._tcp.plain", "SRV", "1 2 80 two.fw.t.thisdcos.directory");
    world.add("plain", "a.b.plain", "A", "10.1.0.1");
    world.add("plain", "a.b.plain", "AAAA", "fd01::1");
    world.add("plain", "mx.plain", "MX", "10 a.b.plain");
    world.alias("aka.example", "plain");
  }

  LdnsMessage ask(const Ask& q, Answer* answer = nullptr) {
    const auto bytes = world.ask(test::write_query(q), answer);
    auto m = test::read_message(bytes);
    EXPECT_TRUE(m) << "ldns does not read the answer to " << q.name;
    if (!m) return {};
    EXPECT_EQ(m->id, q.id);
    EXPECT_TRUE(m->qr);
    EXPECT_EQ(m->rd, q.rd);
    EXPECT_EQ(m->edns, q.edns >= 0);
    return *m;
  }
};

TEST_F(AnswerTest, NameAndTypeExist) {
  const auto m = ask({"two.fw.t.thisdcos.directory", "A"});
  EXPECT_EQ(m.rcode, 0);
  EXPECT_TRUE(m.aa);
  EXPECT_FALSE(m.ra);
  EXPECT_FALSE(m.tc);
  EXPECT_THAT(m.answer, ElementsAre("two.fw.t.thisdcos.directory. 5 A 10.0.0.1", "two.fw.t.thisdcos.directory. 5 A 10.0.0.2"));
  EXPECT_THAT(m.authority, IsEmpty());
  EXPECT_THAT(m.additional, IsEmpty());
}

TEST_F(AnswerTest, RecordsMayHaveATtl) { EXPECT_THAT(ask({"own.fw.t.thisdcos.directory"}).answer, ElementsAre("own.fw.t.thisdcos.directory. 77 A 10.0.0.9")); }

TEST_F(AnswerTest, CaseIsIgnoredAndEchoed) {
  const auto m = ask({"OnE.fW.t.ThisDCOS.directory", "A"});
  EXPECT_THAT(m.question, ElementsAre("OnE.fW.t.ThisDCOS.directory. A"));
  EXPECT_THAT(m.answer, ElementsAre("OnE.fW.t.ThisDCOS.directory. 5 A 10.0.0.1"));
}

TEST_F(AnswerTest, NegativeAnswers) {
  struct Row {
    const char *name, *type;
    int rcode;
    const char* soa;  ///< owner; empty: none
  };
  for (const Row& row : std::vector<Row>{
           {"two.fw.t.thisdcos.directory", "TXT", 0, "t.thisdcos.directory."},
           {"one.fw.t.thisdcos.directory", "AAAA", 0, "t.thisdcos.directory."},
           {"none.fw.t.thisdcos.directory", "A", 3, "t.thisdcos.directory."},
           {"x.one.fw.t.thisdcos.directory", "A", 3, "t.thisdcos.directory."},
           {"fw.t.thisdcos.directory", "A", 0, "t.thisdcos.directory."},  // RFC 8020: names below it
           {"t.thisdcos.directory", "A", 0, "t.thisdcos.directory."},
           {"t.thisdcos.directory", "DS", 0, "t.thisdcos.directory."},    // B13: never to an upstream
           {"none.t.thisdcos.directory", "SRV", 3, "t.thisdcos.directory."},
           {"none.t.thisdcos.directory", "ANY", 3, "t.thisdcos.directory."},
           {"fw.t.thisdcos.directory", "ANY", 0, "t.thisdcos.directory."},
           {"NONE.T.thisdcos.directory", "A", 3, "T.thisdcos.directory."},  // a pointer into the question
           {"thisdcos.directory", "A", 0, "thisdcos.directory."},
           {"_tcp.plain", "A", 0, "plain."},
           {"none.plain", "RRSIG", 3, "plain."}}) {
    const auto m = ask({row.name, row.type});
    EXPECT_EQ(m.rcode, row.rcode) << row.name << " " << row.type;
    EXPECT_TRUE(m.aa) << row.name;
    EXPECT_THAT(m.answer, IsEmpty()) << row.name;
    EXPECT_THAT(m.authority, ElementsAre(std::string(row.soa) + " 1 " + kSoaData)) << row.name;
  }
}

TEST_F(AnswerTest, Refused) {
  for (const auto& [name, type] : std::vector<std::pair<const char*, const char*>>{
           {"a.nosuch.thisdcos.directory", "A"}, {"a.nosuch.thisdcos.directory", "ANY"}, {"ns.spartan", "RRSIG"}, {"example.com", "A"}}) {
    const auto m = ask({name, type});
    EXPECT_EQ(m.rcode, 5) << name;
    EXPECT_FALSE(m.aa) << name;
    EXPECT_THAT(m.answer, IsEmpty());
    EXPECT_THAT(m.authority, IsEmpty());
    EXPECT_EQ(m.question.size(), 1u);
  }
}

TEST_F(AnswerTest, ZoneThatIsNotLoadedNeverSaysNo) {
  const auto m = ask({"x.late", "A"});
  EXPECT_EQ(m.rcode, 2);
  EXPECT_FALSE(m.aa);
  EXPECT_THAT(m.authority, IsEmpty());
  const auto through = ask({"late.c.thisdcos.directory", "A"});
  EXPECT_EQ(through.rcode, 2);
}

TEST_F(AnswerTest, ApexRecords) {
  const auto soa = ask({"t.thisdcos.directory", "SOA"});
  EXPECT_THAT(soa.answer, ElementsAre("t.thisdcos.directory. 5 " + kSoaData));
  EXPECT_THAT(soa.authority, IsEmpty());
  const auto ns = ask({"spartan", "NS"});
  EXPECT_THAT(ns.answer, ElementsAre("spartan. 3600 NS ns.spartan."));
  EXPECT_THAT(ns.additional, ElementsAre("ns.spartan. 5 A 198.51.100.1"));
  const auto elsewhere = ask({"t.thisdcos.directory", "NS"});
  EXPECT_THAT(elsewhere.answer, ElementsAre("t.thisdcos.directory. 3600 NS ns.spartan."));
  EXPECT_THAT(elsewhere.additional, ElementsAre("ns.spartan. 5 A 198.51.100.1"));
  EXPECT_EQ(ask({"fw.t.thisdcos.directory", "NS"}).authority.size(), 1u);
}

TEST_F(AnswerTest, Any) {
  EXPECT_THAT(ask({"two.fw.t.thisdcos.directory", "ANY"}).answer,
              UnorderedElementsAre("two.fw.t.thisdcos.directory. 5 A 10.0.0.1", "two.fw.t.thisdcos.directory. 5 A 10.0.0.2",
                                   "two.fw.t.thisdcos.directory. 5 AAAA fd01::2"));
  EXPECT_THAT(ask({"near.c.thisdcos.directory", "ANY"}).answer, ElementsAre("near.c.thisdcos.directory. 5 CNAME far.c.thisdcos.directory."));
  // RFC 8482: one set over UDP, everything over TCP.
  EXPECT_THAT(ask({"a.b.plain", "ANY"}).answer, ElementsAre("a.b.plain. 5 A 10.1.0.1"));
  EXPECT_THAT(ask({"plain", "ANY"}).answer, ElementsAre("plain. 5 " + kSoaData));
  world.limits.tcp = true;
  EXPECT_THAT(ask({"a.b.plain", "ANY"}).answer, UnorderedElementsAre("a.b.plain. 5 A 10.1.0.1", "a.b.plain. 5 AAAA fd01::1"));
  EXPECT_THAT(ask({"plain", "ANY"}).answer, ElementsAre("plain. 5 " + kSoaData, "plain. 3600 NS ns.spartan."));
}

TEST_F(AnswerTest, AliasesInOrder) {
  const auto m = ask({"near.c.thisdcos.directory", "A"});
  EXPECT_EQ(m.rcode, 0);
  EXPECT_THAT(m.answer, ElementsAre("near.c.thisdcos.directory. 5 CNAME far.c.thisdcos.directory.",
                                    "far.c.thisdcos.directory. 5 CNAME two.fw.t.thisdcos.directory.",
                                    "two.fw.t.thisdcos.directory. 5 A 10.0.0.1", "two.fw.t.thisdcos.directory. 5 A 10.0.0.2"));
  EXPECT_THAT(m.authority, IsEmpty());
  EXPECT_THAT(ask({"near.c.thisdcos.directory", "CNAME"}).answer, ElementsAre("near.c.thisdcos.directory. 5 CNAME far.c.thisdcos.directory."));
}

TEST_F(AnswerTest, AliasesWithoutAnEnd) {
  const auto dangling = ask({"dang.c.thisdcos.directory", "A"});
  EXPECT_EQ(dangling.rcode, 0);
  EXPECT_THAT(dangling.answer, ElementsAre("dang.c.thisdcos.directory. 5 CNAME none.c.thisdcos.directory."));
  EXPECT_THAT(dangling.authority, ElementsAre("c.thisdcos.directory. 1 " + kSoaData));
  const auto self = ask({"self.c.thisdcos.directory", "A"});
  EXPECT_EQ(self.rcode, 2);
  EXPECT_TRUE(self.aa);
  EXPECT_THAT(self.answer, ElementsAre("self.c.thisdcos.directory. 5 CNAME self.c.thisdcos.directory."));
  const auto loop = ask({"l1.c.thisdcos.directory", "A"});
  EXPECT_EQ(loop.rcode, 2);
  EXPECT_THAT(loop.answer, ElementsAre("l1.c.thisdcos.directory. 5 CNAME l2.c.thisdcos.directory."));
  Answer answer;
  const auto outside = ask({"ext.c.thisdcos.directory", "A"}, &answer);
  EXPECT_EQ(outside.rcode, 0);
  EXPECT_THAT(outside.answer, ElementsAre("ext.c.thisdcos.directory. 5 CNAME www.example.com."));
  EXPECT_TRUE(answer.outside);
  EXPECT_EQ(answer.target.text(), "www.example.com.");
}

TEST_F(AnswerTest, LongChainsEnd) {
  world.zone("chain");
  for (int i = 0; i < 40; ++i) world.add("chain", "n" + std::to_string(i) + ".chain", "CNAME", "n" + std::to_string(i + 1) + ".chain");
  world.add("chain", "n40.chain", "A", "10.0.0.1");
  world.rebuild();
  EXPECT_EQ(ask({"n24.chain", "A"}).answer.size(), 17u);
  EXPECT_EQ(ask({"n0.chain", "A"}).rcode, 2);
}

TEST_F(AnswerTest, ServicesCarryTheirAddresses) {
  const auto m = ask({"_s._tcp.plain", "SRV"});
  EXPECT_THAT(m.sorted_answer(), ElementsAre("_s._tcp.plain. 5 SRV 1 2 80 a.b.plain.", "_s._tcp.plain. 5 SRV 1 2 80 two.fw.t.thisdcos.directory.",
                                             "_s._tcp.plain. 5 SRV 1 2 81 a.b.plain."));
  EXPECT_THAT(m.additional, UnorderedElementsAre("a.b.plain. 5 A 10.1.0.1", "a.b.plain. 5 AAAA fd01::1", "two.fw.t.thisdcos.directory. 5 A 10.0.0.1",
                                                 "two.fw.t.thisdcos.directory. 5 A 10.0.0.2", "two.fw.t.thisdcos.directory. 5 AAAA fd01::2"));
  EXPECT_THAT(ask({"mx.plain", "MX"}).additional, ElementsAre("a.b.plain. 5 A 10.1.0.1", "a.b.plain. 5 AAAA fd01::1"));
}

TEST_F(AnswerTest, AliasedZonesAnswerUnderTheNameThatWasAsked) {
  const auto m = ask({"_s._tcp.aka.example", "SRV"});
  EXPECT_THAT(m.sorted_answer(), ElementsAre("_s._tcp.aka.example. 5 SRV 1 2 80 a.b.aka.example.",
                                             "_s._tcp.aka.example. 5 SRV 1 2 80 two.fw.t.thisdcos.directory.",
                                             "_s._tcp.aka.example. 5 SRV 1 2 81 a.b.aka.example."));
  EXPECT_THAT(m.additional, testing::Contains("a.b.aka.example. 5 A 10.1.0.1"));
  EXPECT_THAT(ask({"none.aka.example", "A"}).authority, ElementsAre("aka.example. 1 " + kSoaData));
}

TEST_F(AnswerTest, ServicePriorityAndWeightCanBeOverridden) {
  world.view("aka.example").srv_override = {{1, 1}};
  world.add("plain", "_w._tcp.plain", "SRV", "7 300 80 a.b.plain");
  world.rebuild();
  EXPECT_THAT(ask({"_w._tcp.aka.example", "SRV"}).answer, ElementsAre("_w._tcp.aka.example. 5 SRV 1 1 80 a.b.aka.example."));
  EXPECT_THAT(ask({"_w._tcp.plain", "SRV"}).answer, ElementsAre("_w._tcp.plain. 5 SRV 7 300 80 a.b.plain."));
}

/// RFC 2782: nobody has to understand a compressed target.
TEST_F(AnswerTest, ServiceTargetsAreNotCompressed) {
  const auto bytes = world.ask(test::write_query({"_s._tcp.plain", "SRV"}));
  const std::string text(bytes.begin(), bytes.end());
  using namespace std::string_literals;
  EXPECT_NE(text.find("\1a\1b\5plain\0"s), std::string::npos);
}

/// The data of the record that ends the message, whose owner is a pointer at `owner`.
std::string rdata_of_last(const std::vector<uint8_t>& m, size_t owner) {
  std::string rdata(m.begin() + static_cast<ptrdiff_t>(owner + 12), m.end());
  EXPECT_EQ(size_t{m[owner + 10]} << 8 | m[owner + 11], rdata.size());
  return rdata;
}

/// The kernel keeps the data of a view's SOA, so it may depend on nothing but the view and the place of its apex.
TEST_F(AnswerTest, SoaPointsAtItsApexAndNothingElse) {
  using namespace std::string_literals;
  const std::string numbers = "\0\0\0\1\0\0\0\x3c\0\0\0\xb4\0\1\x51\x80\0\0\0\1"s;
  const std::string at = "\xff\xff";  // stands for a pointer to the apex
  struct Row {
    std::string apex, mname, rname, question, names;
  };
  for (const Row& row : std::vector<Row>{
           {"plain", "ns.spartan", "support.mesosphere.com", "none.plain", "\2ns\7spartan\0\7support\12mesosphere\3com\0"s},
           {"plain", "ns1.plain", "root.ns1.plain", "none.plain", "\3ns1"s + at + "\4root\3ns1"s + at},
           {"plain", "ns1.plain", "root.ns1.plain", "a.b.root.ns1.plain", "\3ns1"s + at + "\4root\3ns1"s + at},
           {"plain", "plain", "PLAIN", "none.plain", at + at},
           {"plain", "Ns.PlAiN", "x.notplain", "n.Plain", "\2Ns"s + at + "\1x\10notplain\0"s},
           {"plain", "plain.org", "\\005plain", "none.plain", "\5plain\3org\0\6\5plain\0"s},
           {"com", "a.mesosphere.com", "b.mesosphere.com", "x.mesosphere.com", "\1a\12mesosphere"s + at + "\1b\12mesosphere"s + at},
           {"d.com", "ns.com", "com", "x.d.com", "\2ns\3com\0\3com\0"s}}) {
    test::DnsWorld one;
    one.zone(row.apex);
    ZoneView& view = one.view(row.apex);
    view.soa.mname = test::name_of(row.mname);
    view.soa.rname = test::name_of(row.rname);
    for (const bool at_question : {false, true}) {
      view.rules.soa_at_question = at_question;
      one.rebuild();
      const auto bytes = one.ask(test::write_query({row.question, "A"}));
      const size_t end = kHeader + row.question.size() + 2 + 4;  // "a.b" is two octets longer on the wire
      const auto apex = static_cast<uint16_t>(kHeader + row.question.size() - row.apex.size());
      const uint16_t owner = 0xc000 | (at_question ? kHeader : apex), pointer = 0xc000 | apex;
      EXPECT_EQ(bytes.at(end), owner >> 8);
      EXPECT_EQ(bytes.at(end + 1), owner & 0xff);
      std::string names = row.names;
      for (size_t i; (i = names.find(at)) != std::string::npos;)
        names.replace(i, 2, {static_cast<char>(pointer >> 8), static_cast<char>(pointer)});
      EXPECT_EQ(rdata_of_last(bytes, end), names + numbers) << row.question << " " << row.mname << " " << row.rname;
      const auto m = test::read_message(bytes);
      ASSERT_TRUE(m);
      EXPECT_EQ(m->rcode, 3);
      EXPECT_EQ(m->authority.size(), 1u);
    }
  }
}

TEST_F(AnswerTest, SoaBehindAnAliasPointsAtTheApexThere) {
  world.view("plain").soa.mname = test::name_of("ns1.plain");
  world.view("plain").soa.rname = test::name_of("plain");
  world.add("c.thisdcos.directory", "soa.c.thisdcos.directory", "CNAME", "plain");
  world.rebuild();
  const std::string question = "soa.c.thisdcos.directory";
  const auto bytes = world.ask(test::write_query({question, "SOA"}));
  const auto m = test::read_message(bytes);
  ASSERT_TRUE(m);
  EXPECT_THAT(m->answer, ElementsAre(question + ". 5 CNAME plain.", "plain. 5 SOA ns1.plain. plain. 1 60 180 86400 1"));
  // The alias: pointer, 10 octets, "plain." at `target`; behind it the SOA, whose names are "ns1" with a pointer, and a pointer.
  const size_t target = kHeader + question.size() + 2 + 4 + 12;
  EXPECT_EQ(rdata_of_last(bytes, target + 7).size(), 4 + 2 + 2 + 20u);
  // A chain that ends without records has the SOA of the question's zone.
  EXPECT_THAT(ask({question, "TXT"}).authority, ElementsAre("c.thisdcos.directory. 1 " + kSoaData));
}

TEST_F(AnswerTest, Edns) {
  auto m = ask({"one.fw.t.thisdcos.directory", "A", 4096, true});
  EXPECT_EQ(m.udp_size, 1232);
  EXPECT_EQ(m.edns_version, 0);
  EXPECT_TRUE(m.dnssec_ok);
  EXPECT_EQ(m.extended_rcode, 0);
  m = ask({"one.fw.t.thisdcos.directory", "A", 512, false});
  EXPECT_FALSE(m.dnssec_ok);
  const std::string cookie = "client01server01";
  world.limits.cookie = {reinterpret_cast<const uint8_t*>(cookie.data()), cookie.size()};
  using namespace std::string_literals;
  m = ask({"one.fw.t.thisdcos.directory", "A", 1232});
  EXPECT_EQ(m.edns_data, "\0\x0a\0\x10"s + cookie);
}

TEST_F(AnswerTest, SizeLimits) {
  const auto limit = [](int edns, bool tcp, uint16_t udp_max) {
    Query q;
    const auto wire = test::write_query({"x", "A", edns});
    parse_query(wire, q);
    AnswerLimits limits;
    limits.tcp = tcp;
    limits.udp_max = udp_max;
    return size_limit(q, limits);
  };
  EXPECT_EQ(limit(-1, false, 1232), 512u);
  EXPECT_EQ(limit(0, false, 1232), 512u);
  EXPECT_EQ(limit(512, false, 1232), 512u);
  EXPECT_EQ(limit(800, false, 1232), 800u);
  EXPECT_EQ(limit(4096, false, 1232), 1232u);
  EXPECT_EQ(limit(4096, false, 100), 512u);
  EXPECT_EQ(limit(-1, true, 1232), 65535u);
}

TEST_F(AnswerTest, Truncation) {
  for (int i = 0; i < 300; ++i) world.add("plain", "many.plain", "A", "10.2." + std::to_string(i / 256) + "." + std::to_string(i % 256));
  auto m = ask({"many.plain", "A"});
  EXPECT_TRUE(m.tc);
  EXPECT_EQ(m.answer.size(), (512 - 12 - 12 - 4) / 16u);
  m = ask({"many.plain", "A", 1232});
  EXPECT_TRUE(m.tc);
  EXPECT_TRUE(m.edns) << "RFC 6891 7";
  EXPECT_EQ(m.answer.size(), (1232 - 12 - 12 - 4 - 11) / 16u);
  EXPECT_EQ(std::set<std::string>(m.answer.begin(), m.answer.end()).size(), m.answer.size());
  EXPECT_LE(world.ask(test::write_query({"many.plain", "A", 1232})).size(), 1232u);
  world.limits.truncate_bit = false;
  EXPECT_FALSE(ask({"many.plain", "A"}).tc);
  world.limits.truncate_bit = true;
  world.limits.tcp = true;
  m = ask({"many.plain", "A"});
  EXPECT_FALSE(m.tc);
  EXPECT_EQ(m.answer.size(), 300u);
}

/// B8: additional records that do not fit are no loss.
TEST_F(AnswerTest, AdditionalRecordsAreLeftOutWithoutTruncation) {
  for (int i = 0; i < 40; ++i) world.add("plain", "t.plain", "A", "10.3.0." + std::to_string(i));
  world.add("plain", "_big._tcp.plain", "SRV", "0 0 1 t.plain");
  auto m = ask({"_big._tcp.plain", "SRV"});
  EXPECT_FALSE(m.tc);
  EXPECT_EQ(m.answer.size(), 1u);
  EXPECT_GT(m.additional.size(), 20u);
  EXPECT_LT(m.additional.size(), 40u);
  world.limits.tcp = true;
  EXPECT_EQ(ask({"_big._tcp.plain", "SRV"}).additional.size(), 40u);
}

TEST_F(AnswerTest, TcpAnswersEndAt65535) {
  RecordDelta delta;
  for (int i = 0; i < 5000; ++i) delta.add.push_back(test::record_of("huge.plain", "A", "10.4." + std::to_string(i / 256) + "." + std::to_string(i % 256), test::name_of("plain")));
  world.limits.tcp = true;
  world.table("plain").apply(delta);
  const auto m = ask({"huge.plain", "A"});
  EXPECT_TRUE(m.tc);
  EXPECT_EQ(m.answer.size(), (65535 - 12 - 12 - 4) / 16u);
}

TEST_F(AnswerTest, RoundRobinByMessageId) {
  world.view("plain").rules.rotation = Rotation::kRoundRobin;
  for (int i = 1; i <= 5; ++i) world.add("plain", "rr.plain", "A", "10.0.0." + std::to_string(i));
  for (const auto& [id, first] : std::map<int, int>{{0, 1}, {1, 2}, {3, 4}, {7, 3}, {4660, 1}})
    EXPECT_EQ(ask({"rr.plain", "A", -1, false, id}).answer[0], "rr.plain. 5 A 10.0.0." + std::to_string(first));
}

/// B34: every order is equally likely.
TEST_F(AnswerTest, RandomOrder) {
  for (int i = 1; i <= 3; ++i) world.add("plain", "r.plain", "A", "10.0.0." + std::to_string(i));
  std::map<std::vector<std::string>, int> orders;
  for (int i = 0; i < 6000; ++i) ++orders[ask({"r.plain", "A"}).answer];
  ASSERT_EQ(orders.size(), 6u);
  for (const auto& [order, count] : orders) EXPECT_NEAR(count, 1000, 150) << order[0] << order[1];
}

/// B5: a target that no message can hold costs the others nothing.
TEST_F(AnswerTest, TargetsThatGetTooLongAreLeftOut) {
  const std::string label(60, 'x');
  const std::string alias = label + "." + label + "." + label + "." + label;
  world.alias(alias, "plain");
  world.add("plain", "_s._udp.plain", "SRV", "0 0 1 " + label + ".plain");
  world.add("plain", "_s._udp.plain", "SRV", "0 0 2 y.plain");
  world.rebuild();
  world.limits.tcp = true;
  EXPECT_THAT(ask({"_s._udp." + alias, "SRV"}).answer, ElementsAre("_s._udp." + alias + ". 5 SRV 0 0 2 y." + alias + "."));
}

TEST_F(AnswerTest, ClassAnyIsAnsweredAsInternet) {
  EXPECT_EQ(ask({"one.fw.t.thisdcos.directory", "A", -1, false, 1, 255}).answer.size(), 1u);
  EXPECT_EQ(ask({"one.fw.t.thisdcos.directory", "A", -1, false, 1, 3}).rcode, 5);
}

TEST_F(AnswerTest, ABufferThatIsTooSmallIsNotOverrun) {
  const auto wire = test::write_query({"two.fw.t.thisdcos.directory", "A", 1232});
  Query q;
  ASSERT_EQ(parse_query(wire, q).outcome, ParseOutcome::kGood);
  const Route route = world.routes().find(q.folded());
  Epoch::Guard guard(world.reader);
  for (size_t size = 0; size < 200; ++size) {
    std::vector<uint8_t> out(size);
    const Answer answer = answer_from_zone(q, *route.zone, world.routes(), world.limits, out);
    EXPECT_LE(answer.size, size);
    if (answer.size != 0) {
      EXPECT_TRUE(test::read_message(std::span(out).first(answer.size)));
    }
    EXPECT_LE(plain_answer(q, Rcode::kServFail, true, world.limits, out), size);
  }
}

}  // namespace
}  // namespace ls::dns
