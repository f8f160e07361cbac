#include "dns/registration.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dns/registration_feed.h"

namespace ls::dns {
namespace {

using Json = nlohmann::json;

Registration reg(RrType type, std::vector<std::string> data, std::string name = "web") {
  Registration r;
  r.zone = "reg.thisdcos.directory";
  r.name = std::move(name);
  r.type = type;
  r.data = std::move(data);
  return r;
}

std::string field_of(Registration r) {
  auto ok = normalize(r);
  return ok ? "" : ok.error().field;
}

TEST(CustomZone, ReferenceCases) {
  auto file = std::filesystem::path(LS_SHARED_DIR) / "spec/cases/dns/static-zones.json";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is not there";
  auto cases = Json::parse(std::ifstream(file))["cases"];
  size_t seen = 0;
  for (auto& c : cases) {
    if (!c["expect"].contains("accepted")) continue;
    seen++;
    auto zone = c["input"]["zone"].get<std::string>();
    EXPECT_EQ(bool(check_custom_zone(zone)), c["expect"]["accepted"].get<bool>()) << c["id"] << " " << zone;
  }
  EXPECT_GE(seen, 8u);
}

TEST(CustomZone, OwnZonesAreRefusedWithTheReason) {
  for (auto* z : {"l4lb", "mesos", "dcos", "thisnode", "dclb", "a.l4lb", "x.y.MESOS"}) {
    auto r = check_custom_zone(std::string(z) + ".thisdcos.directory");
    ASSERT_FALSE(r) << z;
    EXPECT_NE(r.error().text().find("itself"), std::string::npos) << r.error().text();
  }
  EXPECT_TRUE(check_custom_zone("Reg.ThisDcos.Directory."));
  EXPECT_TRUE(check_custom_zone("mesos.reg.thisdcos.directory"));
  for (auto* z : {"", ".", "reg.thisdcos.directory..", "a..thisdcos.directory", "*.thisdcos.directory", "a b.thisdcos.directory",
                  "xthisdcos.directory", ".thisdcos.directory", "reg.thisdcos.directory.com"}) {
    EXPECT_FALSE(check_custom_zone(z)) << z;
  }
  EXPECT_FALSE(check_custom_zone(std::string(64, 'a') + ".thisdcos.directory"));
  EXPECT_TRUE(check_custom_zone(std::string(63, 'a') + ".thisdcos.directory"));
}

TEST(Registration, EveryTypeBecomesItsWireForm) {
  struct Case {
    RrType type;
    const char *data, *text;
    std::string rdata;
  };
  for (auto& c : std::vector<Case>{
           {RrType::kA, "10.0.0.1", "10.0.0.1", std::string("\x0a\0\0\x01", 4)},
           {RrType::kAaaa, "FD00::1", "fd00::1", std::string("\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16)},
           {RrType::kCname, "a.example", "a.example.", std::string("\1a\7example\0", 11)},
           {RrType::kPtr, "a.example.", "a.example.", std::string("\1a\7example\0", 11)},
           {RrType::kMx, "10  mail.example", "10 mail.example.", std::string("\0\x0a\4mail\7example\0", 16)},
           {RrType::kSrv, "1 2 8080 a.example.", "1 2 8080 a.example.", std::string("\0\1\0\2\x1f\x90\1a\7example\0", 17)},
           {RrType::kTxt, "\"v=1; a\" b", "\"v=1; a\" \"b\"", std::string("\6v=1; a\1b", 9)},
           {RrType::kCaa, "0 issue \"ca.example\"", "0 issue \"ca.example\"", std::string("\0\5issueca.example", 17)}}) {
    auto r = reg(c.type, {c.data}, "Web.Sub");
    auto ok = normalize(r);
    ASSERT_TRUE(ok) << c.data << ": " << ok.error().why;
    EXPECT_EQ(r.data[0], c.text);
    EXPECT_EQ(r.name, "web.sub");
    auto records = records_of(r);
    ASSERT_TRUE(records && records->size() == 1) << c.data;
    EXPECT_EQ((*records)[0].rdata, c.rdata) << c.data;
    EXPECT_EQ((*records)[0].owner, std::string("\3web\3sub"));
    auto again = r;
    EXPECT_TRUE(normalize(again));
    EXPECT_EQ(again, r) << "the kept form stays as it is";
  }
  auto apex = reg(RrType::kA, {"10.0.0.1"}, "@");
  ASSERT_TRUE(normalize(apex));
  EXPECT_EQ((*records_of(apex))[0].owner, "");
}

TEST(Registration, ErrorsNameTheField) {
  EXPECT_EQ(field_of(reg(RrType::kA, {"10.0.0.1"})), "");
  auto bad_zone = reg(RrType::kA, {"10.0.0.1"});
  bad_zone.zone = "example.com";
  EXPECT_EQ(field_of(bad_zone), "zone");
  for (auto* name : {"", ".", "a..b", "*.a", "a b", "web.", "we\\046b", "\xc3\xa4", "a/b"}) {
    EXPECT_EQ(field_of(reg(RrType::kA, {"10.0.0.1"}, name)), "name") << name;
  }
  EXPECT_EQ(field_of(reg(RrType::kA, {"10.0.0.1"}, std::string(64, 'a'))), "name");
  auto long_name = std::string(60, 'a') + "." + std::string(60, 'b') + "." + std::string(60, 'c') + "." + std::string(60, 'd');
  EXPECT_EQ(field_of(reg(RrType::kA, {"10.0.0.1"}, long_name)), "name");
  for (auto t : {RrType::kNs, RrType::kSoa, RrType::kDs, RrType::kRrsig, RrType::kAny, RrType::kOpt, RrType(4711)}) {
    EXPECT_EQ(field_of(reg(t, {"x"})), "type") << to_text(t);
  }
  EXPECT_EQ(field_of(reg(RrType::kCname, {"a.example"}, "@")), "type");
  auto ttl = reg(RrType::kA, {"10.0.0.1"});
  ttl.ttl = 604'801;
  EXPECT_EQ(field_of(ttl), "ttl");
  for (auto ms : {0, 999, 86'400'001}) {
    auto r = reg(RrType::kA, {"10.0.0.1"});
    r.lease = Millis(ms);
    EXPECT_EQ(field_of(r), "lease") << ms;
  }
}

TEST(Registration, DataThatIsNotTheTypesIsRefused) {
  std::string deep(300, 'a'), cname_long;
  for (int i = 0; i < 40; i++) cname_long += "abcdefg.";
  for (auto& [type, data] : std::vector<std::pair<RrType, std::string>>{
           {RrType::kA, ""}, {RrType::kA, "  "}, {RrType::kA, "10.0.0.256"}, {RrType::kA, "10.0.0"}, {RrType::kA, "fd00::1"},
           {RrType::kA, "10.0.0.1 10.0.0.2"}, {RrType::kA, "10.0.0.1;x"}, {RrType::kA, "10.0.0.1 ; x"}, {RrType::kA, "10.0.0.1\n"},
           {RrType::kA, "10.0.0.1\n. 1 IN A 10.0.0.2"}, {RrType::kA, "( 10.0.0.1 )"}, {RrType::kA, "\\# 4 0a000001"},
           {RrType::kAaaa, "10.0.0.1"}, {RrType::kAaaa, "::ffff:10.0.0.1"}, {RrType::kAaaa, "fe80::1%eth0"},
           {RrType::kCname, "@"}, {RrType::kCname, "a..b"}, {RrType::kCname, deep}, {RrType::kCname, cname_long},
           {RrType::kCname, "a b"}, {RrType::kCname, "\"a\""}, {RrType::kCname, "a\\"},
           {RrType::kMx, "mail.example"}, {RrType::kMx, "65536 mail.example"}, {RrType::kMx, "-1 mail.example"}, {RrType::kMx, "1x mail.example"},
           {RrType::kSrv, "1 2 a.example"}, {RrType::kSrv, "1 2 65536 a.example"}, {RrType::kSrv, "\\# 2 00 00"},
           {RrType::kTxt, "\"open"}, {RrType::kTxt, std::string(300, 't')}, {RrType::kTxt, "a\x01"}, {RrType::kTxt, "\xc3\xa4"},
           {RrType::kTxt, std::string(9000, 't')}, {RrType::kCaa, "0 issue"}, {RrType::kCaa, "256 issue \"x\""}}) {
    EXPECT_EQ(field_of(reg(type, {data})), "data") << to_text(type) << " '" << data.substr(0, 60) << "'";
  }
  EXPECT_EQ(field_of(reg(RrType::kA, {})), "data");
  EXPECT_EQ(field_of(reg(RrType::kA, {"10.0.0.1", "10.0.0.1"})), "data");
  EXPECT_EQ(field_of(reg(RrType::kCname, {"a.example", "b.example"})), "data");
  EXPECT_EQ(field_of(reg(RrType::kA, std::vector<std::string>(101, "10.0.0.1"))), "data");
  std::vector<std::string> big;
  for (int i = 0; i < 80; i++) big.push_back(std::string(250, 'a') + " t" + std::to_string(i));
  EXPECT_EQ(field_of(reg(RrType::kTxt, big)), "data") << "too large together";
}

TEST(Registration, JsonRoundTrip) {
  auto r = reg(RrType::kSrv, {"1 2 8080 a.example."}, "_web._tcp");
  r.ttl = 30;
  r.version = 77;
  auto back = [](const Registration& from) { return registration_of(to_json(from)).value_or(Registration{}); };
  EXPECT_EQ(back(r), r);
  r.lease = Millis(90'000);
  r.expires_unix_ms = 1'700'000'000'123;
  EXPECT_EQ(to_json(r)["lease"], "90s");
  EXPECT_EQ(back(r), r);
  for (auto* key : {"zone", "name", "type", "data", "ttl", "expires_unix_ms"}) {
    auto j = to_json(r);
    j.erase(key);
    EXPECT_FALSE(registration_of(j)) << key;
    j = to_json(r);
    j[key] = Json{{"x", 1}};
    EXPECT_FALSE(registration_of(j)) << key;
  }
}

TEST(Registration, Leases) {
  EXPECT_EQ(parse_lease("30s"), Millis(30'000));
  EXPECT_EQ(parse_lease("1m30s"), Millis(90'000));
  EXPECT_EQ(parse_lease("1d2h3m4s5ms"), Millis(93'784'005));
  for (auto* bad : {"", "30", "s", "30 s", "-1s", "1s1m", "1s1s", "1.5s", "99999999999999999999s", "1x", "0x10s"}) {
    EXPECT_FALSE(parse_lease(bad)) << bad;
  }
  for (int64_t ms : {1, 1500, 30'000, 90'000, 3'600'000, 86'400'000}) EXPECT_EQ(parse_lease(lease_text(Millis(ms))), Millis(ms));
}

TEST(Feed, RoundTripAndHostileText) {
  RegistrationFeed f{{"abc", 3, 9}, false, {reg(RrType::kA, {"10.0.0.1"})}, {{"reg.thisdcos.directory", "old", RrType::kTxt}}};
  auto back = parse_feed(feed_text(f));
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(back->at, f.at);
  EXPECT_EQ(back->full, false);
  EXPECT_EQ(back->registrations, f.registrations);
  EXPECT_EQ(back->removed, f.removed);
  auto good = feed_text(f);
  for (size_t cut = 0; cut + 2 < good.size(); cut += 3) EXPECT_FALSE(parse_feed(good.substr(0, cut)));
  for (auto* bad : {"[]", "null", "{}", "{\"store\":\"a\",\"epoch\":-1}", "1"}) EXPECT_FALSE(parse_feed(bad)) << bad;
  EXPECT_FALSE(parse_feed(std::string(100'000, '[')));
}

}  // namespace
}  // namespace ls::dns
