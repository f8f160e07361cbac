// SPDX-License-Identifier: Dual BSD/GPL
/*
 * DNS answered on the NIC, before the packet becomes an skb: questions from the network. lib/dns_answer.h says how.
 */
#include "lib/dns_packet.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int ls_dns_xdp(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct ls_dns_conf *conf = bpf_map_lookup_elem(&ls_dns_conf, &zero);
	struct ls_dns_work *w = bpf_map_lookup_elem(&ls_dns_work, &zero);
	struct ls_ctl *ctl;
	int result;

	if (!conf || !w)
		return XDP_PASS;
	result = ls_dns_take(ctx, true, false, w, conf);
	if (result == LS_DNS_RESULT_MAX)
		return XDP_PASS;
	if (!result)
		result = ls_dns_read_query(ctx, true, w) ?: ls_dns_answer(w);
	if (result <= LS_DNS_SLIP && !ls_dns_send_xdp(ctx, w))
		result = LS_DNS_UP_NO_ROOM;
	ls_dns_count(LS_DNS_HOOK_XDP, result);
	ctl = ls_control();
	if (ctl && unlikely(ctl->events & (1u << LS_EVENT_DNS)))
		ls_dns_emit(w, LS_DNS_HOOK_XDP, result, ctx->ingress_ifindex);
	if (result == LS_DNS_RATE_DROP)
		return ls_drop_question(true);
	return result <= LS_DNS_SLIP ? XDP_TX : XDP_PASS;
}
