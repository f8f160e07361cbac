/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_PERF_DNS_KERNEL_BPF_BASE_H
#define LS_PERF_DNS_KERNEL_BPF_BASE_H
/* What programs of the benchmark include: as bpf/lib/common.h, without the maps of the product. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "loadstar/abi/dns.h"
#include "names.h"

#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))
#define memcpy __builtin_memcpy

#endif
