#pragma once
// What overlay_probe.bpf.c is told and tells.
#include <linux/types.h>

struct ls_probe {
	__u32 outer_source; /* in: the other end of the tunnel a packet came through, host order; 0: it came through none */
	__u32 vni;	    /* in and out */
	__u32 tc_index;	    /* in and out */
	__u32 remote;	    /* out: outer destination, host order; 0: no key was set */
	__u32 local;	    /* out: outer source */
	__u32 redirect;	    /* out: device, 0: none */
	__u32 peer;	    /* out: redirected with bpf_redirect_peer */
	__u32 peers;	    /* in: of how many one is chosen for each packet, probe_cost */
};
