/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_ANSWER_H
#define LS_LIB_DNS_ANSWER_H
/*
 * The answer engine, one for XDP and tc: from a question in w->name and w->st to its answer in w->msg, or the reason why it goes up.
 * Nothing here knows about packets (lib/dns_packet.h).
 */
#include "lib/dns_limit.h"
#include "lib/dns_write.h"

#define LS_DNS_RCODE_NXDOMAIN 3
#define LS_DNS_RCODE_REFUSED 5

/* Reads all labels and finds the view of the longest suffix. The view's place; 0: none; below 0: minus the reason to go up. */
static __always_inline int ls_dns_find_view(struct ls_dns_work *w, const struct ls_dns_service *service)
{
	const __u8 *name = (const __u8 *)w->name;
	__u32 at = 0, octets = w->st.name_octets, i, rest, length;
	int place;

	for (i = 0; i < 128; i++) {
		if (at >= octets || at > LS_DNS_KEY_MAX)
			return -LS_DNS_UP_NAME_FORM;
		rest = octets - at;
		length = name[at];
		if (service->suffixes[(rest >> 6) & 3] & (1ull << (rest & 63))) {
			place = ls_dns_view_at(w, LS_DNS_PART(at, rest));
			/* A collision here is no view: another suffix has the hash. A shorter one must not be taken for it. */
			if (place == LS_DNS_COLLISION)
				return -LS_DNS_UP_COLLISION;
			if (place) {
				w->st.apex = at;
				return place;
			}
		}
		if (!length)
			return at + 1 == octets ? 0 : -LS_DNS_UP_NAME_FORM;
		if (length > 63)
			return -LS_DNS_UP_NAME_FORM;
		at += length + 1;
	}
	return -LS_DNS_UP_NAME_FORM;
}

static __always_inline int ls_dns_from_cache(struct ls_dns_work *w)
{
	__be16 ad = 0;
	int place, why;

	if (w->st.view_flags & LS_DNS_VIEW_UNCACHED)
		return LS_DNS_UP_MISS;
	if (w->st.edns_flags_be || w->st.flags_be & bpf_htons(LS_DNS_CD))
		return LS_DNS_UP_DNSSEC;
	place = ls_dns_find(w, LS_DNS_SPACE_AUX(LS_DNS_SPACE_CACHE, w->st.type), LS_DNS_PART(0, w->st.name_octets));
	if (place <= 0)
		return place ? LS_DNS_UP_COLLISION : LS_DNS_UP_MISS;
	why = ls_dns_put_ready(w, place);
	if (why)
		return why;
	if (w->st.flags_be & bpf_htons(LS_DNS_AD))
		ad = w->st.out_flags_be & bpf_htons(LS_DNS_AD);
	w->st.out_flags_be = (w->st.out_flags_be & bpf_htons(0xf)) | ad | bpf_htons(LS_DNS_RA);
	return LS_DNS_CACHED;
}

/* Whether a label in front of the view's suffix begins with '*': what the process takes out of a name before it looks it up. */
static __always_inline bool ls_dns_has_star(const struct ls_dns_work *w)
{
	const __u8 *name = (const __u8 *)w->name;
	__u32 i, at = 0;
	bool any = false;

	for (i = 0; i < LS_DNS_WORDS; i++) {
		__u64 x = w->name[i] ^ '*' * LS_DNS_ONES;

		if (i * 8 >= w->st.apex)
			break;
		if ((x - LS_DNS_ONES) & ~x & LS_DNS_HIGHS) {
			any = true;
			break;
		}
	}
	if (!any)
		return false;
	for (i = 0; i < 128; i++) {
		if (at >= w->st.apex || at > LS_DNS_KEY_MAX)
			break;
		if (name[at + 1] == '*')
			return true;
		at += name[at] + 1;
	}
	return false;
}

static __always_inline int ls_dns_refuse(struct ls_dns_work *w)
{
	w->st.out_flags_be = bpf_htons(LS_DNS_RCODE_REFUSED);
	return LS_DNS_REFUSED;
}

/* "Not there": `exists` says whether the name is. */
static __always_inline int ls_dns_negative(struct ls_dns_work *w, __u32 view, bool exists)
{
	int why;

	if (w->st.view_flags & LS_DNS_VIEW_UP)
		return LS_DNS_UP_NAME;
	why = ls_dns_put_soa(w, view, 0);
	if (why)
		return why;
	if (exists)
		return LS_DNS_NODATA;
	w->st.out_flags_be |= bpf_htons(LS_DNS_RCODE_NXDOMAIN);
	return LS_DNS_NXDOMAIN;
}

