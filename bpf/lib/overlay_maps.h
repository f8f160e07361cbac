/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_OVERLAY_MAPS_H
#define LS_LIB_OVERLAY_MAPS_H
/* The maps of the overlay; part of lib/maps.h, whose rules on sizes hold here too. */
#include "loadstar/abi/overlay.h"

LS_MAP_ARRAY(ls_ovl_conf, 1, struct ls_ovl_conf, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_ovl_block, 4096, struct ls_ovl_owner, BPF_F_MMAPABLE);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ls_ovl_key);
	__type(value, struct ls_ovl_owner);
} ls_ovl_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ls_ovl_net_key);
	__type(value, struct ls_ovl_owner);
} ls_ovl_net SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ls_ovl_addr);
	__type(value, struct ls_ovl_local);
} ls_ovl_local SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LS_OVL_HOOK_MAX * LS_OVL_RESULT_MAX);
	__type(key, __u32);
	__type(value, struct ls_stat);
} ls_ovl_stats SEC(".maps");

#endif
