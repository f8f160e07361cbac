/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_DNS_H
#define LOADSTAR_ABI_DNS_H
/*
 * DNS answered in the kernel: what the controller writes and the programs dns_xdp and dns_tc read.
 *
 *   ls_dns_conf    array, one entry      switches, hash keys, what belongs to each service
 *   ls_dns_listen  array, open addresses (address, port) -> service
 *   ls_dns_bucket  array of buckets      hash of a key -> place of its entry
 *   ls_dns_data    array of segments     entries: views (which zone a suffix is), names, answers that are ready
 *   ls_dns_rate    array of rate sets    response rate limit, shared with the process, word by word
 *   ls_dns_acl     LPM trie              who may ask
 *   ls_dns_stats   per CPU               what became of each question
 *   ls_dns_work    per CPU               room in which an answer is put together
 *
 * An entry is found by (space, aux, key): `space` says in which table, `key` is a folded name in wire form or a part of
 * one, `aux` a query type where answers are kept by type. Slots hold a tag of the hash; the key itself is compared in the entry, so a
 * collision of hashes can never give a wrong answer: the question then goes up to the process.
 *
 * Why never half a name: an entry is immutable once a slot shows it (except `round`, which no program reads). The controller writes a new entry beside the
 * old one, then stores the slot, one aligned 8-byte word. Room that was given up is used again only after an RCU grace period.
 *
 * How a question is answered (bpf/lib/dns_answer.h): the longest suffix of the name that is a view of the service is
 * looked up; below a zone the rest of the name is looked up in the zone's space. No entry in a complete zone is NXDOMAIN.
 */
#include "loadstar/abi/base.h"

#define LS_DNS_SERVICES 2 /* 0 authority, 1 resolver: dns/server.h ServiceKind */

/* Spaces. The space of a zone is LS_DNS_SPACE_ZONE | hash of its name (controller); where two zones have one hash, the second takes the next number. */
#define LS_DNS_SPACE_VIEW 1u  /* + service: key is the suffix, absolute; struct ls_dns_view */
#define LS_DNS_SPACE_CACHE 3u /* key is the whole name, absolute, aux the type; struct ls_dns_ready */
#define LS_DNS_SPACE_ZONE 0x80000000u /* names, key relative to the apex; struct ls_dns_set[] */
#define LS_DNS_SPACE_READY 0x40000000u /* + view number: key relative to the apex, aux the type; struct ls_dns_ready */

#define LS_DNS_KEY_MAX 255
#define LS_DNS_MESSAGE_MAX 1232 /* octets; the kernel answers no longer ones (DNS flag day 2020; fits every IPv6 path) */

/* --- where an entry is --- */

#define LS_DNS_WAYS 8
#define LS_DNS_UNIT 16 /* octets; places count in these. Place 0 is never given out */
#define LS_DNS_SEGMENT (1u << 20)
#define LS_DNS_ENTRY_MAX 4096

/* A slot: tag << 32 | place; 0 free. The tag is the upper half of the hash. */
struct ls_dns_bucket {
	__u64 slot[LS_DNS_WAYS];
};
LS_ABI_ASSERT(sizeof(struct ls_dns_bucket) == 64);
#define LS_DNS_SLOT(hash, place) (((hash) & 0xffffffff00000000ull) | (__u64)(place))
#define LS_DNS_PLACE(slot) ((__u32)(slot))

/* Entry n of ls_dns_data. No entry crosses its end; the rest lets the verifier see that. Place p is octet
 * (p * LS_DNS_UNIT) % LS_DNS_SEGMENT of segment (p * LS_DNS_UNIT) / LS_DNS_SEGMENT. */
struct ls_dns_segment {
	__u8 octets[LS_DNS_SEGMENT + LS_DNS_ENTRY_MAX];
};
LS_ABI_ASSERT(sizeof(struct ls_dns_segment) == 1052672);