/* Records of a SRV set at offset `set_at` of the entry, and the addresses of its targets. */
__noinline int ls_dns_services(struct ls_dns_work *w, __u32 place, __u32 set_at, __u32 front_be)
{
	const struct ls_dns_entry *e = ls_dns_entry(place);
	const struct ls_dns_set *set;
	__u32 n, start, i;
	int why;

	if (!w || !e)
		return LS_DNS_UP_NAME;
	set = (const void *)e + (set_at & 0x3ff);
	n = set->count;
	if (w->st.view_flags & LS_DNS_VIEW_SRV_ADDITIONAL &&
	    (set->flags & LS_DNS_SET_OUTSIDE || w->st.view_flags & LS_DNS_VIEW_NESTED))
		return LS_DNS_UP_NAME;
	w->st.targets = 0;
	w->st.seen = 0;
	start = ls_dns_start(&w->st, n);
	for (i = 0; i < LS_DNS_SRV_MAX; i++) {
		if (i >= n)
			break;
		why = ls_dns_put_srv(w, place, set_at << 16 | (i + start), front_be);
		if (why)
			return why;
	}
	if (!(w->st.view_flags & LS_DNS_VIEW_SRV_ADDITIONAL))
		return 0;
	for (i = 0; i < LS_DNS_SRV_MAX; i++) {
		if (i >= w->st.targets)
			break;
		why = ls_dns_put_target(w, place, i);
		if (why)
			return why;
	}
	return 0;
}

/* Below a zone of ours. `view`: its place. */
static __always_inline int ls_dns_from_zone(struct ls_dns_work *w, __u32 view_place, const struct ls_dns_view *view)
{
	const struct ls_dns_entry *e = NULL;
	__u32 flags = w->st.view_flags, front = w->st.apex, set_at, front_be = view->srv_front_be[0] | (__u32)view->srv_front_be[1] << 16;
	int place, why;
	bool exists;

	if (flags & LS_DNS_VIEW_STRIP_STARS && ls_dns_has_star(w))
		return LS_DNS_UP_STAR;
	w->st.out_flags_be = bpf_htons(LS_DNS_AA) | (flags & LS_DNS_VIEW_RA ? bpf_htons(LS_DNS_RA) : 0);
	if (w->st.type == LS_DNS_TYPE_RRSIG && flags & LS_DNS_VIEW_REFUSE_RRSIG)
		return flags & LS_DNS_VIEW_COMPLETE ? ls_dns_refuse(w) : LS_DNS_UP_ZONE;
	if (w->st.type == LS_DNS_TYPE_SOA || w->st.type == LS_DNS_TYPE_NS) {
		if (flags & LS_DNS_VIEW_SOA_AT_QUESTION)
			return LS_DNS_UP_NAME;
		if (!front && w->st.type == LS_DNS_TYPE_SOA) {
			if ((flags & (LS_DNS_VIEW_COMPLETE | LS_DNS_VIEW_UP)) != LS_DNS_VIEW_COMPLETE)
				return LS_DNS_UP_ZONE;
			why = ls_dns_put_soa(w, view_place, 1);
			return why ?: LS_DNS_HIT;
		}
		if (!front)
			goto ready;
	}
	place = ls_dns_find(w, LS_DNS_SPACE_AUX(view->zone, 0), LS_DNS_PART(0, front));
	if (place == LS_DNS_COLLISION)
		return LS_DNS_UP_COLLISION;
	if (place) {
		e = ls_dns_entry(place);
		if (!e || e->flags & LS_DNS_UP)
			return LS_DNS_UP_NAME;
		set_at = ls_dns_set_of(e, w->st.type_be);
		if (set_at) {
			const struct ls_dns_set *set = (const void *)e + set_at;

			if (w->st.type == LS_DNS_TYPE_SRV)
				why = ls_dns_services(w, place, set_at, front_be);
			else if (set->count == 1 && set->form == LS_DNS_FORM_A)
				why = ls_dns_put_one(w, e, set);
			else
				why = ls_dns_put_addresses(w, place, set_at << 16 | LS_DNS_QUESTION_NAME);
			return why ?: LS_DNS_HIT;
		}
		if (e->flags & LS_DNS_PARTIAL)
			goto ready;
	} else if (!(flags & LS_DNS_VIEW_COMPLETE)) {
		return LS_DNS_UP_ZONE;
	}
	if (flags & LS_DNS_VIEW_REFUSE_BELOW && !e && front)
		return ls_dns_refuse(w);
	if (w->st.type == LS_DNS_TYPE_SRV && flags & LS_DNS_VIEW_SRV_NEVER_NXDOMAIN)
		return LS_DNS_NODATA;
	if (flags & LS_DNS_VIEW_NXDOMAIN_AT_EMPTY)
		exists = e && !(e->flags & LS_DNS_EMPTY);
	else
		exists = e || !front;
	return ls_dns_negative(w, view_place, exists);
ready:
	place = ls_dns_find(w, LS_DNS_SPACE_AUX(view->ready, w->st.type), LS_DNS_PART(0, front));
	if (place <= 0)
		return place ? LS_DNS_UP_COLLISION : LS_DNS_UP_NAME;
	why = ls_dns_put_ready(w, place);
	return why ?: LS_DNS_HIT;
}

