/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_SIPHASH_H
#define LOADSTAR_ABI_SIPHASH_H
/*
 * SipHash-2-4 (Aumasson, Bernstein 2012) of short inputs, one for programs and controller. Pure. Input and key are words: eight
 * octets of the input, lowest address in the lowest bits. The last word, which may be all zeros, has what is left over, and the
 * length of the whole input modulo 256 in its top octet: LS_SIP_LAST. About 65 instructions a word.
 */
#include "loadstar/abi/base.h"

#define LS_SIP_LAST(rest, octets) ((rest) | (__u64)(octets) << 56)

/* Octets as they lie in memory, as words of the input; nothing to do where the machine is little endian. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LS_SIP_LE32(v) ((__u32)(v))
#define LS_SIP_LE64(v) ((__u64)(v))
#else
#define LS_SIP_LE32(v) __builtin_bswap32(v)
#define LS_SIP_LE64(v) __builtin_bswap64(v)
#endif

struct ls_sip {
	__u64 v0, v1, v2, v3;
};
LS_ABI_ASSERT(sizeof(struct ls_sip) == 32);

static inline __attribute__((always_inline)) __u64 ls_sip_rotate(__u64 v, __u32 by)
{
	return v << by | v >> (64 - by);
}
static inline __attribute__((always_inline)) void ls_sip_round(struct ls_sip *s)
{
	s->v0 += s->v1;
	s->v1 = ls_sip_rotate(s->v1, 13) ^ s->v0;
	s->v0 = ls_sip_rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ls_sip_rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ls_sip_rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ls_sip_rotate(s->v1, 17) ^ s->v2;
	s->v2 = ls_sip_rotate(s->v2, 32);
}

static inline __attribute__((always_inline)) void ls_sip_begin(struct ls_sip *s, __u64 k0, __u64 k1)
{
	s->v0 = k0 ^ 0x736f6d6570736575ull;
	s->v1 = k1 ^ 0x646f72616e646f6dull;
	s->v2 = k0 ^ 0x6c7967656e657261ull;
	s->v3 = k1 ^ 0x7465646279746573ull;
}
static inline __attribute__((always_inline)) void ls_sip_word(struct ls_sip *s, __u64 word)
{
	s->v3 ^= word;
	ls_sip_round(s);
	ls_sip_round(s);
	s->v0 ^= word;
}
/* `last`: LS_SIP_LAST. */
static inline __attribute__((always_inline)) __u64 ls_sip_end(struct ls_sip *s, __u64 last)
{
	ls_sip_word(s, last);
	s->v2 ^= 0xff;
	ls_sip_round(s);
	ls_sip_round(s);
	ls_sip_round(s);
	ls_sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* --- the server's DNS cookie (RFC 7873) in the form of RFC 9018: version 1, three zero octets, time, SipHash --- */

enum ls_dns_cookie_state {
	LS_DNS_COOKIE_BAD = 0,
	LS_DNS_COOKIE_OLD = 1,   /* ours, but to be renewed: half an hour old or older */
	LS_DNS_COOKIE_FRESH = 2, /* may go back as it is */
};
/* Seconds; RFC 9018 4.3. */
#define LS_DNS_COOKIE_RENEW 1800
#define LS_DNS_COOKIE_OLDEST 3600
#define LS_DNS_COOKIE_AHEAD 300

/* The second half of the server's cookie. `client` and `head`, the first half, are words as above; `secret` are the 16 octets as two
 * words; `addr` has 16 octets, network order, of an IPv4 address (`v6` 0) only the last four are read. */
static inline __attribute__((always_inline)) __u64 ls_dns_cookie_hash(__u64 secret0, __u64 secret1, __u64 client, __u64 head,
								      const __be32 addr[4], __u32 v6)
{
	struct ls_sip s;
	__u64 last;

	ls_sip_begin(&s, secret0, secret1);
	ls_sip_word(&s, client);
	ls_sip_word(&s, head);
	if (v6) {
		ls_sip_word(&s, (__u64)LS_SIP_LE32(addr[1]) << 32 | LS_SIP_LE32(addr[0]));
		ls_sip_word(&s, (__u64)LS_SIP_LE32(addr[3]) << 32 | LS_SIP_LE32(addr[2]));
		last = LS_SIP_LAST(0ull, 32);
	} else {
		last = LS_SIP_LAST((__u64)LS_SIP_LE32(addr[3]), 20);
	}
	return ls_sip_end(&s, last);
}

/* Writes both words of a server cookie made at `unix_s`, seconds since 1970. */
static inline __attribute__((always_inline)) void ls_dns_cookie_make(__u64 secret0, __u64 secret1, __u64 client,
								     const __be32 addr[4], __u32 v6, __u32 unix_s,
								     __u64 server[2])
{
	server[0] = (__u64)__builtin_bswap32(unix_s) << 32 | 1;
	server[1] = ls_dns_cookie_hash(secret0, secret1, client, server[0], addr, v6);
}

/* enum ls_dns_cookie_state of a cookie of 16 octets. */
static inline __attribute__((always_inline)) __u32 ls_dns_cookie_check(__u64 secret0, __u64 secret1, __u64 client,
								       const __u64 server[2], const __be32 addr[4],
								       __u32 v6, __u32 unix_s)
{
	/* Serial number arithmetic, RFC 1982. */
	__s32 age = (__s32)(unix_s - __builtin_bswap32((__u32)(server[0] >> 32)));

	if ((server[0] & 0xff) != 1 || age > LS_DNS_COOKIE_OLDEST || age < -LS_DNS_COOKIE_AHEAD)
		return LS_DNS_COOKIE_BAD;
	if (ls_dns_cookie_hash(secret0, secret1, client, server[0], addr, v6) != server[1])
		return LS_DNS_COOKIE_BAD;
	return age < LS_DNS_COOKIE_RENEW ? LS_DNS_COOKIE_FRESH : LS_DNS_COOKIE_OLD;
}

#endif
