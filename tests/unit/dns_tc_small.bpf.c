// SPDX-License-Identifier: Dual BSD/GPL
/*
 * The programs of bpf/dns_tc.bpf.c by name, without their work: tests of attaching start hundreds of times, and the verifier needs
 * seconds for the real ones. Like those they compute an offset, which takes CAP_PERFMON.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>

#include "lib/maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __attribute__((always_inline)) int ls_dns_tc(struct __sk_buff *skb, __u32 hook)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 zero = 0, slot = hook * LS_DNS_RESULT_SLOTS + LS_DNS_UP_OFF;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);

	if (!conf || !conf->enabled || (void *)(ip + 1) > end)
		return TC_ACT_UNSPEC;
	struct udphdr *udp = (void *)ip + (ip->ihl & 15) * 4;

	if ((void *)(udp + 1) > end || udp->dest != conf->port_be[0])
		return TC_ACT_UNSPEC;
	__u64 *n = bpf_map_lookup_elem(&ls_dns_stats, &slot);

	if (n)
		(*n)++;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int ls_dns_uplink(struct __sk_buff *skb)
{
	return ls_dns_tc(skb, LS_DNS_HOOK_UPLINK);
}

SEC("tc")
int ls_dns_port(struct __sk_buff *skb)
{
	return ls_dns_tc(skb, LS_DNS_HOOK_PORT);
}

SEC("tc")
int ls_dns_lo(struct __sk_buff *skb)
{
	return ls_dns_tc(skb, LS_DNS_HOOK_LO);
}

SEC("tc")
int ls_dns_try(struct __sk_buff *skb)
{
	return ls_dns_tc(skb, LS_DNS_HOOK_TRY);
}
