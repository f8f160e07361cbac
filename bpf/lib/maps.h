/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_MAPS_H
#define LS_LIB_MAPS_H
/*
 * Every map, once, for all programs. Sizes written here are the smallest; the controller sets the configured ones with
 * bpf_map__set_max_entries before load. All are pinned below <bpffs>/loadstar/maps by name.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "loadstar/abi/drop.h"
#include "loadstar/abi/event.h"
#include "loadstar/abi/flow.h"
#include "loadstar/abi/lb.h"

#define LS_MAP_ARRAY(name, entries, val, more)               \
	struct {                                             \
		__uint(type, BPF_MAP_TYPE_ARRAY);            \
		__uint(max_entries, entries);                \
		__uint(map_flags, more);                     \
		__type(key, __u32);                          \
		__type(value, val);                          \
	} name SEC(".maps")

#include "lib/dns_maps.h"
#include "lib/overlay_maps.h"
#include "loadstar/abi/portmap.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LS_PORTMAP_ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ls_portmap_key);
	__type(value, struct ls_portmap);
} ls_portmap SEC(".maps");
LS_MAP_ARRAY(ls_own, LS_OWN_SLOTS, struct ls_own, BPF_F_MMAPABLE);

LS_MAP_ARRAY(ls_meta, 1, struct ls_meta, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_ctl, 1, struct ls_ctl, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_svc_tab, 64, struct ls_svc, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_ring, 1024, struct ls_ring_block, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_be, 64, struct ls_be, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_flow4, 1024, struct ls_flow4_bucket, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_flow6, 1024, struct ls_flow6_bucket, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_nh, 4096, struct ls_nh, 0);
LS_MAP_ARRAY(ls_overflow, LS_OVERFLOW_WORDS, __u64, BPF_F_MMAPABLE);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct ls_svc_key);
	__type(value, struct ls_svc_ref);
} ls_svc SEC(".maps");

struct ls_lock {
	struct bpf_spin_lock lock;
};
LS_MAP_ARRAY(ls_flow_lock, LS_FLOW_LOCKS, struct ls_lock, 0);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LS_HOOK_MAX * LS_VERDICT_MAX);
	__type(key, __u32);
	__type(value, struct ls_stat);
} ls_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LS_HOOK_MAX * LS_DROP_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} ls_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct ls_be_stat);
} ls_be_stat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ls_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ls_frag_key);
	__type(value, struct ls_frag);
} ls_frag SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ls_sock_key);
	__type(value, struct ls_sock_peer);
} ls_sock_rev SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ls_sock_peer);
} ls_sock_peer SEC(".maps");

#endif
