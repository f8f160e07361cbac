// SPDX-License-Identifier: Dual BSD/GPL
/*
 * The tc program of a container port inside a harness that restores the packet before every run, because the kernel's test
 * run does not. `flow` walks over `flows` client ports and addresses in an order that defeats the cache's prefetcher.
 */
#include "lib/lb.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 flows = 1;
const volatile __be32 vip_be, client_be;
__u32 turn;

/* Writes addresses, ports, flags and TTL back. 0: client -> service. */
static __always_inline int restore(struct __sk_buff *skb, __u8 tcp_flags)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 n = turn++;

	if ((void *)(tcp + 1) > end)
		return -1;
	n = (n * 0x9e3779b1) % flows;
	ip->saddr = client_be + bpf_htonl(n >> 14);
	ip->daddr = vip_be;
	ip->ttl = 64;
	tcp->source = bpf_htons(10000 + (n & 0x3fff));
	tcp->dest = bpf_htons(80);
	((__u8 *)tcp)[13] = tcp_flags;
	return 0;
}

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return skb->len ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int harness(struct __sk_buff *skb)
{
	return restore(skb, LS_TCP_FLAG_ACK) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int packet_syn(struct __sk_buff *skb)
{
	if (restore(skb, LS_TCP_FLAG_SYN))
		return TC_ACT_SHOT;
	return ls_packet(skb, LS_HOOK_PORT_IN, false);
}

SEC("tc")
int packet_data(struct __sk_buff *skb)
{
	if (restore(skb, LS_TCP_FLAG_ACK))
		return TC_ACT_SHOT;
	return ls_packet(skb, LS_HOOK_PORT_IN, false);
}
