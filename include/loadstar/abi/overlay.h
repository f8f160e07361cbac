/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_OVERLAY_H
#define LOADSTAR_ABI_OVERLAY_H
/*
 * The overlay in the kernel: what the controller (and loadstar-cni, for ls_ovl_local) writes and overlay_tc reads.
 *
 *   ls_ovl_conf    array, one entry   the own node, pools
 *   ls_ovl_block   array              block number of an IPv4 pool -> owner
 *   ls_ovl_hash    hash               block of an IPv6 pool or of an IPv4 pool without room in the array, or the own
 *                                     address of a node -> owner
 *   ls_ovl_net     LPM trie           shares of another length than their pool's -> owner
 *   ls_ovl_peer    array              node: tunnel address, MAC of its VTEP
 *   ls_ovl_local   hash               container address of this node -> its device and MACs (the shortcut)
 *   ls_ovl_stats   per CPU            what became of each packet
 *
 * A packet costs the same with 4 peers and with 65,536: an IPv4 block is an index. VTEP addresses are a pool whose shares are
 * single addresses. Peer 0 is nobody, peer 1 is this node. Addresses are 16 octets in network order, IPv4 mapped.
 *
 * Order of changes: a peer is written before blocks name it; blocks are cleared before their peer's place is used again. A place is used again
 * only with another `gen`, and entries carry the one they mean. A pool's other fields are written while its flags are 0, which no program
 * reads any more when a grace period is over.
 */
#include "loadstar/abi/base.h"

#define LS_OVL_POOLS 16 /* of each family */
#define LS_OVL_NOBODY 0u
#define LS_OVL_SELF 1u
#define LS_OVL_FIRST_PEER 2u

enum ls_ovl_pool_flags {
	LS_OVL_POOL_USED = 1 << 0,
	LS_OVL_POOL_ARRAY = 1 << 1, /* IPv4: blocks are in ls_ovl_block, else in ls_ovl_hash */
	LS_OVL_POOL_VTEP = 1 << 2,  /* VTEP addresses */
	LS_OVL_POOL_MIXED = 1 << 3, /* some shares have another length: they are in ls_ovl_net */
};

/* One cache line. IPv4 uses the last words of the addresses only. */
struct ls_ovl_pool {
	__be32 net_be[4];
	__be32 mask_be[4];
	__be32 share_be[4]; /* mask of a share */
	__u32 flags;	    /* enum ls_ovl_pool_flags, stored last; 0: not in use */
	__u32 first;	    /* LS_OVL_POOL_ARRAY: place of block 0 in ls_ovl_block */
	__u8 shift;	    /* IPv4: 32 - length of a share */
	__u8 share;	    /* length of a share, of the 128 bits */
	__u8 pad[6];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_pool) == 64);

enum ls_ovl_conf_flags {
	LS_OVL_ENABLED = 1 << 0,
	LS_OVL_PEER = 1 << 1, /* to containers by bpf_redirect_peer: programs at the egress of their devices do not see these packets */
};

struct ls_ovl_conf {
	__u32 flags; /* enum ls_ovl_conf_flags */
	__u32 vni;
	__u32 vtep_ifindex;
	__u32 mtu;	   /* of inner packets */
	__be32 node_be[4]; /* this node's own address, outer source */
	__u8 mac[6];	   /* of the VTEP */
	__u8 pools4;	   /* places of pool4 that may be in use, from 0 on */
	__u8 pools6;
	__u32 pad[6];
	struct ls_ovl_pool pool4[LS_OVL_POOLS];
	struct ls_ovl_pool pool6[LS_OVL_POOLS];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_conf) == 2112);

struct ls_ovl_peer {
	__be32 node_be[4]; /* outer destination */
	__u8 mac[6];	   /* of its VTEP; with gen one word, stored at once */
	__u16 gen;
} __attribute__((aligned(8)));
LS_ABI_ASSERT(sizeof(struct ls_ovl_peer) == 24);

/* Value of ls_ovl_block, ls_ovl_hash and ls_ovl_net: gen << 32 | peer; 0: nobody's. */
struct ls_ovl_owner {
	__u64 word;
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_owner) == 8);
#define LS_OVL_OWNER(peer, gen) ((__u64)(gen) << 32 | (peer))
#define LS_OVL_OWNER_PEER(v) ((__u32)(v))
#define LS_OVL_OWNER_GEN(v) ((__u16)((v) >> 32))

/* Key of ls_ovl_hash, exact: the host part of a share is cut off; a node's own address has all 128 bits. */
struct ls_ovl_key {
	__be32 addr_be[4];
	__u32 prefix; /* of the 128 bits */
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_key) == 20);

/* Key of ls_ovl_net. */
struct ls_ovl_net_key {
	__u32 prefix; /* of the 128 bits */
	__be32 addr_be[4];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_net_key) == 20);

/* Key of ls_ovl_local. */
struct ls_ovl_addr {
	__be32 addr_be[4];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_addr) == 16);

struct ls_ovl_local {
	__u32 ifindex;	/* the container's device on the host side; 0: by the stack */
	__u8 mac[6];	/* of the container's own device */
	__u8 gw_mac[6]; /* what it takes for its gateway's */
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_local) == 16);

/* What became of a packet at a hook of the overlay; one counter update each. Drops are in ls_drops, with their reason. X(NAME, number, label, text) */
#define LS_OVL_RESULTS(X)                                                            \
	X(TUNNEL, 0, "tunnel", "sent to another node")                               \
	X(LOCAL, 1, "local", "handed to a container of this node without the stack") \
	X(STACK, 2, "stack", "left to the stack")                                    \
	X(ANSWERED, 3, "answered", "too large: answered with ICMP")

#define LS_OVL_RESULT_ENUM(name, num, label, text) LS_OVL_##name = num,
enum ls_ovl_result { LS_OVL_RESULTS(LS_OVL_RESULT_ENUM) LS_OVL_RESULT_MAX = 4 };
#undef LS_OVL_RESULT_ENUM

/* Key of ls_ovl_stats (struct ls_stat, per CPU): hook * LS_OVL_RESULT_MAX + result, with the places of LS_OVL_HOOK_*. */
#define LS_OVL_HOOKS(X)                             \
	X(OUT, 0, "overlay_out", "egress of the VTEP") \
	X(IN, 1, "overlay_in", "ingress of the VTEP")  \
	X(PORT, 2, "overlay_port", "packets a container sent")

#define LS_OVL_HOOK_ENUM(name, num, label, text) LS_OVL_HOOK_##name = num,
enum ls_ovl_hook { LS_OVL_HOOKS(LS_OVL_HOOK_ENUM) LS_OVL_HOOK_MAX = 3 };
#undef LS_OVL_HOOK_ENUM

#endif
