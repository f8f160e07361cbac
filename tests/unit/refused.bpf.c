// SPDX-License-Identifier: Dual BSD/GPL
/* A program the verifier must refuse, after so many branches that its log has more than the lines an error shows. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int ls_good(struct __sk_buff *skb)
{
	return skb->len ? 0 : -1;
}

SEC("tc")
int ls_refused(struct __sk_buff *skb)
{
	__u32 sum = 0;
#pragma unroll
	for (int i = 0; i < 64; i++)
		sum += bpf_get_prandom_u32();
	/* no check against data_end */
	return *((__u8 *)(long)skb->data + (sum & 1));
}
