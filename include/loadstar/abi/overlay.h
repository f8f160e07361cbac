/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_OVERLAY_H
#define LOADSTAR_ABI_OVERLAY_H
/*
 * The overlay in the kernel: what the controller (and loadstar-cni, for ls_ovl_local) writes and overlay_tc reads.
 *
 *   ls_ovl_conf    array, one entry   the own node, pools
 *   ls_ovl_block   array              block number of an IPv4 pool -> peer
 *   ls_ovl_block6  hash               block of an IPv6 pool -> peer
 *   ls_ovl_net     LPM trie           addresses of nodes and VTEPs, and shares of other lengths -> peer
 *   ls_ovl_peer    array              node: tunnel address, MAC of its VTEP
 *   ls_ovl_local   hash               container address of this node -> its device and MACs (the shortcut)
 *   ls_ovl_stats   per CPU            what became of each packet
 *
 * A packet costs the same with 4 peers and with 65,536: an IPv4 block is an index. Peer 0 is nobody, peer 1 is this node.
 * Addresses are 16 octets in network order, IPv4 mapped.
 *
 * Order of changes: a peer is written before blocks name it; blocks are cleared before their peer's place is used again. A place is used again
 * only with another `gen`, and entries carry the one they mean.
 */
#include "loadstar/abi/base.h"

#define LS_OVL_POOLS 16
#define LS_OVL_NOBODY 0u
#define LS_OVL_SELF 1u

enum ls_ovl_pool_flags {
	LS_OVL_POOL_USED = 1 << 0,
	LS_OVL_POOL_V6 = 1 << 1,
	LS_OVL_POOL_VTEP = 1 << 2, /* VTEP addresses: looked up in ls_ovl_net */
};

struct ls_ovl_pool {
	__be32 net_be[4];
	__be32 mask_be[4];
	__u32 first;  /* IPv4: place of block 0 in ls_ovl_block */
	__u32 blocks; /* IPv4: how many */
	__u8 shift;   /* IPv4: 32 - length of a share */
	__u8 share;   /* length of a share, of the 128 bits */
	__u8 flags;   /* enum ls_ovl_pool_flags */
	__u8 pad[5];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_pool) == 48);

struct ls_ovl_conf {
	__u32 enabled;
	__u32 vni;
	__u32 vtep_ifindex;
	__u32 mtu;          /* of inner packets */
	__be32 node_be[4];  /* this node's own address, outer source */
	__u8 mac[6];        /* of the VTEP */
	__u16 pools;        /* in use, from 0 on */
	struct ls_ovl_pool pool[LS_OVL_POOLS];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_conf) == 40 + 48 * LS_OVL_POOLS);

struct ls_ovl_peer {
	__be32 node_be[4]; /* outer destination */
	__u8 mac[6];       /* of its VTEP */
	__u16 gen;
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_peer) == 24);

/* Value of ls_ovl_block, ls_ovl_block6 and ls_ovl_net: gen << 32 | peer; 0: nobody's. */
#define LS_OVL_OWNER(peer, gen) ((__u64)(gen) << 32 | (peer))
#define LS_OVL_OWNER_PEER(v) ((__u32)(v))
#define LS_OVL_OWNER_GEN(v) ((__u16)((v) >> 32))

struct ls_ovl_block6_key {
	__be32 net_be[4]; /* address with the host part of a share cut off */
};

struct ls_ovl_net_key {
	__u32 prefix; /* of the 128 bits */
	__be32 addr_be[4];
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_net_key) == 20);

struct ls_ovl_local {
	__u32 ifindex;  /* the container's device on the host side; 0: by the stack */
	__u8 mac[6];    /* of the container's own device */
	__u8 gw_mac[6]; /* what it takes for its gateway's */
};
LS_ABI_ASSERT(sizeof(struct ls_ovl_local) == 16);

#endif
