/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_WRITE_H
#define LS_LIB_DNS_WRITE_H
/*
 * Writes the parts of an answer behind the question in w->msg, at w->st.pos. Each returns 0, or the reason to go up: an
 * answer that does not fit as a whole is the process's business.
 * The bytes are those of controller/dns/answer.cpp and message_writer.cpp, up to the rotation of records.
 */
#include "lib/dns_find.h"
#include "lib/dns_query.h"

#define LS_DNS_QUESTION_NAME 0xc00c /* pointer to the question's name */
#define LS_DNS_RECORD_HEAD 12

/* The compiler must not know what x is: the bound that is checked next is on what is used after it. */
#define ls_dns_opaque(x) asm volatile("" : "+r"(x))

static __always_inline void ls_dns_put16(__u8 *at, __u16 v)
{
	*(__be16 *)at = bpf_htons(v);
}

static __always_inline void ls_dns_put32(__u8 *at, __u32 v)
{
	*(__be32 *)at = bpf_htonl(v);
}

/* Owner (a pointer), type, class IN, TTL, length of the data. */
static __always_inline void ls_dns_put_head(__u8 *at, __u16 owner, __be16 type_be, __u32 ttl, __u16 length)
{
	ls_dns_put16(at, owner);
	*(__be16 *)(at + 2) = type_be;
	ls_dns_put16(at + 4, 1);
	ls_dns_put32(at + 6, ttl);
	ls_dns_put16(at + 10, length);
}

/* Where a set of n records begins. */
static __always_inline __u32 ls_dns_start(const struct ls_dns_state *st, __u32 n)
{
	if (n < 2)
		return 0;
	if (st->view_flags & LS_DNS_VIEW_ROUND_ROBIN)
		return st->id % n;
	if (st->view_flags & LS_DNS_VIEW_RANDOM)
		return bpf_get_prandom_u32() % n;
	return 0;
}

/* The set of a type in the name's entry; 0: none, else its offset from the entry's start. */
static __always_inline __u32 ls_dns_set_of(const struct ls_dns_entry *e, __be16 type_be)
{
	__u32 at = LS_DNS_BODY(e->key_octets), i;

	for (i = 0; i < LS_DNS_SETS_MAX; i++) {
		const struct ls_dns_set *set = (const void *)e + at + i * sizeof(*set);

		if (i >= e->sets)
			break;
		if (set->type_be == type_be)
			return at + i * sizeof(*set);
	}
	return 0;
}

/* All A or AAAA records of the name at `place`. `set_owner`: offset of the set << 16 | pointer of the owner. */
__noinline int ls_dns_put_addresses(struct ls_dns_work *w, __u32 place, __u32 set_owner)
{
	const struct ls_dns_entry *e = ls_dns_entry(place);
	const struct ls_dns_set *set;
	__u32 pos, n, at, start, i, ttl;
	const __u32 *from; /* sets are there twice, so that reading goes on behind the last record */
	__u64 front, ttl_be;

	if (!w || !e)
		return LS_DNS_UP_NAME;
	set = (const void *)e + ((set_owner >> 16) & 0x3ff);
	pos = w->st.pos;
	n = set->count;
	at = set->at;
	ttl = set->ttl ?: w->st.ttl;
	start = ls_dns_start(&w->st, n);
	/* owner, type, class and the upper half of the TTL; then its lower half, length, data */
	ttl_be = bpf_htonl(ttl);
	front = (__u64)bpf_htons((__u16)set_owner) | (__u64)set->type_be << 16 | (__u64)bpf_htons(1) << 32 | ttl_be << 48;
	start *= set->form == LS_DNS_FORM_A ? 4 : 16;
	if (at > LS_DNS_ENTRY_MAX - 2 * LS_DNS_AAAA_MAX * 16 || start > LS_DNS_AAAA_MAX * 16)
		return LS_DNS_UP_NAME;
	from = (const void *)e + at + start;
	if (set->form == LS_DNS_FORM_A) {
		for (i = 0; i < LS_DNS_A_MAX; i++) {
			__u32 *to;

			if (i >= n)
				break;
			ls_dns_opaque(pos);
			if (pos > LS_DNS_OUT - 64)
				return LS_DNS_UP_LARGE;
			to = (__u32 *)(w->msg + pos);
			to[0] = (__u32)front;
			to[1] = (__u32)(front >> 32);
			to[2] = (__u32)(ttl_be >> 16) | (__u32)bpf_htons(4) << 16;
			to[3] = from[i];
			pos += 16;
		}
	} else {
		for (i = 0; i < LS_DNS_AAAA_MAX; i++) {
			__u32 *to;

			if (i >= n)
				break;
			ls_dns_opaque(pos);
			if (pos > LS_DNS_OUT - 64)
				return LS_DNS_UP_LARGE;
			to = (__u32 *)(w->msg + pos);
			to[0] = (__u32)front;
			to[1] = (__u32)(front >> 32);
			to[2] = (__u32)(ttl_be >> 16) | (__u32)bpf_htons(16) << 16;
			to[3] = from[i * 4];
			to[4] = from[i * 4 + 1];
			to[5] = from[i * 4 + 2];
			to[6] = from[i * 4 + 3];
			pos += 28;
		}
	}
	w->st.pos = pos;
	if ((__u16)set_owner == LS_DNS_QUESTION_NAME)
		w->st.answers += n;
	else
		w->st.additionals += n;
	return 0;
}

