/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_PACKET_H
#define LS_LIB_DNS_PACKET_H
/*
 * From a packet to its message, and from an answer to the packet that carries it back. One source for XDP and tc: `xdp` is a
 * constant wherever it appears, so each program has only its own half.
 *
 * What goes up untouched: everything that is not UDP to one of our addresses and ports, fragments, IP options and IPv6
 * extension headers, packets whose lengths disagree, senders no answer can go to.
 * Checksums: at XDP the answer takes the difference into the question's own sum; where that says nothing (none, or left to
 * hardware) it is made anew. At tc only the kernel knows whether the sum in the packet is final
 * (CHECKSUM_PARTIAL), so the difference goes through bpf_l4_csum_replace, and a question without checksum (IPv4) gets an answer without.
 * A UDP checksum is not verified here (that of an IPv4 header is): a damaged question gets an answer that is as damaged, or an
 * answer to what it says, and its sender, who compares question, id and port, leaves both alone.
 */
#include "lib/dns_answer.h"
#include "lib/drop.h"
#include "lib/nat.h"

#define LS_DNS_TTL 64 /* of answers (RFC 1700) */
#define LS_DNS_VLANS 2
#define LS_DNS_BODY_DIRECT 64 /* octets behind the question that are stored without a helper */

struct ls_vlan {
	__be16 tci;
	__be16 proto;
};

static __always_inline void ls_dns_count(__u32 hook, __u32 result)
{
	__u32 key = hook * LS_DNS_RESULT_SLOTS + result;
	__u64 *n = bpf_map_lookup_elem(&ls_dns_stats, &key);

	if (n)
		*n += 1;
}

/* A sample for loadstar monitor --dns, when somebody listens. */
__noinline int ls_dns_emit(struct ls_dns_work *w, __u32 hook, __u32 result, __u32 ifindex)
{
	struct ls_ctl *ctl = ls_control();
	struct ls_dns_event *e;
	__u32 i;

	if (!w || !ctl)
		return 0;
	if (ctl->sample > 1 && bpf_get_prandom_u32() % ctl->sample)
		return 0;
	e = bpf_ringbuf_reserve(&ls_events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&ctl->events_lost, 1);
		return 0;
	}
	e->time_ns = bpf_ktime_get_ns();
	e->type = LS_EVENT_DNS;
	e->hook = hook;
	e->result = result;
	e->rcode = result <= LS_DNS_RATE_DROP ? bpf_ntohs(w->st.out_flags_be) & 0xf : 0;
	e->ifindex = ifindex;
	memcpy(e->src_be, w->st.src, 16);
	memcpy(e->dst_be, w->st.dst, 16);
	e->sport_be = w->st.sport;
	e->dport_be = w->st.dport;
	e->qtype_be = w->st.type_be;
	e->service = w->st.service;
	e->name_octets = w->st.name_octets;
#pragma unroll
	for (i = 0; i < LS_DNS_EVENT_NAME / 8; i++)
		((__u64 *)e->name)[i] = w->name[i];
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline bool ls_dns_listening(struct ls_dns_state *st)
{
	__u32 i, at = ls_dns_listen_at(st->dst, st->dport);

	for (i = 0; i < LS_DNS_LISTEN_PROBES; i++) {
		__u32 n = (at + i) & (LS_DNS_LISTEN_MAX - 1);
		const struct ls_dns_listen *l = bpf_map_lookup_elem(&ls_dns_listen, &n);

		if (!l || !l->port_be)
			return false;
		if (l->port_be == st->dport && l->addr_be[3] == st->dst[3] && l->addr_be[2] == st->dst[2] && l->addr_be[1] == st->dst[1] &&
		    l->addr_be[0] == st->dst[0]) {
			st->service = l->service;
			return true;
		}
	}
	return false;
}

/* An answer can be sent there: not "this network", multicast, broadcast. */
static __always_inline bool ls_dns_sender4(__be32 address, bool loopback)
{
	__u32 first = bpf_ntohl(address) >> 24;

	return first && first < 224 && (loopback || first != 127);
}

