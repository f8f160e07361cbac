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
#include "lib/portmap.h"
#include "lib/service.h"

struct ls_quote {
	struct ls_tuple t;
	__u32 l3;
	__u32 l4;
};

/* What follows an IPv6 fragment header at `at`: the number of a protocol, or -1: not the first fragment. With a frame of its own: the
 * stack is short here. */
__noinline int ls_first_fragment(struct __sk_buff *skb, __u32 at)
{
	__u32 head; /* next header, reserved, offset */

	if (bpf_skb_load_bytes(skb, at, &head, sizeof(head)) || (head & bpf_htonl(0xfff8)))
		return -1;
	return bpf_ntohl(head) >> 24;
}

/* Reads the quoted packet's tuple. Fragments other than the first quote no ports. */
static __always_inline bool ls_read_quote(struct __sk_buff *skb, const struct ls_pkt *p, struct ls_quote *q)
{
	__be16 ports[2];

	q->l3 = p->l4 + sizeof(struct ls_icmp);
	if (p->t.v6) {
		__u8 head[8]; /* up to the addresses, which follow each other as in a tuple */

		if (bpf_skb_load_bytes(skb, q->l3, head, sizeof(head)) || head[0] >> 4 != 6 ||
		    bpf_skb_load_bytes(skb, q->l3 + sizeof(head), q->t.src, 32))
			return false;
		q->t.proto = head[6];
		q->t.v6 = 1;
		q->l4 = q->l3 + sizeof(struct ipv6hdr);
		if (head[6] == IPPROTO_FRAGMENT) { /* the first one of a datagram: whoever sent it has to learn the path MTU */
			int next = ls_first_fragment(skb, q->l4);

			if (next < 0)
				return false;
			q->t.proto = next;
			q->l4 += 8;
		}
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

/* One address to be replaced in an IP header at l3. */
struct ls_edit {
	__be32 from[4];
	__be32 to[4];
	__u64 diff; /* out: sum of the differences the ICMP checksum has to take in */
	__u32 l3;
	__u8 src; /* the source address, else the destination */
	__u8 v6;
	__u16 pad;
};

/* Stores it. IPv4: the header's own checksum is mended as well, so that the ICMP sum over a quoted header does not change.
 * 0, or -1 when the kernel refused. */
__noinline int ls_put_addr(struct __sk_buff *skb, struct ls_edit *e)
{
	if (!e)
		return -1;
	if (e->v6) {
		e->diff += ls_csum_fold32(ls_addr_diff(e->from, e->to, true));
		return bpf_skb_store_bytes(skb, e->l3 + (e->src ? 8 : 24), e->to, 16, 0) ? -1 : 0;
	}
	if (bpf_skb_store_bytes(skb, e->l3 + (e->src ? 12 : 16), &e->to[3], 4, 0) ||
	    bpf_l3_csum_replace(skb, e->l3 + offsetof(struct iphdr, check), e->from[3], e->to[3], 4))
		return -1;
	return 0;
}

/* Both ends of a flow of a service: its address and the backend's. 0: gone. */
static __always_inline int ls_service_of_flow(const struct ls_hit *hit, struct ls_port *out)
{
	__u32 number = hit->be;
	struct ls_be *be = bpf_map_lookup_elem(&ls_be, &number);
	struct ls_svc *svc;

	if (!be || LS_BE_GEN(READ_ONCE(be->state)) != hit->be_gen)
		return 0;
	svc = bpf_map_lookup_elem(&ls_svc_tab, &be->svc);
	if (!svc || !(svc->flags & LS_SVC_USED))
		return 0;
	memcpy(out->host, svc->key.addr_be, 16);
	memcpy(out->cont, be->addr_be, 16);
	out->host_port = svc->key.port_be;
	out->cont_port = be->port_be;
	return 1;
}

/* 1: translated, 0: not about a flow of ours, -1: the kernel refused to write. */
__noinline int ls_icmp_error(struct __sk_buff *skb, struct ls_pkt *p)
{
	struct ls_quote q = {};
	/* One after the other, in one place: stack is short here. */
	union {
		struct ls_tuple back;
		struct ls_port port;
	} u = {};
	struct ls_hit hit = {};
	struct ls_edit e = {};
	__u32 now = ls_tick();
	__be16 new_port, old_port, check;
	bool v6, found;
	__u64 h;

	if (!p || !ls_read_quote(skb, p, &q))
		return 0;
	v6 = q.t.v6;
	ls_tuple_turn(&u.back, &q.t);
	h = ls_tuple_hash(&u.back);
	found = v6 ? ls_flow6_find(&u.back, h, now, &hit) : ls_flow4_find(&u.back, h, now, &hit);
	if (!found || (hit.flags & LS_FLOW_HAIRPIN))
		return 0;
	if (!(hit.flags & LS_FLOW_PORT ? ls_port_of_flow(&u.back, &hit, &u.port) : ls_service_of_flow(&hit, &u.port)))
		return 0;

	/* The quoted packet: its destination was the backend, or its source the service. */
	e.v6 = v6;
	e.l3 = q.l3;
	e.src = hit.kind == LS_FLOW_FORWARD;
	memcpy(e.from, e.src ? q.t.src : q.t.dst, 16);
	memcpy(e.to, e.src ? u.port.cont : u.port.host, 16);
	new_port = e.src ? u.port.cont_port : u.port.host_port;
	old_port = e.src ? q.t.sport : q.t.dport;
	if (ls_put_addr(skb, &e) || bpf_skb_store_bytes(skb, q.l4 + (e.src ? 0 : 2), &new_port, 2, 0))
		return -1;
	/* The outer address: where an error about a reply goes, or who sent one about a request if it was the backend. One behind a host
	 * port keeps its own: this machine's stack, which has it next, takes no IPv4 packet that comes from one of its addresses, and a
	 * client goes by what is quoted. */
	e.src = !e.src;
	e.l3 = p->l3;
	memcpy(e.from, e.src ? p->t.src : p->t.dst, 16);
	if (!e.src || (ls_addr_same(e.from, u.port.cont, v6) && (v6 || !(hit.flags & LS_FLOW_PORT)))) {
		if (ls_put_addr(skb, &e))
			return -1;
	}
	if (bpf_skb_load_bytes(skb, p->l4 + 2, &check, 2))
		return -1;
	check = ls_csum_apply(check, e.diff + (__u16)~old_port + new_port);
	return bpf_skb_store_bytes(skb, p->l4 + 2, &check, 2, 0) ? -1 : 1;
}

#endif