/* The only address of the name that was asked for. */
static __always_inline int ls_dns_put_one(struct ls_dns_work *w, const struct ls_dns_entry *e, const struct ls_dns_set *set)
{
	__u32 pos = w->st.pos, at = set->at;
	__u64 ttl_be = bpf_htonl(set->ttl ?: w->st.ttl), *to;

	if (pos > LS_DNS_OUT - 64 || at > LS_DNS_ENTRY_MAX - 8)
		return LS_DNS_UP_LARGE;
	/* Two words, because whoever sends the answer reads words: owner, type, class, half the TTL; its rest, length, address. */
	to = (__u64 *)(w->msg + pos);
	to[0] = (__u64)bpf_htons(LS_DNS_QUESTION_NAME) | (__u64)bpf_htons(LS_DNS_TYPE_A) << 16 | (__u64)bpf_htons(1) << 32 | ttl_be << 48;
	to[1] = ttl_be >> 16 | (__u64)bpf_htons(4) << 16 | (__u64)*(const __u32 *)((const void *)e + at) << 32;
	w->st.pos = pos + LS_DNS_RECORD_HEAD + 4;
	w->st.answers = 1;
	return 0;
}

/* Copies octets in steps of eight; up to seven more than asked may be written. */
static __always_inline void ls_dns_copy(__u8 *to, const __u8 *from, __u32 octets, __u32 words)
{
	__u32 i;

	for (i = 0; i < words; i++) {
		if (i * 8 >= octets)
			break;
		*(__u64 *)(to + i * 8) = *(const __u64 *)(from + i * 8);
	}
}