static __always_inline bool ls_dns_sender6(const __be32 *a, bool loopback)
{
	if ((a[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000))
		return false;
	return a[0] || a[1] || a[2] || (a[3] && (loopback || a[3] != bpf_htonl(1)));
}

/* The checksum of an IPv4 header of 20 octets is right: who sends to a damaged address sends to somebody else (RFC 1122 3.2.1.2). */
static __always_inline bool ls_dns_header4_sound(const struct iphdr *ip)
{
	const __u32 *word = (const __u32 *)ip;

	return ls_csum_fold((__u64)word[0] + word[1] + word[2] + word[3] + word[4]) == 0xffff;
}

/* 0: a message to one of our addresses, w->st has what is known of the packet. LS_DNS_RESULT_MAX: not ours, not counted. Else the reason
 * to go up. */
static __always_inline int ls_dns_take(void *ctx, const bool xdp, const bool loopback, struct ls_dns_work *w,
				       const struct ls_dns_conf *conf)
{
	void *data = LS_DNS_DATA(ctx, xdp), *end = LS_DNS_END(ctx, xdp);
	struct ls_dns_state *st = &w->st;
	struct ethhdr *eth = data;
	struct udphdr *udp;
	__u32 l3 = ETH_HLEN, length, i;
	bool odd = false;
	__be16 proto;

	if (data + ETH_HLEN > end)
		return LS_DNS_RESULT_MAX;
	if (xdp)
		st->frame = (__u32)(end - data);
	proto = eth->h_proto;
	if (xdp) {
#pragma unroll
		for (i = 0; i < LS_DNS_VLANS; i++) {
			struct ls_vlan *tag = data + l3;

			if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
				break;
			if ((void *)(tag + 1) > end)
				return LS_DNS_RESULT_MAX;
			proto = tag->proto;
			l3 += sizeof(*tag);
		}
	}
	if (proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + l3;

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end || ip->protocol != IPPROTO_UDP)
			return LS_DNS_RESULT_MAX;
		/* With options the port is elsewhere; whose it is does not matter, it goes up anyway. */
		if (ip->version != 4 || ip->ihl != 5)
			return LS_DNS_RESULT_MAX;
		st->v6 = 0;
		ls_addr_wide(st->src, &ip->saddr - 3, false);
		ls_addr_wide(st->dst, &ip->daddr - 3, false);
		if (ip->frag_off & bpf_htons(LS_IP_OFFSET))
			return LS_DNS_RESULT_MAX;
		odd = ip->frag_off & bpf_htons(LS_IP_MF) || !ls_dns_sender4(ip->saddr, loopback) || !ls_dns_header4_sound(ip);
		length = bpf_ntohs(ip->tot_len) - sizeof(*ip);
		st->dns = l3 + sizeof(*ip) + sizeof(*udp);
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + l3;

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end || ip->nexthdr != IPPROTO_UDP || ip->version != 6)
			return LS_DNS_RESULT_MAX;
		st->v6 = 1;
		memcpy(st->src, &ip->saddr, 16);
		memcpy(st->dst, &ip->daddr, 16);
		odd = !ls_dns_sender6(st->src, loopback);
		length = bpf_ntohs(ip->payload_len);
		st->dns = l3 + sizeof(*ip) + sizeof(*udp);
	} else {
		return LS_DNS_RESULT_MAX;
	}
	st->dport = udp->dest;
	if (st->dport != conf->port_be[0] && st->dport != conf->port_be[1] && st->dport != conf->port_be[2] && st->dport != conf->port_be[3])
		return LS_DNS_RESULT_MAX;
	if (!ls_dns_listening(st))
		return LS_DNS_RESULT_MAX;
	st->name_octets = 0;
	st->type_be = 0;
	st->out_flags_be = 0;
	st->sport = udp->source;
	st->check = udp->check;
	st->l3 = l3;
	if (!conf->enabled)
		return LS_DNS_UP_OFF;
	/* The datagram fills what IP says, and the frame has it. */
	st->message = length - sizeof(*udp);
	if (odd || !st->sport || eth->h_dest[0] & 1 || length < sizeof(*udp) || bpf_ntohs(udp->len) != length)
		return LS_DNS_UP_PACKET;
	if (st->message < LS_DNS_HEADER || st->message > LS_DNS_QUERY_MAX)
		return LS_DNS_UP_PACKET;
	if (st->v6 && !udp->check)
		return LS_DNS_UP_PACKET; /* RFC 8200 8.1 */
	return 0;
}

/* Sum of the first `octets` of w->msg. Pieces of 512: what kernels before 6.14 take in one call. */
static __always_inline __u64 ls_dns_sum(struct ls_dns_work *w, __u32 octets)
{
	__u64 sum = 0;
	__u32 i;

	if (octets > LS_DNS_MESSAGE_MAX)
		return 0;
	*(__u32 *)(w->msg + octets) = 0;
	octets = (octets + 3) & ~3u;
	for (i = 0; i < 3; i++) {
		__u32 from = i * 512, part;

		if (octets <= from)
			break;
		part = octets - from;
		if (part > 512)
			part = 512;
		sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)(w->msg + from), part & 0x3fc, 0);
	}
	return sum;
}

