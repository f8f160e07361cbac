// SPDX-License-Identifier: Dual BSD/GPL
/*
 * The overlay at tc: both sides of the VTEP, a VXLAN device that takes the other end of the tunnel from the packet's metadata, and
 * the devices of containers. lib/overlay_path.h says what happens where and why.
 */
#include "lib/overlay_uplink.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Egress of the VTEP. */
SEC("tc")
int ls_ovl_out(struct __sk_buff *skb)
{
	return ls_ovl_to_peer(skb);
}

/* Ingress of the VTEP. Before ls_uplink_in, which turns replies back and sends them on. */
SEC("tc")
int ls_ovl_in(struct __sk_buff *skb)
{
	return ls_ovl_from_peer(skb);
}

/* Ingress of the NIC. */
SEC("tc")
int ls_ovl_uplink(struct __sk_buff *skb)
{
	return ls_ovl_from_uplink(skb);
}

/* Ingress of a container's device on the host side, where each of its addresses is in ls_ovl_local. */
SEC("tc")
int ls_ovl_port(struct __sk_buff *skb)
{
	return ls_ovl_from_container(skb, true);
}

/* The same where containers come and go without telling us (Docker): addresses without an entry go by the stack. */
SEC("tc")
int ls_ovl_bridge(struct __sk_buff *skb)
{
	return ls_ovl_from_container(skb, false);
}

/* Not attached anywhere: tells whose an address is, for `loadstar overlay trace` and for tests. The packet's destination is
 * looked up; the owner's address as a number, 0 for nobody's, or -1: the packet is not IP. */
SEC("tc")
int ls_ovl_try(struct __sk_buff *skb)
{
	struct ls_ovl_pkt p = {};

	return ls_ovl_read(skb, &p) ? (int)LS_OVL_OWNER_NODE(ls_ovl_whose(p.t.dst, p.t.v6)) : -1;
}
