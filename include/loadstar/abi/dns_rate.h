/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_DNS_RATE_H
#define LOADSTAR_ABI_DNS_RATE_H
/*
 * The arithmetic of the response rate limit, one for programs and controller: both change the same words. Pure; the caller
 * reads the words of a set, and stores by compare-and-swap:
 *
 *   hash = ls_dns_rate_hash(...), now = ls_dns_rate_now(CLOCK_MONOTONIC ns)
 *   up to LS_DNS_RATE_TRIES times:
 *     pick = LS_DNS_RATE_NONE; for each way 0 .. LS_DNS_RATE_WAYS - 1: ls_dns_rate_look(&pick, way, word, hash, now)
 *     verdict = ls_dns_rate_take(&pick, hash, now, step, slip)
 *     pick.word -> pick.next in way pick.way: done when nobody else was faster
 *   LS_DNS_RATE_DROPPED when all tries failed: so many at one word at the same moment are a flood
 *
 * A word has 20 bits of the prefix's hash, its tag, above 4 bits that count what went over the limit since the last answer that
 * was sent or slipped, above 40 bits of time: when the next answer would be due if answers went out evenly (generic cell rate
 * algorithm, ITU-T I.371). Time is in ticks of 256 ns: 40 bits wrap after 78 hours, and 4 million answers a second are told
 * apart. A time that is past means nothing and is never cleared; none lies further ahead than a second.
 */
#include "loadstar/abi/siphash.h"

#define LS_DNS_RATE_TIME_BITS 40
#define LS_DNS_RATE_COUNT_BITS 4
#define LS_DNS_RATE_TIME_MASK ((1ull << LS_DNS_RATE_TIME_BITS) - 1)
#define LS_DNS_RATE_COUNT_MASK ((1ull << LS_DNS_RATE_COUNT_BITS) - 1)
#define LS_DNS_RATE_TAG_SHIFT (LS_DNS_RATE_TIME_BITS + LS_DNS_RATE_COUNT_BITS)
#define LS_DNS_RATE_TICK 8 /* nanoseconds >> 8 */
#define LS_DNS_RATE_SECOND (1000000000ull >> LS_DNS_RATE_TICK)
#define LS_DNS_RATE_TRIES 4
#define LS_DNS_RATE_SLIP_MAX 15

enum ls_dns_rate_verdict {
	LS_DNS_RATE_SEND = 0,
	LS_DNS_RATE_SLIPPED = 1, /* send it empty, with TC */
	LS_DNS_RATE_DROPPED = 2,
};

static inline __attribute__((always_inline)) __u64 ls_dns_rate_now(__u64 monotonic_ns)
{
	return monotonic_ns >> LS_DNS_RATE_TICK;
}
/* What an answer costs, in ticks, at so many a second (not 0). */
static inline __attribute__((always_inline)) __u32 ls_dns_rate_step(__u32 per_second)
{
	__u32 step = (__u32)LS_DNS_RATE_SECOND / per_second;

	return step ? step : 1;
}
/* What the limit counts apart: rcode, and whether there are answers. */
static inline __attribute__((always_inline)) __u8 ls_dns_rate_kind(__u32 rcode, __u32 answers)
{
	return (__u8)(rcode << 1 | (answers != 0));
}

/* Hash of what one customer has: the first 24 bits of an IPv4 address, the first 56 of an IPv6 one; 9 octets with family and kind.
 * `addr` as in ls_dns_cookie_hash; the key as two words. The set is the low bits, the tag the top ones. */
static inline __attribute__((always_inline)) __u64 ls_dns_rate_hash(__u64 key0, __u64 key1, const __be32 addr[4], __u32 v6,
								    __u8 kind)
{
	struct ls_sip s;
	__u64 prefix;

	if (v6)
		prefix = ((__u64)LS_SIP_LE32(addr[1]) << 32 | LS_SIP_LE32(addr[0])) & 0x00ffffffffffffffull;
	else
		prefix = (LS_SIP_LE32(addr[3]) & 0x00ffffffu) | 1ull << 56;
	ls_sip_begin(&s, key0, key1);
	ls_sip_word(&s, prefix);
	return ls_sip_end(&s, LS_SIP_LAST((__u64)kind, 9));
}

