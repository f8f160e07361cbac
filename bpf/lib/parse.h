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

/* Ports and flags at pkt->l4. The header must lie inside the length IP claims. */
static __always_inline bool ls_parse_l4(struct __sk_buff *skb, struct ls_pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 room = p->l3 + p->ip_len - p->l4;

	if (p->t.proto == IPPROTO_TCP) {
		struct tcphdr *tcp = data + p->l4;

		if ((void *)(tcp + 1) > end || room < sizeof(*tcp) || tcp->doff < 5 || tcp->doff * 4 > room)
			return false;
		p->t.sport = tcp->source;
		p->t.dport = tcp->dest;
		p->tcp_flags = ((__u8 *)tcp)[13];
	} else {
		struct udphdr *udp = data + p->l4;
		__u32 len;

		if ((void *)(udp + 1) > end || room < sizeof(*udp))
			return false;
		len = bpf_ntohs(udp->len);
		if (len < sizeof(*udp) || (p->frag == LS_WHOLE && len > room && !skb->gso_size))
			return false;
		p->t.sport = udp->source;
		p->t.dport = udp->dest;
	}
	return true;
}

static __always_inline int ls_parse4(struct __sk_buff *skb, struct ls_pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + p->l3;
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
		struct ls_icmp *icmp = data + p->l4;

		if ((void *)(icmp + 1) > end || p->ip_len < hlen + sizeof(*icmp))
			return LS_NOT_OURS;
		if (icmp->type == ICMP_DEST_UNREACH || icmp->type == ICMP_TIME_EXCEEDED ||
		    icmp->type == ICMP_PARAMETERPROB || icmp->type == ICMP_SOURCE_QUENCH)
			return LS_ICMP_ERROR;
		return LS_NOT_OURS;
	}
	if (p->t.proto != IPPROTO_TCP && p->t.proto != IPPROTO_UDP)
		return LS_NOT_OURS;
	if (p->frag == LS_FRAG_LATER)
		return LS_FLOW_PACKET;
	return ls_parse_l4(skb, p) ? LS_FLOW_PACKET : LS_NOT_OURS;
}

static __always_inline int ls_parse6(struct __sk_buff *skb, struct ls_pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + p->l3;
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
		__u8 *ext = data + p->l4;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			break;
		if (p->l4 - p->l3 + 8 > p->ip_len || (void *)(ext + 8) > end)
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
		struct ls_icmp *icmp = data + p->l4;

		if ((void *)(icmp + 1) > end || p->ip_len < p->l4 - p->l3 + sizeof(*icmp))
			return LS_NOT_OURS;
		return icmp->type >= ICMPV6_DEST_UNREACH && icmp->type <= ICMPV6_PARAMPROB ? LS_ICMP_ERROR : LS_NOT_OURS;
	}
	if (next != IPPROTO_TCP && next != IPPROTO_UDP)
		return LS_NOT_OURS;
	if (p->frag == LS_FRAG_LATER)
		return LS_FLOW_PACKET;
	return ls_parse_l4(skb, p) ? LS_FLOW_PACKET : LS_NOT_OURS;
}

/* skb->protocol says the family; p->l3 must be set. Pulls headers into the linear part when they are not there. */
static __always_inline int ls_parse(struct __sk_buff *skb, struct ls_pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	__u32 want = p->l3 + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct tcphdr);

	if (!v6 && skb->protocol != bpf_htons(ETH_P_IP))
		return LS_NOT_OURS;
	if (unlikely(data + want > end) && skb->len > (__u32)(end - data)) {
		__u32 pull = skb->len < 192 ? skb->len : 192;

		if (bpf_skb_pull_data(skb, pull))
			return LS_NOT_OURS;
	}
	return v6 ? ls_parse6(skb, p) : ls_parse4(skb, p);
}

#endif
