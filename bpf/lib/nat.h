/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_NAT_H
#define LS_LIB_NAT_H
/*
 * Rewrites a packet from one tuple to another: addresses, ports, IP checksum, transport checksum, and, when it is forwarded
 * from here, MACs and TTL. All in one pass; the transport checksum goes through the kernel's helper, because only the kernel
 * knows whether the sum in the packet is final or left to the hardware.
 */
#include "lib/common.h"
#include "lib/next_hop.h"
#include "lib/parse.h"

#define LS_OFF_CSUM(p) ((p)->l4 + ((p)->t.proto == IPPROTO_TCP ? offsetof(struct tcphdr, check) \
							     : offsetof(struct udphdr, check)))

/* Keeps the compiler from merging this branch with its twin into one with a computed packet offset (see ls_read_l4). */
#define ls_keep_apart(name)                                             \
	do {                                                            \
		__u64 mark_ = 0;                                        \
		asm volatile("%0 += 0 # " name : "+r"(mark_)::"memory"); \
	} while (0)

static __always_inline __u32 ls_csum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)sum;
}

static __always_inline __u16 ls_csum_fold(__u64 sum)
{
	__u32 s = ls_csum_fold32(sum);

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return (__u16)s;
}

/* One's complement difference new - old of addresses. */
static __always_inline __u64 ls_addr_diff(const __be32 *from, const __be32 *to, bool v6)
{
	__u64 sum = (__u64)(__u32)~from[3] + to[3];

	if (v6)
		sum += (__u64)(__u32)~from[0] + to[0] + (__u32)~from[1] + to[1] + (__u32)~from[2] + to[2];
	return sum;
}

/* Adds `sum` (a difference) to a checksum field. */
static __always_inline __u16 ls_csum_apply(__u16 check, __u64 sum)
{
	return (__u16)~ls_csum_fold((__u64)(__u16)~check + sum);
}

/* Whether the checksum in the packet is a final one. One that is left to the hardware (CHECKSUM_PARTIAL) holds the sum of the
 * pseudo header, and must not take in a change of ports; a field that holds anything else is final. */
static __always_inline bool ls_check_is_final(const struct ls_pkt *p)
{
	const struct ls_tuple *t = &p->t;
	__u64 sum = (__u64)t->src[3] + t->dst[3] + bpf_htons(t->proto) + bpf_htons((__u16)(p->l3 + p->ip_len - p->l4));

	if (t->v6)
		sum += (__u64)t->src[0] + t->src[1] + t->src[2] + t->dst[0] + t->dst[1] + t->dst[2];
	return p->check != ls_csum_fold(sum);
}

/* Writes ports, and the checksum for them when that is `direct`, at a transport header of constant place. */
static __always_inline bool ls_put_ports(void *l4, void *end, const struct ls_tuple *from, const struct ls_tuple *to,
					 const bool tcp, bool direct)
{
	__u16 *check = l4 + (tcp ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check));
	__be16 *ports = l4;

	if ((void *)(check + 1) > end)
		return false;
	if (direct && (tcp || *check)) {
		__u16 sum = ls_csum_apply(*check, (__u64)(__u16)~from->sport + to->sport + (__u16)~from->dport + to->dport);

		*check = tcp || sum ? sum : 0xffff; /* UDP: 0 would mean "no checksum" */
	}
	ports[0] = to->sport;
	ports[1] = to->dport;
	return true;
}

/* Checksum by the kernel's helper, which alone knows a checksum left to the hardware and sums the NIC made: addresses always,
 * ports where ls_put_ports does not do it. */
