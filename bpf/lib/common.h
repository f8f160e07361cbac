/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_COMMON_H
#define LS_LIB_COMMON_H
/* Includes, small macros, and the values the controller sets before load (read-only to the programs, so the verifier
 * removes what a variant does not need). */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/maps.h"
#include "loadstar/abi/flow_place.h"

#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))
#define unlikely(x) __builtin_expect(!!(x), 0)
#define likely(x) __builtin_expect(!!(x), 1)
#ifndef memcpy
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#endif

/* Buckets of the flow tables and entries of the next-hop cache, minus one: powers of two, the controller keeps them
 * equal to the sizes of the maps. The defaults fit lib/maps.h, so that tests can load the programs as they are. */
const volatile __u32 ls_flow4_mask = 1023;
const volatile __u32 ls_flow6_mask = 1023;
const volatile __u32 ls_nh_mask = 4095;
/* Hash key of this host, ls_meta.seed. */
const volatile __u64 ls_seed0 = 0x9e3779b97f4a7c15ull;
const volatile __u64 ls_seed1 = 0xc2b2ae3d27d4eb4full;
/* BPF_F_IPV6 where bpf_l4_csum_replace knows it (kernel 6.16): without it an IPv6 rewrite spoils a CHECKSUM_COMPLETE
 * sum of the NIC, and the stack recomputes it; with it the sum stays right. */
const volatile __u64 ls_csum_ipv6_flag = 0;

#define LO_IFINDEX 1

static __always_inline __u32 ls_tick(void)
{
	return (__u32)(bpf_ktime_get_coarse_ns() >> LS_TICK_SHIFT);
}

static __always_inline void ls_tuple_turn(struct ls_tuple *to, const struct ls_tuple *from)
{
	memcpy(to->src, from->dst, 16);
	memcpy(to->dst, from->src, 16);
	to->sport = from->dport;
	to->dport = from->sport;
	to->proto = from->proto;
	to->v6 = from->v6;
	to->pad = 0;
}

/* The 16-byte form maps use. */
static __always_inline void ls_addr_wide(__be32 *to, const __be32 *from, bool v6)
{
	to[0] = v6 ? from[0] : 0;
	to[1] = v6 ? from[1] : 0;
	to[2] = v6 ? from[2] : bpf_htonl(0xffff);
	to[3] = from[3];
}

static __always_inline bool ls_addr_same(const __be32 *a, const __be32 *b, bool v6)
{
	if (a[3] != b[3])
		return false;
	return !v6 || (a[0] == b[0] && a[1] == b[1] && a[2] == b[2]);
}

static __always_inline __u64 ls_tuple_hash(const struct ls_tuple *t)
{
	return ls_flow_hash(t, ls_seed0, ls_seed1);
}

#endif
