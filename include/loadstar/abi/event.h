/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_EVENT_H
#define LOADSTAR_ABI_EVENT_H
/* Records of the ring buffer ls_events, sent only while ls_ctl.events asks for their type. X(NAME, number, label) */
#include "loadstar/abi/base.h"

#define LS_EVENTS(X)           \
	X(DROP, 0, "drop")     \
	X(NEW, 1, "new")       \
	X(REPLY, 2, "reply")   \
	X(DEAD, 3, "dead")     \
	X(ICMP, 4, "icmp")     \
	X(SOCK, 5, "sock")     \
	X(DNS, 6, "dns")

#define LS_EVENT_ENUM(name, num, label) LS_EVENT_##name = num,
enum ls_event_type { LS_EVENTS(LS_EVENT_ENUM) LS_EVENT_MAX = 7 };
#undef LS_EVENT_ENUM

struct ls_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u8 type;     /* enum ls_event_type */
	__u8 hook;     /* enum ls_hook */
	__u8 reason;   /* enum ls_drop_reason */
	__u8 proto;
	__u32 ifindex; /* 0 for socket hooks */
	__be32 src_be[4]; /* as the packet came in, before translation */
	__be32 dst_be[4];
	__be16 sport_be;
	__be16 dport_be;
	__u32 svc;
	__u32 be; /* 0: none */
	__u32 pad;
};
LS_ABI_ASSERT(sizeof(struct ls_event) == 64);

#endif
