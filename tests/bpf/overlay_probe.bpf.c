// SPDX-License-Identifier: Dual BSD/GPL
/*
 * The decisions of the overlay, as they are, with what prog-test-run cannot give or show: a packet that came through a tunnel, the key
 * that was set, and where a packet is redirected to.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "overlay_probe.h"

struct ls_probe probe;

static __always_inline long probe_redirect(__u32 ifindex, __u64 flags)
{
	(void)flags;
	probe.redirect = ifindex;
	return 7; /* TC_ACT_REDIRECT */
}
static __always_inline long probe_redirect_peer(__u32 ifindex, __u64 flags)
{
	(void)flags;
	probe.redirect = ifindex;
	probe.peer = 1;
	return 7;
}
#define bpf_redirect probe_redirect
#define bpf_redirect_peer probe_redirect_peer
#include "lib/overlay_uplink.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void probe_before(struct __sk_buff *skb)
{
	skb->tc_index = probe.tc_index;
	probe.redirect = 0;
	probe.peer = 0;
	probe.remote = 0;
	probe.local = 0;
}

/* A key that was set reads as if the packet had come through the tunnel: its source is then the remote end. */
static __always_inline int probe_after(struct __sk_buff *skb, int verdict)
{
	struct bpf_tunnel_key key = {};

	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0)) {
		probe.remote = key.local_ipv4;
		probe.local = key.remote_ipv4;
		probe.vni = key.tunnel_id;
	}
	probe.tc_index = skb->tc_index;
	return verdict;
}

SEC("tc")
int probe_out(struct __sk_buff *skb)
{
	probe_before(skb);
	return probe_after(skb, ls_ovl_to_peer(skb));
}

SEC("tc")
int probe_in(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};

	probe_before(skb);
	key.tunnel_id = probe.vni;
	key.local_ipv4 = probe.outer_source;
	if (probe.outer_source && bpf_skb_set_tunnel_key(skb, &key, sizeof(key), 0))
		return -2;
	return ls_ovl_from_peer(skb);
}

SEC("tc")
int probe_uplink(struct __sk_buff *skb)
{
	probe_before(skb);
	return probe_after(skb, ls_ovl_from_uplink(skb));
}

SEC("tc")
int probe_port(struct __sk_buff *skb)
{
	probe_before(skb);
	return probe_after(skb, ls_ovl_from_container(skb, true));
}

SEC("tc")
int probe_bridge(struct __sk_buff *skb)
{
	probe_before(skb);
	return probe_after(skb, ls_ovl_from_container(skb, false));
}

/* What a packet to a peer taken at random costs: a test run repeats one packet, which is made anew here. `nothing`: only that. */
static __always_inline int probe_cost(struct __sk_buff *skb, const bool v6, const bool container, const bool nothing)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 n = bpf_get_prandom_u32() % (probe.peers ?: 1);
	struct ethhdr *eth = data;

	skb->tc_index = 0;
	if (v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return -2;
		ip->daddr.in6_u.u6_addr16[4] = bpf_htons((__u16)(n + 1));
		ip->hop_limit = 64;
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return -2;
		ip->daddr = bpf_htonl(0x09000005 + ((n + 1) << 8));
		ip->ttl = 64;
	}
	eth->h_source[0] = 2;
	eth->h_source[1] = 0;
	eth->h_source[2] = 0;
	eth->h_source[3] = 0;
	eth->h_source[4] = 0;
	eth->h_source[5] = 1;
	if (nothing)
		return n & 1;
	return container ? ls_ovl_from_container(skb, true) : ls_ovl_to_peer(skb);
}

SEC("tc")
int cost_none4(struct __sk_buff *skb)
{
	return probe_cost(skb, false, false, true);
}
SEC("tc")
int cost_out4(struct __sk_buff *skb)
{
	return probe_cost(skb, false, false, false);
}
SEC("tc")
int cost_port4(struct __sk_buff *skb)
{
	return probe_cost(skb, false, true, false);
}
SEC("tc")
int cost_none6(struct __sk_buff *skb)
{
	return probe_cost(skb, true, false, true);
}
SEC("tc")
int cost_out6(struct __sk_buff *skb)
{
	return probe_cost(skb, true, false, false);
}
SEC("tc")
int cost_port6(struct __sk_buff *skb)
{
	return probe_cost(skb, true, true, false);
}
