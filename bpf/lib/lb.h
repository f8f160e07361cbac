/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_LB_H
#define LS_LIB_LB_H
/*
 * The packet path: what happens to one packet at one hook. Which hook does what:
 *
 *                 service -> backend   reply -> service   refuses unknown flows
 *   port_in       yes                  yes
 *   port_out                           yes
 *   uplink_in                          yes                yes (a service is not dialled from outside)
 *   uplink_out    this host's own      
 *   lo            this host's own      yes
 *
 * A packet is translated where it enters the node (a port) or where the node's own packet leaves (uplink, lo), and its reply
 * at the first hook it meets. The client's address is kept. One exception: a container that reaches itself through a service
 * (hairpin) sees the service address as its client, because no stack takes a packet from its own address.
 *
 * Host ports (lib/portmap.h) are looked up last, at port_in and uplink_in. Only the beginning of a connection opens a flow: a
 * connection of the machine itself may have a mapped port for its own. The machine's own sockets are pointed at the container by
 * lb_sock. A reply that cannot be redirected is left to the stack as the container sent it: no stack takes a packet that comes
 * from one of its own addresses, and what it answers (too big, TTL) is about the container's packet.
 */
#include "lib/choose.h"
#include "lib/common.h"
#include "lib/drop.h"
#include "lib/flow.h"
#include "lib/icmp.h"
#include "lib/nat.h"
#include "lib/next_hop.h"
#include "lib/parse.h"
#include "lib/portmap.h"
#include "lib/reply.h"
#include "lib/service.h"

/* Set in skb->tc_index of a packet that is redirected from here: the program on the device it leaves through has nothing to add.
 * It stays with the packet only on its way through this machine; a port that receives one clears it. */
#define LS_TRANSLATED 0x4c53

/* Sends an answer made in place back to where the packet came from. */
static __always_inline int ls_answer(struct __sk_buff *skb, struct ls_pkt *p, int hook, __u32 reason)
{
	__u32 ifindex = skb->ifindex, bytes = skb->len;
	bool is_rst = p->t.proto == IPPROTO_TCP && (p->tcp_flags & LS_TCP_FLAG_RST);

	if (is_rst || p->frag != LS_WHOLE)
		return ls_drop(skb, &p->t, hook, reason);
	if (p->t.proto == IPPROTO_TCP ? ls_reply_rst(skb, p) : ls_reply_unreachable(skb, p))
		return ls_drop(skb, &p->t, hook, LS_DROP_REPLY_FAILED);
	ls_count_drop(hook, reason);
	ls_count(hook, LS_VERDICT_REPLY, bytes);
	LS_EMIT(&p->t, REPLY, hook, reason, ifindex, 0);
	skb->tc_index = LS_TRANSLATED;
	return bpf_redirect(ifindex, ls_from_host(hook) ? BPF_F_INGRESS : 0);
}

/* Bytes of one packet on the wire, as the next link will see it. */
static __always_inline __u32 ls_wire_len(struct __sk_buff *skb, const struct ls_pkt *p)
{
	if (skb->gso_size)
		return p->l4 - p->l3 + p->l4_len + skb->gso_size;
	return skb->len - p->l3;
}

/* What a packet is to become. */
struct ls_plan {
	struct ls_tuple to;
	bool hairpin;
	bool reply;
	bool port; /* of a host port */
};
#define LS_DELIVER 0x100      /* beside the TC_ACT_ verdicts: carry out the plan */
#define LS_CHOOSE_AGAIN 0x101 /* the entry's backend cannot be used */

static __always_inline int ls_plan_forward(const struct ls_pkt *p, const __be32 *be_addr, __be16 be_port, __u32 flags,
					   struct ls_plan *plan)
{
	plan->hairpin = flags & LS_FLOW_HAIRPIN;
	plan->port = flags & LS_FLOW_PORT;
	plan->reply = false;
	memcpy(plan->to.src, plan->hairpin ? p->t.dst : p->t.src, 16);
	memcpy(plan->to.dst, be_addr, 16);
	plan->to.sport = p->t.sport;
	plan->to.dport = be_port;
	plan->to.proto = p->t.proto;
	plan->to.v6 = p->t.v6;
	plan->to.pad = 0;
	return LS_DELIVER;
}

/* Whether the frame was addressed to this MAC. */
static __always_inline bool ls_sent_to(struct __sk_buff *skb, const __u8 *mac)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	int i;

	if ((void *)(eth + 1) > end)
		return false;
