/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_OVERLAY_UPLINK_H
#define LS_LIB_OVERLAY_UPLINK_H
/*
 * Ingress of a NIC: what the tunnel brings for a container of this node is taken out of it here and handed over, which spares the
 * packet the UDP receive path, the VTEP and one pass of the softirq. Only what is plain in every respect: the exact headers that
 * nodes send, IPv4 inside, one segment, the right sender, a container with an entry. All else is left untouched to the VTEP, whose program
 * counts what is wrong with it. The checks are those of ls_ovl_from_peer.
 */
#include "lib/overlay_path.h"

struct ls_vxlan {
	__be32 flags;
	__be32 vni;
};

struct ls_ovl_outer {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	struct ls_vxlan vxlan;
	struct ethhdr inner_eth;
	struct iphdr inner;
} __attribute__((packed));
#define LS_OVL_UDP_PORT 64000
#define LS_OVL_OUTER_LEN (offsetof(struct ls_ovl_outer, inner) - ETH_HLEN)

/* Headers as a node sends them, to this node. */
static __always_inline bool ls_ovl_plain_outer(const struct ls_ovl_outer *o, const struct ls_ovl_conf *conf, __u32 len)
{
	if (o->ip.version != 4 || o->ip.ihl != 5 || o->ip.protocol != IPPROTO_UDP || (o->ip.frag_off & bpf_htons(0x3fff)) ||
	    o->ip.daddr != conf->node_be[3] || (o->ip.tos & 3) == 3)
		return false; /* a congestion mark is carried over by the device */
	if (o->udp.check || bpf_ntohs(o->ip.tot_len) + ETH_HLEN != len || bpf_ntohs(o->udp.len) + sizeof(struct iphdr) + ETH_HLEN != len)
		return false;
	if (o->vxlan.flags != bpf_htonl(0x08000000) || o->vxlan.vni != bpf_htonl(conf->vni << 8))
		return false;
	return o->inner_eth.h_proto == bpf_htons(ETH_P_IP) && ls_ovl_same_mac(o->inner_eth.h_dest, conf->mac) &&
	       o->inner.version == 4 && o->inner.ihl >= 5 && bpf_ntohs(o->inner.tot_len) >= (__u32)o->inner.ihl * 4 &&
	       bpf_ntohs(o->inner.tot_len) + ETH_HLEN + LS_OVL_OUTER_LEN == len;
}

static __always_inline int ls_ovl_from_uplink(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ls_ovl_outer *o = data;
	struct ls_ovl_conf *conf;
	struct ls_ovl_pkt p = {};
	struct ls_ovl_local *to;
	struct ls_ovl_to from;

	if ((void *)(o + 1) > end || o->eth.h_proto != bpf_htons(ETH_P_IP) || o->udp.dest != bpf_htons(LS_OVL_UDP_PORT) ||
	    skb->pkt_type || skb->gso_size || skb->vlan_present)
		return TC_ACT_UNSPEC;
	conf = ls_ovl_config();
	if (!conf || !ls_ovl_plain_outer(o, conf, skb->len))
		return TC_ACT_UNSPEC;
	p.t.src[3] = o->inner.saddr;
	p.t.dst[3] = o->inner.daddr;
	p.t.proto = o->inner.protocol;
	p.ttl = o->inner.ttl;
	p.len = bpf_ntohs(o->inner.tot_len);
	if (p.ttl <= 1 || p.len > conf->mtu)
		return TC_ACT_UNSPEC;
	to = ls_ovl_local_of(p.t.dst, false);
	if (!to || !to->ifindex || !ls_ovl_is_self(ls_ovl_whose4(p.t.dst[3])) ||
	    !ls_ovl_peer_of(conf, ls_ovl_whose4(p.t.src[3]), &from) || from.node != bpf_ntohl(o->ip.saddr))
		return TC_ACT_UNSPEC;
	skb->tc_index = 0;
	if (bpf_skb_adjust_room(skb, -(int)LS_OVL_OUTER_LEN, BPF_ADJ_ROOM_MAC, 0))
		return ls_drop(skb, &p.t, LS_HOOK_OVL_IN, LS_DROP_WRITE_FAILED);
	return ls_ovl_deliver(skb, conf, &p, to, LS_OVL_HOOK_IN, LS_HOOK_OVL_IN, true);
}

#endif
