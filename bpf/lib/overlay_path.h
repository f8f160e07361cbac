/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_OVERLAY_PATH_H
#define LS_LIB_OVERLAY_PATH_H
/*
 * What happens to one packet at each hook of the overlay.
 *
 *   container --veth--> ls_ovl_port ---------------------------> VTEP (ls_ovl_out: nothing to add) --> tunnel
 *                           |  \--> another container's device
 *                           v
 *                         stack: bridge, routes, netfilter ----> VTEP, ls_ovl_out ----------------> tunnel
 *
 *   tunnel --> VTEP, ls_ovl_in ---> container's device
 *                           \-----> stack
 *
 * Whatever a program cannot do as well as the stack is left to it: the end of a TTL, fragmentation, containers that have no entry in
 * ls_ovl_local. The stack's routes lead into the same tunnel.
 */
#include "lib/flow.h"
#include "lib/overlay.h"
#include "lib/overlay_icmp.h"
#include "lib/parse.h"
#include "lib/portmap.h"

/* As LS_TRANSLATED of lib/lb.h: programs that translate at a container's egress leave the packet alone. */
#define LS_OVL_ANSWER 0x4c53

/* Whether load balancing at the egress of the container's device may have something to turn back: the packet is of a flow that it
 * knows, or nobody can say. Costs a look at two buckets; the way by that device costs another pass of the softirq. */
__noinline int ls_ovl_may_be_reply(struct __sk_buff *skb)
{
	struct ls_pkt p = {.l3 = ETH_HLEN};
	struct ls_ctl *ctl = ls_control();
	struct ls_hit hit = {};
	int rc = ls_parse(skb, &p);
	__u64 h;

	if (rc == LS_NOT_OURS)
		return 0;
	if (rc == LS_ICMP_ERROR || p.frag || !ctl || ls_overflowed(ctl, ls_tick()))
		return 1;
	h = ls_tuple_hash(&p.t);
	return p.t.v6 ? ls_flow6_find(&p.t, h, ls_tick(), &hit) : ls_flow4_find(&p.t, h, ls_tick(), &hit);
}

/* To a container of this node. `hop`: as a router would, otherwise as a switch. */
static __always_inline int ls_ovl_deliver(struct __sk_buff *skb, const struct ls_ovl_conf *conf, const struct ls_ovl_pkt *p,
					  const struct ls_ovl_local *to, __u32 hook, __u32 drop_hook, bool hop)
{
	__u32 ifindex = to->ifindex, bytes = skb->len;

	if (hop && !ls_ovl_write(skb, p, to->mac, to->gw_mac, true))
		return ls_drop(skb, &p->t, drop_hook, LS_DROP_WRITE_FAILED);
	ls_ovl_count(hook, LS_OVL_LOCAL, bytes);
	if ((conf->flags & LS_OVL_PEER) && !ls_ovl_may_be_reply(skb)) {
		/* A frame for the bridge that its port belongs to is one for another host to the port. */
		if (bpf_skb_change_type(skb, 0))
			return ls_drop(skb, &p->t, drop_hook, LS_DROP_WRITE_FAILED);
		return bpf_redirect_peer(ifindex, 0);
	}
	return bpf_redirect(ifindex, 0);
}

static __always_inline int ls_ovl_answer(struct __sk_buff *skb, struct ls_ovl_pkt *p, __u32 mtu)
{
	__u32 bytes = skb->len;

	if (ls_ovl_too_big(skb, p, mtu))
		return ls_drop(skb, &p->t, LS_HOOK_OVL_PORT, LS_DROP_REPLY_FAILED);
	ls_ovl_count(LS_OVL_HOOK_PORT, LS_OVL_ANSWERED, bytes);
	skb->tc_index = LS_OVL_ANSWER;
	return bpf_redirect(skb->ifindex, 0);
}

/* Whether the container may use this source address and MAC. `known`: every container of this device has an entry. Without one
 * the address must be in a share of this node. */
static __always_inline bool ls_ovl_own_source(struct __sk_buff *skb, const struct ls_ovl_pkt *p, const bool known)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ls_ovl_local *local = ls_ovl_local_of(p->t.src, p->t.v6);
	struct ethhdr *eth = data;
	__u64 whose;

	if (local) {
		if ((void *)(eth + 1) > end)
			return false;
		return (!local->ifindex || local->ifindex == skb->ifindex) && ls_ovl_same_mac(eth->h_source, local->mac);
	}
	if (known)
		return false;
	whose = ls_ovl_whose(p->t.src, p->t.v6);
	return ls_ovl_is_self(whose) && LS_OVL_POOL_OF(whose) && !(LS_OVL_POOL_OF(whose) & LS_OVL_POOL_VTEP);
}

/* To a container of this node, from another one. */
static __always_inline int ls_ovl_across(struct __sk_buff *skb, const struct ls_ovl_conf *conf, const struct ls_ovl_pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ls_ovl_local *to = ls_ovl_local_of(p->t.dst, p->t.v6);
	struct ethhdr *eth = data;
	bool switched;

	if (!to || !to->ifindex || to->ifindex == skb->ifindex || (void *)(eth + 1) > end || p->len > conf->mtu)
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT);
	switched = ls_ovl_same_mac(eth->h_dest, to->mac); /* both on one bridge */
	if (!switched && p->ttl <= 1)
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT);
	return ls_ovl_deliver(skb, conf, p, to, LS_OVL_HOOK_PORT, LS_HOOK_OVL_PORT, !switched);
}