#pragma unroll
	for (i = 0; i < 6; i++) {
		if (eth->h_dest[i] != mac[i])
			return false;
	}
	return true;
}

/* Translates the packet as planned and sends it on its way. A reply met on its way out only changes its source: it is on
 * the right device already. */
static __always_inline int ls_deliver(struct __sk_buff *skb, struct ls_pkt *p, const struct ls_plan *plan, int hook, bool bridged,
				      __u32 now)
{
	const struct ls_tuple *to = &plan->to;
	struct ls_hop hop = {};
	bool forwards = false;

	if (plan->hairpin && hook == LS_HOOK_PORT_IN) {
		if (ls_rewrite(skb, p, to, &hop, 0) || !ls_swap_macs(skb))
			return ls_drop(skb, &p->t, hook, LS_DROP_WRITE_FAILED);
		skb->tc_index = LS_TRANSLATED;
		return bpf_redirect(skb->ifindex, 0);
	}
	if (!(plan->reply && ls_is_egress(hook))) {
		ls_next_hop(skb, to, now, &hop);
		/* TTL at its end and packets too long for the link are the stack's: it answers with ICMP. */
		if (hop.way != LS_WAY_LOCAL &&
		    ((!ls_from_host(hook) && p->ttl <= 1) ||
		     ((hop.way == LS_WAY_CACHED || hop.way == LS_WAY_NEIGHBOUR) && hop.mtu && ls_wire_len(skb, p) > hop.mtu)))
			hop.way = LS_WAY_STACK;
		/* A container behind a bridge has an address nobody else knows: what leaves the bridge is masqueraded by the
		 * stack's rules, as all its traffic is. The bridge is where the container sent this packet to. */
		if (bridged && !plan->reply && hop.way != LS_WAY_LOCAL && !(hop.way == LS_WAY_CACHED && ls_sent_to(skb, hop.smac)))
			hop.way = LS_WAY_STACK;
		if (plan->port && plan->reply && (hop.way == LS_WAY_STACK || hop.way == LS_WAY_LOCAL))
			return TC_ACT_UNSPEC;
		forwards = (hop.way == LS_WAY_CACHED || hop.way == LS_WAY_NEIGHBOUR) && !ls_from_host(hook);
		hop.set_macs = hop.way == LS_WAY_CACHED;
		if (hop.way == LS_WAY_LOCAL && ls_from_host(hook)) {
			/* To loopback, whose address is all zero: any other would be a packet for another host. */
			memset(hop.dmac, 0, 6);
			memset(hop.smac, 0, 6);
			hop.set_macs = 1;
		}
	}
	if (ls_rewrite(skb, p, to, &hop, forwards))
		return ls_drop(skb, &p->t, hook, LS_DROP_WRITE_FAILED);
	if (hop.way == LS_WAY_CACHED || hop.way == LS_WAY_NEIGHBOUR)
		skb->tc_index = LS_TRANSLATED;
	if (hop.way == LS_WAY_CACHED)
		return ls_is_egress(hook) && hop.ifindex == skb->ifindex ? TC_ACT_UNSPEC : bpf_redirect(hop.ifindex, 0);
	if (hop.way == LS_WAY_NEIGHBOUR)
		return bpf_redirect_neigh(hop.ifindex, NULL, 0, 0);
	if (hop.way == LS_WAY_LOCAL && ls_from_host(hook))
		return bpf_redirect(LO_IFINDEX, BPF_F_INGRESS);
	return TC_ACT_UNSPEC;
}

