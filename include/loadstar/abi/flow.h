/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_FLOW_H
#define LOADSTAR_ABI_FLOW_H
/*
 * The flow tables ls_flow4 and ls_flow6: arrays of buckets of four entries. A flow has two entries, one for each direction,
 * found by its own tuple; the translation is not in the entry but behind `be`: backend and service.
 *
 * Each key has two candidate buckets (bpf/lib/flow.h), so that a table half full overflows almost never. An entry is
 * never collected: one that is older than its time-out (LS_FLOW_TIMEOUT_*) is replaced when its place is needed.
 *
 * Concurrency, see bpf/lib/flow.h for the proof: writers of one bucket hold its bpf_spin_lock; readers take no lock, they
 * accept an entry only if `version` is even and the same before and after they copied it.
 */
#include "loadstar/abi/base.h"

#define LS_FLOW_WAYS 4
/* Ticks of the coarse monotonic clock: 2^27 ns = 134 ms. 32 bits last 18 years. */
#define LS_TICK_SHIFT 27
#define LS_TICKS_PER_S(s) ((__u32)(((__u64)(s) * 1000000000ull) >> LS_TICK_SHIFT))

enum ls_flow_kind {
	LS_FLOW_FREE = 0,
	LS_FLOW_FORWARD = 1, /* client -> service address; rewritten to the backend */
	LS_FLOW_REVERSE = 2, /* backend -> client; source rewritten to the service address */
};

/* Bits of tcp (both directions' packets set them on both entries). */
enum ls_flow_tcp {
	LS_TCP_SYN = 1 << 0,     /* client opened */
	LS_TCP_REPLIED = 1 << 1, /* backend answered */
	LS_TCP_FIN_FWD = 1 << 2,
	LS_TCP_FIN_REV = 1 << 3,
	LS_TCP_RST = 1 << 4,
};
#define LS_TCP_CLOSING (LS_TCP_FIN_FWD | LS_TCP_FIN_REV | LS_TCP_RST)

enum ls_flow_flags {
	LS_FLOW_HAIRPIN = 1 << 0, /* the client is the backend: its source is shown as the service address */
	LS_FLOW_PORT = 1 << 1,    /* of a host port: what `be` and `be_gen` are then is said in abi/portmap.h */
};

/* Seconds without a packet after which an entry may be replaced. Sources: RFC 5382 REQ-5 (established: not below 2 h 4 min,
 * transitory 4 min is for NAT; here a transitory flow is re-made by its next SYN), RFC 4787 REQ-5 (UDP: 2 min). */
#define LS_FLOW_TIMEOUT_ESTABLISHED_S 7440
#define LS_FLOW_TIMEOUT_SYN_S 60
#define LS_FLOW_TIMEOUT_CLOSING_S 60
#define LS_FLOW_TIMEOUT_UDP_S 120

struct ls_flow4 {
	__be32 src_be;
	__be32 dst_be;
	__be16 sport_be;
	__be16 dport_be;
	__u8 proto;
	__u8 kind;    /* enum ls_flow_kind */
	__u16 be_gen; /* LS_BE_GEN of the backend when the flow was made */
	__u32 be;     /* number in ls_be */
	__u32 seen;   /* tick of the last packet, refreshed once a tick at most */
	__u32 version; /* odd while being written */
	__u8 tcp;     /* enum ls_flow_tcp */
	__u8 flags;   /* enum ls_flow_flags */
	__u16 pad;
};
LS_ABI_ASSERT(sizeof(struct ls_flow4) == 32);

struct ls_flow6 {
	__be32 src_be[4];
	__be32 dst_be[4];
	__be16 sport_be;
	__be16 dport_be;
	__u8 proto;
	__u8 kind;
	__u16 be_gen;
	__u32 be;
	__u32 seen;
	__u32 version;
	__u8 tcp;
	__u8 flags;
	__u16 pad;
	__u64 pad1;
};
LS_ABI_ASSERT(sizeof(struct ls_flow6) == 64);

struct ls_flow4_bucket {
	struct ls_flow4 way[LS_FLOW_WAYS];
};
struct ls_flow6_bucket {
	struct ls_flow6 way[LS_FLOW_WAYS];
};
LS_ABI_ASSERT(sizeof(struct ls_flow4_bucket) == 128);
LS_ABI_ASSERT(sizeof(struct ls_flow6_bucket) == 256);

#define LS_FLOW_LOCKS 4096 /* bpf_spin_locks, by bucket number */
/* Bits set for flows that found no entry, by hash of their reverse tuple; see bpf/lib/flow.h. */
#define LS_OVERFLOW_WORDS 16384

#endif
