/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_ICMP_H
#define LS_LIB_ICMP_H
/*
 * ICMP errors about translated packets: the quoted packet is translated back to what its sender sent, and the outer address with
 * it, so that the sender recognises its own packet (path MTU, unreachable, time exceeded).
 *
 *   about client -> backend (quoted after translation), towards the client:  quoted destination -> service; the outer source
 *                                                                            too, when the backend itself complains
 *   about service -> client (quoted after reverse translation), towards the backend: quoted source -> backend, and the outer
 *                                                                            destination, which is the service address
 *
 * The quoted transport checksum is left as it is: a receiver cannot check it, the quote is cut short.
 */
#include "lib/common.h"
#include "lib/flow.h"
#include "lib/nat.h"
#include "lib/parse.h"
#include "lib/service.h"

struct ls_quote {
	struct ls_tuple t;
	__u32 l3;
	__u32 l4;
};

/* Reads the quoted packet's tuple. Fragments other than the first quote no ports. */
static __always_inline bool ls_read_quote(struct __sk_buff *skb, const struct ls_pkt *p, struct ls_quote *q)
{
	__be16 ports[2];

	q->l3 = p->l4 + sizeof(struct ls_icmp);
	if (p->t.v6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		memcpy(q->t.src, &ip.saddr, 16);
		memcpy(q->t.dst, &ip.daddr, 16);
		q->t.proto = ip.nexthdr;
		q->t.v6 = 1;
		q->l4 = q->l3 + sizeof(ip);
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
		    (bpf_ntohs(ip.frag_off) & LS_IP_OFFSET))
			return false;
		q->t.src[3] = ip.saddr;
		q->t.dst[3] = ip.daddr;
		q->t.proto = ip.protocol;
		q->t.v6 = 0;
		q->l4 = q->l3 + ip.ihl * 4;
	}
	if (q->t.proto != IPPROTO_TCP && q->t.proto != IPPROTO_UDP)
		return false;
	if (q->l4 + 8 > p->l3 + p->ip_len || bpf_skb_load_bytes(skb, q->l4, ports, sizeof(ports)))
		return false;
	q->t.sport = ports[0];
	q->t.dport = ports[1];
	return true;
}

/* Stores an address into an IP header at l3 and returns the checksum difference it makes there (IPv4: the header's own
 * checksum is mended as well, so that the ICMP sum over a quoted header does not change). ok is cleared on failure. */
static __always_inline __u64 ls_put_addr(struct __sk_buff *skb, __u32 l3, bool src, const __be32 *from, const __be32 *to, bool v6,
					 bool *ok)
{
	__u64 diff = ls_addr_diff(from, to, v6);

	if (v6) {
		if (bpf_skb_store_bytes(skb, l3 + (src ? 8 : 24), to, 16, 0))
			*ok = false;
		return diff;
	}
	if (bpf_skb_store_bytes(skb, l3 + (src ? 12 : 16), &to[3], 4, 0) ||
	    bpf_l3_csum_replace(skb, l3 + offsetof(struct iphdr, check), from[3], to[3], 4))
		*ok = false;
	return 0;
}

/* 1: translated, 0: not about a flow of ours, -1: the kernel refused to write. */
__noinline int ls_icmp_error(struct __sk_buff *skb, struct ls_pkt *p)
{
	struct ls_quote q = {};
	struct ls_tuple back;
	struct ls_hit hit = {};
	struct ls_svc *svc;
	struct ls_be *be;
	__u64 diff = 0, h;
	__u32 now = ls_tick();
	__be16 port, old_port, check;
	bool v6, found, ok = true;

	if (!p || !ls_read_quote(skb, p, &q))
		return 0;
	v6 = q.t.v6;
	ls_tuple_turn(&back, &q.t);
	h = ls_tuple_hash(&back);
	found = v6 ? ls_flow6_find(&back, h, now, &hit) : ls_flow4_find(&back, h, now, &hit);
	if (!found || (hit.flags & LS_FLOW_HAIRPIN))
		return 0;
	be = bpf_map_lookup_elem(&ls_be, &hit.be);
	if (!be || LS_BE_GEN(READ_ONCE(be->state)) != hit.be_gen)
		return 0;
	svc = bpf_map_lookup_elem(&ls_svc_tab, &be->svc);
	if (!svc || !(svc->flags & LS_SVC_USED))
		return 0;

	if (hit.kind == LS_FLOW_REVERSE) {
		port = svc->key.port_be;
		old_port = q.t.dport;
		diff += ls_put_addr(skb, q.l3, false, q.t.dst, svc->key.addr_be, v6, &ok);
		if (bpf_skb_store_bytes(skb, q.l4 + 2, &port, 2, 0))
			ok = false;
		if (ls_addr_same(p->t.src, be->addr_be, v6))
			diff += ls_put_addr(skb, p->l3, true, p->t.src, svc->key.addr_be, v6, &ok);
	} else {
		port = be->port_be;
		old_port = q.t.sport;
		diff += ls_put_addr(skb, q.l3, true, q.t.src, be->addr_be, v6, &ok);
		if (bpf_skb_store_bytes(skb, q.l4, &port, 2, 0))
			ok = false;
		diff += ls_put_addr(skb, p->l3, false, p->t.dst, be->addr_be, v6, &ok);
	}
	diff += (__u64)(__u16)~old_port + port;
	if (!ok || bpf_skb_load_bytes(skb, p->l4 + 2, &check, 2))
		return -1;
	check = ls_csum_apply(check, diff);
	return bpf_skb_store_bytes(skb, p->l4 + 2, &check, 2, 0) ? -1 : 1;
}

#endif