/* Sets tcp bits on both entries of a flow. */
__noinline int ls_mark_both(const struct ls_pkt *p, const struct ls_hit *hit, __u32 bits)
{
	struct ls_tuple other;
	struct ls_svc *svc;
	struct ls_be *be;
	__u32 number;

	if (!p || !hit)
		return 0;
	if (hit->flags & LS_FLOW_PORT) {
		struct ls_port port = {};

		if (!ls_port_of_flow(&p->t, hit, &port))
			return 0;
		if (hit->kind == LS_FLOW_FORWARD) {
			ls_reply_tuple(&other, &p->t, port.cont, port.cont_port, hit->flags & LS_FLOW_HAIRPIN);
		} else {
			ls_forward_tuple(&other, &p->t, port.host, port.host_port, hit->flags & LS_FLOW_HAIRPIN);
		}
		ls_flow_mark(&p->t, bits);
		ls_flow_mark(&other, bits);
		return 0;
	}
	number = hit->be;
	be = bpf_map_lookup_elem(&ls_be, &number);
	if (!be)
		return 0;
	if (hit->kind == LS_FLOW_FORWARD) {
		ls_reply_tuple(&other, &p->t, be->addr_be, be->port_be, hit->flags & LS_FLOW_HAIRPIN);
	} else {
		number = be->svc;
		svc = bpf_map_lookup_elem(&ls_svc_tab, &number);
		if (!svc)
			return 0;
		ls_forward_tuple(&other, &p->t, svc->key.addr_be, svc->key.port_be, hit->flags & LS_FLOW_HAIRPIN);
	}
	ls_flow_mark(&p->t, bits);
	ls_flow_mark(&other, bits);
	return 0;
}

/* FIN and RST, and the first packet after the handshake began, are noted on both entries of the flow. */
static __always_inline void ls_track_tcp(struct ls_pkt *p, const struct ls_hit *hit)
{
	__u32 bits = 0;

	if (p->t.proto != IPPROTO_TCP)
		return;
	if (p->tcp_flags & LS_TCP_FLAG_FIN)
		bits |= hit->kind == LS_FLOW_FORWARD ? LS_TCP_FIN_FWD : LS_TCP_FIN_REV;
	if (p->tcp_flags & LS_TCP_FLAG_RST)
		bits |= LS_TCP_RST;
	if (!(p->tcp_flags & LS_TCP_FLAG_SYN))
		bits |= LS_TCP_REPLIED;
	if (unlikely(bits & ~hit->tcp))
		ls_mark_both(p, hit, bits);
}

/* A flow that has no usable entry. */
static __always_inline int ls_unknown(struct __sk_buff *skb, struct ls_pkt *p, int hook, const struct ls_hit *stale,
				      struct ls_plan *plan)
{
	struct ls_choice c = {};
	__u32 bytes = skb->len;
	int rc;

	if (hook == LS_HOOK_PORT_OUT || p->frag == LS_FRAG_LATER)
		goto pass;
	if (hook == LS_HOOK_UPLINK_IN) {
		struct ls_svc_key key = {};

		ls_addr_wide(key.addr_be, p->t.dst, p->t.v6);
		key.port_be = p->t.dport;
		key.proto = p->t.proto;
		if (bpf_map_lookup_elem(&ls_svc, &key))
			return ls_drop(skb, &p->t, hook, LS_DROP_NOT_FROM_OUTSIDE);
		rc = LS_NO_SERVICE;
	} else {
		rc = ls_new_flow(p, stale, &c);
	}
	if (rc == LS_NO_SERVICE && !ls_from_host(hook) && ls_ports_any())
		rc = ls_new_port(p, stale, &c);
	if (rc == LS_NO_SERVICE)
		goto pass;
	if (rc == LS_BUSY)
		return ls_drop(skb, &p->t, hook, LS_DROP_SERVICE_BUSY);
	if (rc == LS_NO_BACKEND)
		return ls_answer(skb, p, hook, LS_DROP_NO_BACKEND);
	ls_count(hook, c.verdict, bytes);
	LS_EMIT(&p->t, NEW, hook, 0, skb->ifindex, c.be);
	return ls_plan_forward(p, c.be_addr, c.be_port, c.flags, plan);
pass:
	ls_count(hook, LS_VERDICT_PASS, bytes);
	return TC_ACT_UNSPEC;
}

/* What a packet of a known flow of a host port is to become. 0: the mapping is gone. With a frame of its own. */
__noinline int ls_port_plan(const struct ls_pkt *p, const struct ls_hit *hit, struct ls_plan *plan)
{
	struct ls_port port = {};
	bool hairpin, reply;

	if (!p || !hit || !plan || !ls_port_of_flow(&p->t, hit, &port))
		return 0;
	reply = hit->kind == LS_FLOW_REVERSE;
	hairpin = hit->flags & LS_FLOW_HAIRPIN;
	plan->port = true;
	plan->reply = reply;
	plan->hairpin = hairpin;
	if (reply) {
		memcpy(plan->to.src, port.host, 16);
		memcpy(plan->to.dst, hairpin ? p->t.src : p->t.dst, 16);
	} else {
		memcpy(plan->to.src, hairpin ? p->t.dst : p->t.src, 16);
		memcpy(plan->to.dst, port.cont, 16);
	}
	plan->to.sport = reply ? port.host_port : p->t.sport;
	plan->to.dport = reply ? p->t.dport : port.cont_port;
	plan->to.proto = p->t.proto;
	plan->to.v6 = p->t.v6;
	plan->to.pad = 0;
	return 1;
}

