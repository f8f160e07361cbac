/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_QUERY_H
#define LS_LIB_DNS_QUERY_H
/*
 * Reads a question out of w->msg, where the whole message was copied. What is not a plain question (RFC 1035 4.1, one EDNS
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

/* Folds the question's name into w->name and finds its length. False: too long. */
static __always_inline bool ls_dns_read_name(struct ls_dns_work *w)
{
	const __u64 *from = (const __u64 *)(w->msg + LS_DNS_HEADER);
	__u32 i;

	for (i = 0; i < LS_DNS_WORDS; i++) {
		__u64 word = from[i];
		__u64 zero = (word - LS_DNS_ONES) & ~word & LS_DNS_HIGHS;
		__u64 front; /* ones in the octets before the first zero octet */

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

/* One OPT record and nothing behind it; of the options only a cookie (RFC 7873), alone. */
static __always_inline bool ls_dns_read_opt(struct ls_dns_work *w)
{
	struct ls_dns_state *st = &w->st;
	__u32 at = st->question_end & 0x1ff, left = st->message - st->question_end;
	const __u8 *opt = w->msg + at;
	__u32 rdata = opt[9] << 8 | opt[10];

	/* root, type 41, extended rcode 0 or not (it means nothing in a question), version 0 */
	if (left < LS_DNS_OPT_OCTETS || opt[0] || opt[1] || opt[2] != LS_DNS_TYPE_OPT || opt[6] || left != LS_DNS_OPT_OCTETS + rdata)
		return false;
	st->edns = 1;
	st->udp_size = opt[3] << 8 | opt[4];
	st->edns_flags_be = *(const __be16 *)(opt + 7) & bpf_htons(LS_DNS_DO);
	if (!rdata) {
		__u64 sum = (__u64)*(const __u32 *)opt + *(const __u32 *)(opt + 4) + (*(const __u32 *)(opt + 8) & bpf_htonl(0xffffff00));

		st->tail_sum = ls_csum_fold(sum);
		return true;
	}
	if (opt[11] || opt[12] != LS_DNS_COOKIE_OPTION || opt[13] || opt[14] + 4u != rdata)
		return false;
	memcpy(&st->client_cookie, opt + 15, 8);
	if (rdata == 4 + 8) {
		st->cookie = 1;
		return true;
	}
	if (rdata != 4 + LS_DNS_COOKIE_OCTETS)
		return false;
	memcpy(st->server_cookie, opt + 23, 16);
	st->cookie = 2;
	return true;
}

/* 0, or the reason to go up. */
static __always_inline int ls_dns_read_query(struct ls_dns_work *w)
{
	const struct ls_dns_header *h = (const struct ls_dns_header *)w->msg;
	struct ls_dns_state *st = &w->st;
	__u32 fixed;

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
	if (!ls_dns_read_name(w))
		return LS_DNS_UP_NAME_FORM;
	fixed = LS_DNS_HEADER + st->name_octets;
	st->question_end = fixed + 4;
	if (st->question_end > st->message)
		return LS_DNS_UP_NAME_FORM;
	fixed &= 0x1ff;
	st->type_be = *(const __be16 *)(w->msg + fixed);
	st->type = bpf_ntohs(st->type_be);
	if (*(const __be16 *)(w->msg + fixed + 2) != bpf_htons(1))
		return LS_DNS_UP_CLASS;
	if (h->counts[3]) {
		if (!ls_dns_read_opt(w))
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
