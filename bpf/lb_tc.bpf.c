// SPDX-License-Identifier: Dual BSD/GPL
/*
 * The packet path at tc: one program for each place a packet can be met. lib/lb.h says what happens where and why.
 */
#include "lib/lb.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Ingress of a container's device on the host side: what the container sent. */
SEC("tc")
int ls_port_in(struct __sk_buff *skb)
{
	return ls_packet(skb, LS_HOOK_PORT_IN, false);
}

/* The same for a port of a bridge whose containers are masqueraded. */
SEC("tc")
int ls_bridge_in(struct __sk_buff *skb)
{
	return ls_packet(skb, LS_HOOK_PORT_IN, true);
}

/* Egress of a container's device: what goes to the container, replies of the host itself among it. */
SEC("tc")
int ls_port_out(struct __sk_buff *skb)
{
	return ls_packet(skb, LS_HOOK_PORT_OUT, false);
}

/* Ingress of the NIC: replies of remote backends. */
SEC("tc")
int ls_uplink_in(struct __sk_buff *skb)
{
	return ls_packet(skb, LS_HOOK_UPLINK_IN, false);
}

/* Egress of the NIC: the host's own packets to services. Forwarded packets were looked at where they came in. */
SEC("tc")
int ls_uplink_out(struct __sk_buff *skb)
{
	if (skb->ingress_ifindex)
		return TC_ACT_UNSPEC;
	return ls_packet(skb, LS_HOOK_UPLINK_OUT, false);
}

/* Egress of loopback: the host talking to a backend on itself. */
SEC("tc")
int ls_lo(struct __sk_buff *skb)
{
	return ls_packet(skb, LS_HOOK_LO, false);
}

/* Not attached anywhere: the controller runs it on a packet it made, which is then received by the stack on loopback and
 * routed. So a connection that waits for a dead backend is woken without a raw socket (datapath/flow_reset.h). */
SEC("tc")
int ls_inject(struct __sk_buff *skb)
{
	return bpf_clone_redirect(skb, LO_IFINDEX, BPF_F_INGRESS);
}