/* A packet of a known flow of a host port. */
static __always_inline int ls_known_port(struct __sk_buff *skb, struct ls_pkt *p, int hook, struct ls_hit *hit, struct ls_plan *plan)
{
	bool syn = p->t.proto == IPPROTO_TCP && (p->tcp_flags & (LS_TCP_FLAG_SYN | LS_TCP_FLAG_ACK)) == LS_TCP_FLAG_SYN;
	int there = ls_port_plan(p, hit, plan);

	if (hit->kind == LS_FLOW_REVERSE) {
		if (!there) {
			/* The address may have another owner, who has nothing to do with that flow. */
			hit->kind = LS_FLOW_FREE;
			return LS_CHOOSE_AGAIN;
		}
	} else if (unlikely(!there)) {
		/* The client of a connection to that container is told, once. Whoever opens one now, or goes on after that, has to do
		 * with the next owner of the port: another container, or the machine itself. */
		bool told = hit->tcp & LS_TCP_RST;

		if (p->t.proto == IPPROTO_TCP && !told)
			ls_flow_mark(&p->t, LS_TCP_RST);
		if (p->t.proto == IPPROTO_UDP || syn || told) {
			hit->kind = syn ? hit->kind : LS_FLOW_FREE;
			return LS_CHOOSE_AGAIN;
		}
		return ls_answer(skb, p, hook, LS_DROP_BACKEND_DEAD);
	} else if (unlikely(syn && (hit->tcp & LS_TCP_CLOSING))) {
		return LS_CHOOSE_AGAIN;
	}
	ls_track_tcp(p, hit);
	ls_count(hook, hit->kind == LS_FLOW_REVERSE ? LS_VERDICT_REVERSE : LS_VERDICT_FORWARD, skb->len);
	return LS_DELIVER;
}

/* A packet towards a service whose flow is known. */
static __always_inline int ls_known_forward(struct __sk_buff *skb, struct ls_pkt *p, int hook, struct ls_hit *hit,
					    struct ls_plan *plan)
{
	bool syn = p->t.proto == IPPROTO_TCP &&
		   (p->tcp_flags & (LS_TCP_FLAG_SYN | LS_TCP_FLAG_ACK)) == LS_TCP_FLAG_SYN;
	struct ls_be *be = bpf_map_lookup_elem(&ls_be, &hit->be);
	bool usable;

	usable = be && ls_be_takes(READ_ONCE(be->state), hit->be_gen);
	if (unlikely(!usable || (syn && (hit->tcp & LS_TCP_CLOSING)))) {
		/* The client opens anew, or is a UDP client: choose again. Else its connection is over: tell it at once. */
		if (p->t.proto == IPPROTO_UDP || syn)
			return LS_CHOOSE_AGAIN;
		LS_EMIT(&p->t, DEAD, hook, LS_DROP_BACKEND_DEAD, skb->ifindex, hit->be);
		ls_mark_both(p, hit, LS_TCP_RST); /* told; the controller need not wake this client */
		return ls_answer(skb, p, hook, LS_DROP_BACKEND_DEAD);
	}
	ls_track_tcp(p, hit);
	ls_count(hook, LS_VERDICT_FORWARD, skb->len);
	return ls_plan_forward(p, be->addr_be, be->port_be, hit->flags, plan);
}

/* A packet from a backend; its source becomes the service address. */
static __always_inline int ls_known_reverse(struct __sk_buff *skb, struct ls_pkt *p, int hook, struct ls_hit *hit,
					    struct ls_plan *plan)
{
	struct ls_svc *svc;
	struct ls_be *be;