static __always_inline bool ls_put_check(struct __sk_buff *skb, const struct ls_pkt *p, const struct ls_tuple *to, __u64 addr_diff,
					 bool direct)
{
	const struct ls_tuple *t = &p->t;
	__u64 flags = t->proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u64 pseudo = BPF_F_PSEUDO_HDR | (t->v6 ? ls_csum_ipv6_flag : 0);

	if (bpf_l4_csum_replace(skb, LS_OFF_CSUM(p), 0, ls_csum_fold32(addr_diff), flags | pseudo))
		return false;
	if (direct)
		return true;
	return (t->dport == to->dport || !bpf_l4_csum_replace(skb, LS_OFF_CSUM(p), t->dport, to->dport, flags | 2)) &&
	       (t->sport == to->sport || !bpf_l4_csum_replace(skb, LS_OFF_CSUM(p), t->sport, to->sport, flags | 2));
}

/* The new tuple is `to`; `hop` gives MACs, dec_ttl is 1 when this is a forwarding step. 0, or -1: the kernel
 * refused, the packet may be half written and must be dropped. A function of its own, so that it is verified once. */
__noinline int ls_rewrite(struct __sk_buff *skb, const struct ls_pkt *p, const struct ls_tuple *to, const struct ls_hop *hop,
			  __u32 dec_ttl)
{
	const struct ls_tuple *t = &p->t;
	bool v6, plain, tcp, direct, whole;
	struct ethhdr *eth;
	void *data, *end;
	__u64 addr_diff;

	if (!p || !to || !hop)
		return -1;
	v6 = t->v6;
	tcp = t->proto == IPPROTO_TCP;
	plain = p->l4 == (v6 ? LS_L4_PLAIN6 : LS_L4_PLAIN4);
	whole = p->frag != LS_FRAG_LATER;
	direct = plain && ls_check_is_final(p);
	addr_diff = ls_addr_diff(t->dst, to->dst, v6);
	if (!ls_addr_same(t->src, to->src, v6))
		addr_diff += ls_addr_diff(t->src, to->src, v6);
	if (whole && !ls_put_check(skb, p, to, addr_diff, direct))
		return -1;
	if (whole && !plain) {
		__be16 ports[2] = {to->sport, to->dport};

		if (bpf_skb_store_bytes(skb, p->l4, ports, sizeof(ports), 0))
			return -1;
	}
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return -1;
		memcpy(&ip->saddr, to->src, 16);
		memcpy(&ip->daddr, to->dst, 16);
		if (dec_ttl)
			ip->hop_limit--;
		if (whole && plain && tcp) {
			if (!ls_put_ports(data + LS_L4_PLAIN6, end, t, to, true, direct))
				return -1;
			ls_keep_apart("tcp6");
		} else if (whole && plain) {
			if (!ls_put_ports(data + LS_L4_PLAIN6, end, t, to, false, direct))
				return -1;
			ls_keep_apart("udp6");
		}
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->saddr = to->src[3];
		ip->daddr = to->dst[3];
		if (dec_ttl) {
			/* The TTL is the high byte of its 16-bit word in network order. */
			addr_diff += (__u16)~bpf_htons((__u16)ip->ttl << 8);
			ip->ttl--;
			addr_diff += bpf_htons((__u16)ip->ttl << 8);
		}
		ip->check = ls_csum_apply(ip->check, addr_diff);
		if (whole && plain && tcp) {
			if (!ls_put_ports(data + LS_L4_PLAIN4, end, t, to, true, direct))
				return -1;
			ls_keep_apart("tcp4");
		} else if (whole && plain) {
			if (!ls_put_ports(data + LS_L4_PLAIN4, end, t, to, false, direct))
				return -1;
			ls_keep_apart("udp4");
		}
	}
	if (hop->set_macs) {
		eth = data;
		memcpy(eth->h_dest, hop->dmac, 6);
		memcpy(eth->h_source, hop->smac, 6);
	}
	return 0;
}

static __always_inline bool ls_swap_macs(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	__u8 mac[6];

	if ((void *)(eth + 1) > end)
		return false;
	memcpy(mac, eth->h_dest, 6);
	memcpy(eth->h_dest, eth->h_source, 6);
	memcpy(eth->h_source, mac, 6);
	return true;
}

#endif
