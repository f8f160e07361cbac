// SPDX-License-Identifier: Dual BSD/GPL
/*
 * DNS answered at tc: questions of containers, of processes of this machine, and of the network where the NIC has no native XDP.
 */
#include "lib/dns_packet.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool ls_dns_linear(struct __sk_buff *skb, const struct ls_dns_work *w)
{
	void *data = LS_DNS_DATA(skb, false), *end = LS_DNS_END(skb, false);

	return data + ((w->st.dns + w->st.message) & 0x1ff) <= end;
}

/* enum ls_dns_result, or LS_DNS_RESULT_MAX for what is not ours. Up to SLIP the packet is its answer. */
static __always_inline int ls_dns_question(struct __sk_buff *skb, const __u32 hook, const bool loopback)
{
	__u32 zero = 0;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);
	struct ls_dns_work *w = bpf_map_lookup_elem(&ls_dns_work, &zero);
	struct ls_ctl *ctl;
	int result;

	if (!conf || !w)
		return LS_DNS_RESULT_MAX;
	result = ls_dns_take(skb, false, loopback, w, conf);
	if (result == LS_DNS_RESULT_MAX)
		return result;
	if (!result && skb->gso_size)
		result = LS_DNS_UP_PACKET; /* several questions in one */
	/* Drivers may leave all behind the headers in pages of its own. */
	if (!result && !ls_dns_linear(skb, w) && bpf_skb_pull_data(skb, w->st.dns + w->st.message))
		result = LS_DNS_UP_PACKET;
	if (!result)
		result = ls_dns_read_query(skb, false, w) ?: ls_dns_answer(w);
	if (result <= LS_DNS_SLIP && !ls_dns_send_tc(skb, w))
		result = LS_DNS_UP_NO_ROOM;
	ls_dns_count(hook, result);
	ctl = ls_control();
	if (ctl && unlikely(ctl->events & (1u << LS_EVENT_DNS)))
		ls_dns_emit(w, hook, result, skb->ifindex);
	return result;
}

/* UDP to a port that we answer at: what costs a look at the routes is rare. */
static __always_inline bool ls_dns_to_port(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct ls_dns_conf *conf;
	struct udphdr *udp;
	__u32 zero = 0, i;

	if (data + ETH_HLEN > end)
		return false;
	udp = data + ETH_HLEN + (eth->h_proto == bpf_htons(ETH_P_IPV6) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if ((void *)(udp + 1) > end)
		return false;
	conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);
	if (!conf)
		return false;
	for (i = 0; i < LS_DNS_PORTS; i++) {
		if (conf->port_be[i] && conf->port_be[i] == udp->dest)
			return true;
	}
	return false;
}

/* A frame for this machine that a bridge is still to tell from others: at a port the kernel compares with the port's own MAC, and
 * a bridge has that of one of its ports only. The route back leaves by the bridge; the MAC it would be sent with is the bridge's. */
__noinline int ls_dns_for_bridge(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct bpf_fib_lookup fib = {};
	struct ethhdr *eth = data;
	__u8 mac[ETH_ALEN];
	__u32 i, other = 0;

	if (data + ETH_HLEN > end)
		return 0;
	memcpy(mac, eth->h_dest, ETH_ALEN);
	fib.ifindex = skb->ifindex;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || ip->protocol != IPPROTO_UDP)
			return 0;
		fib.family = 2; /* AF_INET */
		fib.ipv4_src = ip->daddr;
		fib.ipv4_dst = ip->saddr;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || ip->nexthdr != IPPROTO_UDP)
			return 0;
		fib.family = 10; /* AF_INET6 */
		memcpy(fib.ipv6_src, &ip->daddr, 16);
		memcpy(fib.ipv6_dst, &ip->saddr, 16);
	} else {
		return 0;
	}
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	for (i = 0; i < ETH_ALEN; i++)
		other |= mac[i] ^ fib.smac[i];
	return !other;
}

#define LS_PACKET_OTHERHOST 3

/* Where the packet came in, its answer goes out. */
static __always_inline int ls_dns_ingress(struct __sk_buff *skb, const __u32 hook)
{
	int result;

	/* PACKET_HOST: not for another machine, no broadcast */
	if (skb->pkt_type != 0 && !(hook == LS_DNS_HOOK_PORT && skb->pkt_type == LS_PACKET_OTHERHOST && ls_dns_to_port(skb) && ls_dns_for_bridge(skb)))
		return TC_ACT_UNSPEC;
	result = ls_dns_question(skb, hook, false);
	if (result == LS_DNS_RATE_DROP)
		return ls_drop_question(false);
	return result <= LS_DNS_SLIP ? bpf_redirect(skb->ifindex, 0) : TC_ACT_UNSPEC;
}

/* Ingress of the NIC. */
SEC("tc")
int ls_dns_uplink(struct __sk_buff *skb)
{
	return ls_dns_ingress(skb, LS_DNS_HOOK_UPLINK);
}

/* Ingress of a container's device on the host side. */
SEC("tc")
int ls_dns_port(struct __sk_buff *skb)
{
	return ls_dns_ingress(skb, LS_DNS_HOOK_PORT);
}

/* Egress of loopback: the question of a local process becomes its answer and is delivered to the asker. */
SEC("tc")
int ls_dns_lo(struct __sk_buff *skb)
{
	int result = ls_dns_question(skb, LS_DNS_HOOK_LO, true);

	return result == LS_DNS_RATE_DROP ? ls_drop_question(false) : TC_ACT_UNSPEC;
}

/* Not attached anywhere: run on a packet by loadstar dns explain and by tests. Returns enum ls_dns_result. */
SEC("tc")
int ls_dns_try(struct __sk_buff *skb)
{
	return ls_dns_question(skb, LS_DNS_HOOK_TRY, true);
}