/* Of an entry. */
enum ls_dns_entry_flags {
	LS_DNS_EMPTY = 1 << 0,   /* a name with nothing but names below it (RFC 8020) */
	LS_DNS_PARTIAL = 1 << 1, /* has types that are not here: a type that is not found goes up (or is in LS_DNS_SPACE_READY) */
	LS_DNS_UP = 1 << 2,      /* the process answers for this name, always (ready.spartan) */
};

struct ls_dns_entry {
	__u32 space;
	__u16 aux;
	__u8 key_octets;
	__u8 flags; /* enum ls_dns_entry_flags */
	__u16 octets; /* of the whole entry, as kept */
	__u8 sets;    /* how many struct ls_dns_set follow the key */
	__u8 round;   /* of the controller's synchronisation */
	__u32 pad;
	/* the key, then zeros up to a multiple of 8 octets, then what `space` says */
};
LS_ABI_ASSERT(sizeof(struct ls_dns_entry) == 16);
#define LS_DNS_PADDED(n) (((n) + 7u) & ~7u)
#define LS_DNS_BODY(key_octets) (sizeof(struct ls_dns_entry) + LS_DNS_PADDED(key_octets)) /* offset of what follows the key */

/* --- a name and its records --- */

/* What is said to be there `times` is there once when the set has one record, else twice in a row: a reader can begin at any record and
 * read on, so rotation needs no second half. */
enum ls_dns_form {
	LS_DNS_FORM_A = 1,    /* `times` count x 4 octets */
	LS_DNS_FORM_AAAA = 2, /* `times` count x 16 octets */
	LS_DNS_FORM_SRV = 3,  /* `times` count x __u16 offset from the entry's start, then struct ls_dns_srv each, at multiples of 8 */
};
#define LS_DNS_TIMES(count) ((count) > 1 ? 2 * (count) : (count))
#define LS_DNS_SETS_MAX 4
#define LS_DNS_A_MAX 75 /* as many as LS_DNS_MESSAGE_MAX holds */
#define LS_DNS_AAAA_MAX 42
#define LS_DNS_SRV_MAX 32

struct ls_dns_set {
	__be16 type_be;
	__u8 form;  /* enum ls_dns_form */
	__u8 count; /* 1 .. LS_DNS_*_MAX of the form; what has more is LS_DNS_PARTIAL */
	__u32 ttl;  /* seconds; 0: the view's */
	__u16 at;   /* offset of the data from the entry's start, a multiple of 8 */
	__u16 flags; /* enum ls_dns_set_flags */
	__u32 pad;
};
LS_ABI_ASSERT(sizeof(struct ls_dns_set) == 16);

enum ls_dns_set_flags {
	LS_DNS_SET_OUTSIDE = 1 << 0, /* SRV: a target is not below the apex or not folded: with addresses wanted, goes up */
};

struct ls_dns_srv {
	__u64 target_hash; /* ls_dns_hash of the target in the zone's space: its addresses go along */
	__u8 front[6];     /* priority, weight, port, network order */
	__u8 name_octets;  /* of the target as far as it is here, at most 255 */
	__u8 flags;        /* enum ls_dns_srv_flags */
	__u8 target;       /* equal for records of the set with the same target; < LS_DNS_SRV_MAX */
	__u8 pad[7];
	/* the target's labels, padded with zeros to a multiple of 8 */
};
LS_ABI_ASSERT(sizeof(struct ls_dns_srv) == 24);
enum ls_dns_srv_flags {
	LS_DNS_SRV_BELOW = 1 << 0, /* the view's apex follows the labels */
};

/* --- an answer that is ready: everything behind the question, without OPT --- */

#define LS_DNS_TTLS_MAX 32
struct ls_dns_ready {
	__u64 stored_ns;  /* CLOCK_MONOTONIC; TTLs are counted down from there. 0: they are not */
	__u64 expires_ns; /* from then on the question goes up; 0: never */
	__be16 counts_be[3]; /* answer, authority, additional */
	__be16 flags_be;  /* AA, RA, AD, rcode */
	__u16 body_octets;
	__u16 ttls;       /* places in ttl_at */
	__u16 rotate_at;  /* offset in the body of the first address that changes places */
	__u16 rotate_stride;
	__u16 rotate_count; /* < 2: none */
	__u16 rotate_octets; /* 4 or 16 */
	__u16 pad[2];
	__u16 ttl_at[LS_DNS_TTLS_MAX]; /* offsets in the body */
	/* the body */
};
LS_ABI_ASSERT(sizeof(struct ls_dns_ready) == 104);

