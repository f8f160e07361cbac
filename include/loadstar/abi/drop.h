/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LOADSTAR_ABI_DROP_H
#define LOADSTAR_ABI_DROP_H
/*
 * One list of reasons, one of hooks, one of verdicts: the enums, the texts of `loadstar monitor` and the metric labels
 * all come from here. Numbers are never reused or renumbered. X(NAME, number, label, text)
 */
#include "loadstar/abi/base.h"

#define LS_DROP_REASONS(X)                                                                                       \
	X(NONE, 0, "none", "not dropped")                                                                        \
	X(NO_BACKEND, 1, "no_backend", "service has no backend that takes new flows; answered with RST or ICMP") \
	X(BACKEND_DEAD, 2, "backend_dead", "flow of a backend that is gone; TCP answered with RST")              \
	X(WRITE_FAILED, 3, "write_failed", "the kernel refused to rewrite the packet")                           \
	X(REPLY_FAILED, 4, "reply_failed", "RST or ICMP answer could not be built")                              \
	X(NOT_FROM_OUTSIDE, 5, "not_from_outside", "service address dialled from an uplink")                     \
	X(SERVICE_BUSY, 6, "service_busy", "service tables changed three times under one look-up")               \
	X(SOCK_REFUSED, 7, "sock_refused", "connect or send to a service without backend refused")               \
	X(DNS_RATE, 8, "dns_rate", "DNS question over the rate limit")                                           \
	X(OVL_VNI, 9, "overlay_vni", "packet of another VXLAN network")                                          \
	X(OVL_SPOOF, 10, "overlay_spoof", "inner source address is not its sender's")                            \
	X(OVL_UNALLOCATED, 11, "overlay_unallocated", "address of a pool, or a node, that nobody has")           \
	X(OVL_NOT_HERE, 12, "overlay_not_here", "overlay packet at a node that its destination is not on")       \
	X(OVL_NOT_UNICAST, 13, "overlay_not_unicast", "the overlay carries unicast IP only")

#define LS_DROP_ENUM(name, num, label, text) LS_DROP_##name = num,
enum ls_drop_reason { LS_DROP_REASONS(LS_DROP_ENUM) LS_DROP_MAX = 14 };
#undef LS_DROP_ENUM
#define LS_DROP_SLOTS 32 /* reasons a hook has room for in ls_drops */

#define LS_HOOKS(X)                                                        \
	X(NONE, 0, "none", "no hook")                                      \
	X(PORT_IN, 1, "port_in", "tc, packets a container sent")           \
	X(PORT_OUT, 2, "port_out", "tc, packets to a container")           \
	X(UPLINK_IN, 3, "uplink_in", "tc, packets from the network")       \
	X(UPLINK_OUT, 4, "uplink_out", "tc, packets to the network")       \
	X(LO, 5, "lo", "tc, loopback egress")                              \
	X(CONNECT, 6, "connect", "cgroup, connect")                        \
	X(SENDMSG, 7, "sendmsg", "cgroup, sendmsg of an unconnected socket") \
	X(DNS, 8, "dns", "XDP and tc, DNS answers; ls_dns_stats has more") \
	X(OVL_OUT, 9, "overlay_out", "tc, egress of the VTEP")             \
	X(OVL_IN, 10, "overlay_in", "tc, ingress of the VTEP")             \
	X(OVL_PORT, 11, "overlay_port", "tc, packets an overlay container sent")

#define LS_HOOK_ENUM(name, num, label, text) LS_HOOK_##name = num,
enum ls_hook { LS_HOOKS(LS_HOOK_ENUM) LS_HOOK_MAX = 12 };
#undef LS_HOOK_ENUM

/* What became of a packet or a call; one counter update each. */
#define LS_VERDICTS(X)                                                               \
	X(PASS, 0, "pass", "not ours, untouched")                                    \
	X(FORWARD, 1, "forward", "open flow, translated to its backend")             \
	X(REVERSE, 2, "reverse", "reply, translated back to the service address")    \
	X(NEW, 3, "new", "new flow, backend chosen")                                 \
	X(STATELESS, 4, "stateless", "new flow, flow table full, chosen by hash alone") \
	X(ICMP, 5, "icmp", "ICMP error, translated inside and out")                  \
	X(REPLY, 6, "reply", "answered here with RST or ICMP")                       \
	X(DROP, 7, "drop", "dropped, see the reasons")

#define LS_VERDICT_ENUM(name, num, label, text) LS_VERDICT_##name = num,
enum ls_verdict { LS_VERDICTS(LS_VERDICT_ENUM) LS_VERDICT_MAX = 8 };
#undef LS_VERDICT_ENUM

/* Key of ls_stats (per CPU): hook * LS_VERDICT_MAX + verdict. */
struct ls_stat {
	__u64 packets;
	__u64 bytes;
};
LS_ABI_ASSERT(sizeof(struct ls_stat) == 16);

#endif