/* Record number `index_set` & 0xffff of the SRV set whose offset is above: one record of the answer. */
__noinline int ls_dns_put_srv(struct ls_dns_work *w, __u32 place, __u32 set_index, __u32 front_be)
{
	const struct ls_dns_entry *e = ls_dns_entry(place);
	const struct ls_dns_set *set;
	const struct ls_dns_srv *srv;
	__u32 pos, record, labels, apex, tail;
	__u8 *to;

	if (!w || !e)
		return LS_DNS_UP_NAME;
	set = (const void *)e + ((set_index >> 16) & 0x3ff);
	if (set->at > LS_DNS_ENTRY_MAX - 4 * LS_DNS_SRV_MAX)
		return LS_DNS_UP_NAME;
	record = *(const __u16 *)((const void *)e + set->at + (set_index & (2 * LS_DNS_SRV_MAX - 1)) * 2);
	if (record > LS_DNS_ENTRY_MAX - sizeof(*srv) - 264)
		return LS_DNS_UP_NAME;
	srv = (const void *)e + record;
	labels = srv->name_octets;
	pos = w->st.pos;
	apex = w->st.apex & 0xff;
	tail = srv->flags & LS_DNS_SRV_BELOW ? w->st.name_octets - apex : 0;
	if (pos > LS_DNS_OUT - 640 || labels + tail > LS_DNS_KEY_MAX)
		return LS_DNS_UP_LARGE;
	to = w->msg + pos;
	ls_dns_put_head(to, LS_DNS_QUESTION_NAME, bpf_htons(LS_DNS_TYPE_SRV), set->ttl ?: w->st.ttl, 6 + labels + tail);
	to += LS_DNS_RECORD_HEAD;
	memcpy(to, srv->front, 6);
	if (w->st.view_flags & LS_DNS_VIEW_SRV_OVERRIDE)
		*(__u32 *)to = front_be;
	to += 6;
	ls_dns_copy(to, (const __u8 *)(srv + 1), labels, LS_DNS_WORDS);
	ls_dns_copy(to + labels, (const __u8 *)w->name + apex, tail, LS_DNS_WORDS);
	if (!(w->st.seen & (1u << (srv->target & (LS_DNS_SRV_MAX - 1)))) && w->st.targets < LS_DNS_SRV_MAX) {
		__u32 n = w->st.targets & (LS_DNS_SRV_MAX - 1);

		w->st.seen |= 1u << (srv->target & (LS_DNS_SRV_MAX - 1));
		w->st.target_at[n] = pos + LS_DNS_RECORD_HEAD + 6;
		w->st.target_record[n] = record;
		w->st.targets++;
	}
	w->st.pos = pos + LS_DNS_RECORD_HEAD + 6 + labels + tail;
	w->st.answers++;
	return 0;
}

/* Addresses of the n-th target; nothing when it has none. */
__noinline int ls_dns_put_target(struct ls_dns_work *w, __u32 place, __u32 n)
{
	const struct ls_dns_entry *e = ls_dns_entry(place), *target;
	const struct ls_dns_srv *srv;
	__u32 record, owner, at, labels, i;
	const __u64 *from;
	int found;

	if (!w || !e || n >= LS_DNS_SRV_MAX)
		return LS_DNS_UP_NAME;
	record = w->st.target_record[n];
	owner = 0xc000 | w->st.target_at[n];
	if (record > LS_DNS_ENTRY_MAX - sizeof(*srv) - 264)
		return LS_DNS_UP_NAME;
	srv = (const void *)e + record;
	labels = srv->name_octets;
	from = (const __u64 *)(srv + 1);
	for (i = 0; i < LS_DNS_WORDS; i++) {
		if (i * 8 >= labels)
			break;
		w->key[i] = from[i];
	}
	found = ls_dns_probe(w, srv->target_hash, LS_DNS_SPACE_AUX(w->st.zone, 0), labels);
	if (found == LS_DNS_COLLISION)
		return LS_DNS_UP_COLLISION;
	if (!found)
		return w->st.view_flags & LS_DNS_VIEW_COMPLETE ? 0 : LS_DNS_UP_ZONE;
	target = ls_dns_entry(found);
	if (!target || target->flags & (LS_DNS_PARTIAL | LS_DNS_UP))
		return LS_DNS_UP_NAME;
	at = ls_dns_set_of(target, bpf_htons(LS_DNS_TYPE_A));
	if (at) {
		int why = ls_dns_put_addresses(w, found, at << 16 | owner);

		if (why)
			return why;
	}
	at = ls_dns_set_of(target, bpf_htons(LS_DNS_TYPE_AAAA));
	return at ? ls_dns_put_addresses(w, found, at << 16 | owner) : 0;
}

