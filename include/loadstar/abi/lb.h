/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_LB_H
#define LOADSTAR_ABI_LB_H
/*
 * Services, backends and rings: the tables the controller writes and the programs read.
 *
 *   ls_svc      hash   (address, port, protocol) -> service number
 *   ls_svc_tab  array  service number -> struct ls_svc, one cache line; `ring` is the whole state in one word
 *   ls_ring     array  blocks of 16 slots; a ring is a run of blocks; a slot is a backend number
 *   ls_be       array  backend number -> struct ls_be
 *
 * Why never a mixed state: a program reads `ring` once (one aligned 8-byte load) and everything behind it is immutable
 * while any program may still read it. The controller writes a new ring beside the old one, then stores the word.
 * Numbers and blocks that were given up are reused only after an RCU grace period (see datapath/svc_tables.h, also for the one
 * exception: a table without room for a second ring).
 * A reader checks that ls_svc.addr/port/proto are what it looked up, because a hash element may be recycled under it.
 */
#include "loadstar/abi/base.h"

/* Key of ls_svc. Every byte is compared, so pad must be 0. */
struct ls_svc_key {
	__be32 addr_be[4];
	__be16 port_be;
	__u8 proto; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;
};
LS_ABI_ASSERT(sizeof(struct ls_svc_key) == 20);

struct ls_svc_ref {
	__u32 id;
};
LS_ABI_ASSERT(sizeof(struct ls_svc_ref) == 4);

/* Entry of ls_svc_tab. */
struct ls_svc {
	struct ls_svc_key key; /* immutable while the number is in use */
	__u32 flags;           /* enum ls_svc_flags, immutable while the number is in use */
	__u64 ring;            /* LS_RING_WORD(...); 0 = no backend takes new flows */
	__u32 backends;        /* informative: all, and those that take new flows */
	__u32 active;
	__u64 pad[3];
};
LS_ABI_ASSERT(sizeof(struct ls_svc) == 64);

enum ls_svc_flags {
	LS_SVC_USED = 1 << 0,
	LS_SVC_EXTERNAL = 1 << 1, /* may be dialled from an uplink */
};

/* Ring sizes: 1, or 7,001 times a power of two, by the number of backends that take new flows (datapath/maglev.h says why). */
#define LS_RING_BLOCK_SLOTS 16
#define LS_RING_WORD(first_block, slots) ((__u64)(first_block) << 32 | (__u64)(slots))
#define LS_RING_SLOTS(word) ((__u32)(word))
#define LS_RING_FIRST(word) ((__u32)((word) >> 32))

struct ls_ring_block {
	__u32 be[LS_RING_BLOCK_SLOTS]; /* backend numbers */
};
LS_ABI_ASSERT(sizeof(struct ls_ring_block) == 64);

enum ls_be_state {
	LS_BE_FREE = 0,
	LS_BE_ACTIVE = 1,   /* weight 1 */
	LS_BE_DRAINING = 2, /* weight 0: open flows go on, no new ones */
	LS_BE_DEAD = 3,     /* gone: open flows are reset or choose again */
};

/* Entry of ls_be: one endpoint of one service. Number 0 is never used. */
struct ls_be {
	__be32 addr_be[4];
	__be16 port_be;
	__u8 proto;
	__u8 pad;
	__u32 svc;   /* number in ls_svc_tab */
	__u32 state; /* generation << 8 | enum ls_be_state; the generation grows each time the number is given out */
	__u32 pad1;
};
LS_ABI_ASSERT(sizeof(struct ls_be) == 32);
#define LS_BE_STATE(word) ((word) & 0xff)
#define LS_BE_GEN(word) (((word) >> 8) & 0xffff) /* what flows remember, 16 bits */

/* Entry of ls_be_stat, per CPU: flows a backend was chosen for, by hook family. */
struct ls_be_stat {
	__u64 flows_tc;
	__u64 flows_sock;
};
LS_ABI_ASSERT(sizeof(struct ls_be_stat) == 16);

/* ls_ctl, one entry, mmap'ed: switches the controller flips while programs run, and words programs leave for it. */
struct ls_ctl {
	__u32 events;      /* 0: nobody listens on ls_events; else mask of 1 << enum ls_event_type */
	__u32 sample;      /* one of so many events of a type is sent, 0 or 1 = all */
	__u32 nh_gen;      /* grows when routes, neighbours or links change: cached next hops are void */
	__u32 overflow_at; /* LS_TICK of the last flow that found no free entry, 0 = never */
	__u64 overflows;   /* how many flows found none */
	__u64 events_lost; /* events that found no room in ls_events */
	__u32 ports;       /* 0: ls_portmap has no entry; set by whoever makes one, after it is there */
	__u32 pad1;
	__u64 pad[3];
};
LS_ABI_ASSERT(sizeof(struct ls_ctl) == 64);

/* ls_meta, one entry: who made these maps. Read first when they are adopted. */
struct ls_meta {
	__u32 abi_version;
	__u32 flow_version;
	__u64 seed[2];      /* random per host, secret; hash key of the flow tables */
	__u64 created_ns;   /* CLOCK_REALTIME */
	char build[32];     /* version text, zero-terminated */
};
LS_ABI_ASSERT(sizeof(struct ls_meta) == 64);

/*
 * ls_nh: cached next hop towards an address, direct-mapped by hash, valid for a second or until nh_gen moves.
 * Spares an established packet the kernel's route and neighbour look-up (measured: 1.4 x plain routing with
 * bpf_redirect_neigh, 0.99 x with a cached MAC; performance.md section 2).
 */
struct ls_nh {
	__be32 addr_be[4];
	__u32 lock;    /* 0 free, 1 a CPU is writing */
	__u32 version; /* odd while being written */
	__u32 gen;     /* ls_ctl.nh_gen it was read under */
	__u32 seen;    /* LS_TICK it was read at */
	__u32 ifindex;
	__u32 mtu;
	__u8 dmac[6];
	__u8 smac[6];
	__u32 way; /* enum ls_way of bpf/lib/next_hop.h, 0: free */
};
LS_ABI_ASSERT(sizeof(struct ls_nh) == 56);

/* ls_sock_peer, socket storage, and value of ls_sock_rev: which service a socket asked and which backend it got. */
struct ls_sock_peer {
	__be32 svc_addr_be[4];
	__be32 be_addr_be[4];
	__be16 svc_port_be;
	__be16 be_port_be;
	__u32 be;
	__u32 be_state; /* ls_be.state when chosen */
};
LS_ABI_ASSERT(sizeof(struct ls_sock_peer) == 44);

/* ls_sock_rev, LRU hash: replies to an unconnected UDP socket -> the service it asked. */
struct ls_sock_key {
	__u64 cookie;
	__be32 addr_be[4]; /* backend for a reply; service for a request (kind 1) */
	__be16 port_be;
	__u16 kind; /* 0: backend -> service, 1: service -> backend chosen before */
	__u32 pad;
};
LS_ABI_ASSERT(sizeof(struct ls_sock_key) == 32);

/* ls_frag, LRU hash: ports of a fragmented datagram, learned from its first fragment. */
struct ls_frag_key {
	__be32 src_be[4];
	__be32 dst_be[4];
	__be32 id;
	__u8 proto;
	__u8 pad[3];
};
LS_ABI_ASSERT(sizeof(struct ls_frag_key) == 40);
struct ls_frag {
	__be16 sport_be;
	__be16 dport_be;
};
LS_ABI_ASSERT(sizeof(struct ls_frag) == 4);

#endif
