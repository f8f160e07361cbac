/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_CHOOSE_H
#define LS_LIB_CHOOSE_H
/* Where a packet without a flow is to go: a backend of its service, or the container behind a host port; and the entries of the flow
 * that begins with it. Part of lib/lb.h. */
#include "lib/common.h"
#include "lib/drop.h"
#include "lib/flow.h"
#include "lib/parse.h"
#include "lib/portmap.h"
#include "lib/service.h"

/* Outcomes of the decision, before the packet is touched. */
enum ls_outcome {
	LS_GO = 0,        /* backend found, see struct ls_choice */
	LS_NO_SERVICE,    /* not ours */
	LS_NO_BACKEND,    /* ours, nobody to send it to */
	LS_BUSY,          /* tables changed under us three times */
};

struct ls_choice {
	__be32 be_addr[4];
	__be16 be_port;
	__u16 flags; /* LS_FLOW_HAIRPIN */
	__u32 be;
	__u32 verdict; /* LS_VERDICT_NEW or _STATELESS */
};

static __always_inline bool ls_from_host(int hook)
{
	return hook == LS_HOOK_UPLINK_OUT || hook == LS_HOOK_LO;
}

static __always_inline bool ls_is_egress(int hook)
{
	return hook == LS_HOOK_PORT_OUT || ls_from_host(hook);
}

/* The tuple of replies: backend -> client, or -> service address for a hairpin. */
static __always_inline void ls_reply_tuple(struct ls_tuple *r, const struct ls_tuple *t, const __be32 *be_addr, __be16 be_port,
					   bool hairpin)
{
	memcpy(r->src, be_addr, 16);
	memcpy(r->dst, hairpin ? t->dst : t->src, 16);
	r->sport = be_port;
	r->dport = t->sport;
	r->proto = t->proto;
	r->v6 = t->v6;
	r->pad = 0;
}

/* The tuple of the flow that `t` answers: client, or for a hairpin the backend itself -> the address that was dialled. */
static __always_inline void ls_forward_tuple(struct ls_tuple *f, const struct ls_tuple *t, const __be32 *dialled, __be16 dialled_port,
					     bool hairpin)
{
	memcpy(f->src, hairpin ? t->src : t->dst, 16);
	memcpy(f->dst, dialled, 16);
	f->sport = t->dport;
	f->dport = dialled_port;
	f->proto = t->proto;
	f->v6 = t->v6;
	f->pad = 0;
}

static __always_inline int ls_flow_put(const struct ls_tuple *t, struct ls_new *n)
{
	return t->v6 ? ls_flow6_put(t, n) : ls_flow4_put(t, n);
}

static __always_inline void ls_flow_mark(const struct ls_tuple *t, __u32 bits)
{
	if (t->v6)
		ls_flow6_mark(t, bits);
	else
		ls_flow4_mark(t, bits);
}

/* Notes the backend of a flow that has no entry, so that its replies can be turned back. */
static __always_inline void ls_overflow_note(const struct ls_tuple *reply, __u32 be, __u32 now)
{
	__u64 h = ls_tuple_hash(reply), *word;
	__u32 i = (__u32)h & (LS_OVERFLOW_WORDS - 1);
	struct ls_ctl *ctl = ls_control();

	word = bpf_map_lookup_elem(&ls_overflow, &i);
	if (!word || !ctl)
		return;
	WRITE_ONCE(*word, (h & 0xffffffff00000000ull) | be);
	ctl->overflow_at = now;
	__sync_fetch_and_add(&ctl->overflows, 1);
}

/* A reply whose flow has no entry. Costs one load unless the table has overflowed lately. */
static __always_inline bool ls_overflow_find(const struct ls_tuple *t, __u64 h, __u32 now, struct ls_hit *hit)
{
	__u32 i = (__u32)h & (LS_OVERFLOW_WORDS - 1);
	struct ls_ctl *ctl = ls_control();
	__u64 *word, w;
	struct ls_be *be;

	if (!ctl || !ls_overflowed(ctl, now))
		return false;
	word = bpf_map_lookup_elem(&ls_overflow, &i);
	if (!word)
		return false;
	w = READ_ONCE(*word);
	hit->be = (__u32)w;
	if (!hit->be || (w ^ h) >> 32)
		return false;
	be = bpf_map_lookup_elem(&ls_be, &hit->be);
	if (!be || be->port_be != t->sport || be->proto != t->proto || !ls_addr_same(be->addr_be, t->src, t->v6))
		return false;
	hit->be_gen = LS_BE_GEN(READ_ONCE(be->state));
	hit->kind = LS_FLOW_REVERSE;
	hit->tcp = 0xff; /* nothing to note on entries that do not exist */
	hit->flags = 0;
	return true;
}

#define LS_RING_TRIES 4

