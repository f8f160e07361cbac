/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_BASE_H
#define LOADSTAR_ABI_BASE_H
/*
 * What every file under abi/ stands on. These headers are the only ones that both the BPF programs (C) and the
 * controller (C++) include: a layout is written once. Rules: fixed sizes, no hidden padding (asserted), byte order
 * in the name (_be is network order, everything else host order), addresses always 16 bytes, IPv4 as ::ffff:a.b.c.d.
 * A change of any layout or of the meaning of a field bumps LS_ABI_VERSION; the controller then rebuilds its tables
 * and carries the flow maps over when their own LS_FLOW_VERSION did not change.
 */
#include <linux/types.h>

#ifdef __cplusplus
#define LS_ABI_ASSERT(cond) static_assert(cond, #cond)
#else
#define LS_ABI_ASSERT(cond) _Static_assert(cond, #cond)
#endif

#define LS_ABI_VERSION 1
#define LS_FLOW_VERSION 1

#endif
