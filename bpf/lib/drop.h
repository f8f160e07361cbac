/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DROP_H
#define LS_LIB_DROP_H
/* The one place that counts verdicts, drops and sends events. Every program ends in ls_done() or ls_drop(). */
#include "lib/common.h"

static __always_inline void ls_count(__u32 hook, __u32 verdict, __u32 bytes)
{
	__u32 key = hook * LS_VERDICT_MAX + verdict;
	struct ls_stat *s = bpf_map_lookup_elem(&ls_stats, &key);

	if (s) {
		s->packets++;
		s->bytes += bytes;
	}
}

static __always_inline struct ls_ctl *ls_control(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ls_ctl, &zero);
}

/* Sends an event when somebody listens for its type. */
__noinline int ls_emit(const struct ls_tuple *t, __u32 type_hook, __u32 reason, __u32 ifindex, __u32 be)
{
	struct ls_ctl *ctl = ls_control();
	__u32 type = type_hook >> 8, hook = type_hook & 0xff;
	struct ls_event *e;

	if (!t || !ctl || !(ctl->events & (1u << (type & 31))))
		return 0;
	if (ctl->sample > 1 && bpf_get_prandom_u32() % ctl->sample)
		return 0;
	e = bpf_ringbuf_reserve(&ls_events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&ctl->events_lost, 1);
		return 0;
	}
	e->time_ns = bpf_ktime_get_ns();
	e->type = type;
	e->hook = hook;
	e->reason = reason;
	e->proto = t->proto;
	e->ifindex = ifindex;
	ls_addr_wide(e->src_be, t->src, t->v6);
	ls_addr_wide(e->dst_be, t->dst, t->v6);
	e->sport_be = t->sport;
	e->dport_be = t->dport;
	e->be = be;
	e->svc = 0;
	e->pad = 0;
	if (be) {
		struct ls_be *b = bpf_map_lookup_elem(&ls_be, &be);

		if (b)
			e->svc = b->svc;
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#define LS_EMIT(t, type, hook, reason, ifindex, be) \
	ls_emit(t, (LS_EVENT_##type << 8) | (hook), reason, ifindex, be)

static __always_inline void ls_count_drop(__u32 hook, __u32 reason)
{
	__u32 key = hook * LS_DROP_SLOTS + reason;
	__u64 *n = bpf_map_lookup_elem(&ls_drops, &key);

	if (n)
		*n += 1;
}

/* Drops a packet: reason counted, event sent, verdict returned. The only TC_ACT_SHOT besides ls_drop_question(). */
static __always_inline int ls_drop(struct __sk_buff *skb, const struct ls_tuple *t, __u32 hook, __u32 reason)
{
	ls_count_drop(hook, reason);
	ls_count(hook, LS_VERDICT_DROP, skb->len);
	LS_EMIT(t, DROP, hook, reason, skb->ifindex, 0);
	return TC_ACT_SHOT;
}

/* Drops a DNS question over the rate limit: its events are those of DNS (lib/dns_packet.h). The only XDP_DROP of the project. */
static __always_inline int ls_drop_question(const bool xdp)
{
	ls_count_drop(LS_HOOK_DNS, LS_DROP_DNS_RATE);
	return xdp ? XDP_DROP : TC_ACT_SHOT;
}

#endif
