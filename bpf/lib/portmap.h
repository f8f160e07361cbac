/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_PORTMAP_H
#define LS_LIB_PORTMAP_H
/*
 * Host ports that lead to containers (layout: abi/portmap.h). A packet to one of this machine's own addresses and a mapped port is a
 * packet to a service with one backend; the flow tables keep who dialled which address.
 *
 * What a packet that matches nothing costs: one load while there are no mappings, else one look-up of 4 octets.
 */
#include "lib/flow.h"

/* Both ends of one mapping. */
struct ls_port {
	__be32 host[4];
	__be32 cont[4];
	__be16 host_port;
	__be16 cont_port;
};

static __always_inline bool ls_ports_any(void)
{
	__u32 zero = 0;
	struct ls_ctl *ctl = bpf_map_lookup_elem(&ls_ctl, &zero);

	return ctl && READ_ONCE(ctl->ports);
}

static __always_inline struct ls_portmap *ls_port_entry(__be16 port, __u8 proto, bool v6)
{
	struct ls_portmap_key key = {.port_be = port, .proto = proto, .family = v6 ? 6 : 4};

	return bpf_map_lookup_elem(&ls_portmap, &key);
}

/* The place of an address in its wide form, or -1: not this machine's. */
static __always_inline int ls_own_find(const __be32 *addr)
{
	__u32 first = ls_own_place(addr), i;

#pragma unroll
	for (i = 0; i < LS_OWN_PROBES; i++) {
		__u32 at = (first + i) & (LS_OWN_SLOTS - 1);
		struct ls_own *own = bpf_map_lookup_elem(&ls_own, &at);

		if (own && READ_ONCE(own->used) && ls_addr_same(own->addr_be, addr, true))
			return (int)at;
	}
	return -1;
}

/* What a forward entry remembers of its container. */
static __always_inline __u32 ls_port_digest(const struct ls_portmap *m)
{
	__u64 h = ls_mix(((__u64)m->addr_be[2] << 32 | m->addr_be[3]) ^ ls_seed1);

	h = ls_mix(h + ((__u64)m->addr_be[0] << 32 | m->addr_be[1]));
	return LS_PORT_BE | (__u32)(h >> 32);
}

/* Both ends of a flow of a host port, from one of its tuples and the entry that it has. 0: the mapping is gone or is another's. `out` may be
 * where `t` is: a program with a short stack keeps them in one place. */
__noinline int ls_port_of_flow(const struct ls_tuple *t, const struct ls_hit *hit, struct ls_port *out)
{
	struct ls_portmap *m;
	struct ls_own *own;
	__u32 at;

	if (!t || !hit || !out)
		return 0;
	if (hit->kind == LS_FLOW_FORWARD) {
		m = ls_port_entry(t->dport, t->proto, t->v6);
		if (!m || ls_port_digest(m) != hit->be || m->port_be != hit->be_gen)
			return 0;
		memcpy(out->host, t->dst, 16);
		out->host_port = t->dport;
	} else {
		at = hit->be & (LS_OWN_SLOTS - 1);
		own = bpf_map_lookup_elem(&ls_own, &at);
		m = ls_port_entry(hit->be_gen, t->proto, t->v6);
		if (!own || !READ_ONCE(own->used) || !m || m->port_be != t->sport || !ls_addr_same(m->addr_be, t->src, t->v6))
			return 0;
		memcpy(out->host, own->addr_be, 16);
		out->host_port = hit->be_gen;
	}
	barrier();
	memcpy(out->cont, m->addr_be, 16);
	out->cont_port = m->port_be;
	return 1;
}

#endif
