/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_MAPS_H
#define LS_LIB_DNS_MAPS_H
/* The maps of DNS answers; part of lib/maps.h, whose rules on sizes hold here too. */
#include "lib/dns_state.h"
#include "loadstar/abi/dns.h"

/* Room in which an answer is put together. Programs that use it run with bottom halves off, so one a CPU is enough. The
 * message begins 4 octets behind a multiple of 8, so that the name in it begins at one. */
#define LS_DNS_OUT 2048
#define LS_DNS_WORDS ((LS_DNS_KEY_MAX + 1) / 8)
struct ls_dns_work {
	__u64 name[LS_DNS_WORDS + 2]; /* the question's name, folded */
	__u64 key[LS_DNS_WORDS + 2];  /* what is looked up, zeros up to the word's end */
	struct ls_dns_state st;	      /* lib/dns_state.h */
	__u32 pad;
	__u8 msg[LS_DNS_OUT + 516]; /* question, then answer */
};

LS_MAP_ARRAY(ls_dns_conf, 1, struct ls_dns_conf, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_dns_listen, LS_DNS_LISTEN_MAX, struct ls_dns_listen, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_dns_bucket, 1024, struct ls_dns_bucket, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_dns_data, 2, struct ls_dns_segment, BPF_F_MMAPABLE);
LS_MAP_ARRAY(ls_dns_rate, LS_DNS_SERVICES * LS_DNS_RATE_SETS, struct ls_dns_rate_set, BPF_F_MMAPABLE);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ls_dns_acl_key);
	__type(value, __u64);
} ls_dns_acl SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LS_DNS_HOOK_MAX * LS_DNS_RESULT_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} ls_dns_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ls_dns_work);
} ls_dns_work SEC(".maps");

#endif
