#pragma once
/// DNS cookies of the server (RFC 7873) in the form all servers share (RFC 9018): version 1, three zero
/// octets, time, SipHash-2-4 over client cookie, version, reserved, time and the client's address. Pure
/// functions, thread: any. Time: seconds since 1970.
#include <array>
#include <cstdint>
#include <span>

#include "util/address.h"

namespace ls::dns {

inline constexpr size_t kClientCookie = 8, kServerCookie = 16;  ///< octets; RFC 9018 4
inline constexpr size_t kBothCookies = kClientCookie + kServerCookie;

using CookieSecret = std::array<uint8_t, 16>;
CookieSecret random_cookie_secret();  ///< from the kernel's generator

/// SipHash-2-4 (Aumasson, Bernstein 2012).
uint64_t siphash24(const CookieSecret& key, std::span<const uint8_t> data);

/// Writes client cookie and a server cookie made now. `client_cookie` has 8 octets.
void write_cookies(const CookieSecret& secret, std::span<const uint8_t> client_cookie,
                   const IpAddress& client, uint32_t unix_s, std::span<uint8_t, kBothCookies> out);

/// kFresh: ours and younger than half an hour, may go back as it is. kOld: ours, but to be renewed. RFC
/// 9018 4.3: an hour back, five minutes ahead.
enum class CookieState { kBad, kOld, kFresh };
CookieState check_cookie(const CookieSecret& secret, std::span<const uint8_t> client_cookie,
                         std::span<const uint8_t> server_cookie, const IpAddress& client, uint32_t unix_s);

}  // namespace ls::dns