/* Ingress of a container's device on the host side. */
static __always_inline int ls_ovl_from_container(struct __sk_buff *skb, const bool known)
{
	struct ls_ovl_conf *conf = ls_ovl_config();
	struct ls_ovl_pkt p = {};
	struct ls_ovl_to to;
	__u64 whose;

	if (!conf)
		return TC_ACT_UNSPEC;
	if (skb->tc_index == LS_OVL_SENT)
		skb->tc_index = 0;
	/* ARP and what only matters on the container's own link. */
	if (!ls_ovl_read(skb, &p) || ls_ovl_link_only(p.t.src, p.t.v6))
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT);
	if (!ls_ovl_own_source(skb, &p, known))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
	if (ls_ovl_multicast(p.t.dst, p.t.v6) || ls_ovl_link_only(p.t.dst, p.t.v6))
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT);
	whose = ls_ovl_whose(p.t.dst, p.t.v6);
	if (!ls_ovl_is_owned(whose)) {
		if (LS_OVL_POOL_OF(whose))
			return ls_drop(skb, &p.t, LS_HOOK_OVL_PORT, LS_DROP_OVL_UNALLOCATED);
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT); /* services, the world */
	}
	if (ls_ovl_is_self(whose))
		return ls_ovl_across(skb, conf, &p);
	/* The container may be behind a host port that was dialled through the tunnel: port_in turns its replies back first. */
	if (ls_ports_any() && ls_ovl_may_be_reply(skb))
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT);
	if (!ls_ovl_peer_of(conf, whose, &to))
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT); /* cannot be: owned, and not this node's */
	if (p.ttl <= 1)
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT);
	if (p.len > conf->mtu)
		return p.may_split || !p.plain ? ls_ovl_to_stack(skb, LS_OVL_HOOK_PORT) : ls_ovl_answer(skb, &p, conf->mtu);
	if (!ls_ovl_set_key(skb, conf, &to) || !ls_ovl_write(skb, &p, to.mac, conf->mac, true))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_PORT, LS_DROP_WRITE_FAILED);
	ls_ovl_count(LS_OVL_HOOK_PORT, LS_OVL_TUNNEL, skb->len);
	skb->tc_index = LS_OVL_SENT;
	return bpf_redirect(conf->vtep_ifindex, 0);
}

/* Egress of the VTEP: what routes led here. */
static __always_inline int ls_ovl_to_peer(struct __sk_buff *skb)
{
	struct ls_ovl_conf *conf = ls_ovl_config();
	struct ls_ovl_pkt p = {};
	struct ls_ovl_to to;
	__u64 whose;

	if (!conf)
		return TC_ACT_UNSPEC; /* the device drops what has no tunnel key */
	if (skb->tc_index == LS_OVL_SENT) {
		skb->tc_index = 0;
		return TC_ACT_UNSPEC;
	}
	if (!ls_ovl_read(skb, &p) || ls_ovl_multicast(p.t.dst, p.t.v6))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_OUT, LS_DROP_OVL_NOT_UNICAST);
	whose = ls_ovl_whose(p.t.dst, p.t.v6);
	if (ls_ovl_is_self(whose))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_OUT, LS_DROP_OVL_NOT_HERE);
	if (!ls_ovl_peer_of(conf, whose, &to))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_OUT, LS_DROP_OVL_UNALLOCATED);
	if (!ls_ovl_set_key(skb, conf, &to) || !ls_ovl_write(skb, &p, to.mac, conf->mac, false))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_OUT, LS_DROP_WRITE_FAILED);
	ls_ovl_count(LS_OVL_HOOK_OUT, LS_OVL_TUNNEL, skb->len);
	return TC_ACT_UNSPEC;
}

/* Whether the tunnel is of this network and its other end owns the inner source: enum ls_drop_reason. */
static __always_inline __u32 ls_ovl_wrong_sender(struct __sk_buff *skb, const struct ls_ovl_conf *conf, const struct ls_ovl_pkt *p)
{
	struct bpf_tunnel_key key = {};
	struct ls_ovl_to from;

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) || key.tunnel_id != conf->vni)
		return LS_DROP_OVL_VNI;
	if (!ls_ovl_peer_of(conf, ls_ovl_whose(p->t.src, p->t.v6), &from) || from.node != key.remote_ipv4)
		return LS_DROP_OVL_SPOOF;
	return LS_DROP_NONE;
}

/* Ingress of the VTEP. */
static __always_inline int ls_ovl_from_peer(struct __sk_buff *skb)
{
	struct ls_ovl_conf *conf = ls_ovl_config();
	struct ls_ovl_pkt p = {};
	struct ls_ovl_local *to;
	__u32 wrong;
	__u64 whose;

	if (!conf)
		return TC_ACT_UNSPEC;
	skb->tc_index = 0;
	if (!ls_ovl_read(skb, &p))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_IN, LS_DROP_OVL_NOT_UNICAST);
	wrong = ls_ovl_wrong_sender(skb, conf, &p);
	if (wrong)
		return ls_drop(skb, &p.t, LS_HOOK_OVL_IN, wrong);
	if (ls_ovl_multicast(p.t.dst, p.t.v6))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_IN, LS_DROP_OVL_NOT_UNICAST);
	whose = ls_ovl_whose(p.t.dst, p.t.v6);
	if (!ls_ovl_is_self(whose)) {
		bool nobody = LS_OVL_POOL_OF(whose) && !ls_ovl_is_owned(whose);

		return ls_drop(skb, &p.t, LS_HOOK_OVL_IN, nobody ? LS_DROP_OVL_UNALLOCATED : LS_DROP_OVL_NOT_HERE);
	}
	to = ls_ovl_local_of(p.t.dst, p.t.v6);
	if (!to || !to->ifindex || p.ttl <= 1 || p.len > conf->mtu)
		return ls_ovl_to_stack(skb, LS_OVL_HOOK_IN);
	return ls_ovl_deliver(skb, conf, &p, to, LS_OVL_HOOK_IN, LS_HOOK_OVL_IN, true);
}

#endif
