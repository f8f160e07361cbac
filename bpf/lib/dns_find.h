/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_FIND_H
#define LS_LIB_DNS_FIND_H
/* Finds entries in ls_dns_bucket and ls_dns_data. An entry is given by its place; 0: there is none. */
#include "lib/common.h"

#define LS_DNS_COLLISION (-1) /* another key has the hash */

/* The entry at a place. The result has LS_DNS_ENTRY_MAX octets behind it. */
static __always_inline const struct ls_dns_entry *ls_dns_entry(__u32 place)
{
	__u64 at = (__u64)place * LS_DNS_UNIT;
	__u32 n = (__u32)(at / LS_DNS_SEGMENT);
	struct ls_dns_segment *segment = bpf_map_lookup_elem(&ls_dns_data, &n);

	if (!segment)
		return NULL;
	return (const struct ls_dns_entry *)(segment->octets + (at & (LS_DNS_SEGMENT - LS_DNS_UNIT)));
}

static __always_inline __u32 ls_dns_in_bucket(__u32 number, __u64 hash)
{
	struct ls_dns_bucket *b = bpf_map_lookup_elem(&ls_dns_bucket, &number);
	__u32 i;

	if (!b)
		return 0;
#pragma unroll
	for (i = 0; i < LS_DNS_WAYS; i++) {
		__u64 slot = READ_ONCE(b->slot[i]);

		if ((slot ^ hash) >> 32 == 0 && LS_DNS_PLACE(slot))
			return LS_DNS_PLACE(slot);
	}
	return 0;
}

/* Looks for the key in w->key, `octets` long, padded with zeros. `space_aux`: space << 16 | aux. */
static __always_inline int ls_dns_look(const struct ls_dns_work *w, __u32 mask, __u64 hash, __u64 space_aux, __u32 octets)
{
	const struct ls_dns_entry *e;
	const __u64 *key;
	__u32 place, i;

	place = ls_dns_in_bucket(ls_dns_bucket1(hash, mask), hash);
	if (!place)
		place = ls_dns_in_bucket(ls_dns_bucket2(hash, mask), hash);
	if (!place)
		return 0;
	e = ls_dns_entry(place);
	if (!e)
		return LS_DNS_COLLISION;
	if (e->space != (__u32)(space_aux >> 16) || e->aux != (__u16)space_aux || e->key_octets != octets)
		return LS_DNS_COLLISION;
	key = (const __u64 *)(e + 1);
	for (i = 0; i < LS_DNS_WORDS; i++) {
		if (i * 8 >= octets)
			break;
		if (key[i] != w->key[i])
			return LS_DNS_COLLISION;
	}
	return place;
}

/* Word i of the part of the question's name that begins at `from`, zeros behind its end. Made of the words as they were stored: a load
 * across two recent stores waits until both are in the cache. */
static __always_inline __u64 ls_dns_part_word(const struct ls_dns_work *w, __u32 from, __u32 octets, __u32 i)
{
	const __u64 *at = w->name + (((from >> 3) + i) & (LS_DNS_WORDS - 1));
	__u32 shift = (from & 7) * 8, left = octets - i * 8;
	__u64 word = at[0] >> shift | at[1] << 1 << (63 - shift);

	return left < 8 ? word & ((1ull << (left * 8)) - 1) : word;
}

/* Looks for a part of the question's name, given by where it begins << 16 | how long it is, and writes it into w->key. */
__noinline int ls_dns_find(struct ls_dns_work *w, __u64 space_aux, __u32 part)
{
	__u32 zero = 0, from = (part >> 16) & 0xff, octets = part & 0xff, i;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);
	__u64 key1, h;

	if (!w || !conf)
		return 0;
	key1 = conf->key[1];
	h = ls_dns_hash_begin(conf->key, (__u32)(space_aux >> 16), (__u16)space_aux);
	for (i = 0; i < LS_DNS_WORDS; i++) {
		__u64 word;

		if (i * 8 >= octets)
			break;
		word = ls_dns_part_word(w, from, octets, i);
		w->key[i] = word;
		h = ls_dns_hash_word(h, word, key1);
	}
	return ls_dns_look(w, conf->bucket_mask, ls_dns_hash_end(h, octets, key1), space_aux, octets);
}

/* The same where the hash is known and w->key is filled. */
__noinline int ls_dns_probe(struct ls_dns_work *w, __u64 hash, __u64 space_aux, __u32 octets)
{
	__u32 zero = 0;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);

	if (!w || !conf)
		return 0;
	return ls_dns_look(w, conf->bucket_mask, hash, space_aux, octets);
}

/* Whether the entry at a place is that of a part of the question's name, as ls_dns_find() takes it. */
static __always_inline bool ls_dns_is(const struct ls_dns_work *w, __u32 place, __u32 space, __u32 part)
{
	const struct ls_dns_entry *e = ls_dns_entry(place);
	__u32 from = (part >> 16) & 0xff, octets = part & 0xff, i;
	const __u64 *key;

	if (!e || e->space != space || e->aux || e->key_octets != octets)
		return false;
	key = (const __u64 *)(e + 1);
	for (i = 0; i < LS_DNS_WORDS; i++) {
		if (i * 8 >= octets)
			break;
		if (key[i] != ls_dns_part_word(w, from, octets, i))
			return false;
	}
	return true;
}

#define LS_DNS_SPACE_AUX(space, aux) ((__u64)(space) << 16 | (__u16)(aux))
#define LS_DNS_PART(from, octets) ((__u32)(from) << 16 | (__u32)(octets))

/* The view of a suffix. */
__noinline int ls_dns_view_at(struct ls_dns_work *w, __u32 part)
{
	__u32 zero = 0, space, place;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);

	if (!w || !conf)
		return 0;
	space = LS_DNS_SPACE_VIEW + w->st.service;
	place = READ_ONCE(conf->service[w->st.service & (LS_DNS_SERVICES - 1)].view[part & 0xff]);
	if (place && ls_dns_is(w, place, space, part))
		return place;
	return ls_dns_find(w, LS_DNS_SPACE_AUX(space, 0), part);
}

#endif
