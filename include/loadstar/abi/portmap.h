/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_PORTMAP_H
#define LOADSTAR_ABI_PORTMAP_H
/*
 * Host ports that lead to a container: what loadstar-cni writes and the packet programs read.
 *
 *   ls_portmap   hash   protocol, host port, address family -> address and port of the container
 *   ls_own       array  the machine's own addresses, but loopback and link-local ones; written by the daemon
 *
 * An entry counts for packets to any address in ls_own, wherever they come from: also from the container itself (hairpin) and from its
 * neighbours, because a packet to another address never matches. One container owns a host port: entries are made with BPF_NOEXIST, and
 * ls_ctl.ports is set after an entry is there (programs look no further while it is 0). They are made before loadstar-cni prints its
 * result and removed before the address of the container is free again.
 *
 * Flows of host ports are in the flow tables, with LS_FLOW_PORT: the address that was dialled is behind `be` of the reverse entry
 * (LS_PORT_BE and the place in ls_own), its port is `be_gen`. The forward entry has a digest of the container there. Each packet asks
 * ls_portmap whether the mapping is still the one that the flow was made with.
 */
#include "loadstar/abi/flow_place.h"

#define LS_PORTMAP_ENTRIES 65536

struct ls_portmap_key {
	__be16 port_be; /* of the host */
	__u8 proto;     /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 family;    /* 4 or 6 */
};
LS_ABI_ASSERT(sizeof(struct ls_portmap_key) == 4);

struct ls_portmap {
	__be32 addr_be[4];    /* of the container */
	__be16 port_be;       /* in the container */
	__u8 pad[2];
	__u32 bridge_ifindex; /* the container's own bridge; 0: it has none (direct mode). Informative */
};
LS_ABI_ASSERT(sizeof(struct ls_portmap) == 24);

#define LS_OWN_SLOTS 4096 /* a power of two */
#define LS_OWN_PROBES 4   /* an address is in one of so many places, from its own on */

struct ls_own {
	__be32 addr_be[4];
	__u32 used; /* stored last, cleared first */
	__u32 pad[3];
};
LS_ABI_ASSERT(sizeof(struct ls_own) == 32);

/* Its own place in ls_own. */
static inline __attribute__((always_inline)) __u32 ls_own_place(const __be32 *addr)
{
	__u64 h = ls_mix((__u64)addr[2] << 32 | addr[3]);

	h = ls_mix(h + ((__u64)addr[0] << 32 | addr[1]));
	return (__u32)(h >> 32) & (LS_OWN_SLOTS - 1);
}

/* Instead of a backend's number in flows of host ports: no backend has such a number. */
#define LS_PORT_BE 0x80000000u

#endif
