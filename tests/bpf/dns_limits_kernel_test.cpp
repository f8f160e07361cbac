// Sizes, cookies, access list, rate limit, and answers that are ready: the programs keep the same rules as the process, on the same words.
#include <arpa/inet.h>

#include <algorithm>
#include <ctime>

#include "dns_kernel_fixture.h"
#include "dns/response.h"
#include "loadstar/abi/dns_rate.h"

namespace ls::test {
namespace {

class DnsLimitsKernel : public DnsKernelTest {
 protected:
  void SetUp() override {
    DnsKernelTest::SetUp();
    if (IsSkipped()) return;
    world().zone("z", {.rotation = dns::Rotation::kRoundRobin});
    world().add("z", "a.z", "A", "10.0.0.1");
    for (int i = 0; i < 40; i++) world().add("z", "large.z", "A", "10.1.0." + std::to_string(i));
    lab->fill();
  }
  static uint64_t now_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec);
  }
};

TEST_F(DnsLimitsKernel, Sizes) {
  for (int size : {0, 1, 100, 511, 512, 513, 1231, 1232, 1233, 4096, 65535}) {
    same({.name = "a.z", .edns = size});
    same({.name = "a.z", .edns = size, .dnssec_ok = true});
    if (size > 700)
      same({.name = "large.z", .edns = size});
    else
      up({.name = "large.z", .edns = size}, "up_large");
  }
  up({.name = "large.z"}, "up_large");
  // To the octet: 12 + 7 + 4 + 40 * 16 + 11 for the name "large.z" of 9 octets.
  const int whole = int(lab->kernel({.name = "large.z", .edns = 4096}).size());
  same({.name = "large.z", .edns = whole});
  up({.name = "large.z", .edns = whole - 1}, "up_large");
  bench().conf().service[1].udp_max = uint16_t(whole - 1);
  up({.name = "large.z", .edns = 4096}, "up_large");
}

