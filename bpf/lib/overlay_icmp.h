/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_OVERLAY_ICMP_H
#define LS_LIB_OVERLAY_ICMP_H
/*
 * Answers a packet that is too large for the tunnel: ICMP fragmentation needed (RFC 1191), ICMPv6 packet too big (RFC 4443 3.2).
 * The stack would do it where its route leads into the tunnel; for addresses of nodes its route leads elsewhere. The packet itself
 * becomes the answer, which seems to come from the packet's destination.
 */
#include "lib/overlay.h"
#include "lib/parse.h"
#include "lib/reply.h"

/* Of the packet behind its IP header. All of a TCP checksum must stay: the kernel keeps what it may still have to fill in. */
#define LS_OVL_QUOTED_L4 24
#define LS_OVL_QUOTED4 (sizeof(struct iphdr) + LS_OVL_QUOTED_L4)
#define LS_OVL_QUOTED6 (sizeof(struct ipv6hdr) + LS_OVL_QUOTED_L4)

/* 0, or -1: the kernel refused, the packet may be half written. */
__noinline int ls_ovl_too_big(struct __sk_buff *skb, struct ls_ovl_pkt *p, __u32 mtu)
{
	struct ls_icmp icmp = {};
	__u32 header;
	void *data, *end;

	if (!p || !p->plain)
		return -1;
	header = p->t.v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	icmp.rest = bpf_htonl(mtu);
	if (bpf_skb_change_tail(skb, ETH_HLEN + header + LS_OVL_QUOTED_L4, 0) ||
	    bpf_skb_adjust_room(skb, header + sizeof(icmp), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (p->t.v6) {
		__be32 *quoted = data + ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(icmp);
		struct ipv6hdr ip;

		if ((void *)quoted + LS_OVL_QUOTED6 > end)
			return -1;
		icmp.type = 2;
		icmp.check = ls_check((__u64)(__u32)ls_sum(quoted, LS_OVL_QUOTED6, 0) +
				      ls_csum_fold32(ls_pseudo_sum(&p->t, IPPROTO_ICMPV6, sizeof(icmp) + LS_OVL_QUOTED6)) +
				      ls_sum((__be32 *)&icmp, sizeof(icmp), 0));
		ls_ip6_answer(&ip, &p->t, IPPROTO_ICMPV6, sizeof(icmp) + LS_OVL_QUOTED6);
		if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &icmp, sizeof(icmp), BPF_F_RECOMPUTE_CSUM))
			return -1;
	} else {
		__be32 *quoted = data + ETH_HLEN + sizeof(struct iphdr) + sizeof(icmp);
		struct iphdr ip;

		if ((void *)quoted + LS_OVL_QUOTED4 > end)
			return -1;
		icmp.type = ICMP_DEST_UNREACH;
		icmp.code = 4;
		icmp.check = ls_check((__u64)(__u32)ls_sum(quoted, LS_OVL_QUOTED4, 0) + ls_sum((__be32 *)&icmp, sizeof(icmp), 0));
		ls_ip4_answer(&ip, &p->t, IPPROTO_ICMP, sizeof(icmp) + LS_OVL_QUOTED4);
		if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &icmp, sizeof(icmp), BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	return ls_swap_macs(skb) ? 0 : -1;
}

#endif
