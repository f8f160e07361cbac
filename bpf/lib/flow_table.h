/* SPDX-License-Identifier: Dual BSD/GPL */
/* One flow table, for LS_V 4 or 6; included twice by lib/flow.h, which explains it. */
#define LS_CAT2(a, b) a##b
#define LS_CAT(a, b) LS_CAT2(a, b)
#define ENTRY LS_CAT(ls_flow, LS_V)
#define BUCKET LS_CAT(LS_CAT(ls_flow, LS_V), _bucket)
#define TABLE LS_CAT(ls_flow, LS_V)
#define MASK LS_CAT(LS_CAT(ls_flow, LS_V), _mask)
#define FN(name) LS_CAT(LS_CAT(LS_CAT(ls_flow, LS_V), _), name)

static __always_inline bool FN(same)(const struct ENTRY *e, const struct ls_tuple *t)
{
#if LS_V == 4
	return e->src_be == t->src[3] && e->dst_be == t->dst[3] && e->sport_be == t->sport &&
	       e->dport_be == t->dport && e->proto == t->proto;
#else
	return e->src_be[3] == t->src[3] && e->dst_be[3] == t->dst[3] && e->sport_be == t->sport &&
	       e->dport_be == t->dport && e->proto == t->proto && e->src_be[0] == t->src[0] &&
	       e->src_be[1] == t->src[1] && e->src_be[2] == t->src[2] && e->dst_be[0] == t->dst[0] &&
	       e->dst_be[1] == t->dst[1] && e->dst_be[2] == t->dst[2];
#endif
}

static __always_inline bool FN(take)(struct ENTRY *e, const struct ls_tuple *t, __u32 now, struct ls_hit *hit)
{
	__u32 version = READ_ONCE(e->version);

	barrier();
	if (!FN(same)(e, t))
		return false;
	hit->be = e->be;
	hit->be_gen = e->be_gen;
	hit->kind = e->kind;
	hit->tcp = e->tcp;
	hit->flags = e->flags;
	hit->seen = e->seen;
	barrier();
	if ((version & 1) || hit->kind == LS_FLOW_FREE || READ_ONCE(e->version) != version)
		return false;
	if (hit->seen != now)
		WRITE_ONCE(e->seen, now);
	return true;
}

/* Finds a tuple and refreshes its time stamp. Cost: one bucket, two cache lines at most, when it is in its first place. */
static __always_inline bool FN(find)(const struct ls_tuple *t, __u64 h, __u32 now, struct ls_hit *hit)
{
	__u32 mask = MASK, i = ls_bucket1(h, mask);
	struct BUCKET *b = bpf_map_lookup_elem(&TABLE, &i);

	if (!b)
		return false;
	if (FN(take)(&b->way[0], t, now, hit) || FN(take)(&b->way[1], t, now, hit) ||
	    FN(take)(&b->way[2], t, now, hit) || FN(take)(&b->way[3], t, now, hit))
		return true;
	i = ls_bucket2(h, mask);
	b = bpf_map_lookup_elem(&TABLE, &i);
	if (!b)
		return false;
	return FN(take)(&b->way[0], t, now, hit) || FN(take)(&b->way[1], t, now, hit) ||
	       FN(take)(&b->way[2], t, now, hit) || FN(take)(&b->way[3], t, now, hit);
}

static __always_inline void FN(write)(struct ENTRY *e, const struct ls_tuple *t, const struct ls_new *n)
{
	__u32 version = e->version;

	WRITE_ONCE(e->version, version + 1);
	barrier();
#if LS_V == 4
	e->src_be = t->src[3];
	e->dst_be = t->dst[3];
#else
	e->src_be[0] = t->src[0];
	e->src_be[1] = t->src[1];
	e->src_be[2] = t->src[2];
	e->src_be[3] = t->src[3];
	e->dst_be[0] = t->dst[0];
	e->dst_be[1] = t->dst[1];
	e->dst_be[2] = t->dst[2];
	e->dst_be[3] = t->dst[3];
#endif
	e->sport_be = t->sport;
	e->dport_be = t->dport;
	e->proto = t->proto;
	e->kind = n->kind;
	e->be_gen = n->be_gen;
	e->be = n->be;
	e->seen = n->now;
	e->tcp = n->tcp;
	e->flags = n->flags;
	barrier();
	WRITE_ONCE(e->version, version + 2);
}

/* The place a new tuple would take, 0-3 in its first bucket, 4-7 in its second, or -1. Looks without the lock: the answer is
 * checked again under it. A function of its own, verified by itself: its many paths end in one number. */
