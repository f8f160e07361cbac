/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_PERF_DNS_KERNEL_BARE_H
#define LS_PERF_DNS_KERNEL_BARE_H
/*
 * The least that answers a question, as the measure of what the real programs add: Ethernet, IPv4, UDP and DNS are read without a
 * check beyond the bounds, the name is folded and hashed, found in a hash map by the hash alone, compared with the name there, and one
 * A record is written. No listeners, zones, types, EDNS, limits or counters.
 */
#include "bpf_base.h"

#define BARE_NAME 64
struct bare_value {
	__u64 name[BARE_NAME / 8];
	__be32 addr_be;
	__u32 ttl;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct bare_value);
} bare_names SEC(".maps");

const volatile __u64 bare_key[2] = {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full};

struct bare_record {
	__be16 name, type, class, ttl_high, ttl_low, octets;
	__be32 addr_be;
} __attribute__((packed));

/* Finds the record of the question at `data` and writes everything but it. > 0: where the record goes. */
static __always_inline int bare_look(void *data, void *end, struct bare_value **found)
{
	__u64 name[BARE_NAME / 8], hash, key[2] = {bare_key[0], bare_key[1]};
	__u8 *from = data + DK_NAME_AT;
	__u32 left = 0, octets = 0, words, i;

	if (data + DK_NAME_AT > end)
		return 0;
	hash = ls_dns_hash_begin(key, 0, 0);
	/* Word by word in a register: a word that is read after single octets of it were stored stalls. */
	for (words = 0; words < BARE_NAME / 8 && !octets; words++) {
		__u64 word = 0;

		for (i = 0; i < 8; i++) {
			__u64 c;

			if ((void *)(from + 1) > end)
				return 0;
			c = *from++;
			if (left) {
				left--;
				if (c - 'A' < 26)
					c |= 0x20;
			} else if (c) {
				left = c;
			} else {
				octets = words * 8 + i + 1;
				break;
			}
			word |= c << (8 * i);
		}
		name[words] = word;
		hash = ls_dns_hash_word(hash, word, key[1]);
	}
	if (!octets)
		return 0;
	hash = ls_dns_hash_end(hash, octets, key[1]);
	*found = bpf_map_lookup_elem(&bare_names, &hash);
	if (!*found)
		return 0;
	for (i = 0; i < BARE_NAME / 8 && i < words; i++)
		if ((*found)->name[i] != name[i])
			return 0;
	return DK_NAME_AT + octets + 4;
}

/* The frame is long enough for the record at `at` by now. */
static __always_inline bool bare_answer(void *data, void *end, __u32 at, const struct bare_value *found)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip + 1);
	__be16 *dns = (void *)(udp + 1);
	struct bare_record *r;
	__u8 mac[6];
	__be32 addr;
	__be16 port;

	if (data + DK_NAME_AT > end)
		return false;
	at &= 127;
	r = data + at;
	if ((void *)(r + 1) > end)
		return false;
	r->name = bpf_htons(0xc00c);
	r->type = r->class = bpf_htons(1);
	r->ttl_high = 0;
	r->ttl_low = bpf_htons(found->ttl);
	r->octets = bpf_htons(4);
	r->addr_be = found->addr_be;
	memcpy(mac, eth->h_dest, 6);
	memcpy(eth->h_dest, eth->h_source, 6);
	memcpy(eth->h_source, mac, 6);
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	ip->tot_len = bpf_htons(at + sizeof(*r) - ETH_HLEN);
	ip->check = 0;
	{
		__u64 sum = 0;
		__u16 *w = (void *)ip;
		__u32 i;

#pragma unroll
		for (i = 0; i < 10; i++)
			sum += w[i];
		ip->check = dk_fold(sum);
	}
	port = udp->source;
	udp->source = udp->dest;
	udp->dest = port;
	udp->len = bpf_htons(at + sizeof(*r) - ETH_HLEN - sizeof(*ip));
	udp->check = 0;
	dns[1] = bpf_htons(0x8500);
	dns[3] = bpf_htons(1);
	return true;
}

#endif