/* Headers of the answer: everything turned round, lengths new. `check` 0 leaves the UDP checksum as it is. */
static __always_inline bool ls_dns_headers(void *ctx, const bool xdp, struct ls_dns_work *w, __u32 message, __u16 check)
{
	void *data = LS_DNS_DATA(ctx, xdp), *end = LS_DNS_END(ctx, xdp);
	struct ls_dns_state *st = &w->st;
	__u32 l3 = st->l3 & 0x1f;
	struct ethhdr *eth = data;
	struct udphdr *udp;
	__u8 mac[ETH_ALEN];

	if (data + ETH_HLEN > end)
		return false;
	memcpy(mac, eth->h_dest, ETH_ALEN);
	memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	memcpy(eth->h_source, mac, ETH_ALEN);
	if (st->v6) {
		struct ipv6hdr *ip = data + l3;

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end)
			return false;
		*(__be32 *)ip = bpf_htonl(0x60000000);
		ip->payload_len = bpf_htons(sizeof(*udp) + message);
		ip->hop_limit = LS_DNS_TTL;
		memcpy(&ip->saddr, st->dst, 16);
		memcpy(&ip->daddr, st->src, 16);
	} else {
		struct iphdr *ip = data + l3;
		__u64 sum;

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end)
			return false;
		ip->tos = 0;
		ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*udp) + message);
		ip->id = 0;
		ip->frag_off = bpf_htons(0x4000);
		ip->ttl = LS_DNS_TTL;
		sum = (__u64)bpf_htons(0x4500) + ip->tot_len + bpf_htons(0x4000) + bpf_htons(LS_DNS_TTL << 8 | IPPROTO_UDP) + st->src[3] +
		      st->dst[3];
		ip->check = ~ls_csum_fold(sum);
		ip->saddr = st->dst[3];
		ip->daddr = st->src[3];
	}
	udp->source = st->dport;
	udp->dest = st->sport;
	udp->len = bpf_htons(sizeof(*udp) + message);
	if (check)
		udp->check = check;
	return true;
}

static __always_inline __u64 ls_dns_address_sum(const struct ls_dns_state *st)
{
	__u64 sum = (__u64)st->src[3] + st->dst[3];

	if (st->v6)
		sum += (__u64)st->src[0] + st->src[1] + st->src[2] + st->dst[0] + st->dst[1] + st->dst[2];
	return sum;
}

/* A sum of octets that begin at an odd place. */
static __always_inline __u16 ls_dns_turned(__u64 sum)
{
	__u16 folded = ls_csum_fold(sum);

	return folded << 8 | folded >> 8;
}

/* What the sum of the message's octets grows by: flags, counts, and what stands behind the question, `body` octets now. */
static __always_inline __u64 ls_dns_message_diff(struct ls_dns_work *w, __u32 body)
{
	struct ls_dns_state *st = &w->st;
	const struct ls_dns_header *h = (const struct ls_dns_header *)w->msg;
	__u32 at = st->question_end & 0x1ff, i;
	const __u64 *words = (const __u64 *)(w->msg + at);
	__u64 sum = 0;

	if (body <= LS_DNS_BODY_DIRECT) {
		for (i = 0; i < LS_DNS_BODY_DIRECT / 8; i++) {
			__u64 word;

			if (i * 8 >= body)
				break;
			word = words[i];
			if (body - i * 8 < 8)
				word &= (1ull << ((body & 7) * 8)) - 1;
			sum += (word & 0xffffffff) + (word >> 32);
		}
	} else {
		*(__u32 *)(w->msg + at + (body & 0x7ff)) = 0;
		body = (body + 3) & 0x7fc;
		/* Pieces of 512: what kernels before 6.14 take in one call. */
		for (i = 0; i < 3; i++) {
			__u32 piece;

			if (body <= i * 512)
				break;
			piece = body - i * 512;
			if (piece > 512)
				piece = 512;
			piece &= 0x3fc;
			if (!piece)
				break;
			sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)(w->msg + at + i * 512), piece, 0);
		}
	}
	sum += (__u16)~st->tail_sum;
	if (at & 1)
		sum = ls_dns_turned(sum);
	return sum + h->flags + (__u16)~st->flags_be + h->counts[1] + h->counts[2] + h->counts[3] + (__u16)~(st->edns ? bpf_htons(1) : 0);
}

/* Writes flags, counts and the `body` octets behind the question; those in steps of eight, the last one overlapping. False: they are
 * too many or too few, and still to be written. */
