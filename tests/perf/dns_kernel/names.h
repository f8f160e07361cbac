/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_PERF_DNS_KERNEL_NAMES_H
#define LS_PERF_DNS_KERNEL_NAMES_H
/*
 * What the programs of the benchmark and its C++ agree on. Names have a number: `task-abcdef.marathon.mesos`, six letters of four
 * bits each, its address is 10.0.0.0 + the number. `_srv-abcdef...` has an SRV record that points to it, `none-abcdef...` does not exist.
 * The letters are at one place in all questions, so a program makes any question from a template and a number.
 */
#include <linux/types.h>

#define DK_NAME_AT (14 + 20 + 8 + 12)  /* of an IPv4 frame */
#define DK_LETTERS_AT (DK_NAME_AT + 6) /* even, so that they are three whole words of the checksum */
#define DK_LETTERS 6
#define DK_NAME_OCTETS 28
#define DK_FIRST_ADDRESS 0x0a000000u
#define DK_FRAME_MAX 128

struct dk_question {
	__u32 octets;      /* of the whole frame */
	__u32 sum;         /* of the UDP checksum with letters `aaaaaa` and id, source port 0; not folded */
	__u8 frame[DK_FRAME_MAX];
};

/* Sums are of words as they are in memory. */
static inline __attribute__((always_inline)) __u16 dk_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* The letters of a number, beyond `a`: three words as they are in memory, each below 0x1010 so that they can be added. */
static inline __attribute__((always_inline)) __u16 dk_word(__u32 number, __u32 i)
{
	__u32 two = number >> (16 - 8 * i);

	return (__u16)((two >> 4 & 15) | (two & 15) << 8); /* little endian: the first letter is the low octet */
}

#endif
