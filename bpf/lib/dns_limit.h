/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_LIMIT_H
#define LS_LIB_DNS_LIMIT_H
/* Who may ask, how often, and cookies: the same rules, keys and words as the process's (controller/dns/responder.cpp). */
#include "lib/dns_query.h"
#include "loadstar/abi/dns_rate.h"

static __always_inline __u64 ls_dns_word_of(const __u8 *octets)
{
	return LS_SIP_LE64(*(const __u64 *)octets);
}

/* Checks the server cookie of the question, and makes one if there is none to send back. */
__noinline int ls_dns_cookies(struct ls_dns_work *w)
{
	__u32 zero = 0, now, state = LS_DNS_COOKIE_BAD;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);
	struct ls_dns_state *st;
	__u64 k0, k1;

	if (!w || !conf)
		return 0;
	st = &w->st;
	k0 = ls_dns_word_of(conf->cookie_secret);
	k1 = ls_dns_word_of(conf->cookie_secret + 8);
	now = (__u32)((bpf_ktime_get_ns() + conf->unix_offset_ns) / 1000000000ull);
	if (st->cookie == 2)
		state = ls_dns_cookie_check(k0, k1, st->client_cookie, st->server_cookie, st->src, st->v6, now);
	st->cookie_valid = state != LS_DNS_COOKIE_BAD;
	if (state != LS_DNS_COOKIE_FRESH)
		ls_dns_cookie_make(k0, k1, st->client_cookie, st->src, st->v6, now, st->server_cookie);
	return 0;
}

static __always_inline bool ls_dns_allowed(const struct ls_dns_state *st)
{
	struct ls_dns_acl_key key = {.prefix = 32 + 128, .service_be = bpf_htonl(st->service)};

	memcpy(key.addr_be, st->src, 16);
	return bpf_map_lookup_elem(&ls_dns_acl, &key);
}

/* enum ls_dns_rate_verdict. `kind`: ls_dns_rate_kind. */
__noinline int ls_dns_rate_check(struct ls_dns_work *w, __u32 kind)
{
	__u32 zero = 0, tries, way, number;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);
	const struct ls_dns_service *service;
	struct ls_dns_rate_set *set;
	__u64 hash, now;

	if (!w || !conf)
		return LS_DNS_RATE_SEND;
	service = &conf->service[w->st.service & (LS_DNS_SERVICES - 1)];
	hash = ls_dns_rate_hash(ls_dns_word_of(conf->rate_key), ls_dns_word_of(conf->rate_key + 8), w->st.src, w->st.v6, kind);
	number = (w->st.service & (LS_DNS_SERVICES - 1)) * LS_DNS_RATE_SETS + ((__u32)hash & (LS_DNS_RATE_SETS - 1));
	set = bpf_map_lookup_elem(&ls_dns_rate, &number);
	if (!set)
		return LS_DNS_RATE_SEND;
	now = ls_dns_rate_now(bpf_ktime_get_ns());
	for (tries = 0; tries < LS_DNS_RATE_TRIES; tries++) {
		struct ls_dns_rate_pick pick = LS_DNS_RATE_NONE;
		__u32 verdict;

		for (way = 0; way < LS_DNS_RATE_WAYS; way++)
			ls_dns_rate_look(&pick, way, READ_ONCE(set->word[way]), hash, now);
		verdict = ls_dns_rate_take(&pick, hash, now, service->rate_step, service->slip);
		if (__sync_val_compare_and_swap(&set->word[pick.way & (LS_DNS_RATE_WAYS - 1)], pick.word, pick.next) == pick.word)
			return verdict;
	}
	return LS_DNS_RATE_DROPPED;
}

#endif