TEST_F(DnsLimitsKernel, Cookies) {
  const Bytes client{1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE(bench().listen("fd00::53", 53, 1));
  for (const auto& how : {DnsFrame{}, DnsFrame{.src = "fd00::9", .dst = "fd00::53"}}) {
    lab->how = how;
    const IpAddress from = *IpAddress::parse(how.src);
    same({.name = "a.z", .edns = 1232, .options = cookie_option(client)});
    const auto made_ago = [&](int seconds) {
      std::array<uint8_t, dns::kBothCookies> both;
      dns::write_cookies(lab->process.secret, client, from, uint32_t(time(nullptr) - seconds), both);
      return Bytes(both.begin(), both.end());
    };
    for (int ago : {0, 10, 1700, 1900, 3500, 3700, -200, -400, 100'000}) {
      const Bytes both = made_ago(ago);
      const Question q{.name = "a.z", .edns = 1232, .options = cookie_option(both)};
      same(q);
      const Bytes answer = lab->kernel(q);
      ASSERT_GE(answer.size(), 36u);
      const Bytes back(answer.end() - 24, answer.end());
      EXPECT_EQ(back == both, ago < 1800 && ago > -300) << ago << " seconds: a fresh cookie goes back as it is";
    }
    Bytes bad = made_ago(1);
    for (size_t i = 8; i < bad.size(); i++) {
      Bytes other = bad;
      other[i] ^= 1;
      same({.name = "a.z", .edns = 1232, .options = cookie_option(other)});
    }
    same({.name = "none.z", .edns = 512, .dnssec_ok = true, .options = cookie_option(made_ago(1))}, "nxdomain");
    if (HasFailure()) return;
  }
  // Another client's cookie is a bad one, and does not exempt.
  bench().conf().service[1].rate_step = uint32_t(LS_DNS_RATE_SECOND);
  std::array<uint8_t, dns::kBothCookies> others;
  dns::write_cookies(lab->process.secret, client, *IpAddress::parse("10.9.9.9"), uint32_t(time(nullptr)), others);
  lab->how = {};
  const Bytes packet = Question{.name = "a.z", .edns = 1232, .options = cookie_option(others)}.bytes();
  EXPECT_EQ(bench().ask("ls_dns_try", packet).verdict, LS_DNS_HIT);
  EXPECT_EQ(bench().ask("ls_dns_try", packet).verdict, LS_DNS_RATE_DROP);
  dns::write_cookies(lab->process.secret, client, lab->client, uint32_t(time(nullptr)), others);
  const Bytes own = Question{.name = "a.z", .edns = 1232, .options = cookie_option(others)}.bytes();
  for (int i = 0; i < 5; i++) EXPECT_EQ(bench().ask("ls_dns_try", own).verdict, LS_DNS_HIT);
}

TEST_F(DnsLimitsKernel, AccessList) {
  bench().conf().service[1].acl = 1;
  bench().allow("10.1.0.0/16", 1);
  bench().allow("fd00::/64", 1);
  bench().allow("0.0.0.0/0", 0);
  ASSERT_TRUE(bench().listen("fd00::53", 53, 1));
  dns::ServiceOptions options;
  options.clients = dns::AccessList({*IpNetwork::parse("10.1.0.0/16"), *IpNetwork::parse("fd00::/64")});
  lab->process.set_options(options);
  same({"a.z"});
  lab->how = {.src = "10.2.0.1"};
  same({"a.z"}, "refused");
  same({"none.z"}, "refused");
  same({.name = "a.z", .flags = 0, .edns = 4096, .dnssec_ok = true, .options = cookie_option(Bytes(8, 1))}, "refused");
  up({"a.elsewhere"}, "up_no_view");
  lab->how = {.src = "fd00::77", .dst = "fd00::53"};
  same({"a.z"});
  lab->how = {.src = "fd00:0:0:1::77", .dst = "fd00::53"};
  same({"a.z"}, "refused");
}

TEST_F(DnsLimitsKernel, RateLimitIsTheProcessesOwn) {
  for (uint32_t slip : {0u, 1u, 2u, 3u, 15u}) {
    auto& service = bench().conf().service[1];
    service.rate_step = ls_dns_rate_step(5);
    service.slip = uint8_t(slip);
    auto words = bench().rate_words(1);
    std::fill(words.begin(), words.end(), 0);
    std::array<uint8_t, 16> key;
    std::copy_n(bench().conf().rate_key, 16, key.begin());
    // The process's own count of the same events: on words of its own, in the same order, at the same time up to microseconds.
    std::vector<uint64_t> own(words.size());
    dns::RateLimit limit({5, slip, 0}, own, key);
    for (int i = 0; i < 60; i++) {
      const bool missing = i % 3 == 2;
      const Bytes packet = Question{missing ? "none.z" : "a.z"}.bytes();
      const auto expect = limit.check(lab->client, ls_dns_rate_kind(missing ? 3 : 0, missing ? 0 : 1), lab->process.clock.now());
      const int good = missing ? LS_DNS_NXDOMAIN : LS_DNS_HIT;
      const DnsOut out = bench().ask("ls_dns_try", packet);
      EXPECT_EQ(out.wrong, "");
      EXPECT_EQ(out.verdict, expect == dns::RateLimit::Verdict::kSend ? good
                             : expect == dns::RateLimit::Verdict::kSlip ? int(LS_DNS_SLIP)
                                                                        : int(LS_DNS_RATE_DROP))
          << slip << " " << i;
    }
    EXPECT_EQ(std::count_if(words.begin(), words.end(), [](uint64_t w) { return w != 0; }), 2) << "one word a kind";
    // The process goes on where the programs were: the budget is one.
    dns::RateLimit shared({5, slip, 0}, words, key);
    EXPECT_NE(shared.check(lab->client, ls_dns_rate_kind(0, 1), lab->process.clock.now()), dns::RateLimit::Verdict::kSend);
    EXPECT_EQ(shared.check(*IpAddress::parse("10.1.3.3"), ls_dns_rate_kind(0, 1), lab->process.clock.now()), dns::RateLimit::Verdict::kSend);
    // The same prefix, at every hook, by XDP's and tc's verdicts.
    lab->how = {.src = "10.1.2.200"};
    if (slip == 0) {
      const auto before = bench().stats();
      EXPECT_EQ(bench().ask("ls_dns_xdp", Question{"a.z"}.bytes(), lab->how).verdict, 1) << "XDP_DROP";
      EXPECT_EQ(bench().ask("ls_dns_port", Question{"a.z"}.bytes(), lab->how).verdict, 2) << "TC_ACT_SHOT";
      EXPECT_EQ(bench().ask("ls_dns_uplink", Question{"a.z"}.bytes(), lab->how).verdict, 2) << "TC_ACT_SHOT";
      EXPECT_EQ(bench().ask("ls_dns_lo", Question{"a.z"}.bytes(), lab->how).verdict, 2) << "TC_ACT_SHOT";
      EXPECT_EQ(counted(before, bench().stats()), "xdp rate_drop 1, uplink rate_drop 1, port rate_drop 1, lo rate_drop 1");
    }
    if (slip == 1) {
      dns::ServiceOptions options;
      options.rate_limit = {5, slip, 0};
      options.rate_words = words;
      options.rate_key = key;
      lab->process.set_options(options);
      for (const Question& q : {Question{"a.z"}, Question{.name = "a.z", .flags = 0x10, .edns = 1232, .options = cookie_option(Bytes(8, 1))}}) {
        const DnsOut out = bench().ask("ls_dns_xdp", q.bytes(), lab->how);
        EXPECT_TRUE(out.answered);
        EXPECT_EQ(out.message, lab->process.answer(q.bytes(), *IpAddress::parse(lab->how.src)).message) << "slipped alike";
      }
      lab->process.set_options({});
    }
    lab->how = {};
  }
}

TEST_F(DnsLimitsKernel, UnansweredQuestionsAreNotCountedAgainstTheLimit) {
  bench().conf().service[1].rate_step = uint32_t(LS_DNS_RATE_SECOND);
  for (int i = 0; i < 3; i++) up({.name = "large.z"}, "up_large");
  auto words = bench().rate_words(1);
  EXPECT_EQ(std::count_if(words.begin(), words.end(), [](uint64_t w) { return w != 0; }), 0);
}

TEST_F(DnsLimitsKernel, ReadyAnswers) {
  world().add("z", "alias.z", "CNAME", "next.z");
  world().add("z", "next.z", "CNAME", "end.z");
  for (int i = 0; i < 3; i++) world().add("z", "end.z", "A", "10.5.0." + std::to_string(i));
  world().add("z", "text.z", "TXT", "\5hello", 99);
  world().add("z", "mail.z", "MX", "10 a.z");
  lab->fill();
  const auto ready = [&](const std::string& front, const std::string& name, uint16_t type) {
    const Bytes packet = Question{.name = name, .type = type, .id = 0, .flags = 0}.bytes();
    const Bytes answer = world().ask(packet);
    dns::KernelBody body;
    ASSERT_TRUE(dns::kernel_ready(answer, true, body));
    ASSERT_TRUE(bench().put({LS_DNS_SPACE_READY + 1, type, front}, body.flags, body.sets, body.octets));
  };
  for (const std::string name : {"alias", "next"}) {
    const std::string front = char(name.size()) + name;
    ready(front, name + ".z", kTypeA);
    ready(front, name + ".z", kTypeCname);
    ready(front, name + ".z", kTypeAaaa);
  }
  ready("\4text", "text.z", kTypeTxt);
  ready("\4mail", "mail.z", kTypeMx);
  ready("", "z", kTypeNs);
  for (uint16_t id : {0, 1, 2, 3, 1000, 65535}) {
    same({.name = "alias.z", .id = id});
    same({.name = "NEXT.Z", .id = id, .edns = 1232, .dnssec_ok = true});
    const Question q{.name = "alias.z", .id = id};
    EXPECT_EQ(lab->kernel(q), lab->process.answer(q.bytes(), lab->client).message) << "round robin, equal without sorting";
  }
  same({"alias.z", kTypeCname});
  same({"alias.z", kTypeAaaa});
  same({"text.z", kTypeTxt});
  same({"mail.z", kTypeMx});
  same({"z", kTypeNs});
  up({"alias.z", kTypeTxt}, "up_name");
  up({"text.z", kTypeMx}, "up_name");
}

TEST_F(DnsLimitsKernel, KeptAnswers) {
  world().groups.push_back({name_of("corp"), {}, true});
  lab->fill();
  const Instant stored = lab->process.clock.now() - Millis(2'500);
  const uint64_t stored_ns = uint64_t(stored.time_since_epoch().count());
  const auto keep = [&](const std::string& name, uint16_t type, uint16_t flags, int addresses, uint32_t ttl, uint64_t ends_in_ms) {
    Bytes m = Question{.name = name, .type = type, .id = 0, .flags = uint16_t(0x8180 | flags)}.bytes();
    m[7] = uint8_t(addresses);
    for (int i = 0; i < addresses; i++)
      for (int o : {0xc0, 12, 0, 1, 0, 1, 0, 0, int(ttl >> 8), int(ttl & 0xff), 0, 4, 10, 0, 0, i}) m.push_back(uint8_t(o));
    if (!addresses) {
      m[9] = 1;
      const size_t apex = m.size() - 4 - 6;  // "corp" at the end of the name
      for (int o : {0xc0, int(apex), 0, 6, 0, 1, 0, 0, 0, 60, 0, 24, 0xc0, int(apex), 0xc0, int(apex), 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 50})
        m.push_back(uint8_t(o));
    }
    lab->process.cache.store(m, false, false, stored);
    lab->process.hot.clear();
    for (int i = 0; i < 5; i++) lab->process.answer(Question{.name = name, .type = type}.bytes(), lab->client);
    ASSERT_EQ(lab->process.hot.size(), 1u) << name;
    const dns::HotAnswer& h = lab->process.hot[0];
    dns::KernelBody body;
    EXPECT_EQ(h.stored_ns, stored_ns);
    EXPECT_TRUE(dns::kernel_cached(h.message, h.stored_ns, ends_in_ms ? now_ns() + ends_in_ms * 1'000'000 : now_ns() - 1, body));
    const Bytes wire = wire_name(name);
    EXPECT_TRUE(bench().put({LS_DNS_SPACE_CACHE, type, {reinterpret_cast<const char*>(wire.data()), wire.size()}}, body.flags, body.sets, body.octets));
  };
  keep("www.corp", kTypeA, 0, 3, 300, 60'000);
  keep("safe.corp", kTypeA, 0x20, 1, 5, 60'000);
  keep("none.corp", kTypeA, 3, 0, 60, 60'000);
  keep("old.corp", kTypeA, 0, 1, 300, 0);
  keep("many.corp", kTypeA, 0, 29, 300, 60'000);
  for (const uint16_t flags : {0x0100, 0x0000, 0x0120, 0x0020}) {
    same({.name = "www.corp", .flags = flags}, "cached");
    same({.name = "WwW.corp", .flags = flags, .edns = 1232}, "cached");
    same({.name = "none.corp", .flags = flags, .edns = 1232, .options = cookie_option(Bytes(8, 5))}, "cached");
    const Bytes safe = lab->kernel({.name = "safe.corp", .flags = flags});
    ASSERT_GT(safe.size(), 12u);
    EXPECT_EQ((safe[3] & 0x20) != 0, (flags & 0x20) != 0) << "AD goes to who knows it";
    EXPECT_TRUE(safe[safe.size() - 7] == 3 || safe[safe.size() - 7] == 2) << "of 5 seconds two and a half are over";
    up({.name = "www.corp", .flags = uint16_t(flags | 0x10)}, "up_dnssec");
  }
  up({.name = "www.corp", .edns = 1232, .dnssec_ok = true}, "up_dnssec");
  up({.name = "www.corp", .type = kTypeAaaa}, "up_miss");
  up({.name = "old.corp"}, "up_expired");
  up({.name = "x.www.corp"}, "up_miss");
  same({.name = "many.corp", .edns = 512}, "cached");
  world().groups.clear();
}

}  // namespace
}  // namespace ls::test
