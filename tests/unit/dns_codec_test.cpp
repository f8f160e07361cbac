// ldns as the second opinion: names both ways, every type of record, whole zones (AXFR).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "dns_ldns.h"
#include "dns_world.h"

namespace ls::dns {
namespace {

using test::LdnsMessage;

std::string random_wire(std::mt19937& random) {
  std::string wire;
  for (size_t labels = random() % 6; labels > 0; --labels) {
    const size_t size = 1 + random() % (random() % 4 == 0 ? 63 : 6);
    if (wire.size() + size + 2 > DnsName::kMaxWire) break;
    wire += static_cast<char>(size);
    for (size_t i = 0; i < size; ++i) wire += static_cast<char>(random() % 3 == 0 ? random() % 256 : "abcXYZ019-_*.\\\"$@;( "[random() % 21]);
  }
  return wire + '\0';
}

std::string ldns_text(const std::string& wire) {
  ldns_rdf* rdf = ldns_dname_new_frm_data(static_cast<uint16_t>(wire.size()), wire.data());
  char* text = ldns_rdf2str(rdf);
  std::string out = text;
  free(text);
  ldns_rdf_deep_free(rdf);
  return out;
}

std::optional<std::string> ldns_wire(const std::string& text) {
  ldns_rdf* rdf = nullptr;
  if (ldns_str2rdf_dname(&rdf, text.c_str()) != LDNS_STATUS_OK) return std::nullopt;
  std::string out(reinterpret_cast<const char*>(ldns_rdf_data(rdf)), ldns_rdf_size(rdf));
  ldns_rdf_deep_free(rdf);
  return out;
}

TEST(DnsCodec, NamesBothWaysWithLdns) {
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    const std::string wire = random_wire(random);
    const auto name = DnsName::from_wire({reinterpret_cast<const uint8_t*>(wire.data()), wire.size()});
    ASSERT_TRUE(name);
    ASSERT_EQ(ldns_wire(name->text()), wire) << name->text();
    const auto back = DnsName::parse(ldns_text(wire));
    ASSERT_TRUE(back) << ldns_text(wire);
    ASSERT_EQ(back->wire(), wire) << ldns_text(wire);
  }
}

TEST(DnsCodec, TextThatLdnsRefusesIsRefused) {
  for (const char* text : {"a..b", ".a", "a\\999.b", "a\\2", "a\\25x"}) {
    EXPECT_FALSE(ldns_wire(text)) << text;
    EXPECT_FALSE(DnsName::parse(text)) << text;
  }
}

class CodecZone : public testing::Test {
 protected:
  test::DnsWorld world;
  CodecZone() {
    world.zone("z.example");
    const DnsName apex = test::name_of("z.example");
    using namespace std::string_literals;
    RecordDelta delta;
    const auto add = [&](const char* owner, const char* type, const std::string& value) { delta.add.push_back(test::record_of(owner, type, value, apex)); };
    add("a.z.example", "A", "192.0.2.1");
    add("a.z.example", "AAAA", "2001:db8::1");
    add("c.z.example", "CNAME", "a.z.example");
    add("c2.z.example", "CNAME", "elsewhere.example");
    add("n.z.example", "NS", "ns.z.example");
    add("n.z.example", "PTR", "host.z.example");
    add("n.z.example", "MX", "10 mail.z.example");
    add("n.z.example", "TXT", "\5hello\3a\"b"s);
    add("n.z.example", "SRV", "1 2 3 a.z.example");
    add("n.z.example", "CAA", "\0\5issueca.example"s);
    add("z.example", "A", "192.0.2.9");
    add("odd\\.label.\\032.z.example", "A", "192.0.2.3");
    world.table("z.example").apply(delta);
  }
};

TEST_F(CodecZone, EveryType) {
  const std::vector<std::array<std::string, 3>> rows{
      {"a.z.example.", "A", "192.0.2.1"},         {"a.z.example.", "AAAA", "2001:db8::1"},  {"c.z.example.", "CNAME", "a.z.example."},
      {"n.z.example.", "NS", "ns.z.example."},    {"n.z.example.", "PTR", "host.z.example."}, {"n.z.example.", "MX", "10 mail.z.example."},
      {"n.z.example.", "TXT", "\"hello\" \"a\\\"b\""}, {"n.z.example.", "SRV", "1 2 3 a.z.example."},
      {"n.z.example.", "CAA", "0 issue \"ca.example\""}, {"odd\\.label.\\032.z.example.", "A", "192.0.2.3"}};
  for (const auto& [owner, type, data] : rows) {
    const auto m = test::read_message(world.ask(test::write_query({owner, type})));
    ASSERT_TRUE(m) << owner << type;
    EXPECT_THAT(m->answer, testing::ElementsAre(owner + " 5 " + type + " " + data));
  }
}

/// Messages of a transfer, each read by ldns.
std::vector<LdnsMessage> transfer_messages(test::DnsWorld& world, const char* name, int edns = -1) {
  const auto wire = test::write_query({name, "AXFR", edns});
  Query q;
  EXPECT_EQ(parse_query(wire, q).outcome, ParseOutcome::kGood);
  Epoch::Guard guard(world.reader);
  const auto bytes = transfer(q, world.views[0]);
  std::vector<LdnsMessage> out;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = size_t{bytes[at]} << 8 | bytes[at + 1];
    EXPECT_LE(at + 2 + size, bytes.size());
    auto m = test::read_message(std::span(bytes).subspan(at + 2, size));
    EXPECT_TRUE(m);
    if (m) out.push_back(*m);
    at += 2 + size;
  }
  return out;
}

