/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_FLOW_H
#define LS_LIB_FLOW_H
/*
 * The flow tables (layout: abi/flow.h). Why our own: performance.md section 1.
 *
 * Place (abi/flow_place.h): the hash of a tuple names two buckets that share a lock. The second is used only when the first has less than two free places.
 *
 * Safe under concurrent CPUs:
 *   - Writers of a bucket hold the bpf_spin_lock of its lock group. So a tuple is never in the table twice, and of two CPUs
 *     that see the first packets of one flow, the second one to take the lock finds the entry and uses its backend.
 *   - An entry is rewritten as: version odd, fields, version even. A reader takes no lock: it copies the entry between two
 *     reads of version and believes the copy only when both are equal and even and the tuple in it is its own. What it
 *     believes was therefore whole at one moment. (x86-64 keeps the order of loads and of stores; clang 14 has no load-acquire
 *     for BPF, so on a weakly ordered CPU the reader's side of this argument does not hold yet. Only x86-64 is supported.)
 *   - `seen` is written without the lock. If the entry was replaced meanwhile, the new owner looks fresher than it is: harmless.
 *   - `tcp` bits are set under the lock, after finding the tuple again.
 *
 * Full: an entry of a live flow is never replaced. A flow that finds no place goes by hash alone (lib/lb.h), its backend
 * noted in the direct-mapped ls_overflow so that replies can be turned back.
 */
#include "lib/common.h"

/* What a reader takes out of an entry. */
struct ls_hit {
	__u32 be;
	__u32 seen;
	__u16 be_gen;
	__u8 kind;
	__u8 tcp;
	__u8 flags;
};

/* What a writer puts in. stale_be/stale_gen: the backend that the caller saw in the entry and found unusable; an entry that
 * names another one by now was renewed by another CPU and is kept. */
struct ls_new {
	__u32 be;
	__u32 now;
	__u32 stale_be;
	__u16 be_gen;
	__u16 stale_gen;
	__u8 kind;
	__u8 tcp;
	__u8 flags;
	__u8 restart; /* a SYN on a closing flow: the entry may be replaced whatever its backend */
};

enum { LS_PLACED = 0, LS_KEPT = 1, LS_FULL = 2, LS_CONFLICT = 3 };

static __always_inline __u32 ls_flow_timeout(__u8 proto, __u8 tcp)
{
	if (proto != IPPROTO_TCP)
		return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_UDP_S);
	if (tcp & LS_TCP_CLOSING)
		return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_CLOSING_S);
	if (tcp & LS_TCP_REPLIED)
		return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_ESTABLISHED_S);
	return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_SYN_S);
}

/* How willingly an entry is given up: 0 never. Free, then expired, then closed both ways, then half open for 5 s. */
static __always_inline __u32 ls_flow_worth(__u8 kind, __u8 proto, __u8 tcp, __u32 age)
{
	if (kind == LS_FLOW_FREE)
		return 0xffffffff;
	if (age > 0x0fffffff)
		age = 0; /* another CPU met a packet of it a tick after we read the clock */
	if (age > ls_flow_timeout(proto, tcp))
		return 0x80000000 | age;
	if (proto == IPPROTO_TCP && age > LS_TICKS_PER_S(2)) {
		if ((tcp & LS_TCP_RST) || (tcp & (LS_TCP_FIN_FWD | LS_TCP_FIN_REV)) == (LS_TCP_FIN_FWD | LS_TCP_FIN_REV))
			return 0x40000000 | age;
		if (!(tcp & LS_TCP_REPLIED) && age > LS_TICKS_PER_S(5))
			return 0x20000000 | age;
	}
	return 0;
}

/* The same as a function that the verifier checks by itself, so that its paths do not multiply those of the caller. */
__noinline __u32 ls_flow_weigh(__u8 kind, __u8 proto, __u8 tcp, __u32 age)
{
	return ls_flow_worth(kind, proto, tcp, age);
}

#define LS_V 4
#include "lib/flow_table.h"
#undef LS_V
#define LS_V 6
#include "lib/flow_table.h"
#undef LS_V

/* Whether flows may be open that have no entry. */
static __always_inline bool ls_overflowed(const struct ls_ctl *ctl, __u32 now)
{
	return ctl->overflow_at && now - ctl->overflow_at <= LS_TICKS_PER_S(LS_FLOW_TIMEOUT_ESTABLISHED_S);
}

#endif
