/* SPDX-License-Identifier: Dual BSD/GPL */
#ifndef LS_LIB_OVERLAY_H
#define LS_LIB_OVERLAY_H
/*
 * What the hooks of the overlay share: reading a packet's addresses, whose an address is, and the two ways on: into the tunnel
 * and to a container's device. Layout and order of changes: abi/overlay.h. lib/overlay_path.h has the decisions.
 */
#include "lib/common.h"
#include "lib/drop.h"

/* Set in skb->tc_index of a packet that is redirected to the VTEP with its tunnel key: ls_ovl_out has nothing to add. */
#define LS_OVL_SENT 0x4c4f

struct ls_ovl_pkt {
	struct ls_tuple t; /* addresses, protocol and family; no ports */
	__u32 len;	   /* of one IP packet as the next link will see it */
	__u8 ttl;
	__u8 plain;    /* IPv4 without options, IPv6 */
	__u8 may_split; /* IPv4 without DF */
	__u8 pad;
};

static __always_inline void ls_ovl_count(__u32 hook, __u32 result, __u32 bytes)
{
	__u32 key = hook * LS_OVL_RESULT_MAX + result;
	struct ls_stat *s = bpf_map_lookup_elem(&ls_ovl_stats, &key);

	if (s) {
		s->packets++;
		s->bytes += bytes;
	}
}

static __always_inline int ls_ovl_to_stack(struct __sk_buff *skb, __u32 hook)
{
	ls_ovl_count(hook, LS_OVL_STACK, skb->len);
	return TC_ACT_UNSPEC;
}

static __always_inline struct ls_ovl_conf *ls_ovl_config(void)
{
	__u32 zero = 0;
	struct ls_ovl_conf *conf = bpf_map_lookup_elem(&ls_ovl_conf, &zero);

	return conf && (conf->flags & LS_OVL_ENABLED) ? conf : NULL;
}

/* Length of one segment of a packet that the device is to cut; 0: not known, such packets are taken as fitting. */
static __always_inline __u32 ls_ovl_segment(struct __sk_buff *skb, __u32 ip_header, __u8 proto)
{
	__u8 doff;

	if (proto == IPPROTO_UDP)
		return ip_header + sizeof(struct udphdr) + skb->gso_size;
	if (proto != IPPROTO_TCP || bpf_skb_load_bytes(skb, ETH_HLEN + ip_header + 12, &doff, 1))
		return 0;
	return ip_header + (doff >> 4) * 4 + skb->gso_size;
}

/* False: not IP, in a VLAN, cut short, or of lengths that disagree. */
static __always_inline bool ls_ovl_read(struct __sk_buff *skb, struct ls_ovl_pkt *p)
{
	bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	__u32 header = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr), total;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if ((!v6 && skb->protocol != bpf_htons(ETH_P_IP)) || skb->vlan_present)
		return false;
	if (data + ETH_HLEN + sizeof(struct ipv6hdr) > end) {
		bpf_skb_pull_data(skb, skb->len < 64 ? skb->len : 64);
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	p->t.v6 = v6;
	if (v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || ip->version != 6 ||
		    (!skb->gso_size && ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len) > skb->len))
			return false;
		memcpy(p->t.src, &ip->saddr, 16);
		memcpy(p->t.dst, &ip->daddr, 16);
		p->t.proto = ip->nexthdr;
		p->ttl = ip->hop_limit;
		p->plain = 1;
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
			return false;
		total = bpf_ntohs(ip->tot_len);
		if (!skb->gso_size && (total < (__u32)ip->ihl * 4 || ETH_HLEN + total > skb->len))
			return false;
		p->t.src[3] = ip->saddr;
		p->t.dst[3] = ip->daddr;
		p->t.proto = ip->protocol;
		p->ttl = ip->ttl;
		p->plain = ip->ihl == 5;
		p->may_split = !(ip->frag_off & bpf_htons(0x4000));
		header = ip->ihl * 4;
	}
	p->len = skb->len - ETH_HLEN;
	if (skb->gso_size)
		p->len = ls_ovl_segment(skb, header, p->t.proto);
	return true;
}

