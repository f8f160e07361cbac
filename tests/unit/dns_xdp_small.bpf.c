// SPDX-License-Identifier: Dual BSD/GPL
/*
 * The program of bpf/dns_xdp.bpf.c by name, without its work; see dns_tc_small.bpf.c.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>

#include "lib/maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int ls_dns_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 zero = 0;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);

	if (!conf || !conf->enabled || (void *)(ip + 1) > end)
		return XDP_PASS;
	struct udphdr *udp = (void *)ip + (ip->ihl & 15) * 4;

	if ((void *)(udp + 1) > end || udp->dest != conf->port_be[0])
		return XDP_PASS;
	__u64 *n = bpf_map_lookup_elem(&ls_dns_stats, &zero);

	if (n)
		(*n)++;
	return XDP_PASS;
}