/* The SOA of the view at `place`, whose key has `key_octets`. `positive`: as the answer, with the TTL of one. */
__noinline int ls_dns_put_soa(struct ls_dns_work *w, __u32 place, __u32 positive)
{
	const struct ls_dns_entry *e = ls_dns_entry(place);
	const struct ls_dns_view *view;
	__u32 pos, apex, i;
	__u8 *to;

	if (!w || !e)
		return LS_DNS_UP_NAME;
	view = (const void *)e + LS_DNS_BODY(e->key_octets);
	pos = w->st.pos;
	if (pos > LS_DNS_OUT - LS_DNS_SOA_MAX - 64)
		return LS_DNS_UP_LARGE;
	apex = 0xc000 | (LS_DNS_HEADER + w->st.apex);
	to = w->msg + pos;
	ls_dns_put_head(to, view->flags & LS_DNS_VIEW_SOA_AT_QUESTION ? LS_DNS_QUESTION_NAME : apex, bpf_htons(LS_DNS_TYPE_SOA),
			positive ? view->soa_ttl : view->soa_negative_ttl, view->soa_octets);
	to += LS_DNS_RECORD_HEAD;
	ls_dns_copy(to, view->soa, view->soa_octets, LS_DNS_SOA_MAX / 8);
#pragma unroll
	for (i = 0; i < 2; i++) {
		__u32 at = view->soa_pointer[i];

		if (at < LS_DNS_SOA_MAX)
			ls_dns_put16(to + at, apex);
	}
	w->st.pos = pos + LS_DNS_RECORD_HEAD + view->soa_octets;
	if (positive)
		w->st.answers++;
	else
		w->st.authorities++;
	return 0;
}

/* An answer that was ready. Gives its flags in out_flags_be. */
__noinline int ls_dns_put_ready(struct ls_dns_work *w, __u32 place)
{
	const struct ls_dns_entry *e = ls_dns_entry(place);
	const struct ls_dns_ready *ready;
	__u32 pos, i, n, start, stride, at, octets, body;
	const __u8 *from;
	__u64 now;
	__u8 *to;

	if (!w || !e)
		return LS_DNS_UP_NAME;
	body = LS_DNS_BODY(e->key_octets);
	ready = (const void *)e + body;
	pos = w->st.pos;
	if (pos > 512 || ready->body_octets > LS_DNS_MESSAGE_MAX)
		return LS_DNS_UP_LARGE;
	now = ready->expires_ns ? bpf_ktime_get_ns() : 0;
	if (ready->expires_ns && now >= ready->expires_ns)
		return LS_DNS_UP_EXPIRED;
	to = w->msg + pos;
	from = (const __u8 *)(ready + 1);
	ls_dns_copy(to, from, ready->body_octets, LS_DNS_MESSAGE_MAX / 8 + 1);
	if (ready->stored_ns) {
		__u32 age = (__u32)((now - ready->stored_ns) / 1000000000ull);

		for (i = 0; i < LS_DNS_TTLS_MAX; i++) {
			__u32 ttl;

			if (i >= ready->ttls)
				break;
			at = ready->ttl_at[i];
			if (at > LS_DNS_MESSAGE_MAX)
				break;
			ttl = bpf_ntohl(*(const __be32 *)(from + at));
			ls_dns_put32(to + at, ttl > age ? ttl - age : 0);
		}
	}
	n = ready->rotate_count;
	if (n > 1) {
		start = w->st.view_flags & LS_DNS_VIEW_ROUND_ROBIN ? w->st.id % n : bpf_get_prandom_u32() % n;
		stride = ready->rotate_stride;
		octets = ready->rotate_octets;
		for (i = 0; i < LS_DNS_A_MAX; i++) {
			__u32 number = i + start, target, source;

			if (number >= n)
				number -= n;
			target = ready->rotate_at + i * stride;
			source = ready->rotate_at + number * stride;
			if (i >= n || target > LS_DNS_MESSAGE_MAX - 16 || source > LS_DNS_MESSAGE_MAX - 16)
				break;
			*(__u32 *)(to + target) = *(const __u32 *)(from + source);
			if (octets == 16) {
				*(__u32 *)(to + target + 4) = *(const __u32 *)(from + source + 4);
				*(__u64 *)(to + target + 8) = *(const __u64 *)(from + source + 8);
			}
		}
	}
	w->st.pos = pos + ready->body_octets;
	w->st.answers = bpf_ntohs(ready->counts_be[0]);
	w->st.authorities = bpf_ntohs(ready->counts_be[1]);
	w->st.additionals = bpf_ntohs(ready->counts_be[2]);
	w->st.out_flags_be = ready->flags_be;
	return 0;
}

#endif
