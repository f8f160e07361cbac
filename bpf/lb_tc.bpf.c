// SPDX-License-Identifier: Dual BSD/GPL
#include "lib/maps.h"

#include <linux/pkt_cls.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define LS_TC_PROGRAM(name)                   \
	SEC("tc")                             \
	int name(struct __sk_buff *skb)       \
	{                                     \
		(void)skb;                    \
		return TC_ACT_UNSPEC;         \
	}

LS_TC_PROGRAM(ls_port_in)
LS_TC_PROGRAM(ls_port_out)
LS_TC_PROGRAM(ls_uplink_in)
LS_TC_PROGRAM(ls_uplink_out)
LS_TC_PROGRAM(ls_lo)