static __always_inline bool ls_dns_put_message(void *ctx, const bool xdp, const struct ls_dns_work *w, __u32 body)
{
	const struct ls_dns_header *had = (const struct ls_dns_header *)w->msg;
	struct ls_dns_header *h = LS_DNS_DATA(ctx, xdp) + (w->st.dns & 0x7f);
	void *end = LS_DNS_END(ctx, xdp), *to = (void *)h + (w->st.question_end & 0x1ff);
	const __u8 *from = w->msg + (w->st.question_end & 0x1ff);
	__u32 i;

	if ((void *)(h + 1) > end)
		return false;
	h->flags = had->flags;
	h->counts[1] = had->counts[1];
	h->counts[2] = had->counts[2];
	h->counts[3] = had->counts[3];
	if (body < 8 || body > LS_DNS_BODY_DIRECT)
		return false;
	for (i = 0; i < LS_DNS_BODY_DIRECT / 8; i++) {
		if (i * 8 + 8 > body)
			break;
		if (to + i * 8 + 8 > end)
			return false;
		*(__u64 *)(to + i * 8) = *(const __u64 *)(from + i * 8);
	}
	if (!(body & 7))
		return true;
	i = (body - 8) & 63;
	to += i;
	if (to + 8 > end)
		return false;
	*(__u64 *)to = *(const __u64 *)(from + i);
	return true;
}

/* Turns the packet at XDP into the answer. False: it is as it was. */
static __always_inline bool ls_dns_send_xdp(struct xdp_md *ctx, struct ls_dns_work *w)
{
	struct ls_dns_state *st = &w->st;
	__u32 message = st->pos, packet, body = message - st->question_end, at = st->question_end & 0x1ff;
	__be16 length = bpf_htons(sizeof(struct udphdr) + message), had = bpf_htons(sizeof(struct udphdr) + st->message);
	__u64 sum = ls_dns_address_sum(st) + bpf_htons(IPPROTO_UDP);
	__u16 check;

	if (message < LS_DNS_HEADER || message > LS_DNS_MESSAGE_MAX)
		return false;
	packet = st->dns + message;
	/* None, or only the sum of the pseudo header: the rest was left to hardware (CHECKSUM_PARTIAL of a local sender). */
	if (unlikely(!st->check || st->check == ls_csum_fold(sum + had))) {
		if (!ls_dns_load(ctx, true, w, LS_DNS_HEADER, at - LS_DNS_HEADER))
			return false;
		sum += ls_dns_sum(w, message) + st->dport + st->sport + 2 * (__u64)length;
	} else {
		sum = ls_dns_message_diff(w, body) + (__u16)~st->check + 2 * ((__u64)length + (__u16)~had);
	}
	check = ~ls_csum_fold(sum);
	if (!check)
		check = 0xffff;
	/* Whatever follows the datagram (padding of short frames) goes as well. */
	if (packet != st->frame && bpf_xdp_adjust_tail(ctx, (int)packet - (int)st->frame))
		return false;
	if (!ls_dns_headers(ctx, true, w, message, check))
		return false;
	if (ls_dns_put_message(ctx, true, w, body))
		return true;
	body &= 0x7ff;
	return !body || !bpf_xdp_store_bytes(ctx, st->dns + at, w->msg + at, body);
}

/* The same at tc. */
static __always_inline bool ls_dns_send_tc(struct __sk_buff *ctx, struct ls_dns_work *w)
{
	struct ls_dns_state *st = &w->st;
	__u32 message = st->pos, check_at = st->dns - sizeof(struct udphdr) + offsetof(struct udphdr, check), at = st->question_end & 0x1ff;
	__be16 length = bpf_htons(sizeof(struct udphdr) + message), had = bpf_htons(sizeof(struct udphdr) + st->message);
	__u64 length_diff = (__u64)length + (__u16)~had, diff;
	__u32 body = message - st->question_end;

	if (message < LS_DNS_HEADER || message > LS_DNS_MESSAGE_MAX)
		return false;
	diff = ls_dns_message_diff(w, body) + length_diff;
	if (bpf_skb_change_tail(ctx, st->dns + message, 0))
		return false;
	/* From here on nothing fails: the frame is linear, writable and long enough. A frame that grew has no sum of the NIC's any more
	 * (CHECKSUM_COMPLETE), others keep theirs right by the helper. */
	body &= 0x7ff;
	if (message <= st->message || !ls_dns_put_message(ctx, false, w, body)) {
		if (bpf_skb_store_bytes(ctx, st->dns, w->msg, LS_DNS_HEADER, BPF_F_RECOMPUTE_CSUM) ||
		    (body && bpf_skb_store_bytes(ctx, st->dns + at, w->msg + at, body, BPF_F_RECOMPUTE_CSUM)))
			return false;
	}
	if (!ls_dns_headers(ctx, false, w, message, 0))
		return false;
	bpf_l4_csum_replace(ctx, check_at, 0, ls_csum_fold32(diff), BPF_F_MARK_MANGLED_0);
	bpf_l4_csum_replace(ctx, check_at, 0, ls_csum_fold32(length_diff), BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | ls_csum_ipv6_flag);
	return true;
}

#endif
