/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_PARSE_H
#define LS_LIB_PARSE_H
/*
 * Reads a packet into struct ls_pkt. What cannot be read for certain is LS_NOT_OURS and is left to the stack untouched: a
 * packet is never translated on a guess. Lengths are checked against the packet and against each other.
 * Not followed: 802.1Q tags inside the packet (hardware tags are outside it), IPv6 headers beyond six extension headers.
 */
#include "lib/common.h"

enum ls_frag_place { LS_WHOLE = 0, LS_FRAG_FIRST = 1, LS_FRAG_LATER = 2 };
enum ls_parsed { LS_NOT_OURS = 0, LS_FLOW_PACKET = 1, LS_ICMP_ERROR = 2 };

#define LS_TCP_FLAG_FIN 0x01
#define LS_TCP_FLAG_SYN 0x02
#define LS_TCP_FLAG_RST 0x04
#define LS_TCP_FLAG_ACK 0x10

struct ls_pkt {
	struct ls_tuple t;
	__u32 l3;      /* offset of the IP header */
	__u32 l4;      /* offset of the transport header */
	__u32 ip_len;  /* length the IP header claims, header included */
	__be32 frag_id;
	__u8 frag;     /* enum ls_frag_place */
	__u8 tcp_flags;
	__u8 ttl;
	__u8 hook;
	__u16 check;   /* transport checksum as it came, 0 for later fragments */
	__u16 l4_len;  /* bytes of the transport header */
};

#define LS_MAX_EXT 6
#define LS_IP_OFFSET 0x1fff
#define LS_IP_MF 0x2000
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PARAMPROB 4

struct ls_icmp {
	__u8 type;
	__u8 code;
	__be16 check;
	__be32 rest;
};

#define LS_L4_PLAIN4 (ETH_HLEN + sizeof(struct iphdr))   /* no options */
#define LS_L4_PLAIN6 (ETH_HLEN + sizeof(struct ipv6hdr)) /* no extension headers */

/* What is read of a transport header: the first 18 bytes of TCP, all of UDP. */
struct ls_l4 {
	__be16 sport;
	__be16 dport;
	__be16 udp_len;
	__u16 udp_check;
	__be32 ack;
	__u8 doff;
	__u8 flags;
	__be16 window;
	__u16 tcp_check;
	__u16 pad;
};
#define LS_L4_TCP 18 /* up to the checksum */

/* Pointers into the packet only ever get offsets the compiler knows: others would need CAP_PERFMON to load. Packets with
 * options or extension headers are read through a helper. `plain` is LS_L4_PLAIN4 or LS_L4_PLAIN6. */
static __always_inline bool ls_read_l4(struct __sk_buff *skb, const struct ls_pkt *p, const __u32 plain, const __u32 len,
				       struct ls_l4 *l4)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (p->l4 == plain && data + plain + len <= end) {
		memcpy(l4, data + plain, len);
		return true;
	}
	return !bpf_skb_load_bytes(skb, p->l4, l4, len);
}

/* Ports and flags at pkt->l4. The header must lie inside the length IP claims. */
static __always_inline bool ls_parse_l4(struct __sk_buff *skb, struct ls_pkt *p, const __u32 plain)
{
	__u32 room = p->l3 + p->ip_len - p->l4;
	struct ls_l4 l4;

	if (p->t.proto == IPPROTO_TCP) {
		__u32 hlen;

		if (room < sizeof(struct tcphdr) || !ls_read_l4(skb, p, plain, LS_L4_TCP, &l4))
			return false;
		hlen = (l4.doff >> 4) * 4;
		if (hlen < sizeof(struct tcphdr) || hlen > room)
			return false;
		p->tcp_flags = l4.flags;
		p->check = l4.tcp_check;
		p->l4_len = hlen;
	} else {
		__u32 len;

		if (room < sizeof(struct udphdr) || !ls_read_l4(skb, p, plain, sizeof(struct udphdr), &l4))
			return false;
		len = bpf_ntohs(l4.udp_len);
		if (len < sizeof(struct udphdr) || (p->frag == LS_WHOLE && len > room && !skb->gso_size))
			return false;
		p->check = l4.udp_check;
		p->l4_len = sizeof(struct udphdr);
	}
	p->t.sport = l4.sport;
	p->t.dport = l4.dport;
	return true;
}

/* Type of the ICMP header at pkt->l4; 0 when it cannot be read (no error has that type in either family). */
static __always_inline __u8 ls_icmp_type(struct __sk_buff *skb, const struct ls_pkt *p)
{
	struct ls_icmp icmp;

	if (p->l3 + p->ip_len < p->l4 + sizeof(icmp) || bpf_skb_load_bytes(skb, p->l4, &icmp, sizeof(icmp)))
		return 0;
	return icmp.type;
}

