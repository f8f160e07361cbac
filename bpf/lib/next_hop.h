/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_NEXT_HOP_H
#define LS_LIB_NEXT_HOP_H
/*
 * Where a translated packet goes. The kernel's route and neighbour tables decide (bpf_fib_lookup); the answer is kept a second
 * in ls_nh, because asking for every packet costs 1.4 x plain routing (performance.md section 2).
 * A cached answer is void when ls_ctl.nh_gen moved: the controller bumps it on every route, neighbour or link event.
 */
#include "lib/common.h"
#include "lib/drop.h"

enum ls_way {
	LS_WAY_STACK = 0,     /* local address, or nothing known: the stack decides */
	LS_WAY_CACHED = 1,    /* ifindex and both MACs are known */
	LS_WAY_NEIGHBOUR = 2, /* ifindex is known, the neighbour is not yet: the kernel resolves it */
	LS_WAY_LOCAL = 3,     /* an address of this machine */
};

struct ls_hop {
	__u32 way;
	__u32 ifindex;
	__u32 mtu;
	__u8 dmac[6];
	__u8 smac[6];
	__u32 set_macs; /* the packet gets these MACs when it is rewritten */
};

#define LS_NH_TICKS LS_TICKS_PER_S(1)

__noinline int ls_hop_ask(struct __sk_buff *skb, const struct ls_tuple *to, struct ls_hop *hop)
{
	struct bpf_fib_lookup fib = {};
	long rc;

	if (!to || !hop)
		return 0;
	fib.ifindex = skb->ingress_ifindex ? skb->ingress_ifindex : skb->ifindex;
	fib.tot_len = 1; /* asks for the route's MTU; the packet's own size is compared by the caller */
	if (to->v6) {
		fib.family = 10; /* AF_INET6 */
		memcpy(fib.ipv6_src, to->src, 16);
		memcpy(fib.ipv6_dst, to->dst, 16);
	} else {
		fib.family = 2; /* AF_INET */
		fib.ipv4_src = to->src[3];
		fib.ipv4_dst = to->dst[3];
	}
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	hop->ifindex = fib.ifindex;
	hop->mtu = rc == BPF_FIB_LKUP_RET_SUCCESS ? fib.mtu_result : 0; /* else it still holds tot_len */
	hop->way = LS_WAY_STACK;
	if (rc == BPF_FIB_LKUP_RET_SUCCESS) {
		memcpy(hop->dmac, fib.dmac, 6);
		memcpy(hop->smac, fib.smac, 6);
		hop->way = LS_WAY_CACHED;
	} else if (rc == BPF_FIB_LKUP_RET_NO_NEIGH) {
		hop->way = LS_WAY_NEIGHBOUR;
	} else if (rc == BPF_FIB_LKUP_RET_NOT_FWDED) {
		hop->way = LS_WAY_LOCAL;
	}
	return 0;
}

/* Next hop towards to->dst: from the cache, else asked for and cached. */
static __always_inline void ls_next_hop(struct __sk_buff *skb, const struct ls_tuple *to, __u32 now, struct ls_hop *hop)
{
	const __be32 *addr = to->dst;
	bool v6 = to->v6;
	__u64 h = addr[3] ^ ls_seed1;
	struct ls_ctl *ctl = ls_control();
	struct ls_nh *nh;
	__u32 i, version, gen;

	hop->way = LS_WAY_STACK;
	if (!ctl)
		return;
	if (v6)
		h = ls_mix(h + ((__u64)addr[0] << 32 | addr[1])) + addr[2];
	i = (__u32)(ls_mix(h) >> 16) & ls_nh_mask;
	nh = bpf_map_lookup_elem(&ls_nh, &i);
	if (!nh)
		return;
	gen = READ_ONCE(ctl->nh_gen);
	version = READ_ONCE(nh->version);
	barrier();
	if (likely(nh->way && nh->gen == gen && now - nh->seen <= LS_NH_TICKS && nh->addr_be[3] == addr[3] &&
		   (v6 ? nh->addr_be[0] == addr[0] && nh->addr_be[1] == addr[1] && nh->addr_be[2] == addr[2]
		       : nh->addr_be[2] == bpf_htonl(0xffff)))) {
		hop->ifindex = nh->ifindex;
		hop->mtu = nh->mtu;
		memcpy(hop->dmac, nh->dmac, 6);
		memcpy(hop->smac, nh->smac, 6);
		hop->way = nh->way;
		barrier();
		if (!(version & 1) && READ_ONCE(nh->version) == version)
			return;
	}
	ls_hop_ask(skb, to, hop);
	if (hop->way != LS_WAY_CACHED && hop->way != LS_WAY_LOCAL)
		return;
	/* One writer at a time; whoever finds it taken goes on without caching. */
	if (__sync_lock_test_and_set(&nh->lock, 1))
		return;
	version = nh->version;
	WRITE_ONCE(nh->version, version + 1);
	barrier();
	ls_addr_wide(nh->addr_be, addr, v6);
	nh->gen = gen;
	nh->seen = now;
	nh->ifindex = hop->ifindex;
	nh->mtu = hop->mtu;
	nh->way = hop->way;
	memcpy(nh->dmac, hop->dmac, 6);
	memcpy(nh->smac, hop->smac, 6);
	barrier();
	WRITE_ONCE(nh->version, version + 2);
	WRITE_ONCE(nh->lock, 0);
}

#endif
