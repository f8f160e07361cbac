/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_FLOW_PLACE_H
#define LOADSTAR_ABI_FLOW_PLACE_H
/*
 * Where a flow stands in its table: the one piece of logic that programs and controller share, because the controller
 * carries flows over when a table changes its size. Pure; `seed` is ls_meta.seed.
 */
#include "loadstar/abi/flow.h"

/* One direction of one flow, network order. An IPv4 address is in word 3, words 0-2 are not read. */
struct ls_tuple {
	__be32 src[4];
	__be32 dst[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 v6;
	__u16 pad;
};
LS_ABI_ASSERT(sizeof(struct ls_tuple) == 40);

static inline __attribute__((always_inline)) __u64 ls_mix(__u64 h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	h ^= h >> 29;
	return h;
}

/* Multiply-xorshift rounds over the keyed words: spreads well enough for buckets, and the secret key keeps crafted
 * collisions away. */
static inline __attribute__((always_inline)) __u64 ls_flow_hash(const struct ls_tuple *t, __u64 seed0, __u64 seed1)
{
	__u64 ports = ((__u64)t->sport << 32 | (__u64)t->dport << 16 | t->proto) ^ seed1;
	__u64 h = ((__u64)t->src[3] << 32 | t->dst[3]) ^ seed0;

	if (t->v6) {
		h = ls_mix(h) + ((__u64)t->src[0] << 32 | t->src[1]);
		h = ls_mix(h) + ((__u64)t->src[2] << 32 | t->dst[2]);
		h = ls_mix(h) + ((__u64)t->dst[0] << 32 | t->dst[1]);
	}
	return ls_mix(ls_mix(h) ^ ports);
}

/* Lock groups of a table of mask + 1 buckets, minus one. At least 16 buckets share a lock, so that the second choice, which
 * stays within the group, is a real one. */
static inline __attribute__((always_inline)) __u32 ls_lock_mask(__u32 mask)
{
	__u32 groups = (mask + 1) / 16;

	if (groups > LS_FLOW_LOCKS)
		groups = LS_FLOW_LOCKS;
	return groups ? groups - 1 : 0;
}

static inline __attribute__((always_inline)) __u32 ls_bucket1(__u64 h, __u32 mask)
{
	return (__u32)h & mask;
}

static inline __attribute__((always_inline)) __u32 ls_bucket2(__u64 h, __u32 mask)
{
	__u32 group = ls_lock_mask(mask);
	__u32 b1 = ls_bucket1(h, mask);
	__u32 b2 = (((__u32)(h >> 32) & mask) & ~group) | (b1 & group);

	return b2 == b1 ? (b1 ^ (group + 1)) & mask : b2;
}

#endif
