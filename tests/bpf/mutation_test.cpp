// 100,000 mutated packets against a translator written from scratch in C++: the program never crashes, never translates what
// the reference would not, and translates byte for byte as the reference does.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <random>

#include "bench.h"

namespace ls::test {
namespace {

constexpr const char *kClient4 = "10.1.0.5", *kVip4 = "11.0.0.1", *kBe4 = "10.2.0.7";
constexpr const char *kClient6 = "fd00:1::5", *kVip6 = "fd01:c::1", *kBe6 = "fd00:2::7";

uint16_t get16(const Bytes& b, size_t at) { return uint16_t(b[at] << 8 | b[at + 1]); }

/// Where the fields of a strictly read TCP or UDP packet are; nullopt for everything else.
struct Layout {
  size_t dst, src, addr_len, l4, check;
  bool has_ip_check;
  uint8_t proto;
};

std::optional<Layout> strict(const Bytes& f) {
  Layout l{};
  size_t end;
  if (f.size() < 34) return {};
  if (get16(f, 12) == 0x0800) {
    size_t hlen = (f[14] & 15) * 4u;
    if (f[14] >> 4 != 4 || hlen < 20 || get16(f, 16) < hlen || 14u + get16(f, 16) > f.size()) return {};
    if (get16(f, 20) & 0x3fff) return {};  // fragments have a test of their own
    l = {30, 26, 4, 14 + hlen, 0, true, f[23]};
    end = 14 + get16(f, 16);
  } else if (get16(f, 12) == 0x86dd) {
    if (f.size() < 54 || f[14] >> 4 != 6 || 54u + get16(f, 18) > f.size()) return {};
    l = {38, 22, 16, 54, 0, false, f[20]};
    end = 54 + get16(f, 18);
    for (int i = 0; i < 6 && (l.proto == 0 || l.proto == 43 || l.proto == 60); i++) {
      if (l.l4 + 8 > end) return {};
      size_t len = 8 + f[l.l4 + 1] * 8u;
      l.proto = f[l.l4];
      l.l4 += len;
      if (l.l4 > end || l.l4 > 1024) return {};
    }
  } else {
    return {};
  }
  size_t room = end - l.l4;
  if (l.proto == 6) {
    if (room < 20) return {};
    size_t doff = (f[l.l4 + 12] >> 4) * 4u;
    if (doff < 20 || doff > room) return {};
    l.check = l.l4 + 16;
  } else if (l.proto == 17) {
    if (room < 8 || get16(f, l.l4 + 4) < 8 || get16(f, l.l4 + 4) > room) return {};
    l.check = l.l4 + 6;
  } else {
    return {};
  }
  return l;
}

bool holds(const Bytes& f, size_t at, size_t len, const char* address) {
  auto a = IpAddress::parse(address).value();
  return std::equal(f.begin() + long(at), f.begin() + long(at + len), a.bytes().begin() + long(16 - len));
}

void put(Bytes& f, size_t at, size_t len, const char* address) {
  auto a = IpAddress::parse(address).value();
  std::copy(a.bytes().begin() + long(16 - len), a.bytes().end(), f.begin() + long(at));
}

/// What a request to the service must become, checksums aside; nullopt: nothing may change.
std::optional<Bytes> reference(const Bytes& in) {
  auto l = strict(in);
  if (!l) return {};
  const char* vip = l->addr_len == 4 ? kVip4 : kVip6;
  const char* be = l->addr_len == 4 ? kBe4 : kBe6;
  if (!holds(in, l->dst, l->addr_len, vip) || get16(in, l->l4 + 2) != 80) return {};
  Bytes out = in;
  put(out, l->dst, l->addr_len, be);
  out[l->l4 + 2] = 8080 >> 8;
  out[l->l4 + 3] = 8080 & 255;
  if (holds(in, l->src, l->addr_len, be)) {  // hairpin
    put(out, l->src, l->addr_len, vip);
    std::swap_ranges(out.begin(), out.begin() + 6, out.begin() + 6);
  }
  return out;
}

void blank_checks(Bytes& f, const Layout& l) {
  if (l.has_ip_check) f[24] = f[25] = 0;
  f[l.check] = f[l.check + 1] = 0;
}

Bytes mutate(Bytes f, std::mt19937& rng) {
  auto roll = [&](size_t n) { return size_t(rng() % n); };
  for (size_t i = 0, n = 1 + roll(4); i < n; i++) {
    switch (roll(6)) {
      case 0: f[12 + roll(f.size() - 12)] = uint8_t(rng()); break;
      case 1: f[14 + roll(std::min<size_t>(f.size(), 62) - 14)] ^= uint8_t(1u << roll(8)); break;
      case 2: f.resize(std::max<size_t>(15, roll(f.size() + 1))); break;
      case 3: f.insert(f.end(), roll(40), uint8_t(rng())); break;
      case 4: f.insert(f.begin() + long(14 + roll(f.size() - 14)), 1 + roll(8), uint8_t(rng())); break;
      default: {
        size_t at = std::min(f.size() - 2, 16 + 2 * roll(16));
        uint16_t v = uint16_t(roll(2) ? roll(2000) : 0xfff0 + roll(16));
        f[at] = uint8_t(v >> 8);
        f[at + 1] = uint8_t(v);
      }
    }
  }
  return f;
}

TEST(Mutation, NeverAWrongTranslation) {
  if (auto why = Bench::reason(); !why.empty()) GTEST_SKIP() << "no BPF here: " << why;
  Bench b(BenchOptions{.flow_buckets = 65536});
  for (auto proto : {Protocol::kTcp, Protocol::kUdp}) {
    b.service(kVip4, 80, proto, {{kBe4, 8080}});
    b.service(kVip6, 80, proto, {{kBe6, 8080}});
  }
  std::vector<Bytes> seeds;
  for (auto [c, v] : {std::pair{kClient4, kVip4}, {kClient6, kVip6}, {kBe4, kVip4}, {kBe6, kVip6}}) {
    seeds.push_back(eth().ip(c, v).tcp(40000, 80, kSyn).bytes());
    seeds.push_back(eth().ip(c, v).tcp(40000, 80, kAck | kPsh).payload("some data").bytes());
    seeds.push_back(eth().ip(c, v).ip_options(2).tcp(40000, 80, kAck).payload("x").bytes());
    seeds.push_back(eth().ip(c, v).udp(5000, 80).payload("question").bytes());
    bool v4 = IpAddress::parse(v)->is_v4();
    seeds.push_back(eth().ip(v, c).icmp_error(v4 ? 3 : 1, 4, seeds[0]).bytes());
    seeds.push_back(eth().ip(c, v).icmp_error(v4 ? 3 : 1, 4, eth().ip(v, c).udp(80, 5000).payload("late").bytes()).bytes());
    seeds.push_back(eth().ip(c, v).fragment(0, true, 7).udp(5000, 80).payload(std::string(64, 'f')).bytes());
    seeds.push_back(eth().ip(c, v).fragment(64, false, 7).l4_raw(17, Bytes(40, 'f')).bytes());
  }
  const char* count = std::getenv("LS_MUTATIONS");
  int rounds = count ? std::atoi(count) : 100000, translated = 0, changed_otherwise = 0;
  std::mt19937 rng(20261122);
  for (int i = 0; i < rounds; i++) {
    Bytes in = mutate(seeds[rng() % seeds.size()], rng);
    if (in.size() < 15) continue;
    auto out = b.run("ls_port_in", in);
    if (out.verdict == kRefused) continue;
    auto l = strict(in);
    if (auto want = reference(in)) {
      ASSERT_NE(out.verdict, kDropped) << "round " << i;
      ASSERT_EQ(out.frame.size(), want->size());
      Bytes got = out.frame;
      blank_checks(got, *l);
      blank_checks(*want, *l);
      ASSERT_EQ(got, *want) << "round " << i;
      auto before = see(in), after = see(out.frame);
      ASSERT_EQ(before.ip_check_ok, after.ip_check_ok) << "round " << i;
      ASSERT_EQ(before.l4_check_ok, after.l4_check_ok) << "round " << i;
      translated++;
    } else if (out.frame != in) {
      // Only an ICMP error about a known flow and fragments may change, and never their length.
      auto s = see(in);
      bool v4 = get16(in, 12) == 0x0800;
      bool icmp = s.proto == 1 || s.proto == 58;
      bool fragment = v4 ? get16(in, 20) & 0x3fff : true;
      ASSERT_TRUE(icmp || fragment || out.verdict == kRedirect) << "round " << i << " " << s.text();
      ASSERT_EQ(out.frame.size(), in.size()) << "round " << i;
      changed_otherwise++;
    }
  }
  RecordProperty("translated", translated);
  EXPECT_GT(translated, rounds / 20);
  EXPECT_GT(changed_otherwise, rounds / 1000);
  printf("%d mutated packets: %d translated as the reference does, %d errors and fragments, the others untouched\n", rounds,
         translated, changed_otherwise);
}

}  // namespace
}  // namespace ls::test