/* --- a view: what a suffix stands for --- */

enum ls_dns_view_flags {
	LS_DNS_VIEW_COMPLETE = 1 << 0,   /* all names of the zone are here: what is not found does not exist */
	LS_DNS_VIEW_FORWARD = 1 << 1,    /* no zone: only LS_DNS_SPACE_CACHE can answer */
	LS_DNS_VIEW_UNCACHED = 1 << 2,   /* with FORWARD: not even that */
	/* AnswerRules (controller/dns/routes.h) */
	LS_DNS_VIEW_SOA_AT_QUESTION = 1 << 3,
	LS_DNS_VIEW_SRV_NEVER_NXDOMAIN = 1 << 4,
	LS_DNS_VIEW_NXDOMAIN_AT_EMPTY = 1 << 5,
	LS_DNS_VIEW_STRIP_STARS = 1 << 6,
	LS_DNS_VIEW_REFUSE_RRSIG = 1 << 7,
	LS_DNS_VIEW_REFUSE_BELOW = 1 << 8,
	LS_DNS_VIEW_SRV_ADDITIONAL = 1 << 9,
	LS_DNS_VIEW_RA = 1 << 10,
	LS_DNS_VIEW_RANDOM = 1 << 11,      /* rotation: neither is storage order */
	LS_DNS_VIEW_ROUND_ROBIN = 1 << 12,
	LS_DNS_VIEW_SRV_OVERRIDE = 1 << 13, /* srv_front_be replaces priority and weight */
	LS_DNS_VIEW_NESTED = 1 << 14,      /* another route begins below: a target may lie there, so SRV with addresses goes up */
	LS_DNS_VIEW_UP = 1 << 15,          /* what this view says cannot be said here */
};

#define LS_DNS_SOA_MAX 256
/* Rdata of the SOA. The places where a name ends with the apex hold two octets that become a pointer to the apex in the question. */
struct ls_dns_view {
	__u32 zone;   /* space of the names */
	__u32 ready;  /* space of answers that are ready */
	__u32 flags;  /* enum ls_dns_view_flags */
	__u32 ttl;    /* of records without one of their own */
	__u32 soa_ttl;          /* in a positive answer */
	__u32 soa_negative_ttl; /* in NXDOMAIN and NODATA */
	__be16 srv_front_be[2];
	__u16 soa_octets;
	__u16 soa_pointer[2]; /* offsets in soa; 0xffff: none */
	__u16 pad[3];
	__u8 soa[LS_DNS_SOA_MAX];
};
LS_ABI_ASSERT(sizeof(struct ls_dns_view) == 296);

/* --- who is asked, who may ask --- */

#define LS_DNS_LISTEN_MAX 1024 /* power of two; at most half of it is used */
#define LS_DNS_LISTEN_PROBES 16
struct ls_dns_listen {
	__be32 addr_be[4];
	__be16 port_be; /* 0: free */
	__u8 service;
	__u8 pad[5];
};
LS_ABI_ASSERT(sizeof(struct ls_dns_listen) == 24);
/* Where the search for an address and port begins; it ends at a free place, or after LS_DNS_LISTEN_PROBES. */
static inline __attribute__((always_inline)) __u32 ls_dns_listen_at(const __be32 addr_be[4], __be16 port_be)
{
	return ((addr_be[3] ^ addr_be[2] ^ port_be) * 0x9e3779b1u >> 22) & (LS_DNS_LISTEN_MAX - 1);
}

/* Key of ls_dns_acl. */
struct ls_dns_acl_key {
	__u32 prefix; /* bits of what follows: 32 + those of the address in its 16-byte form */
	__be32 service_be;
	__be32 addr_be[4];
};
LS_ABI_ASSERT(sizeof(struct ls_dns_acl_key) == 24);

