// SPDX-License-Identifier: Dual BSD/GPL
/*
 * Packets for vip.py's forwarding rows. `make_packet` runs as XDP on live frames and turns each into a TCP packet of a flow,
 * which the stack then receives on the client's device of the node; `sink` counts at the backend's own device what arrives,
 * by backend, and ends it there, so that no socket is part of the cost.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PORTS 10
#define PAYLOAD 12 /* with it the frame has 66 bytes */
#define SOURCES_BE bpf_htonl(0x0a630000) /* 10.99.0.0: flow n comes from 10.99.(n >> 14), port 1024 + its low 14 bits */

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by the program that runs it, before each run. */
__u32 next = 0;    /* flow of the next packet */
__u32 first = 0;   /* the flows of a run: first .. first + flows - 1, around */
__u32 flows = 1;
__u32 syn = 0;
__u32 drop = 0;    /* the generator alone */
__be32 dst_be = 0;
__u32 dport = 80;  /* of backend 0 when there are several */
__u32 dports = 1;
__u8 dmac[6] = {};
__be32 backend_be = 0;
__u32 backend_port = 0;

__u64 arrived[PORTS + 1] = {}; /* by backend; the last: packets of ours for nobody */

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

SEC("xdp")
int make_packet(struct xdp_md *ctx)
{
	struct frame *f = (void *)(long)ctx->data;
	__u32 flow = next;
	__u16 port;
	__u64 sum;

	if ((void *)(f + 1) + PAYLOAD > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	next = flow + 1 == first + flows ? first : flow + 1;
	port = dport;
	if (dports > 1)
		port += (flow ^ flow >> 4) % dports;

	/* The whole frame is written: the last user of the page has changed it. */
	__builtin_memcpy(f->eth.h_dest, dmac, 6);
	__builtin_memset(f->eth.h_source, 2, 6);
	f->eth.h_proto = bpf_htons(ETH_P_IP);
	__builtin_memset(&f->ip, 0, sizeof(f->ip) + sizeof(f->tcp));
	f->ip.version = 4;
	f->ip.ihl = 5;
	f->ip.tot_len = bpf_htons(sizeof(f->ip) + sizeof(f->tcp) + PAYLOAD);
	f->ip.ttl = 64;
	f->ip.protocol = IPPROTO_TCP;
	f->ip.saddr = SOURCES_BE + bpf_htonl(flow >> 14);
	f->ip.daddr = dst_be;
	sum = (__u64)f->ip.saddr + f->ip.daddr;
	f->ip.check = fold(sum + bpf_htons(0x4500) + f->ip.tot_len + bpf_htons(64 << 8 | IPPROTO_TCP));
	f->tcp.source = bpf_htons(1024 + (flow & 0x3fff));
	f->tcp.dest = bpf_htons(port);
	f->tcp.doff = 5;
	f->tcp.syn = syn;
	f->tcp.ack = !syn;
	f->tcp.window = bpf_htons(1000);
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(f->tcp) + PAYLOAD);
	sum += f->tcp.source + f->tcp.dest + f->tcp.window + bpf_htons(syn ? 0x5002 : 0x5010);
	f->tcp.check = fold(sum); /* the payload is zero */
	__builtin_memset(f + 1, 0, PAYLOAD);
	return drop ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int sink(struct __sk_buff *skb)
{
	struct frame *f = (void *)(long)skb->data;
	__u32 i;

	if ((void *)(f + 1) > (void *)(long)skb->data_end || f->eth.h_proto != bpf_htons(ETH_P_IP) ||
	    (f->ip.saddr & bpf_htonl(0xffff0000)) != SOURCES_BE)
		return TC_ACT_OK;
	i = (__u32)bpf_ntohs(f->tcp.dest) - backend_port;
	if (f->ip.daddr != backend_be || i >= PORTS)
		i = PORTS;
	__sync_fetch_and_add(&arrived[i], 1);
	return TC_ACT_SHOT;
}