static __always_inline bool ls_ovl_multicast(const __be32 *addr, bool v6)
{
	if (v6)
		return (addr[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
	return (addr[3] & bpf_htonl(0xe0000000)) == bpf_htonl(0xe0000000); /* and what is reserved, and broadcast */
}

/* Addresses a container may use to find its own: unspecified, and IPv6 link-local. They stay on its link. */
static __always_inline bool ls_ovl_link_only(const __be32 *addr, bool v6)
{
	if (!v6)
		return !addr[3];
	return (addr[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) || !(addr[0] | addr[1] | addr[2] | addr[3]);
}

/* What the look-ups below return: the owner's word, 0 for nobody's, and in four of its free bits the flags of the pool, 0 for none. */
#define LS_OVL_WHOSE(owner, flags) ((owner) | (__u64)((flags) & LS_OVL_POOL_FLAGS) << 4)
#define LS_OVL_POOL_OF(whose) ((__u32)(whose) >> 4 & LS_OVL_POOL_FLAGS)

static __always_inline bool ls_ovl_is_owned(__u64 whose)
{
	return whose & LS_OVL_OWNED;
}

static __always_inline bool ls_ovl_is_self(__u64 whose)
{
	return whose & LS_OVL_SELF;
}

static __always_inline __u64 ls_ovl_at(__u32 block)
{
	struct ls_ovl_owner *owner = bpf_map_lookup_elem(&ls_ovl_block, &block);

	return owner ? READ_ONCE(owner->word) : 0;
}

static __always_inline __u64 ls_ovl_exact(const struct ls_ovl_key *key)
{
	struct ls_ovl_owner *owner = bpf_map_lookup_elem(&ls_ovl_hash, key);

	return owner ? READ_ONCE(owner->word) : 0;
}

static __always_inline __u64 ls_ovl_longest(const __be32 *addr)
{
	struct ls_ovl_net_key key = {.prefix = 128};
	struct ls_ovl_owner *owner;

	memcpy(key.addr_be, addr, 16);
	owner = bpf_map_lookup_elem(&ls_ovl_net, &key);
	return owner ? READ_ONCE(owner->word) : 0;
}

/* Whose an IPv4 address is. A function of its own, so that its paths are verified once. */
__noinline __u64 ls_ovl_whose4(__u32 addr)
{
	struct ls_ovl_conf *conf = ls_ovl_config();
	struct ls_ovl_key key = {.addr_be = {0, 0, bpf_htonl(0xffff), addr}, .prefix = 128};
	__u32 i, flags;
	__u64 word;

	if (!conf)
		return 0;
	for (i = 0; i < LS_OVL_POOLS; i++) {
		struct ls_ovl_pool *pool = &conf->pool4[i];

		if (i >= conf->pools4)
			break;
		flags = READ_ONCE(pool->flags);
		barrier();
		if (!flags || (addr & pool->mask_be[3]) != pool->net_be[3])
			continue;
		if (flags & LS_OVL_POOL_ARRAY) {
			word = ls_ovl_at(pool->first + (bpf_ntohl(addr) >> (pool->shift & 31) & pool->last));
		} else {
			key.addr_be[3] = addr & pool->share_be[3];
			key.prefix = pool->share;
			word = ls_ovl_exact(&key);
		}
		if (!word && (flags & LS_OVL_POOL_MIXED)) {
			key.addr_be[3] = addr;
			word = ls_ovl_longest(key.addr_be);
		}
		return LS_OVL_WHOSE(word, flags);
	}
	return LS_OVL_WHOSE(ls_ovl_exact(&key), 0);
}

/* Low bits of an IPv6 address without its last `shift`. */
static __always_inline __u32 ls_ovl_block6(const __be32 *a, __u32 shift)
{
	__u64 high = (__u64)bpf_ntohl(a[0]) << 32 | bpf_ntohl(a[1]), low = (__u64)bpf_ntohl(a[2]) << 32 | bpf_ntohl(a[3]);

	if (shift >= 64)
		return (__u32)(high >> (shift & 63));
	return (__u32)(shift ? low >> shift | high << (64 - shift) : low);
}

/* The same for an IPv6 address. */
__noinline __u64 ls_ovl_whose6(const struct ls_ovl_addr *addr)
{
	struct ls_ovl_conf *conf = ls_ovl_config();
	struct ls_ovl_key key = {.prefix = 128};
	__u32 i, flags;
	__u64 word;

	if (!conf || !addr)
		return 0;
	for (i = 0; i < LS_OVL_POOLS; i++) {
		struct ls_ovl_pool *pool = &conf->pool6[i];
		const __be32 *a = addr->addr_be;

		if (i >= conf->pools6)
			break;
		flags = READ_ONCE(pool->flags);
		barrier();
		if (!flags || (a[0] & pool->mask_be[0]) != pool->net_be[0] || (a[1] & pool->mask_be[1]) != pool->net_be[1] ||
		    (a[2] & pool->mask_be[2]) != pool->net_be[2] || (a[3] & pool->mask_be[3]) != pool->net_be[3])
			continue;
		if (flags & LS_OVL_POOL_ARRAY) {
			word = ls_ovl_at(pool->first + (ls_ovl_block6(a, pool->shift & 127) & pool->last));
		} else {
			key.addr_be[0] = a[0] & pool->share_be[0];
			key.addr_be[1] = a[1] & pool->share_be[1];
			key.addr_be[2] = a[2] & pool->share_be[2];
			key.addr_be[3] = a[3] & pool->share_be[3];
			key.prefix = pool->share;
			word = ls_ovl_exact(&key);
		}
		if (!word && (flags & LS_OVL_POOL_MIXED))
			word = ls_ovl_longest(a);
		return LS_OVL_WHOSE(word, flags);
	}
	memcpy(key.addr_be, addr->addr_be, 16);
	return LS_OVL_WHOSE(ls_ovl_exact(&key), 0);
}

static __always_inline __u64 ls_ovl_whose(const __be32 *addr, bool v6)
{
	struct ls_ovl_addr a;

	if (!v6)
		return ls_ovl_whose4(addr[3]);
	memcpy(a.addr_be, addr, 16);
	return ls_ovl_whose6(&a);
}

struct ls_ovl_to {
	__u32 node; /* host order */
	__u8 mac[6];
	__u8 pad[2];
};

/* False: the owner is nobody, or this node. */
static __always_inline bool ls_ovl_peer_of(const struct ls_ovl_conf *conf, __u64 whose, struct ls_ovl_to *to)
{
	__u32 mac = LS_OVL_OWNER_MAC(whose);

	if (!ls_ovl_is_owned(whose) || ls_ovl_is_self(whose))
		return false;
	to->node = LS_OVL_OWNER_NODE(whose);
	to->mac[0] = conf->oui[0];
	to->mac[1] = conf->oui[1];
	to->mac[2] = conf->oui[2];
	to->mac[3] = mac >> 16;
	to->mac[4] = mac >> 8;
	to->mac[5] = mac;
	return true;
}

static __always_inline struct ls_ovl_local *ls_ovl_local_of(const __be32 *addr, bool v6)
{
	struct ls_ovl_addr key;

	ls_addr_wide(key.addr_be, addr, v6);
	return bpf_map_lookup_elem(&ls_ovl_local, &key);
}

/* Says where the tunnel leads. False: the kernel refused; the packet is as it was. */
static __always_inline bool ls_ovl_set_key(struct __sk_buff *skb, const struct ls_ovl_conf *conf, const struct ls_ovl_to *to)
{
	struct bpf_tunnel_key key = {};

	key.tunnel_id = conf->vni;
	key.tunnel_ttl = 64;
	key.remote_ipv4 = to->node;
	key.local_ipv4 = bpf_ntohl(conf->node_be[3]);
	return !bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX);
}

/* MACs, and one hop less where this is a step of forwarding. False: the kernel refused. */
static __always_inline bool ls_ovl_write(struct __sk_buff *skb, const struct ls_ovl_pkt *p, const __u8 *dmac, const __u8 *smac,
					 bool hop)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;

	if (hop && p->t.v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;
		__u16 before, after;

		if ((void *)(ip + 1) > end)
			return false;
		before = bpf_htons((__u16)ip->nexthdr << 8 | ip->hop_limit);
		ip->hop_limit--;
		after = bpf_htons((__u16)ip->nexthdr << 8 | ip->hop_limit);
		/* No header checksum makes up for it: a sum that the NIC made has to take it in. Others are not changed by this. */
		bpf_csum_update(skb, (__u32)(__u16)~before + after);
	} else if (hop) {
		struct iphdr *ip = data + ETH_HLEN;
		__u32 check;

		if ((void *)(ip + 1) > end)
			return false;
		check = ip->check + bpf_htons(0x0100); /* RFC 1624 */
		ip->check = (__u16)(check + (check >= 0xffff));
		ip->ttl--;
	} else if ((void *)(eth + 1) > end) {
		return false;
	}
	memcpy(eth->h_dest, dmac, 6);
	memcpy(eth->h_source, smac, 6);
	return true;
}

static __always_inline bool ls_ovl_same_mac(const __u8 *a, const __u8 *b)
{
	return *(__u16 *)a == *(__u16 *)b && *(__u16 *)(a + 2) == *(__u16 *)(b + 2) && *(__u16 *)(a + 4) == *(__u16 *)(b + 4);
}

#endif