/* How far a word's time lies ahead of `now`; zero for everything that is past. */
static inline __attribute__((always_inline)) __u64 ls_dns_rate_ahead(__u64 word, __u64 now)
{
	__u64 d = (word - now) & LS_DNS_RATE_TIME_MASK;

	return d <= 2 * LS_DNS_RATE_SECOND ? d : 0;
}

struct ls_dns_rate_pick {
	__u64 word; /* as it was read */
	__u64 next; /* what it becomes: ls_dns_rate_take */
	__u64 best; /* how far ahead, plus one, or 0 when the word is of this prefix; below it three bits: the way */
	__u32 way;  /* ls_dns_rate_take */
	__u32 pad;
};
LS_ABI_ASSERT(sizeof(struct ls_dns_rate_pick) == 32);
#define LS_DNS_RATE_NONE { 0, 0, 1ull << 62, 0, 0 }

/* Shows the word of way `way`. The prefix's own word is taken; if it has none, that of the prefix that asked least lately. Without branches:
 * the verifier would follow each of them for each way. */
static inline __attribute__((always_inline)) void ls_dns_rate_look(struct ls_dns_rate_pick *p, __u32 way, __u64 word, __u64 hash,
								   __u64 now)
{
	const __u64 tags = (1ull << (64 - LS_DNS_RATE_TAG_SHIFT)) - 1;
	__u64 foreign = 0 - ((((word ^ hash) >> LS_DNS_RATE_TAG_SHIFT) + tags) >> (64 - LS_DNS_RATE_TAG_SHIFT)); /* all ones: of another prefix */
	__u64 ahead = (word - now) & LS_DNS_RATE_TIME_MASK;
	__u64 score, better;

	ahead &= ((2 * LS_DNS_RATE_SECOND - ahead) >> 63) - 1; /* as ls_dns_rate_ahead */
	score = ((ahead + 1) & foreign) << 3 | way;
	better = 0 - ((score - p->best) >> 63);
	p->best += (score - p->best) & better;
	p->word ^= (p->word ^ word) & better;
}

/* enum ls_dns_rate_verdict, and `next`. A second's worth may come at once; after that one for each step; above it every `slip`-th
 * (0: none; at most LS_DNS_RATE_SLIP_MAX) is slipped. */
static inline __attribute__((always_inline)) __u32 ls_dns_rate_take(struct ls_dns_rate_pick *p, __u64 hash, __u64 now, __u32 step,
								    __u32 slip)
{
	__u64 tag = hash >> LS_DNS_RATE_TAG_SHIFT << LS_DNS_RATE_TAG_SHIFT;
	__u64 due = p->best >> 3 ? 0 : ls_dns_rate_ahead(p->word, now);
	__u64 count;
	__u32 slipped;

	p->way = (__u32)p->best & 7;
	if (due + step <= LS_DNS_RATE_SECOND) {
		p->next = tag | ((now + due + step) & LS_DNS_RATE_TIME_MASK);
		return LS_DNS_RATE_SEND;
	}
	count = ((p->word >> LS_DNS_RATE_TIME_BITS) & LS_DNS_RATE_COUNT_MASK) + 1;
	slipped = slip && count >= slip;
	if (slipped)
		count = 0;
	p->next = tag | (count & LS_DNS_RATE_COUNT_MASK) << LS_DNS_RATE_TIME_BITS | (p->word & LS_DNS_RATE_TIME_MASK);
	return slipped ? LS_DNS_RATE_SLIPPED : LS_DNS_RATE_DROPPED;
}

#endif