__noinline int FN(place)(const struct ls_tuple *t, __u32 now)
{
	__u32 mask = MASK, i, w, worth, best = 0, free_here = 0;
	struct BUCKET *b;
	int place = -1;
	__u64 h;

	if (!t)
		return -1;
	h = ls_tuple_hash(t);
	i = ls_bucket1(h, mask);
	b = bpf_map_lookup_elem(&TABLE, &i);
	if (!b)
		return -1;
#pragma unroll
	for (w = 0; w < LS_FLOW_WAYS; w++) {
		struct ENTRY *e = &b->way[w];

		worth = ls_flow_weigh(e->kind, e->proto, e->tcp, now - e->seen);
		if (worth >= 0x80000000)
			free_here++;
		if (worth > best) {
			best = worth;
			place = w;
		}
	}
	if (free_here > 1)
		return place;
	i = ls_bucket2(h, mask);
	b = bpf_map_lookup_elem(&TABLE, &i);
	if (!b)
		return place;
#pragma unroll
	for (w = 0; w < LS_FLOW_WAYS; w++) {
		struct ENTRY *e = &b->way[w];

		worth = ls_flow_weigh(e->kind, e->proto, e->tcp, now - e->seen);
		if (worth > best || worth == 0xffffffff) {
			best = worth;
			place = LS_FLOW_WAYS + w;
		}
	}
	return place;
}

/* Puts a tuple in, or finds it there. LS_PLACED: it holds n now. LS_KEPT: the flow has an entry, n->be and n->be_gen are set
 * to its backend. LS_CONFLICT: a live flow of the other kind or, for reverse entries, of another backend number owns the
 * tuple. LS_FULL: no place. */
__noinline int FN(put)(const struct ls_tuple *t, struct ls_new *n)
{
	__u32 mask = MASK, group, i1, i2, w;
	int result = LS_FULL, place;
	struct BUCKET *b1, *b2;
	struct ls_lock *lock;
	struct ENTRY *e;
	__u64 h;

	if (!t || !n)
		return LS_FULL;
	place = FN(place)(t, n->now);
	h = ls_tuple_hash(t);
	i1 = ls_bucket1(h, mask);
	i2 = ls_bucket2(h, mask);
	group = i1 & ls_lock_mask(mask);
	b1 = bpf_map_lookup_elem(&TABLE, &i1);
	b2 = bpf_map_lookup_elem(&TABLE, &i2);
	lock = bpf_map_lookup_elem(&ls_flow_lock, &group);
	if (!b1 || !b2 || !lock)
		return LS_FULL;

	bpf_spin_lock(&lock->lock);
#pragma unroll
	for (w = 0; w < 2 * LS_FLOW_WAYS; w++) {
		e = w < LS_FLOW_WAYS ? &b1->way[w & 3] : &b2->way[w & 3];
		if (e->kind != LS_FLOW_FREE && FN(same)(e, t))
			goto known;
	}
	if (place >= 0) {
		e = place < LS_FLOW_WAYS ? &b1->way[place & 3] : &b2->way[place & 3];
		if (ls_flow_worth(e->kind, e->proto, e->tcp, n->now - e->seen)) {
			FN(write)(e, t, n);
			result = LS_PLACED;
		}
	}
	goto out;
known:
	if (e->kind == n->kind && e->be == n->be && e->be_gen == n->be_gen && !n->restart) {
		result = LS_KEPT;
	} else if (n->restart || (e->be == n->stale_be && e->be_gen == n->stale_gen) ||
		   ls_flow_worth(e->kind, e->proto, e->tcp, n->now - e->seen) >= 0x40000000) {
		FN(write)(e, t, n);
		result = LS_PLACED;
	} else if (n->kind == LS_FLOW_REVERSE || e->kind != n->kind) {
		result = LS_CONFLICT;
	} else {
		n->be = e->be;
		n->be_gen = e->be_gen;
		n->flags = e->flags;
		result = LS_KEPT;
	}
out:
	bpf_spin_unlock(&lock->lock);
	return result;
}

/* Sets tcp bits on the entry of a tuple, if it is there. Rare packets only (first reply, FIN, RST). */
__noinline int FN(mark)(const struct ls_tuple *t, __u32 bits)
{
	__u32 mask = MASK, group, i1, i2;
	struct BUCKET *b1, *b2;
	struct ls_lock *lock;
	struct ENTRY *e;
	__u64 h;
	int w;

	if (!t)
		return 0;
	h = ls_tuple_hash(t);
	i1 = ls_bucket1(h, mask);
	i2 = ls_bucket2(h, mask);
	group = i1 & ls_lock_mask(mask);
	b1 = bpf_map_lookup_elem(&TABLE, &i1);
	b2 = bpf_map_lookup_elem(&TABLE, &i2);
	lock = bpf_map_lookup_elem(&ls_flow_lock, &group);
	if (!b1 || !b2 || !lock)
		return 0;
	bpf_spin_lock(&lock->lock);
#pragma unroll
	for (w = 0; w < 2 * LS_FLOW_WAYS; w++) {
		e = w < LS_FLOW_WAYS ? &b1->way[w & 3] : &b2->way[w & 3];
		if (e->kind != LS_FLOW_FREE && FN(same)(e, t))
			e->tcp |= bits;
	}
	bpf_spin_unlock(&lock->lock);
	return 0;
}

#undef ENTRY
#undef BUCKET
#undef TABLE
#undef MASK
#undef FN
#undef LS_CAT
#undef LS_CAT2
