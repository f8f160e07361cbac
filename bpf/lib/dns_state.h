/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_DNS_STATE_H
#define LS_LIB_DNS_STATE_H
/* What is known of one question while it is being answered. Numbers in host order unless their names say otherwise. */
#include <linux/types.h>

#include "loadstar/abi/dns.h"

struct ls_dns_state {
	/* the packet */
	__u32 frame;       /* XDP: octets of the whole frame */
	__u32 l3;          /* offset of the IP header */
	__u32 dns;         /* offset of the message */
	__u32 message;     /* octets of the question's message */
	__u32 v6;
	__be32 src[4];     /* IPv4 in word 3, words 0-2 as ls_addr_wide() makes them */
	__be32 dst[4];
	__be16 sport;
	__be16 dport;
	__u16 check;       /* UDP's, as it came */
	__u16 tail_sum;    /* of what stood behind the question: an OPT without options; 0 with options */
	/* the question */
	__be16 flags_be;
	__u16 id;
	__be16 type_be;
	__u16 type;
	__u8 service;
	__u8 pad8;
	__u16 name_octets; /* root included */
	__u16 question_end;
	__u16 apex;        /* where the view's suffix begins in the name */
	/* EDNS */
	__u8 edns;
	__u8 cookie;       /* 0 none, 1 client's, 2 both */
	__u8 cookie_valid;
	__u8 fresh;        /* the server cookie goes back as it is */
	__u16 udp_size;
	__be16 edns_flags_be;
	__u64 client_cookie;
	__u64 server_cookie[2];
	/* the view */
	__u32 zone;
	__u32 ready;
	__u32 view_flags;
	__u32 ttl;
	/* the answer */
	__u32 pos;         /* octets of the message so far */
	__u16 answers;
	__u16 authorities;
	__u16 additionals;
	__be16 out_flags_be; /* AA, RA, TC, rcode */
	__u32 limit;       /* the whole answer may have so many octets */
	__u32 targets;     /* different ones of SRV records, in the order in which they stand */
	__u32 pad;
	__u32 seen;        /* bit n: target number n of the set is among them */
	__u16 target_at[LS_DNS_SRV_MAX];     /* where each stands in the message */
	__u16 target_record[LS_DNS_SRV_MAX]; /* offset of its struct ls_dns_srv in the name's entry */
};

#endif