/* Chooses a backend for a flow that has no usable entry, and makes both entries. stale: what the packet found, or kind FREE. */
__noinline int ls_new_flow(struct ls_pkt *p, const struct ls_hit *stale, struct ls_choice *c)
{
	struct ls_new n = {}, back;
	struct ls_svc_key key = {};
	struct ls_tuple reply;
	struct ls_svc *svc;
	bool busy = false;
	__u32 hash, i;
	int rc;

	if (!p || !stale || !c)
		return LS_NO_SERVICE;
	ls_addr_wide(key.addr_be, p->t.dst, p->t.v6);
	key.port_be = p->t.dport;
	key.proto = p->t.proto;
	svc = ls_service(&key, &busy);
	if (!svc)
		return busy ? LS_BUSY : LS_NO_SERVICE;

	n.now = ls_tick();
	n.kind = LS_FLOW_FORWARD;
	n.stale_be = stale->kind ? stale->be : 0;
	n.stale_gen = stale->be_gen;
	n.restart = stale->kind && (stale->tcp & LS_TCP_CLOSING);
	if (p->t.proto == IPPROTO_TCP)
		n.tcp = (p->tcp_flags & LS_TCP_FLAG_SYN) ? LS_TCP_SYN : LS_TCP_SYN | LS_TCP_REPLIED;
	hash = ls_ring_hash(&p->t);

	for (i = 0; i < LS_RING_TRIES; i++) {
		struct ls_be *be;
		bool hairpin;

		n.be = ls_ring_pick(svc, hash + i * 0x9e3779b9);
		be = n.be ? bpf_map_lookup_elem(&ls_be, &n.be) : NULL;
		if (!be)
			return LS_NO_BACKEND;
		n.be_gen = LS_BE_GEN(READ_ONCE(be->state));
		hairpin = p->hook == LS_HOOK_PORT_IN && ls_addr_same(be->addr_be, p->t.src, p->t.v6);
		n.flags = hairpin ? LS_FLOW_HAIRPIN : 0;

		/* The reply's entry first: no reply may come before it can be turned back. */
		ls_reply_tuple(&reply, &p->t, be->addr_be, be->port_be, hairpin);
		back = n;
		back.kind = LS_FLOW_REVERSE;
		rc = ls_flow_put(&reply, &back);
		if (rc == LS_CONFLICT && i + 1 < LS_RING_TRIES)
			continue; /* the same client port talks to this backend through another service: try the next slot */
		if (rc == LS_CONFLICT) {
			back.restart = 1;
			rc = ls_flow_put(&reply, &back);
		}
		if (rc != LS_FULL) {
			rc = ls_flow_put(&p->t, &n);
			if (rc == LS_KEPT && n.be) {
				/* Another CPU was first; it made the reply's entry as well. */
				be = bpf_map_lookup_elem(&ls_be, &n.be);
				if (!be)
					return LS_NO_BACKEND;
			}
		}
		memcpy(c->be_addr, be->addr_be, 16);
		c->be_port = be->port_be;
		c->be = n.be;
		c->flags = n.flags;
		c->verdict = LS_VERDICT_NEW;
		if (rc == LS_FULL || rc == LS_CONFLICT) {
			ls_overflow_note(&reply, n.be, n.now);
			c->verdict = LS_VERDICT_STATELESS;
		}
		if (rc != LS_KEPT) {
			struct ls_be_stat *st = bpf_map_lookup_elem(&ls_be_stat, &n.be);

			if (st)
				st->flows_tc++;
		}
		return LS_GO;
	}
	return LS_NO_BACKEND;
}

/* A packet without a flow to a mapped host port: chooses its container and makes both entries. */
__noinline int ls_new_port(struct ls_pkt *p, const struct ls_hit *stale, struct ls_choice *c)
{
	struct ls_new n = {}, back;
	struct ls_tuple reply;
	struct ls_portmap *m;
	__be32 dst[4];
	int own, rc;

	if (!p || !stale || !c)
		return LS_NO_SERVICE;
	if (p->t.proto == IPPROTO_TCP && (p->tcp_flags & (LS_TCP_FLAG_SYN | LS_TCP_FLAG_ACK)) != LS_TCP_FLAG_SYN)
		return LS_NO_SERVICE;
	m = ls_port_entry(p->t.dport, p->t.proto, p->t.v6);
	if (!m)
		return LS_NO_SERVICE;
	ls_addr_wide(dst, p->t.dst, p->t.v6);
	own = ls_own_find(dst);
	if (own < 0)
		return LS_NO_SERVICE;

	memcpy(c->be_addr, m->addr_be, 16);
	c->be_port = m->port_be;
	c->be = 0;
	c->verdict = LS_VERDICT_NEW;
	c->flags = LS_FLOW_PORT;
	if (p->hook == LS_HOOK_PORT_IN && ls_addr_same(m->addr_be, p->t.src, p->t.v6))
		c->flags |= LS_FLOW_HAIRPIN;
	n.now = ls_tick();
	n.kind = LS_FLOW_FORWARD;
	n.be = ls_port_digest(m);
	n.be_gen = m->port_be;
	n.flags = c->flags;
	n.stale_be = stale->kind ? stale->be : 0;
	n.stale_gen = stale->be_gen;
	n.restart = stale->kind && (stale->tcp & LS_TCP_CLOSING);
	if (p->t.proto == IPPROTO_TCP)
		n.tcp = LS_TCP_SYN;

	ls_reply_tuple(&reply, &p->t, c->be_addr, c->be_port, c->flags & LS_FLOW_HAIRPIN);
	back = n;
	back.kind = LS_FLOW_REVERSE;
	back.be = LS_PORT_BE | (__u32)own;
	back.be_gen = p->t.dport;
	rc = ls_flow_put(&reply, &back);
	if (rc == LS_CONFLICT) { /* the same client port has another way to this container: the newer one counts */
		back.restart = 1;
		rc = ls_flow_put(&reply, &back);
	}
	if (rc != LS_FULL)
		rc = ls_flow_put(&p->t, &n);
	if (rc == LS_CONFLICT) {
		n.restart = 1;
		rc = ls_flow_put(&p->t, &n);
	}
	return rc == LS_FULL ? LS_NO_BACKEND : LS_GO;
}

#endif