TEST_F(CodecZone, Transfer) {
  for (const int edns : {-1, 1232}) {
    const auto messages = transfer_messages(world, "Z.example", edns);
    ASSERT_EQ(messages.size(), 1u);
    const LdnsMessage& m = messages[0];
    EXPECT_TRUE(m.aa);
    EXPECT_EQ(m.rcode, 0);
    EXPECT_EQ(m.edns, edns >= 0);
    ASSERT_EQ(m.answer.size(), 3 + 12u);
    const std::string soa = "Z.example. 5 SOA ns.spartan. support.mesosphere.com. 1 60 180 86400 1";
    EXPECT_EQ(m.answer.front(), soa);
    EXPECT_EQ(m.answer.back(), soa);
    EXPECT_EQ(m.answer[1], "Z.example. 3600 NS ns.spartan.");
    for (const char* line : {"a.Z.example. 5 A 192.0.2.1", "c2.Z.example. 5 CNAME elsewhere.example.", "n.Z.example. 5 SRV 1 2 3 a.z.example.",
                             "odd\\.label.\\032.Z.example. 5 A 192.0.2.3", "Z.example. 5 A 192.0.2.9"})
      EXPECT_THAT(m.answer, testing::Contains(line));
  }
}

TEST_F(CodecZone, NamesOfATransfersSoaBelowTheApex) {
  world.views[0].soa.mname = test::name_of("ns.z.example");
  world.views[0].soa.rname = test::name_of("z.example");
  const auto messages = transfer_messages(world, "Z.example");
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].answer.front(), "Z.example. 5 SOA ns.Z.example. Z.example. 1 60 180 86400 1");
  EXPECT_EQ(messages[0].answer.back(), messages[0].answer.front());
}

TEST_F(CodecZone, OnlyTheApexIsTransferred) {
  const auto messages = transfer_messages(world, "a.z.example");
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].rcode, 5);
  EXPECT_TRUE(messages[0].answer.empty());
}

TEST_F(CodecZone, LargeTransfersTakeSeveralMessages) {
  RecordDelta delta;
  const DnsName apex = test::name_of("z.example");
  for (int i = 0; i < 5000; ++i)
    delta.add.push_back(test::record_of("host" + std::to_string(i) + ".z.example", i % 2 ? "A" : "SRV", i % 2 ? "10.0.0.1" : "0 0 1 a.z.example", apex));
  std::string big;
  for (int i = 0; i < 234; ++i) big += '\xff' + std::string(255, 'x');
  delta.add.push_back(test::record_of("big.z.example", "TXT", big, apex));
  world.table("z.example").apply(delta);
  const auto messages = transfer_messages(world, "z.example");
  EXPECT_GT(messages.size(), 5u);
  std::set<std::string> lines;
  size_t records = 0;
  for (const auto& m : messages) {
    records += m.answer.size();
    lines.insert(m.answer.begin(), m.answer.end());
  }
  EXPECT_EQ(records, 3 + 12 + 5001u);
  EXPECT_EQ(lines.size(), records - 1) << "the SOA twice, everything else once";
}

TEST(DnsCodec, ATransferOfAnUnknownZoneFails) {
  test::DnsWorld world;
  world.zone("z.example", {}, false);
  const auto messages = transfer_messages(world, "z.example");
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].rcode, 2);
}

TEST(Routes, LongestSuffixWins) {
  std::vector<ZoneView> views;
  test::DnsWorld world;
  for (const char* apex : {"mesos", "thisdcos.directory", "L4LB.thisdcos.directory"}) world.zone(apex);
  world.groups = {{test::name_of("."), {}}, {test::name_of("example.com"), {}}, {test::name_of("sub.Example.com"), {}}, {test::name_of("mesos"), {}}};
  const Routes& routes = world.routes();
  const auto zone = [&](const char* name) {
    const Route r = routes.find(test::name_of(name).folded().wire());
    return r.zone ? "zone " + r.zone->apex.text() : r.forward ? "forward " + r.forward->zone.text() : "none";
  };
  EXPECT_EQ(zone("mesos"), "zone mesos.");
  EXPECT_EQ(zone("a.b.MESOS"), "zone mesos.");
  EXPECT_EQ(zone("xmesos"), "forward .");
  EXPECT_EQ(zone("x.l4lb.thisdcos.directory"), "zone L4LB.thisdcos.directory.");
  EXPECT_EQ(zone("l4lbx.thisdcos.directory"), "zone thisdcos.directory.");
  EXPECT_EQ(zone("directory"), "forward .");
  EXPECT_EQ(zone("."), "forward .");
  EXPECT_EQ(zone("www.example.com"), "forward example.com.");
  EXPECT_EQ(zone("a.sub.example.com"), "forward sub.Example.com.");
  EXPECT_EQ(zone("thisdcos.directory.example.com"), "forward example.com.");
  const Routes none;
  EXPECT_EQ(none.find(test::name_of("a.b").wire()).zone, nullptr);
  std::string deep;
  for (int i = 0; i < 127; ++i) deep += "\1x";
  deep += '\0';
  EXPECT_EQ(routes.find(deep).forward, &routes.groups()[0]);
}

}  // namespace
}  // namespace ls::dns
