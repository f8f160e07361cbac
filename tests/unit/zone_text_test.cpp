// Zone text: what is taken, what is refused with which line, and that what is written reads back.
#include "dns/zone_text.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace ls::dns {
namespace {

DnsName name(std::string_view text) { return *DnsName::parse(text); }
const DnsName kApex = *DnsName::parse("reg.thisdcos.directory");

ZoneText lines(std::vector<std::string> text) { return parse_zone_lines(text, "static", kApex, 5); }

std::vector<std::string> texts(const ZoneText& zone) {
  std::vector<std::string> out = zone.problems;
  for (auto& r : zone.records) out.push_back(record_text(r, zone.apex, 5).value_or("?"));
  return out;
}
using Texts = std::vector<std::string>;

TEST(ZoneLines, TypesNamesAndTtl) {
  auto zone = lines({"registry CNAME master.dcos.thisdcos.directory.", "@ A 192.0.2.1", "WWW 60 IN AAAA fd01::1",
                     "_web._tcp SRV 1 2 80 www", "t TXT \"a b\" \"c\\\"d;e\"", "; a comment", "", "x TYPE4711 \\# 3 010203",
                     "m MX 10 mail.example.org.", "*.wild A 192.0.2.2"});
  EXPECT_EQ(texts(zone), (Texts{"reg.thisdcos.directory.\t5\tIN\tA\t192.0.2.1", "*.wild.reg.thisdcos.directory.\t5\tIN\tA\t192.0.2.2",
                                "m.reg.thisdcos.directory.\t5\tIN\tMX\t10 mail.example.org.",
                                "t.reg.thisdcos.directory.\t5\tIN\tTXT\t\"a b\" \"c\\\"d;e\"",
                                "x.reg.thisdcos.directory.\t5\tIN\tTYPE4711\t\\# 3 010203",
                                "www.reg.thisdcos.directory.\t60\tIN\tAAAA\tfd01::1",
                                "_web._tcp.reg.thisdcos.directory.\t5\tIN\tSRV\t1 2 80 www.reg.thisdcos.directory.",
                                "registry.reg.thisdcos.directory.\t5\tIN\tCNAME\tmaster.dcos.thisdcos.directory."}));
}

TEST(ZoneLines, EachFaultWithItsLine) {
  auto fault = [](std::string line) {
    auto zone = lines({"ok A 192.0.2.1", std::move(line)});
    return zone.problems.size() == 1 ? zone.problems[0] : "(" + std::to_string(zone.problems.size()) + ")";
  };
  EXPECT_EQ(fault("a A 192.0.2.1.org."), "static: line 2: Syntax error, could not parse the RR's rdata");
  EXPECT_EQ(fault("a.example.org. A 192.0.2.1"), "static: line 2: a.example.org. does not lie in reg.thisdcos.directory.");
  EXPECT_EQ(fault(" A 192.0.2.1"), "static: line 2: starts with a blank: each line names its record's owner");
  EXPECT_EQ(fault("$ORIGIN org."), "static: line 2: directives are for zone files");
  EXPECT_EQ(fault("$INCLUDE /etc/passwd"), "static: line 2: directives are for zone files");
  EXPECT_EQ(fault("a CH TXT x"), "static: line 2: only class IN is served");
  EXPECT_EQ(fault("ok CNAME b"), "static: line 2: an alias and another record at one name");
  EXPECT_EQ(fault("@ CNAME b"), "static: line 2: an alias at the name of the zone, which has SOA and NS");
  EXPECT_EQ(fault("a DNAME b"), "static: line 2: DNAME is not served; write a CNAME for each name");
  EXPECT_EQ(fault("a A 192.0.2.1\nb A 192.0.2.2"), "static: line 2: holds an end of line");
  for (auto bad : {"a", "a A", "a BOGUS x", "a SRV 1 2", "a A 1.2.3", "a CNAME b c", "a..b A 192.0.2.1"}) {
    EXPECT_TRUE(fault(bad).starts_with("static: line 2: ")) << bad << " -> " << fault(bad);
  }
  EXPECT_TRUE(fault(std::string(64, 'a') + " A 192.0.2.1").starts_with("static: line 2: "));
}

TEST(ZoneLines, EqualRecordsCountOnce) {
  EXPECT_EQ(lines({"a A 192.0.2.1", "A A 192.0.2.1"}).records.size(), 1u);
  EXPECT_TRUE(lines({"a CNAME b", "a CNAME b"}).good());
}

TEST(ZoneFile, OriginTtlParenthesesAndInheritedOwner) {
  auto zone = parse_zone_text(
      "$TTL 300\nreg.thisdcos.directory. IN SOA ns. root. (\n 1 ; serial\n 2 3 4 5 )\n"
      "\tNS ns.\n$ORIGIN reg.thisdcos.directory.\na A 192.0.2.1\n  A 192.0.2.2\nb 7 CNAME a ; note\n",
      "z", {}, 5);
  EXPECT_EQ(zone.apex.text(), "reg.thisdcos.directory.");
  EXPECT_EQ(texts(zone), (Texts{"a.reg.thisdcos.directory.\t300\tIN\tA\t192.0.2.1", "a.reg.thisdcos.directory.\t300\tIN\tA\t192.0.2.2",
                                "b.reg.thisdcos.directory.\t7\tIN\tCNAME\ta.reg.thisdcos.directory."}));
}

TEST(ZoneFile, Faults) {
  auto faults = [](std::string_view text) { return parse_zone_text(text, "z", {}, 5).problems; };
  EXPECT_EQ(faults("a A 192.0.2.1\n"), Texts{"z:1: the zone has no name yet: it starts with $ORIGIN or its SOA"});
  EXPECT_EQ(faults("").size(), 1u);
  auto bad = faults("$ORIGIN reg.thisdcos.directory.\na A 192.0.2.1\nb A nonsense\nc.org. A 192.0.2.1\n");
  ASSERT_EQ(bad.size(), 2u);
  EXPECT_TRUE(bad[0].starts_with("z:3: ")) << bad[0];
  EXPECT_EQ(bad[1], "z:4: c.org. does not lie in reg.thisdcos.directory.");
  auto include = faults("$ORIGIN reg.thisdcos.directory.\n$INCLUDE /etc/passwd\n");
  ASSERT_FALSE(include.empty());
  EXPECT_TRUE(include[0].starts_with("z:2: ")) << include[0];
  EXPECT_EQ(faults(std::string("$ORIGIN a.\n\0b A 1.1.1.1\n", 24)), Texts{"z:2: a zero octet"});
}

// Whatever is in the file, reading ends and gives problems, not a crash.
TEST(ZoneFile, DamagedTextOnlyGivesProblems) {
  std::string good = "$ORIGIN reg.thisdcos.directory.\n$TTL 5\na A 192.0.2.1\nt TXT \"x\\\"y\" (\n \"z\" )\ns SRV 1 2 3 a\n";
  for (size_t i = 0; i <= good.size(); i++) parse_zone_text(good.substr(0, i), "z", {}, 5);
  for (size_t i = 0; i < good.size(); i++) {
    for (char c : {'(', ')', '"', '\\', '\n', '\xff', ';', '$'}) {
      auto damaged = good;
      damaged[i] = c;
      parse_zone_text(damaged, "z", {}, 5);
    }
  }
  std::string wide = "$ORIGIN a.\nb TXT ";
  wide += std::string(100'000, 'x');
  EXPECT_FALSE(parse_zone_text(wide, "z", {}, 5).good());
}

TEST(ZoneFile, WrittenTextReadsBackToTheSame) {
  std::vector<Record> records{address_record(*relative_name("b"), *IpAddress::parse("192.0.2.1")),
                              address_record(*relative_name("a.b"), *IpAddress::parse("fd01::1"), 9),
                              srv_record(*relative_name("_x._tcp"), 0, 1, 80, *relative_name("a.b")),
                              cname_record(*relative_name("odd"), name("a\\.b\\;c\\200.example.")),
                              {*relative_name("raw"), static_cast<RrType>(4711), std::string("\0\1\xff", 3), 0}};
  auto text = zone_to_text(kApex, 5, records);
  auto again = parse_zone_text(text, "z", {}, 1);
  EXPECT_TRUE(again.good()) << (again.good() ? "" : again.problems[0]) << "\n" << text;
  EXPECT_EQ(again.apex, kApex);
  EXPECT_EQ(again.records.size(), records.size());
  EXPECT_EQ(zone_to_text(kApex, 5, again.records), text);
  EXPECT_TRUE(text.starts_with("$ORIGIN reg.thisdcos.directory.\n$TTL 5\n")) << text;
  // Data that is not of its type is named and does not stop the rest.
  EXPECT_NE(zone_to_text(kApex, 5, {{"", RrType::kA, "xx", 0}}).find("; "), std::string::npos);
}

TEST(ZoneFile, FromDisk) {
  EXPECT_EQ(read_zone_file("/nonexistent/zone", {}, 5).problems, Texts{"/nonexistent/zone: No such file or directory"});
  EXPECT_EQ(read_zone_file("/tmp", {}, 5).problems, Texts{"/tmp: Is a directory"});
}

TEST(ParseRecord, GoodAndRefused) {
  auto rr = parse_record(*relative_name("web"), RrType::kA, "192.0.2.7", kApex, 30);
  ASSERT_TRUE(rr) << rr.error().text();
  EXPECT_EQ(*rr, address_record(*relative_name("web"), *IpAddress::parse("192.0.2.7"), 30));
  EXPECT_TRUE(parse_record("", RrType::kTxt, "\"hello world\"", kApex, 5));
  EXPECT_FALSE(parse_record("", RrType::kNs, "a.b.", kApex, 5));
  EXPECT_FALSE(parse_record("", RrType::kA, "192.0.2.7\nx A 1.1.1.1", kApex, 5));
  EXPECT_FALSE(parse_record("", RrType::kA, "192.0.2.7 junk", kApex, 5));
  EXPECT_FALSE(parse_record("", RrType::kAny, "x", kApex, 5));
}

TEST(StaticCname, OldFormBecomesALine) {
  EXPECT_EQ(*static_cname_line("a.b", "x.y"), "a-b CNAME x.y.");
  EXPECT_EQ(*static_cname_line("UPPER", "Target.Example.COM"), "upper CNAME Target.Example.COM.");
  EXPECT_FALSE(static_cname_line("...", "x.y"));
  EXPECT_FALSE(static_cname_line("a", "x..y"));
  // A value cannot smuggle in a second record or a comment.
  auto line = static_cname_line("a", "x ;y\n.z");
  ASSERT_TRUE(line);
  auto zone = lines({*line});
  ASSERT_TRUE(zone.good()) << zone.problems[0];
  EXPECT_EQ(zone.records.size(), 1u);
}

}  // namespace
}  // namespace ls::dns