static __always_inline int ls_parse4(struct __sk_buff *skb, struct ls_pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	__u32 hlen;
	__u16 frag;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return LS_NOT_OURS;
	hlen = ip->ihl * 4;
	p->ip_len = bpf_ntohs(ip->tot_len);
	if (!p->ip_len && skb->gso_size)
		p->ip_len = skb->len - p->l3; /* BIG TCP */
	if (p->ip_len < hlen || p->l3 + p->ip_len > skb->len)
		return LS_NOT_OURS;
	p->t.src[3] = ip->saddr;
	p->t.dst[3] = ip->daddr;
	p->t.proto = ip->protocol;
	p->t.v6 = 0;
	p->ttl = ip->ttl;
	p->l4 = p->l3 + hlen;
	frag = bpf_ntohs(ip->frag_off);
	p->frag_id = ip->id;
	if (frag & LS_IP_OFFSET)
		p->frag = LS_FRAG_LATER;
	else if (frag & LS_IP_MF)
		p->frag = LS_FRAG_FIRST;
	if (p->t.proto == IPPROTO_ICMP && p->frag == LS_WHOLE) {
		__u8 type = ls_icmp_type(skb, p);

		return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB ||
				       type == ICMP_SOURCE_QUENCH
			       ? LS_ICMP_ERROR
			       : LS_NOT_OURS;
	}
	if (p->t.proto != IPPROTO_TCP && p->t.proto != IPPROTO_UDP)
		return LS_NOT_OURS;
	if (p->frag == LS_FRAG_LATER)
		return LS_FLOW_PACKET;
	return ls_parse_l4(skb, p, LS_L4_PLAIN4) ? LS_FLOW_PACKET : LS_NOT_OURS;
}

static __always_inline int ls_parse6(struct __sk_buff *skb, struct ls_pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u8 next;
	int i;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return LS_NOT_OURS;
	p->ip_len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	if (!ip->payload_len && skb->gso_size)
		p->ip_len = skb->len - p->l3;
	if (p->l3 + p->ip_len > skb->len)
		return LS_NOT_OURS;
	memcpy(p->t.src, &ip->saddr, 16);
	memcpy(p->t.dst, &ip->daddr, 16);
	p->t.v6 = 1;
	p->ttl = ip->hop_limit;
	p->l4 = p->l3 + sizeof(*ip);
	next = ip->nexthdr;
#pragma unroll
	for (i = 0; i < LS_MAX_EXT; i++) {
		__u8 ext[8];

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			break;
		if (p->l4 - p->l3 + 8 > p->ip_len || bpf_skb_load_bytes(skb, p->l4, ext, sizeof(ext)))
			return LS_NOT_OURS;
		if (next == IPPROTO_FRAGMENT) {
			__u16 off = (__u16)ext[2] << 8 | ext[3];

			memcpy(&p->frag_id, ext + 4, 4);
			p->frag = (off & 0xfff8) ? LS_FRAG_LATER : (off & 1) ? LS_FRAG_FIRST : p->frag;
			p->l4 += 8;
		} else {
			p->l4 += 8 + (__u32)ext[1] * 8;
		}
		next = ext[0];
		if (p->l4 - p->l3 > p->ip_len || p->l4 > 1024)
			return LS_NOT_OURS;
		if (p->frag == LS_FRAG_LATER)
			break; /* what follows is not a header */
	}
	p->t.proto = next;
	if (next == IPPROTO_ICMPV6 && p->frag == LS_WHOLE) {
		__u8 type = ls_icmp_type(skb, p);

		return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB ? LS_ICMP_ERROR : LS_NOT_OURS;
	}
	if (next != IPPROTO_TCP && next != IPPROTO_UDP)
		return LS_NOT_OURS;
	if (p->frag == LS_FRAG_LATER)
		return LS_FLOW_PACKET;
	return ls_parse_l4(skb, p, LS_L4_PLAIN6) ? LS_FLOW_PACKET : LS_NOT_OURS;
}

/* Gets headers into the linear part when they are not there. When that fails the parser finds them missing. */
static __always_inline void ls_pull(struct __sk_buff *skb, const __u32 want)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (unlikely(data + want > end))
		bpf_skb_pull_data(skb, skb->len < 192 ? skb->len : 192);
}

/* skb->protocol says the family; p->l3 must be ETH_HLEN. */
static __always_inline int ls_parse(struct __sk_buff *skb, struct ls_pkt *p)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		ls_pull(skb, LS_L4_PLAIN4 + sizeof(struct udphdr));
		return ls_parse4(skb, p);
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		ls_pull(skb, LS_L4_PLAIN6 + sizeof(struct udphdr));
		return ls_parse6(skb, p);
	}
	return LS_NOT_OURS;
}

#endif
