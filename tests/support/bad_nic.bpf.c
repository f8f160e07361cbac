// SPDX-License-Identifier: GPL-2.0
/* A network card that breaks the inner checksums of VXLAN packets which the kernel left to it, at the egress of the device in its place.
 *
 * A checksum that is left to the hardware holds the sum of the pseudo-header, and the hardware adds the packet to it. A wrong start
 * gives a wrong end: this program adds one to it. The device must have its own offloads off, so that the kernel completes the
 * sum behind this program, as a card would. A checksum that is complete already is left alone; a complete one that happens to look
 * like the start is one in 65,536.
 *
 *   tc/all    all TCP and UDP packets
 *   tc/large  those with segmentation offload only */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stddef.h>

#define INNER_IP (2 * ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr) + 8)

static __always_inline __u16 pseudo(const struct iphdr *ip)
{
	__u64 sum = 0;

	sum += ip->saddr;
	sum += ip->daddr;
	sum += bpf_htonl(ip->protocol + bpf_ntohs(ip->tot_len) - sizeof(*ip));
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline int corrupt(struct __sk_buff *skb)
{
	struct { struct ethhdr eth; struct iphdr ip; struct udphdr udp; } __attribute__((packed)) outer;
	struct iphdr ip;
	__u32 at;
	__u16 check;

	if (bpf_skb_load_bytes(skb, 0, &outer, sizeof(outer)) || outer.eth.h_proto != bpf_htons(ETH_P_IP) || outer.ip.ihl != 5 ||
	    outer.ip.protocol != IPPROTO_UDP || outer.udp.dest != bpf_htons(64000))
		return TC_ACT_OK;
	if (bpf_skb_load_bytes(skb, INNER_IP, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl != 5)
		return TC_ACT_OK;
	at = INNER_IP + sizeof(ip);
	if (ip.protocol == IPPROTO_TCP)
		at += offsetof(struct tcphdr, check);
	else if (ip.protocol == IPPROTO_UDP)
		at += offsetof(struct udphdr, check);
	else
		return TC_ACT_OK;
	if (bpf_skb_load_bytes(skb, at, &check, sizeof(check)) || check != pseudo(&ip))
		return TC_ACT_OK;
	check = check == 0xffff ? 1 : check + 1;
	bpf_skb_store_bytes(skb, at, &check, sizeof(check), 0);
	return TC_ACT_OK;
}

SEC("tc/all")
int bad_all(struct __sk_buff *skb) { return corrupt(skb); }

SEC("tc/large")
int bad_large(struct __sk_buff *skb) { return skb->gso_segs > 1 ? corrupt(skb) : TC_ACT_OK; }

char _license[] SEC("license") = "GPL";