struct ls_dns_service {
	__u64 suffixes[4]; /* bit n: a view of this service has a suffix of n octets in wire form */
	__u16 udp_max;     /* cap on what EDNS offers; goes out in OPT */
	__u8 acl;          /* 1: only who is in ls_dns_acl may ask, others get REFUSED */
	__u8 slip;         /* one of so many answers above the rate goes out truncated; 0 none */
	__u32 rate_step;   /* units of 256 ns between two answers of a kind to a prefix; 0: no limit */
	/* Where the view is whose suffix has so many octets, if there is one only: spares hashing it. 0: look it up. Its key is compared. */
	__u32 view[LS_DNS_KEY_MAX + 1];
};
LS_ABI_ASSERT(sizeof(struct ls_dns_service) == 1064);

#define LS_DNS_PORTS 4
struct ls_dns_conf {
	__u32 enabled;     /* 0: everything goes up */
	__u32 bucket_mask; /* buckets of ls_dns_bucket, minus one */
	__u64 key[2];      /* of ls_dns_hash, secret, random per host; key[1] is odd */
	__u8 cookie_secret[16]; /* RFC 9018; secret */
	__u8 rate_key[16];      /* SipHash-2-4 key of the prefixes in ls_dns_rate */
	__s64 unix_offset_ns;   /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	__be16 port_be[LS_DNS_PORTS]; /* ports in ls_dns_listen; 0: none */
	struct ls_dns_service service[LS_DNS_SERVICES];
};
LS_ABI_ASSERT(sizeof(struct ls_dns_conf) == 2200);

/* Response rate limit: controller/dns/rate_limit.cpp says what a word means; both sides change it by compare-and-swap. Service s has
 * the sets from s * LS_DNS_RATE_SETS on. */
#define LS_DNS_RATE_SETS 8192
#define LS_DNS_RATE_WAYS 8
struct ls_dns_rate_set {
	__u64 word[LS_DNS_RATE_WAYS];
};
LS_ABI_ASSERT(sizeof(struct ls_dns_rate_set) == 64);

/* --- what is counted --- */

#define LS_DNS_HOOKS(X)                                                        \
	X(XDP, 0, "xdp", "XDP, from the network")                              \
	X(UPLINK, 1, "uplink", "tc, from the network")                         \
	X(PORT, 2, "port", "tc, from a container")                             \
	X(LO, 3, "lo", "tc, from a process of this machine")                   \
	X(TRY, 4, "try", "asked by loadstar dns explain and tests")
#define LS_DNS_HOOK_ENUM(name, num, label, text) LS_DNS_HOOK_##name = num,
enum ls_dns_hook { LS_DNS_HOOKS(LS_DNS_HOOK_ENUM) LS_DNS_HOOK_MAX = 5 };
#undef LS_DNS_HOOK_ENUM

