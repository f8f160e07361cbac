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

/* 0, or -1: the kernel refused, the packet may be half written. */
__noinline int ls_ovl_too_big(struct __sk_buff *skb, struct ls_ovl_pkt *p, __u32 mtu)
{
	const struct ls_icmp_what what = {ICMP_DEST_UNREACH, 4, 2, 0, bpf_htonl(mtu)};

	return p && p->plain ? ls_reply_icmp(skb, &p->t, &what, LS_OVL_QUOTED_L4) : -1;
}

#endif
