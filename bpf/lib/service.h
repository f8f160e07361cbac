/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_SERVICE_H
#define LS_LIB_SERVICE_H
/* Service look-up and choice of a backend, shared by the packet and the socket programs. Layout: abi/lb.h. */
#include "lib/common.h"

static __always_inline bool ls_key_same(const struct ls_svc_key *a, const struct ls_svc_key *b)
{
	return a->addr_be[3] == b->addr_be[3] && a->port_be == b->port_be && a->proto == b->proto &&
	       a->addr_be[0] == b->addr_be[0] && a->addr_be[1] == b->addr_be[1] && a->addr_be[2] == b->addr_be[2];
}

/* The service at an address, or NULL. A hash element may be given to another key while we look at it: the entry behind the
 * number says whose it is, and the look-up is repeated. *busy is set when that happened three times. */
static __always_inline struct ls_svc *ls_service(const struct ls_svc_key *key, bool *busy)
{
	int i;

#pragma unroll
	for (i = 0; i < 3; i++) {
		struct ls_svc_ref *ref = bpf_map_lookup_elem(&ls_svc, key);
		struct ls_svc *svc;
		__u32 id;

		if (!ref)
			return NULL;
		id = READ_ONCE(ref->id);
		svc = bpf_map_lookup_elem(&ls_svc_tab, &id);
		if (svc && ls_key_same(&svc->key, key))
			return svc;
	}
	*busy = true;
	return NULL;
}

/* The backend number in the slot that `hash` falls on; 0 when no backend takes new flows. The ring word is read once. The
 * slot is the hash scaled, not a remainder: rings of other sizes keep their flows (datapath/maglev.h). */
static __always_inline __u32 ls_ring_pick(struct ls_svc *svc, __u32 hash)
{
	__u64 ring = READ_ONCE(svc->ring);
	__u32 slots = LS_RING_SLOTS(ring), slot, block_number;
	struct ls_ring_block *block;

	if (!slots)
		return 0;
	slot = (__u32)((__u64)hash * slots >> 32);
	block_number = LS_RING_FIRST(ring) + slot / LS_RING_BLOCK_SLOTS;
	block = bpf_map_lookup_elem(&ls_ring, &block_number);
	return block ? block->be[slot % LS_RING_BLOCK_SLOTS] : 0;
}

/* Hash of a flow on the ring. Without a host's secret: every node must choose the same backend for the same flow. */
static __always_inline __u32 ls_ring_hash(const struct ls_tuple *t)
{
	__u64 h = ls_mix((__u64)t->src[3] << 32 | t->dst[3]);

	if (t->v6) {
		h = ls_mix(h + ((__u64)t->src[0] << 32 | t->src[1]));
		h = ls_mix(h + ((__u64)t->src[2] << 32 | t->dst[2]));
		h = ls_mix(h + ((__u64)t->dst[0] << 32 | t->dst[1]));
	}
	h = ls_mix(h + ((__u64)t->sport << 32 | (__u64)t->dport << 16 | t->proto));
	return (__u32)(h >> 32);
}

static __always_inline bool ls_be_takes(__u32 state, __u16 gen)
{
	__u32 s = LS_BE_STATE(state);

	return LS_BE_GEN(state) == gen && (s == LS_BE_ACTIVE || s == LS_BE_DRAINING);
}

#endif