	be = bpf_map_lookup_elem(&ls_be, &hit->be);
	if (!be || LS_BE_GEN(READ_ONCE(be->state)) != hit->be_gen)
		return ls_drop(skb, &p->t, hook, LS_DROP_BACKEND_DEAD);
	svc = bpf_map_lookup_elem(&ls_svc_tab, &be->svc);
	if (!svc || !(svc->flags & LS_SVC_USED))
		return ls_drop(skb, &p->t, hook, LS_DROP_BACKEND_DEAD);
	plan->hairpin = hit->flags & LS_FLOW_HAIRPIN;
	plan->reply = true;
	memcpy(plan->to.src, svc->key.addr_be, 16);
	memcpy(plan->to.dst, plan->hairpin ? p->t.src : p->t.dst, 16);
	plan->to.sport = svc->key.port_be;
	plan->to.dport = p->t.dport;
	plan->to.proto = p->t.proto;
	plan->to.v6 = p->t.v6;
	plan->to.pad = 0;
	ls_track_tcp(p, hit);
	ls_count(hook, LS_VERDICT_REVERSE, skb->len);
	return LS_DELIVER;
}

/* Ports of a later fragment, or notes those of the first. True when p->t has ports. */
static __always_inline bool ls_frag_ports(struct ls_pkt *p)
{
	struct ls_frag_key key = {};
	struct ls_frag *known, ports;

	ls_addr_wide(key.src_be, p->t.src, p->t.v6);
	ls_addr_wide(key.dst_be, p->t.dst, p->t.v6);
	key.id = p->frag_id;
	key.proto = p->t.proto;
	if (p->frag == LS_FRAG_FIRST) {
		ports.sport_be = p->t.sport;
		ports.dport_be = p->t.dport;
		bpf_map_update_elem(&ls_frag, &key, &ports, BPF_ANY);
		return true;
	}
	known = bpf_map_lookup_elem(&ls_frag, &key);
	if (!known)
		return false;
	p->t.sport = known->sport_be;
	p->t.dport = known->dport_be;
	return true;
}

static __always_inline int ls_packet(struct __sk_buff *skb, int hook, bool bridged)
{
	struct ls_pkt p = {.l3 = ETH_HLEN, .hook = hook};
	struct ls_hit hit = {};
	struct ls_plan plan = {};
	bool found;
	__u32 now;
	__u64 h;
	int rc;

	if (hook == LS_HOOK_PORT_OUT) {
		if (skb->tc_index == LS_TRANSLATED)
			return TC_ACT_UNSPEC;
	} else if (skb->tc_index == LS_TRANSLATED) {
		skb->tc_index = 0;
	}
	rc = ls_parse(skb, &p);
	if (rc == LS_ICMP_ERROR) {
		rc = ls_icmp_error(skb, &p);
		if (rc < 0)
			return ls_drop(skb, &p.t, hook, LS_DROP_WRITE_FAILED);
		ls_count(hook, rc ? LS_VERDICT_ICMP : LS_VERDICT_PASS, skb->len);
		return TC_ACT_UNSPEC;
	}
	if (rc == LS_NOT_OURS || (p.frag && !ls_frag_ports(&p))) {
		ls_count(hook, LS_VERDICT_PASS, skb->len);
		return TC_ACT_UNSPEC;
	}
	now = ls_tick();
	h = ls_tuple_hash(&p.t);
	found = p.t.v6 ? ls_flow6_find(&p.t, h, now, &hit) : ls_flow4_find(&p.t, h, now, &hit);
	if (!found && hook != LS_HOOK_UPLINK_OUT)
		found = ls_overflow_find(&p.t, h, now, &hit);

	rc = LS_CHOOSE_AGAIN;
	if (found && unlikely(hit.flags & LS_FLOW_PORT)) {
		/* At the egress of a container only replies are turned, as with services. */
		if (!ls_from_host(hook) && (hit.kind == LS_FLOW_REVERSE || hook != LS_HOOK_PORT_OUT))
			rc = ls_known_port(skb, &p, hook, &hit, &plan);
		else
			hit.kind = LS_FLOW_FREE;
	} else if (found && hit.kind == LS_FLOW_REVERSE && hook != LS_HOOK_UPLINK_OUT)
		rc = ls_known_reverse(skb, &p, hook, &hit, &plan);
	else if (found && hit.kind == LS_FLOW_FORWARD && hook != LS_HOOK_PORT_OUT && hook != LS_HOOK_UPLINK_IN)
		rc = ls_known_forward(skb, &p, hook, &hit, &plan);
	else
		hit.kind = LS_FLOW_FREE;
	if (rc == LS_CHOOSE_AGAIN)
		rc = ls_unknown(skb, &p, hook, &hit, &plan);
	return rc == LS_DELIVER ? ls_deliver(skb, &p, &plan, hook, bridged, now) : rc;
}

#endif