/* Writes OPT and header behind what is there. The whole length, or 0 when it is too long. */
static __always_inline __u32 ls_dns_finish(struct ls_dns_work *w, __u32 udp_max)
{
	struct ls_dns_header *h = (struct ls_dns_header *)w->msg;
	struct ls_dns_state *st = &w->st;
	__u32 pos = st->pos;

	if (pos > LS_DNS_MESSAGE_MAX)
		return 0;
	if (st->edns) {
		__u64 *opt_words = (__u64 *)(w->msg + pos), flags = st->edns_flags_be;
		__u8 *opt = w->msg + pos;

		/* root, type, size, extended rcode and version 0, half the flags; their rest, length; zeros */
		opt_words[0] = (__u64)bpf_htons(LS_DNS_TYPE_OPT) << 8 | (__u64)bpf_htons((__u16)udp_max) << 24 | flags << 56;
		opt_words[1] = flags >> 8 | (__u64)bpf_htons(st->cookie ? 4 + LS_DNS_COOKIE_OCTETS : 0) << 8;
		pos += LS_DNS_OPT_OCTETS;
		if (st->cookie) {
			ls_dns_put16(opt + 11, LS_DNS_COOKIE_OPTION);
			ls_dns_put16(opt + 13, LS_DNS_COOKIE_OCTETS);
			memcpy(opt + 15, &st->client_cookie, 8);
			memcpy(opt + 23, st->server_cookie, 16);
			pos += 4 + LS_DNS_COOKIE_OCTETS;
		}
		st->additionals++;
	}
	if (pos > st->limit)
		return 0;
	h->id = bpf_htons(st->id);
	h->counts[0] = bpf_htons(1);
	h->flags = bpf_htons(LS_DNS_QR) | (st->flags_be & bpf_htons(LS_DNS_RD | LS_DNS_CD)) | st->out_flags_be;
	h->counts[1] = bpf_htons(st->answers);
	h->counts[2] = bpf_htons(st->authorities);
	h->counts[3] = bpf_htons(st->additionals);
	return pos;
}

/* Nothing behind the question yet. */
static __always_inline void ls_dns_bare(struct ls_dns_state *st)
{
	st->pos = st->question_end;
	st->answers = 0;
	st->authorities = 0;
	st->additionals = 0;
	st->out_flags_be = 0;
}

/* The question was read. enum ls_dns_result; up to SLIP the answer is in w->msg, w->st.pos octets long, but for the question behind its
 * header, which nobody has put there. */
__noinline int ls_dns_answer(struct ls_dns_work *w)
{
	__u32 zero = 0, size, udp_max, body;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);
	const struct ls_dns_service *service;
	const struct ls_dns_entry *e;
	const struct ls_dns_view *view;
	struct ls_dns_state *st;
	int result, place;

	if (!w || !conf)
		return LS_DNS_UP_OFF;
	st = &w->st;
	service = &conf->service[st->service & (LS_DNS_SERVICES - 1)];
	udp_max = service->udp_max;
	st->limit = 512;
	if (st->edns) {
		if (st->udp_size > 512)
			st->limit = st->udp_size < udp_max ? st->udp_size : udp_max;
		if (st->limit > LS_DNS_MESSAGE_MAX)
			st->limit = LS_DNS_MESSAGE_MAX;
		if (st->limit < 512)
			st->limit = 512;
		if (st->cookie)
			ls_dns_cookies(w);
	}
	ls_dns_bare(st);
	place = ls_dns_find_view(w, service);
	if (place <= 0)
		return place ? -place : LS_DNS_UP_NO_VIEW;
	e = ls_dns_entry(place);
	if (!e)
		return LS_DNS_UP_NO_VIEW;
	body = LS_DNS_BODY(e->key_octets);
	view = (const void *)e + body;
	st->view_flags = view->flags;
	st->ttl = view->ttl;
	st->zone = view->zone;
	if (service->acl && !ls_dns_allowed(st))
		result = ls_dns_refuse(w);
	else if (view->flags & LS_DNS_VIEW_FORWARD)
		result = ls_dns_from_cache(w);
	else
		result = ls_dns_from_zone(w, place, view);
	if (result > LS_DNS_REFUSED)
		return result;
	if (result == LS_DNS_REFUSED) {
		__be16 flags = st->out_flags_be;

		ls_dns_bare(st);
		st->out_flags_be = flags;
	}
	size = ls_dns_finish(w, udp_max);
	if (!size)
		return LS_DNS_UP_LARGE;
	if (service->rate_step && !st->cookie_valid) {
		int verdict = ls_dns_rate_check(w, ls_dns_rate_kind(bpf_ntohs(st->out_flags_be) & 0xf, st->answers));

		if (verdict == LS_DNS_RATE_DROPPED)
			return LS_DNS_RATE_DROP;
		if (verdict == LS_DNS_RATE_SLIPPED) {
			ls_dns_bare(st);
			st->out_flags_be = bpf_htons(LS_DNS_TC);
			size = ls_dns_finish(w, udp_max);
			result = LS_DNS_SLIP;
		}
	}
	st->pos = size;
	return result;
}

#endif
