// SPDX-License-Identifier: Dual BSD/GPL
#include "lib/maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define LS_SOCK_PROGRAM(section, name)           \
	SEC(section)                             \
	int name(struct bpf_sock_addr *ctx)      \
	{                                        \
		(void)ctx;                       \
		return 1;                        \
	}

LS_SOCK_PROGRAM("cgroup/connect4", ls_connect4)
LS_SOCK_PROGRAM("cgroup/connect6", ls_connect6)
LS_SOCK_PROGRAM("cgroup/sendmsg4", ls_sendmsg4)
LS_SOCK_PROGRAM("cgroup/sendmsg6", ls_sendmsg6)
LS_SOCK_PROGRAM("cgroup/recvmsg4", ls_recvmsg4)
LS_SOCK_PROGRAM("cgroup/recvmsg6", ls_recvmsg6)
LS_SOCK_PROGRAM("cgroup/getpeername4", ls_getpeername4)
LS_SOCK_PROGRAM("cgroup/getpeername6", ls_getpeername6)
