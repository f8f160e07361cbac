/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_REPLY_H
#define LS_LIB_REPLY_H
/*
 * Answers a packet from here: TCP with a reset (RFC 9293 3.5.2), UDP with ICMP port unreachable (RFC 1122 3.2.2.1, RFC 4443
 * 3.1). The packet itself is turned into the answer. Each returns 0, or -1 when the kernel refused; the caller then drops.
 * The answer seems to come from the service address; who sends it back where is the caller's business.
 */
#include "lib/common.h"
#include "lib/nat.h"
#include "lib/parse.h"

#define LS_REPLY_TTL 64

struct ls_pseudo6 {
	__be32 src[4];
	__be32 dst[4];
	__be32 len;
	__be32 next;
};

static __always_inline __u16 ls_check(__u64 sum)
{
	return (__u16)~ls_csum_fold(sum);
}

static __always_inline __u64 ls_sum(__be32 *words, __u32 bytes, __u64 seed)
{
	return (__u32)bpf_csum_diff(NULL, 0, words, bytes, (__u32)seed);
}

/* IPv4 header without options around `payload` bytes, from t->dst to t->src. */
static __always_inline void ls_ip4_answer(struct iphdr *ip, const struct ls_tuple *t, __u8 proto, __u16 payload)
{
	memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(sizeof(*ip) + payload);
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = LS_REPLY_TTL;
	ip->protocol = proto;
	ip->saddr = t->dst[3];
	ip->daddr = t->src[3];
	ip->check = ls_check(ls_sum((__be32 *)ip, sizeof(*ip), 0));
}

static __always_inline void ls_ip6_answer(struct ipv6hdr *ip, const struct ls_tuple *t, __u8 proto, __u16 payload)
{
	memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = proto;
	ip->hop_limit = LS_REPLY_TTL;
	memcpy(&ip->saddr, t->dst, 16);
	memcpy(&ip->daddr, t->src, 16);
}

static __always_inline __u64 ls_pseudo_sum(const struct ls_tuple *t, __u8 proto, __u32 len)
{
	if (t->v6) {
		struct ls_pseudo6 ps = {.len = bpf_htonl(len), .next = bpf_htonl(proto)};

		memcpy(ps.src, t->dst, 16);
		memcpy(ps.dst, t->src, 16);
		return ls_sum((__be32 *)&ps, sizeof(ps), 0);
	}
	return (__u64)t->dst[3] + t->src[3] + bpf_htonl(len) + bpf_htonl(proto);
}

__noinline int ls_reply_rst(struct __sk_buff *skb, struct ls_pkt *p)
{
	struct tcphdr in, out = {};
	__u32 len;

	if (!p || bpf_skb_load_bytes(skb, p->l4, &in, sizeof(in)))
		return -1;
	out.source = p->t.dport;
	out.dest = p->t.sport;
	out.doff = 5;
	out.rst = 1;
	if (in.ack) {
		out.seq = in.ack_seq;
	} else {
		len = ETH_HLEN + p->ip_len - p->l4 - in.doff * 4 + in.syn + in.fin;
		out.ack_seq = bpf_htonl(bpf_ntohl(in.seq) + len);
		out.ack = 1;
	}
	out.check = ls_check((__u64)(__u32)ls_sum((__be32 *)&out, sizeof(out), 0) +
			     ls_csum_fold32(ls_pseudo_sum(&p->t, IPPROTO_TCP, sizeof(out))));
	if (p->t.v6) {
		struct ipv6hdr ip;

		ls_ip6_answer(&ip, &p->t, IPPROTO_TCP, sizeof(out));
		if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(ip) + sizeof(out), 0) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &out, sizeof(out), BPF_F_RECOMPUTE_CSUM))
			return -1;
	} else {
		struct iphdr ip;

		ls_ip4_answer(&ip, &p->t, IPPROTO_TCP, sizeof(out));
		if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(ip) + sizeof(out), 0) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &out, sizeof(out), BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	return ls_swap_macs(skb) ? 0 : -1;
}

/* An ICMP message in answer to a packet: what it says in each family. */
struct ls_icmp_what {
	__u8 type4, code4, type6, code6;
	__be32 rest; /* the word behind the checksum */
};

/* The packet becomes the answer: its IP header and `l4` octets behind it are quoted, the answer seems to come from its destination. `l4`
 * is a constant, a multiple of 4. 0, or -1: the kernel refused, the packet may be half written. */
static __always_inline int ls_reply_icmp(struct __sk_buff *skb, const struct ls_tuple *t, const struct ls_icmp_what *what, const __u32 l4)
{
	const __u32 quoted4 = sizeof(struct iphdr) + l4, quoted6 = sizeof(struct ipv6hdr) + l4;
	__u32 header = t->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct ls_icmp icmp = {.rest = what->rest};
	void *data, *end;

	/* Keep what is quoted, then make room in front of it for the answer's own headers. */
	if (bpf_skb_change_tail(skb, ETH_HLEN + header + l4, 0) || bpf_skb_adjust_room(skb, header + sizeof(icmp), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (t->v6) {
		__be32 *quoted = data + ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(icmp);
		struct ipv6hdr ip;

		if ((void *)quoted + quoted6 > end)
			return -1;
		icmp.type = what->type6;
		icmp.code = what->code6;
		icmp.check = ls_check((__u64)(__u32)ls_sum(quoted, quoted6, 0) +
				      ls_csum_fold32(ls_pseudo_sum(t, IPPROTO_ICMPV6, sizeof(icmp) + quoted6)) +
				      ls_sum((__be32 *)&icmp, sizeof(icmp), 0));
		ls_ip6_answer(&ip, t, IPPROTO_ICMPV6, sizeof(icmp) + quoted6);
		if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &icmp, sizeof(icmp), BPF_F_RECOMPUTE_CSUM))
			return -1;
	} else {
		__be32 *quoted = data + ETH_HLEN + sizeof(struct iphdr) + sizeof(icmp);
		struct iphdr ip;

		if ((void *)quoted + quoted4 > end)
			return -1;
		icmp.type = what->type4;
		icmp.code = what->code4;
		icmp.check = ls_check((__u64)(__u32)ls_sum(quoted, quoted4, 0) + ls_sum((__be32 *)&icmp, sizeof(icmp), 0));
		ls_ip4_answer(&ip, t, IPPROTO_ICMP, sizeof(icmp) + quoted4);
		if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &icmp, sizeof(icmp), BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	return ls_swap_macs(skb) ? 0 : -1;
}

/* Port unreachable. Quotes 8 octets (RFC 792), enough for the asker's stack to find its socket; packets with options or extension headers
 * are dropped. */
__noinline int ls_reply_unreachable(struct __sk_buff *skb, struct ls_pkt *p)
{
	const struct ls_icmp_what what = {ICMP_DEST_UNREACH, 3, ICMPV6_DEST_UNREACH, 4, 0};

	if (!p || p->l4 != ETH_HLEN + (p->t.v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)))
		return -1;
	return ls_reply_icmp(skb, &p->t, &what, 8);
}

#endif
