/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_QUERY_H
#define LS_LIB_DNS_QUERY_H
/*
 * Reads a question where it stands in the packet. What is not a plain question (RFC 1035 4.1, one EDNS
 * record at most, RFC 6891) gets a reason to go up. Sources of the rules: controller/dns/query.cpp, which reads everything.
 * A name with a zero octet inside a label is legal and goes up: here the first zero octet ends the name.
 */
#include "lib/common.h"
#include "lib/nat.h"

#define LS_DNS_HEADER 12
#define LS_DNS_QUERY_MAX 384 /* longest question: header, name, type, class, OPT with cookies: 323 */
#define LS_DNS_QR 0x8000
#define LS_DNS_OPCODE 0x7800
#define LS_DNS_AA 0x0400
#define LS_DNS_TC 0x0200
#define LS_DNS_RD 0x0100
#define LS_DNS_RA 0x0080
#define LS_DNS_AD 0x0020
#define LS_DNS_CD 0x0010
#define LS_DNS_DO 0x8000
#define LS_DNS_COOKIE_OPTION 10
#define LS_DNS_OPT_OCTETS 11
#define LS_DNS_COOKIE_OCTETS 24 /* client's 8 and ours of 16 (RFC 9018) */

enum ls_dns_type {
	LS_DNS_TYPE_A = 1,
	LS_DNS_TYPE_NS = 2,
	LS_DNS_TYPE_SOA = 6,
	LS_DNS_TYPE_AAAA = 28,
	LS_DNS_TYPE_SRV = 33,
	LS_DNS_TYPE_OPT = 41,
	LS_DNS_TYPE_RRSIG = 46,
};

#define LS_DNS_DATA(ctx, xdp) ((void *)(long)((xdp) ? ((struct xdp_md *)(ctx))->data : ((struct __sk_buff *)(ctx))->data))
#define LS_DNS_END(ctx, xdp) ((void *)(long)((xdp) ? ((struct xdp_md *)(ctx))->data_end : ((struct __sk_buff *)(ctx))->data_end))

struct ls_dns_header {
	__be16 id;
	__be16 flags;
	__be16 counts[4];
};

#define LS_DNS_ONES 0x0101010101010101ull
#define LS_DNS_HIGHS 0x8080808080808080ull

/* A-Z to a-z in eight octets at once. Lengths of labels are below 'A'. */
static __always_inline __u64 ls_dns_fold(__u64 w)
{
	__u64 low = w & ~LS_DNS_HIGHS;
	__u64 from_a = low + (0x80 - 'A') * LS_DNS_ONES;
	__u64 past_z = low + (0x80 - 'Z' - 1) * LS_DNS_ONES;

	return w | ((from_a & ~past_z & ~w & LS_DNS_HIGHS) >> 2);
}

/* Folds the question's name into w->name and finds its length. False: too long, or it does not end. Behind a name are at least
 * four octets of its question, so four can be read where eight cannot. */
static __always_inline bool ls_dns_read_name(struct ls_dns_work *w, const void *from, const void *end)
{
	__u32 i;

	for (i = 0; i < LS_DNS_WORDS; i++) {
		const void *at = from + i * 8;
		__u64 word, zero, front; /* front: ones in the octets before the first zero octet */

		if (at + 8 <= end)
			word = *(const __u64 *)at;
		else if (at + 4 <= end)
			word = *(const __u32 *)at;
		else
			return false;
		zero = (word - LS_DNS_ONES) & ~word & LS_DNS_HIGHS;
		if (!zero) {
			w->name[i] = ls_dns_fold(word);
			continue;
		}
		front = ((zero & -zero) >> 7) - 1;
		w->name[i] = ls_dns_fold(word) & front;
		w->st.name_octets = i * 8 + (((front & LS_DNS_ONES) * LS_DNS_ONES) >> 56) + 1;
		return w->st.name_octets <= LS_DNS_KEY_MAX;
	}
	return false;
}

/* Octets of the packet into w->msg, by a helper. */
static __always_inline bool ls_dns_load(void *ctx, const bool xdp, struct ls_dns_work *w, __u32 at, __u32 octets)
{
	at &= 0x1ff;
	octets &= 0x1ff;
	if (!octets)
		return true;
	if (xdp)
		return !bpf_xdp_load_bytes(ctx, w->st.dns + at, w->msg + at, octets);
	return !bpf_skb_load_bytes(ctx, w->st.dns + at, w->msg + at, octets);
}

