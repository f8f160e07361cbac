/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_OVERLAY_H
#define LOADSTAR_ABI_OVERLAY_H
/*
 * The overlay in the kernel: what the controller (and loadstar-cni, for ls_ovl_local) writes and overlay_tc reads.
 *
 *   ls_ovl_conf    array, one entry   the own node, pools
 *   ls_ovl_block   array              block number of a pool -> owner
 *   ls_ovl_hash    hash               block of a pool that has no room in the array, or the own address of a node -> owner
 *   ls_ovl_net     LPM trie           shares of another length than their pool's -> owner
 *   ls_ovl_local   hash               container address of this node -> its device and MACs (the shortcut)
 *   ls_ovl_stats   per CPU            what became of each packet
 *
 * A packet costs the same with 4 peers and with 65,536: a block is an index, and its entry is one word that holds everything: the
 * node's address and the part of its VTEP's MAC that the OUI leaves open. So 65,536 blocks are half a megabyte, a packet touches one line
 * of it, and an entry is changed by one store, never seen half. VTEP addresses are a pool whose shares are single addresses.
 * Addresses are 16 octets in network order, IPv4 mapped.
 *
 * Order of changes: a pool's other fields are written while its flags are 0 and no program reads them any more (a grace period); the
 * OUI only changes while no entry is there.
 */
#include "loadstar/abi/base.h"

#define LS_OVL_POOLS 16 /* of each family */

enum ls_ovl_pool_flags {
	LS_OVL_POOL_USED = 1 << 0,
	LS_OVL_POOL_ARRAY = 1 << 1, /* blocks are in ls_ovl_block, else in ls_ovl_hash */
	LS_OVL_POOL_VTEP = 1 << 2,  /* VTEP addresses */
	LS_OVL_POOL_MIXED = 1 << 3, /* some shares have another length: they are in ls_ovl_net */
	LS_OVL_POOL_FLAGS = 15,
};

/* One cache line. IPv4 uses the last words of the addresses only. */
struct ls_ovl_pool {
	__be32 net_be[4];
	__be32 mask_be[4];
	__be32 share_be[4]; /* mask of a share */
	__u32 flags;	    /* enum ls_ovl_pool_flags, stored last; 0: not in use */
	__u32 first;	    /* LS_OVL_POOL_ARRAY: place of block 0 in ls_ovl_block */
	__u32 last;	    /* LS_OVL_POOL_ARRAY: number of the last block, one less than a power of two */
	__u8 shift;	    /* 128 - length of a share */
	__u8 share;	    /* length of a share, of the 128 bits */
	__u8 pad[2];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_pool) == 64);

enum ls_ovl_conf_flags {
	LS_OVL_ENABLED = 1 << 0,
	LS_OVL_PEER = 1 << 1, /* straight into the container, past the egress of its device; packets of flows of services are not */
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
	__u8 oui[4];	   /* of all VTEPs; the fourth is 0 */
	__u32 pad[5];
	struct ls_ovl_pool pool4[LS_OVL_POOLS];
	struct ls_ovl_pool pool6[LS_OVL_POOLS];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_conf) == 2112);

/* Value of ls_ovl_block, ls_ovl_hash and ls_ovl_net; 0: nobody's. In one word: the node's IPv4 address as a number, the last three
 * octets of its VTEP's MAC as a number, flags. */
struct ls_ovl_owner {
	__u64 word;
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_owner) == 8);
#define LS_OVL_OWNED 1u /* always set */
#define LS_OVL_SELF 2u	/* this node's */
#define LS_OVL_OWNER(node, mac, flags) ((__u64)(node) << 32 | (__u64)(mac) << 8 | (flags))
#define LS_OVL_OWNER_NODE(word) ((__u32)((word) >> 32))
#define LS_OVL_OWNER_MAC(word) ((__u32)(word) >> 8)

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