/* What became of a packet to one of our addresses and ports. Up to RATE_DROP it ended here; the others went up, untouched. */
#define LS_DNS_RESULTS(X)                                                                          \
	X(HIT, 0, "hit", "answered with records")                                                  \
	X(NODATA, 1, "nodata", "answered: the name has no such record")                            \
	X(NXDOMAIN, 2, "nxdomain", "answered: no such name")                                       \
	X(CACHED, 3, "cached", "answered with a forwarded answer kept before")                     \
	X(REFUSED, 4, "refused", "answered: refused, by access list or zone")                      \
	X(SLIP, 5, "slip", "over the rate: answered truncated")                                    \
	X(RATE_DROP, 6, "rate_drop", "over the rate: dropped")                                     \
	X(UP_OFF, 7, "up_off", "kernel answers are switched off")                                  \
	X(UP_PACKET, 8, "up_packet", "fragment, damaged header, odd source or length")             \
	X(UP_RESPONSE, 9, "up_response", "not a question")                                         \
	X(UP_HEADER, 10, "up_header", "opcode, TC or section counts are not those of a plain question") \
	X(UP_NAME_FORM, 11, "up_name_form", "name malformed, or with a zero octet")                \
	X(UP_CLASS, 12, "up_class", "class is not IN")                                             \
	X(UP_TYPE, 13, "up_type", "ANY, AXFR and other types the process answers")                 \
	X(UP_EDNS, 14, "up_edns", "EDNS version or options the kernel does not know")              \
	X(UP_STAR, 15, "up_star", "name with a label that begins with *")                          \
	X(UP_NO_VIEW, 16, "up_no_view", "no zone and no upstream for the name")                    \
	X(UP_ZONE, 17, "up_zone", "zone is not complete in the kernel")                            \
	X(UP_NAME, 18, "up_name", "name or type that the process answers")                         \
	X(UP_COLLISION, 19, "up_collision", "two names have one hash")                             \
	X(UP_MISS, 20, "up_miss", "forwarded name that is not kept")                               \
	X(UP_EXPIRED, 21, "up_expired", "forwarded answer about to end")                           \
	X(UP_LARGE, 22, "up_large", "answer larger than the client or the kernel allows")          \
	X(UP_NO_ROOM, 23, "up_no_room", "packet could not be made longer")                         \
	X(UP_DNSSEC, 24, "up_dnssec", "DNSSEC data of a forwarded name wanted")
#define LS_DNS_RESULT_ENUM(name, num, label, text) LS_DNS_##name = num,
enum ls_dns_result { LS_DNS_RESULTS(LS_DNS_RESULT_ENUM) LS_DNS_RESULT_MAX = 25 };
#undef LS_DNS_RESULT_ENUM
#define LS_DNS_RESULT_SLOTS 32
/* Key of ls_dns_stats (__u64 packets, per CPU): hook * LS_DNS_RESULT_SLOTS + result. */

/* Sample in ls_events, sent while ls_ctl.events asks for LS_EVENT_DNS. Begins like struct ls_event. */
#define LS_DNS_EVENT_NAME 96
struct ls_dns_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u8 type;     /* LS_EVENT_DNS */
	__u8 hook;     /* enum ls_dns_hook */
	__u8 result;   /* enum ls_dns_result */
	__u8 rcode;    /* of the answer, 0 when it went up */
	__u32 ifindex;
	__be32 src_be[4];
	__be32 dst_be[4];
	__be16 sport_be;
	__be16 dport_be;
	__be16 qtype_be;
	__u8 service;
	__u8 name_octets; /* of the whole name; 0: not read */
	__u8 name[LS_DNS_EVENT_NAME]; /* folded wire form, cut */
};
LS_ABI_ASSERT(sizeof(struct ls_dns_event) == 152);

/* --- the hash, one for programs and controller --- */

/* `words` is the key padded with zeros to a multiple of 8 octets. Multiplication by a secret odd number and xor-shift: crafted
 * names cannot be made to collide without knowing the key. */
static inline __attribute__((always_inline)) __u64 ls_dns_hash_begin(const __u64 key[2], __u32 space, __u16 aux)
{
	return (key[0] ^ ((__u64)space << 32 | aux)) * key[1];
}
static inline __attribute__((always_inline)) __u64 ls_dns_hash_word(__u64 h, __u64 word, __u64 key1)
{
	h = (h ^ word) * key1;
	return h ^ (h >> 32);
}
/* `octets`: length of the key. */
static inline __attribute__((always_inline)) __u64 ls_dns_hash_end(__u64 h, __u32 octets, __u64 key1)
{
	h = (h ^ octets) * key1;
	h ^= h >> 29;
	h *= 0xd6e8feb86659fd93ull;
	return h ^ (h >> 32);
}
static inline __attribute__((always_inline)) __u32 ls_dns_bucket1(__u64 h, __u32 mask)
{
	return (__u32)h & mask;
}
/* Follows from the first bucket and the tag. Never the same bucket where there are at least two. */
static inline __attribute__((always_inline)) __u32 ls_dns_bucket2(__u64 h, __u32 mask)
{
	return ((__u32)h ^ ((__u32)(h >> 32) * 0x5bd1e995u | 1)) & mask;
}

#endif
