// SipHash's own vectors, the examples of RFC 9018 appendix A, and what is done with cookies of other ages.
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "dns/cookie.h"

namespace ls::dns {
namespace {

std::vector<uint8_t> hex(std::string_view text) {
  std::vector<uint8_t> out;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(uint8_t(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
  return out;
}

CookieSecret secret(std::string_view text) {
  CookieSecret s;
  auto bytes = hex(text);
  std::copy(bytes.begin(), bytes.end(), s.begin());
  return s;
}

TEST(SipHash, VectorsOfItsAuthors) {
  CookieSecret key;
  std::iota(key.begin(), key.end(), uint8_t(0));
  std::vector<uint8_t> data(16);
  std::iota(data.begin(), data.end(), uint8_t(0));
  std::span<const uint8_t> all(data);
  EXPECT_EQ(siphash24(key, all.first(15)), 0xa129ca6149be45e5ull);  // the paper's example
  EXPECT_EQ(siphash24(key, all.first(0)), 0x726fdb47dd0e0e31ull);
  EXPECT_EQ(siphash24(key, all.first(1)), 0x74f839c593dc67fdull);
  EXPECT_EQ(siphash24(key, all.first(8)), 0x93f5f5799a932462ull);
}

TEST(SipHash, EveryLengthHasItsTail) {
  CookieSecret key;
  std::iota(key.begin(), key.end(), uint8_t(0));
  std::vector<uint8_t> data(64);
  std::iota(data.begin(), data.end(), uint8_t(0));
  std::span<const uint8_t> all(data);
  // vectors_sip64 of the authors' reference code, lowest octet first on the wire.
  EXPECT_EQ(siphash24(key, all.first(7)), 0xab0200f58b01d137ull);
  EXPECT_EQ(siphash24(key, all.first(9)), 0x9e0082df0ba9e4b0ull);
  EXPECT_EQ(siphash24(key, all.first(63)), 0x958a324ceb064572ull);
}

struct Example {
  const char* what;
  const char* secret;
  const char* client_ip;
  const char* asked;  ///< client cookie, and server cookie if there is one
  CookieState state;
  uint32_t unix_s;
  const char* answered;
};

TEST(Cookie, ExamplesOfRfc9018) {
  const Example examples[] = {
      {"A.1 learning", "e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100", "2464c4abcf10c957",
       CookieState::kBad, 1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
      {"A.2 renewing", "e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100",
       "2464c4abcf10c957010000005cf79f111f8130c3eee29480", CookieState::kOld, 1559734385,
       "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"},
      {"A.3 reserved octets set", "e5e973e5a6b2a43f48e7dc849e37bfcf", "203.0.113.203",
       "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", CookieState::kBad, 1559734700,
       "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"},
      {"A.4 another secret, IPv6", "445536bcd2513298075a5d379663c962", "2001:db8:220:1:59de:d0f4:8769:82b8",
       "22681ab97d52c298010000005cf7c57926556bd0934c72f8", CookieState::kBad, 1559741961,
       "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
  };
  for (const Example& e : examples) {
    SCOPED_TRACE(e.what);
    auto key = secret(e.secret);
    auto ip = *IpAddress::parse(e.client_ip);
    auto asked = hex(e.asked);
    std::span<const uint8_t> both(asked);
    EXPECT_EQ(check_cookie(key, both.first(8), both.subspan(8), ip, e.unix_s), e.state);
    std::array<uint8_t, kBothCookies> out;
    write_cookies(key, both.first(8), ip, e.unix_s, out);
    EXPECT_EQ(std::vector<uint8_t>(out.begin(), out.end()), hex(e.answered));
  }
}

TEST(Cookie, AgeDecides) {
  auto key = random_cookie_secret();
  auto ip = *IpAddress::parse("192.0.2.1");
  auto client = hex("0102030405060708");
  std::array<uint8_t, kBothCookies> both;
  constexpr uint32_t kMade = 4'294'967'000u;  // the time wraps soon after
  write_cookies(key, client, ip, kMade, both);
  auto state = [&](uint32_t now, const IpAddress& from) {
    return check_cookie(key, client, std::span<const uint8_t>(both).subspan(8), from, now);
  };
  EXPECT_EQ(state(kMade, ip), CookieState::kFresh);
  EXPECT_EQ(state(kMade - 300, ip), CookieState::kFresh);
  EXPECT_EQ(state(kMade - 301, ip), CookieState::kBad);
  EXPECT_EQ(state(kMade + 1799, ip), CookieState::kFresh);
  EXPECT_EQ(state(kMade + 1800, ip), CookieState::kOld);
  EXPECT_EQ(state(kMade + 3600, ip), CookieState::kOld);
  EXPECT_EQ(state(kMade + 3601, ip), CookieState::kBad);
  EXPECT_EQ(state(kMade, *IpAddress::parse("192.0.2.2")), CookieState::kBad);
  for (size_t i = kClientCookie; i < kBothCookies; i++) {
    if (i >= 12 && i < 16) continue;  // the time: covered above
    auto kept = both[i];
    both[i] ^= 1;
    EXPECT_EQ(state(kMade, ip), CookieState::kBad) << i;
    both[i] = kept;
  }
}

}  // namespace
}  // namespace ls::dns
