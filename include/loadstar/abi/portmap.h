/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_PORTMAP_H
#define LOADSTAR_ABI_PORTMAP_H
/*
 * Host ports that lead to a container: what loadstar-cni writes and the packet programs read.
 *
 *   ls_portmap   hash   protocol, host port, address family -> address and port of the container
 *
 * An entry counts for packets to any address of this machine but loopback, and not for those that enter by `bridge_ifindex`
 * unless they come from the container itself or a neighbour that dials the machine's own address (hairpin). One container owns
 * a host port: entries are made with BPF_NOEXIST. They are made before loadstar-cni prints its result and removed before
 * the address of the container is free again.
 */
#include "loadstar/abi/base.h"

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
	__u32 bridge_ifindex; /* the container's own bridge; 0: it has none (direct mode) */
};
LS_ABI_ASSERT(sizeof(struct ls_portmap) == 24);

#endif
