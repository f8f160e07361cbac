// SPDX-License-Identifier: Dual BSD/GPL
/*
 * Around the program that is measured. The kernel's test run hands the packet of one run to the next, so `run` first makes it a
 * question again: its length, all octets from a template, then name, id, source port and checksum of the next number. It goes on to the program
 * by a tail call; with `empty` at its end it is the harness, whose time is taken off. Names come in an order without a pattern
 * that a cache could follow: a step that has no divisor in common with their number reaches each once.
 */
#include "bare.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set before a run. */
struct dk_question question;
__u32 names = 1, step = 1;
__u32 clients = 1; /* /24 prefixes the questions come from; a power of two */
__u32 checksum;
/* Of the run. */
__u32 at, turn;

#define DK_JUMP(map) struct {                \
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY); \
	__uint(max_entries, 1);              \
	__type(key, __u32);                  \
	__type(value, __u32);                \
} map SEC(".maps")
DK_JUMP(jump_xdp);
DK_JUMP(jump_tc);

static __always_inline bool vary(void *data, void *end)
{
	__u16 *letters = data + DK_LETTERS_AT, *udp = data + ETH_HLEN + sizeof(struct iphdr);
	struct iphdr *ip = data + ETH_HLEN;
	__u16 id = turn, port = bpf_htons(10000 + (turn & 0x3fff));
	__u32 net = bpf_htonl((turn & (clients - 1)) << 8);
	__u64 sum = question.sum + id + port + net;
	__u32 i;

	turn++;
	at += step;
	if (at >= names)
		at -= names;
	if (data + DK_LETTERS_AT + DK_LETTERS > end)
		return false;
	for (i = 0; i < 3; i++) {
		__u16 w = dk_word(at, i);

		letters[i] += w;
		sum += w;
	}
	udp[0] = port;
	udp[4] = id;
	udp[3] = checksum ? dk_fold(sum) : 0;
	ip->saddr += net;
	ip->check = dk_fold((__u64)(__u16)~ip->check + net);
	/* Reading the clock waits for all that went before. A packet from outside has no stores of a few octets under way either, which a
	 * load of eight has to wait for; and nothing of the program runs already while this does. */
	bpf_ktime_get_ns();
	return true;
}

static __always_inline bool restore_xdp(struct xdp_md *ctx)
{
	__u32 octets = question.octets;

	if (octets < 64 || octets > DK_FRAME_MAX ||
	    bpf_xdp_adjust_tail(ctx, (int)octets - (int)bpf_xdp_get_buff_len(ctx)) ||
	    bpf_xdp_store_bytes(ctx, 0, question.frame, octets))
		return false;
	return vary((void *)(long)ctx->data, (void *)(long)ctx->data_end);
}

static __always_inline bool restore_tc(struct __sk_buff *skb)
{
	__u32 octets = question.octets;

	if (octets < 64 || octets > DK_FRAME_MAX || bpf_skb_change_tail(skb, octets, 0) ||
	    bpf_skb_store_bytes(skb, 0, question.frame, octets, 0) || bpf_skb_pull_data(skb, octets))
		return false;
	return vary((void *)(long)skb->data, (void *)(long)skb->data_end);
}

SEC("xdp")
int xdp_empty(struct xdp_md *ctx)
{
	return ctx->data_end > ctx->data ? XDP_TX : XDP_DROP;
}

SEC("xdp")
int xdp_run(struct xdp_md *ctx)
{
	if (restore_xdp(ctx))
		bpf_tail_call_static(ctx, &jump_xdp, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int xdp_bare(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bare_value *found;
	int record = bare_look(data, end, &found);

	if (!record || bpf_xdp_adjust_tail(ctx, record + (int)sizeof(struct bare_record) - (int)bpf_xdp_get_buff_len(ctx)))
		return XDP_PASS;
	if (!bare_answer((void *)(long)ctx->data, (void *)(long)ctx->data_end, record, found))
		return XDP_ABORTED;
	return XDP_TX;
}

SEC("tc")
int tc_empty(struct __sk_buff *skb)
{
	return skb->len ? TC_ACT_REDIRECT : TC_ACT_SHOT;
}

SEC("tc")
int tc_run(struct __sk_buff *skb)
{
	if (restore_tc(skb))
		bpf_tail_call_static(skb, &jump_tc, 0);
	return TC_ACT_SHOT;
}

SEC("tc")
int tc_bare(struct __sk_buff *skb)
{
	struct bare_value *found;
	int record = bare_look((void *)(long)skb->data, (void *)(long)skb->data_end, &found);

	if (!record || bpf_skb_change_tail(skb, record + sizeof(struct bare_record), 0))
		return TC_ACT_UNSPEC;
	if (!bare_answer((void *)(long)skb->data, (void *)(long)skb->data_end, record, found))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}
