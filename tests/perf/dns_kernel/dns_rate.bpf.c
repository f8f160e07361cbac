// SPDX-License-Identifier: Dual BSD/GPL
/*
 * Questions and what becomes of the answers. `make` runs as XDP on live frames at the client's device and sends a question out of it;
 * `sink_xdp` or `sink_tc` at the same device checks each answer, counts it and ends it there. Not more than `window` questions are
 * under way: with more, a run of `make` ends without a packet.
 */
#include "bpf_base.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set before a run. */
struct dk_question question;
__u32 names = 1, step = 1, window = 1;
__u32 checksum;
__be16 server_port_be;
__be32 first_address_be;
__u32 reflected; /* the answers are reflected questions: their record is not looked at */

/* Of the generator, on one CPU. */
__u32 at, turn, salt;
__u64 sent, lost, last_answers, waiting_since_ns;
/* Of the sink, on one CPU at a time, which may be another. */
__u64 answers __attribute__((aligned(64))), wrong;
__u32 first_wrong;

#define LOST_NS 200000000 /* nothing for so long: what is under way is lost. A server may wait for its CPU for a while */

static __always_inline __u16 id_of(__u16 port_be)
{
	return (__u16)(port_be * 40503u + salt);
}

SEC("xdp")
int make(struct xdp_md *ctx)
{
	__u32 octets = question.octets, i;
	__u64 done = READ_ONCE(answers);
	void *data, *end;
	struct iphdr *ip;
	__u16 *letters, *udp, port, id;
	__u64 sum;

	if ((__s64)(sent - lost - done) >= (__s64)window) {
		__u64 now = bpf_ktime_get_ns();

		if (done != last_answers || !waiting_since_ns) {
			last_answers = done;
			waiting_since_ns = now;
		} else if (now - waiting_since_ns > LOST_NS) {
			lost = sent - done;
			waiting_since_ns = now;
		}
		return XDP_DROP;
	}
	if (octets < 64 || octets > DK_FRAME_MAX ||
	    bpf_xdp_adjust_tail(ctx, (int)octets - (int)bpf_xdp_get_buff_len(ctx)) ||
	    bpf_xdp_store_bytes(ctx, 0, question.frame, octets))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	letters = data + DK_LETTERS_AT;
	udp = data + ETH_HLEN + sizeof(*ip);
	if (data + DK_LETTERS_AT + DK_LETTERS > end)
		return XDP_ABORTED;
	at += step;
	if (at >= names)
		at -= names;
	port = bpf_htons(10000 + (turn++ & 0x3fff));
	id = id_of(port);
	sum = question.sum + id + port;
	for (i = 0; i < 3; i++) {
		__u16 w = dk_word(at, i);

		letters[i] += w;
		sum += w;
	}
	udp[0] = port;
	udp[4] = id;
	udp[3] = checksum ? dk_fold(sum) : 0;
	sent++;
	return XDP_TX;
}

/* 0: none of ours. 1: right. Otherwise what is wrong. */
static __always_inline __u32 check(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip + 1);
	__be16 *dns = (void *)(udp + 1);
	__u8 *letters = data + DK_LETTERS_AT;
	/* Behind the question, which is as long as it was: name, type, class, TTL, length, address. */
	__u32 number = 0, i, record = DK_NAME_AT + DK_NAME_OCTETS + 4;
	__be32 *addr = data + record + 12;

	if ((void *)(dns + 6) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_UDP ||
	    udp->source != server_port_be)
		return 0;
	if (dns[0] != id_of(udp->dest))
		return 2;
	if ((dns[1] & bpf_htons(0x820f)) != bpf_htons(0x8000))
		return 3;
	if (dns[3] != bpf_htons(1))
		return 4;
	if (reflected)
		return 1;
	if ((void *)(addr + 1) > end)
		return 5;
	for (i = 0; i < DK_LETTERS; i++)
		number = number << 4 | (letters[i] - 'a');
	return *addr == bpf_htonl(bpf_ntohl(first_address_be) + number) ? 1 : 6;
}

static __always_inline bool count(void *data, void *end)
{
	__u32 what = check(data, end);

	if (!what)
		return false;
	if (what != 1) {
		wrong++;
		first_wrong = what;
	}
	WRITE_ONCE(answers, answers + 1);
	return true;
}

SEC("xdp")
int sink_xdp(struct xdp_md *ctx)
{
	return count((void *)(long)ctx->data, (void *)(long)ctx->data_end) ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int sink_tc(struct __sk_buff *skb)
{
	if (bpf_skb_pull_data(skb, skb->len < 128 ? skb->len : 128))
		return TC_ACT_OK;
	return count((void *)(long)skb->data, (void *)(long)skb->data_end) ? TC_ACT_SHOT : TC_ACT_OK;
}

/* The floor: a question becomes an answer of the same length without a look-up. */
SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip + 1);
	__be16 *dns = (void *)(udp + 1), port;
	__u8 mac[6];
	__be32 addr;

	if ((void *)(dns + 6) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_UDP ||
	    udp->dest != bpf_htons(53))
		return XDP_PASS;
	memcpy(mac, eth->h_dest, 6);
	memcpy(eth->h_dest, eth->h_source, 6);
	memcpy(eth->h_source, mac, 6);
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	port = udp->source;
	udp->source = udp->dest;
	udp->dest = port;
	udp->check = 0;
	dns[1] |= bpf_htons(0x8000);
	dns[3] = bpf_htons(1);
	return XDP_TX;
}
