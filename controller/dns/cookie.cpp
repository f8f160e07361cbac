#include "dns/cookie.h"

#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "dns/sip_words.h"
#include "loadstar/abi/siphash.h"

// The arithmetic is in loadstar/abi/siphash.h: the programs in the kernel make and check the same cookies.

namespace ls::dns {

CookieSecret random_cookie_secret() {
  CookieSecret secret;
  if (getrandom(secret.data(), secret.size(), 0) != ssize_t(secret.size())) std::abort();
  return secret;
}

uint64_t siphash24(const CookieSecret& key, std::span<const uint8_t> data) {
  ls_sip s;
  ls_sip_begin(&s, sip_word(key.data()), sip_word(key.data() + 8));
  size_t whole = data.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) ls_sip_word(&s, sip_word(data.data() + i));
  uint64_t rest = 0;
  for (size_t i = whole; i < data.size(); i++) rest |= uint64_t(data[i]) << (8 * (i - whole));
  return ls_sip_end(&s, LS_SIP_LAST(rest, data.size()));
}

void write_cookies(const CookieSecret& secret, std::span<const uint8_t> client_cookie,
                   const IpAddress& client, uint32_t unix_s, std::span<uint8_t, kBothCookies> out) {
  __u64 server[2];
  ls_dns_cookie_make(sip_word(secret.data()), sip_word(secret.data() + 8), sip_word(client_cookie.data()),
                     AddressWords(client).be, !client.is_v4(), unix_s, server);
  std::copy_n(client_cookie.begin(), kClientCookie, out.begin());
  for (size_t i = 0; i < 2; i++) {
    const uint64_t octets = LS_SIP_LE64(server[i]);
    std::memcpy(out.data() + kClientCookie + 8 * i, &octets, 8);
  }
}

CookieState check_cookie(const CookieSecret& secret, std::span<const uint8_t> client_cookie,
                         std::span<const uint8_t> server_cookie, const IpAddress& client, uint32_t unix_s) {
  if (client_cookie.size() != kClientCookie || server_cookie.size() != kServerCookie) return CookieState::kBad;
  const __u64 server[2] = {sip_word(server_cookie.data()), sip_word(server_cookie.data() + 8)};
  switch (ls_dns_cookie_check(sip_word(secret.data()), sip_word(secret.data() + 8),
                              sip_word(client_cookie.data()), server, AddressWords(client).be,
                              !client.is_v4(), unix_s)) {
    case LS_DNS_COOKIE_FRESH:
      return CookieState::kFresh;
    case LS_DNS_COOKIE_OLD:
      return CookieState::kOld;
    default:
      return CookieState::kBad;
  }
}

}  // namespace ls::dns
