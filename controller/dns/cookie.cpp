#include "dns/cookie.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

namespace ls::dns {
namespace {

constexpr int32_t kHalfHour = 1800, kHour = 3600, kAhead = 300;  // seconds; RFC 9018 4.3

uint64_t little_endian(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  if constexpr (std::endian::native == std::endian::big) v = __builtin_bswap64(v);
  return v;
}

struct Sip {
  uint64_t v0, v1, v2, v3;
  void round() {
    v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
  }
  void word(uint64_t m) {
    v3 ^= m;
    round(), round();
    v0 ^= m;
  }
};

/// Client cookie, version, reserved, time and address, hashed. The result goes onto the wire as SipHash's
/// octets, lowest first.
uint64_t cookie_hash(const CookieSecret& secret, const uint8_t* client_cookie, const uint8_t* head,
                     const IpAddress& client) {
  uint8_t data[kClientCookie + 8 + 16];
  std::memcpy(data, client_cookie, kClientCookie);
  std::memcpy(data + kClientCookie, head, 8);
  size_t skip = client.is_v4() ? 12 : 0;
  std::memcpy(data + 16, client.bytes().data() + skip, 16 - skip);
  uint64_t h = siphash24(secret, {data, 32 - skip});
  if constexpr (std::endian::native == std::endian::big) h = __builtin_bswap64(h);
  return h;
}

}  // namespace

CookieSecret random_cookie_secret() {
  CookieSecret secret;
  if (getrandom(secret.data(), secret.size(), 0) != ssize_t(secret.size())) std::abort();
  return secret;
}

uint64_t siphash24(const CookieSecret& key, std::span<const uint8_t> data) {
  uint64_t k0 = little_endian(key.data()), k1 = little_endian(key.data() + 8);
  Sip s{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573};
  size_t whole = data.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) s.word(little_endian(data.data() + i));
  uint64_t last = uint64_t(data.size()) << 56;
  for (size_t i = whole; i < data.size(); i++) last |= uint64_t(data[i]) << (8 * (i - whole));
  s.word(last);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; i++) s.round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void write_cookies(const CookieSecret& secret, std::span<const uint8_t> client_cookie,
                   const IpAddress& client, uint32_t unix_s, std::span<uint8_t, kBothCookies> out) {
  std::copy_n(client_cookie.begin(), kClientCookie, out.begin());
  uint8_t* head = out.data() + kClientCookie;
  head[0] = 1, head[1] = head[2] = head[3] = 0;
  for (int i = 0; i < 4; i++) head[4 + i] = uint8_t(unix_s >> (24 - 8 * i));
  uint64_t h = cookie_hash(secret, client_cookie.data(), head, client);
  std::memcpy(head + 8, &h, 8);
}

CookieState check_cookie(const CookieSecret& secret, std::span<const uint8_t> client_cookie,
                         std::span<const uint8_t> server_cookie, const IpAddress& client, uint32_t unix_s) {
  if (client_cookie.size() != kClientCookie || server_cookie.size() != kServerCookie || server_cookie[0] != 1)
    return CookieState::kBad;
  uint32_t made = 0;
  for (int i = 0; i < 4; i++) made = made << 8 | server_cookie[4 + i];
  int32_t age = int32_t(unix_s - made);  // serial number arithmetic, RFC 1982
  if (age > kHour || age < -kAhead) return CookieState::kBad;
  uint64_t h = cookie_hash(secret, client_cookie.data(), server_cookie.data(), client), sent;
  std::memcpy(&sent, server_cookie.data() + 8, 8);
  if (h != sent) return CookieState::kBad;
  return age < kHalfHour ? CookieState::kFresh : CookieState::kOld;
}

}  // namespace ls::dns