/* One OPT record and nothing behind it; of the options only a cookie (RFC 7873), alone. */
static __always_inline bool ls_dns_read_opt(void *ctx, const bool xdp, struct ls_dns_work *w, const __u8 *opt, const void *end)
{
	struct ls_dns_state *st = &w->st;
	__u32 left = st->message - st->question_end, at, rdata;
	__u64 sum;

	if ((const void *)opt + 12 > end) {
		/* No room for a 12th octet: then there is none, and the packet ends with the record. */
		if ((const void *)opt + LS_DNS_OPT_OCTETS > end)
			return false;
		sum = opt[8] | opt[9] << 8 | opt[10] << 16;
	} else {
		sum = *(const __u32 *)(opt + 8) & bpf_htonl(0xffffff00);
	}
	sum += (__u64)*(const __u32 *)opt + *(const __u32 *)(opt + 4);
	rdata = opt[9] << 8 | opt[10];
	/* root, type 41, extended rcode (it means nothing in a question), version 0 */
	if (left < LS_DNS_OPT_OCTETS || opt[0] || opt[1] || opt[2] != LS_DNS_TYPE_OPT || opt[6] || left != LS_DNS_OPT_OCTETS + rdata)
		return false;
	st->edns = 1;
	st->udp_size = opt[3] << 8 | opt[4];
	st->edns_flags_be = *(const __be16 *)(opt + 7) & bpf_htons(LS_DNS_DO);
	if (!rdata) {
		st->tail_sum = ls_csum_fold(sum);
		return true;
	}
	if ((rdata != 4 + 8 && rdata != 4 + LS_DNS_COOKIE_OCTETS) || !ls_dns_load(ctx, xdp, w, st->question_end, left))
		return false;
	at = st->question_end & 0x1ff;
	opt = w->msg + at;
	if (opt[11] || opt[12] != LS_DNS_COOKIE_OPTION || opt[13] || opt[14] + 4u != rdata)
		return false;
	*(__u32 *)(w->msg + at + (left & 0x3f)) = 0;
	st->tail_sum = ls_csum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)(w->msg + at), (left + 3) & 0x3c, 0));
	memcpy(&st->client_cookie, opt + 15, 8);
	st->cookie = 1;
	if (rdata == 4 + LS_DNS_COOKIE_OCTETS) {
		memcpy(st->server_cookie, opt + 23, 16);
		st->cookie = 2;
	}
	return true;
}

/* 0, or the reason to go up. */
static __always_inline int ls_dns_read_query(void *ctx, const bool xdp, struct ls_dns_work *w)
{
	const void *end = LS_DNS_END(ctx, xdp);
	const struct ls_dns_header *h = LS_DNS_DATA(ctx, xdp) + (w->st.dns & 0x7f);
	struct ls_dns_state *st = &w->st;
	const __be16 *fixed;
	__u32 at;

	if ((const void *)(h + 1) > end)
		return LS_DNS_UP_PACKET;
	st->edns = 0;
	st->cookie = 0;
	st->cookie_valid = 0;
	st->edns_flags_be = 0;
	st->tail_sum = 0;
	st->udp_size = 512;
	st->flags_be = h->flags;
	st->id = bpf_ntohs(h->id);
	if (h->flags & bpf_htons(LS_DNS_QR))
		return LS_DNS_UP_RESPONSE;
	if ((h->flags & bpf_htons(LS_DNS_OPCODE | LS_DNS_TC)) || h->counts[0] != bpf_htons(1) || h->counts[1] || h->counts[2] ||
	    (h->counts[3] & bpf_htons(0xfffe)))
		return LS_DNS_UP_HEADER;
	st->edns = !!h->counts[3];
	if (!ls_dns_read_name(w, h + 1, end))
		return LS_DNS_UP_NAME_FORM;
	at = (LS_DNS_HEADER + st->name_octets) & 0x1ff;
	st->question_end = at + 4;
	fixed = (const void *)h + at;
	if (st->question_end > st->message || (const void *)(fixed + 2) > end)
		return LS_DNS_UP_NAME_FORM;
	st->type_be = fixed[0];
	st->type = bpf_ntohs(st->type_be);
	if (fixed[1] != bpf_htons(1))
		return LS_DNS_UP_CLASS;
	if (st->edns) {
		if (!ls_dns_read_opt(ctx, xdp, w, (const __u8 *)(fixed + 2), end))
			return LS_DNS_UP_EDNS;
	} else if (st->message != st->question_end) {
		return LS_DNS_UP_PACKET;
	}
	/* 128 to 255 are questions about more than a record, OPT is none (RFC 6895 3.1) */
	if ((st->type & 0xff80) == 0x80 || st->type == LS_DNS_TYPE_OPT)
		return LS_DNS_UP_TYPE;
	return 0;
}

#endif
