// SPDX-License-Identifier: Dual BSD/GPL
/*
 * The socket path: a local client's connect() or sendto() to a service is pointed at a backend before a packet exists, so
 * that established traffic costs nothing. The application goes on seeing the service: getpeername and the source of
 * received datagrams are turned back.
 *
 * A connected socket keeps what it needs in its own storage (gone with the socket). An unconnected UDP socket may talk to
 * many services: what it asked and got is in the LRU hash ls_sock_rev, keyed by the socket's cookie.
 */
#include "lib/drop.h"
#include "lib/portmap.h"
#include "lib/service.h"

/* Cookie of the daemon's own network namespace: host ports are addresses of that one only. 0: not known, host ports are left alone. */
const volatile __u64 ls_netns = 0;

#define ECONNREFUSED 111
#define REFUSE 0
#define GO_ON 1

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Address and port a program was given, as the maps hold them. IPv4-mapped IPv6 addresses are IPv4 here by themselves. */
static __always_inline void ls_ctx_key(struct bpf_sock_addr *ctx, struct ls_svc_key *key, bool v6)
{
	memset(key, 0, sizeof(*key));
	if (v6) {
		key->addr_be[0] = ctx->user_ip6[0];
		key->addr_be[1] = ctx->user_ip6[1];
		key->addr_be[2] = ctx->user_ip6[2];
		key->addr_be[3] = ctx->user_ip6[3];
	} else {
		key->addr_be[2] = bpf_htonl(0xffff);
		key->addr_be[3] = ctx->user_ip4;
	}
	key->port_be = (__be16)ctx->user_port;
	key->proto = ctx->protocol;
}

static __always_inline bool ls_ctx_set(struct bpf_sock_addr *ctx, const __be32 *addr, __be16 port, bool v6)
{
	bool v4_backend = !addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff);

	if (v6) {
		ctx->user_ip6[0] = addr[0];
		ctx->user_ip6[1] = addr[1];
		ctx->user_ip6[2] = addr[2];
		ctx->user_ip6[3] = addr[3];
	} else {
		if (!v4_backend)
			return false;
		ctx->user_ip4 = addr[3];
	}
	ctx->user_port = port;
	return true;
}

static __always_inline int ls_refuse(struct ls_svc_key *key, int hook)
{
	struct ls_tuple t = {};

	memcpy(t.dst, key->addr_be, 16);
	t.dport = key->port_be;
	t.proto = key->proto;
	t.v6 = 1; /* addresses are wide already */
	ls_count_drop(hook, LS_DROP_SOCK_REFUSED);
	ls_count(hook, LS_VERDICT_DROP, 0);
	LS_EMIT(&t, DROP, hook, LS_DROP_SOCK_REFUSED, 0, 0);
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

/* Chooses a backend: a random slot of the ring, on which backends of weight 1 have equal shares. NULL: none. */
static __always_inline struct ls_be *ls_sock_choose(struct ls_svc *svc, struct ls_sock_peer *peer)
{
	struct ls_be *be;

	peer->be = ls_ring_pick(svc, bpf_get_prandom_u32());
	be = peer->be ? bpf_map_lookup_elem(&ls_be, &peer->be) : NULL;
	if (!be)
		return NULL;
	peer->be_state = READ_ONCE(be->state);
	memcpy(peer->svc_addr_be, svc->key.addr_be, 16);
	memcpy(peer->be_addr_be, be->addr_be, 16);
	peer->svc_port_be = svc->key.port_be;
	peer->be_port_be = be->port_be;
	return be;
}

static __always_inline void ls_sock_counted(struct bpf_sock_addr *ctx, const struct ls_sock_peer *peer, int hook)
{
	__u32 number = peer->be;
	struct ls_be_stat *st = bpf_map_lookup_elem(&ls_be_stat, &number);
	struct ls_tuple t = {};

	if (st)
		st->flows_sock++;
	ls_count(hook, LS_VERDICT_NEW, 0);
	memcpy(t.dst, peer->svc_addr_be, 16);
	t.dport = peer->svc_port_be;
	t.proto = ctx->protocol;
	t.v6 = 1;
	LS_EMIT(&t, SOCK, hook, 0, 0, number);
}

/* A mapped host port of this machine, dialled by a process of the machine itself: its container is the peer. Containers dial host
 * ports by the packet path: an address of the machine means something else in their namespaces. */
static __always_inline bool ls_sock_port(struct bpf_sock_addr *ctx, const struct ls_svc_key *key, struct ls_sock_peer *peer)
{
	bool v4 = !key->addr_be[0] && !key->addr_be[1] && key->addr_be[2] == bpf_htonl(0xffff);
	struct ls_portmap *m;

	if (!ls_netns || !ls_ports_any() || bpf_get_netns_cookie(ctx) != ls_netns)
		return false;
	m = ls_port_entry(key->port_be, key->proto, !v4);
	if (!m || ls_own_find(key->addr_be) < 0)
		return false;
	memcpy(peer->svc_addr_be, key->addr_be, 16);
	memcpy(peer->be_addr_be, m->addr_be, 16);
	peer->svc_port_be = key->port_be;
	peer->be_port_be = m->port_be;
	peer->be = LS_PORT_BE;
	return true;
}

static __always_inline int ls_connect(struct bpf_sock_addr *ctx, bool v6)
{
	struct ls_sock_peer peer = {}, *stored;
	struct ls_svc_key key;
	struct ls_svc *svc;
	bool busy = false;

	ls_ctx_key(ctx, &key, v6);
	if (key.proto != IPPROTO_TCP && key.proto != IPPROTO_UDP)
		return GO_ON;
	svc = ls_service(&key, &busy);
	if (!svc) {
		if (busy)
			return ls_refuse(&key, LS_HOOK_CONNECT);
		if (ls_sock_port(ctx, &key, &peer) && ls_ctx_set(ctx, peer.be_addr_be, peer.be_port_be, v6)) {
			ls_count(LS_HOOK_CONNECT, LS_VERDICT_NEW, 0);
			goto remember;
		}
		/* A socket that asked a service before and now connects elsewhere must not be shown the service. */
		bpf_sk_storage_delete(&ls_sock_peer, ctx->sk);
		return GO_ON;
	}
	if (!ls_sock_choose(svc, &peer) || !ls_ctx_set(ctx, peer.be_addr_be, peer.be_port_be, v6))
		return ls_refuse(&key, LS_HOOK_CONNECT);
	ls_sock_counted(ctx, &peer, LS_HOOK_CONNECT);
remember:
	stored = bpf_sk_storage_get(&ls_sock_peer, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (stored)
		*stored = peer;
	return GO_ON;
}

static __always_inline int ls_sendmsg(struct bpf_sock_addr *ctx, bool v6)
{
	struct ls_sock_peer peer = {}, *before;
	struct ls_sock_key to = {}, from = {};
	struct ls_svc_key key;
	struct ls_svc *svc;
	bool busy = false;

	ls_ctx_key(ctx, &key, v6);
	svc = ls_service(&key, &busy);
	if (!svc && busy)
		return ls_refuse(&key, LS_HOOK_SENDMSG);
	if (!svc) {
		if (!ls_sock_port(ctx, &key, &peer) || !ls_ctx_set(ctx, peer.be_addr_be, peer.be_port_be, v6))
			return GO_ON;
		ls_count(LS_HOOK_SENDMSG, LS_VERDICT_FORWARD, 0);
		from.cookie = bpf_get_socket_cookie(ctx);
		memcpy(from.addr_be, peer.be_addr_be, 16);
		from.port_be = peer.be_port_be;
		before = bpf_map_lookup_elem(&ls_sock_rev, &from);
		if (!before || before->svc_port_be != key.port_be || !ls_addr_same(before->svc_addr_be, key.addr_be, true))
			bpf_map_update_elem(&ls_sock_rev, &from, &peer, BPF_ANY);
		return GO_ON;
	}

	/* The backend this socket got before, as long as it lives. */
	to.cookie = bpf_get_socket_cookie(ctx);
	memcpy(to.addr_be, key.addr_be, 16);
	to.port_be = key.port_be;
	to.kind = 1;
	before = bpf_map_lookup_elem(&ls_sock_rev, &to);
	if (before) {
		__u32 number = before->be;
		struct ls_be *be = bpf_map_lookup_elem(&ls_be, &number);

		if (be && ls_be_takes(READ_ONCE(be->state), LS_BE_GEN(before->be_state))) {
			peer = *before;
			if (!ls_ctx_set(ctx, peer.be_addr_be, peer.be_port_be, v6))
				return ls_refuse(&key, LS_HOOK_SENDMSG);
			ls_count(LS_HOOK_SENDMSG, LS_VERDICT_FORWARD, 0);
			return GO_ON;
		}
	}
	if (!ls_sock_choose(svc, &peer) || !ls_ctx_set(ctx, peer.be_addr_be, peer.be_port_be, v6))
		return ls_refuse(&key, LS_HOOK_SENDMSG);
	from.cookie = to.cookie;
	memcpy(from.addr_be, peer.be_addr_be, 16);
	from.port_be = peer.be_port_be;
	bpf_map_update_elem(&ls_sock_rev, &from, &peer, BPF_ANY);
	bpf_map_update_elem(&ls_sock_rev, &to, &peer, BPF_ANY);
	ls_sock_counted(ctx, &peer, LS_HOOK_SENDMSG);
	return GO_ON;
}

/* Shows the service instead of the backend it was sent to. */
static __always_inline int ls_turn_back(struct bpf_sock_addr *ctx, bool v6, bool datagram)
{
	struct ls_svc_key seen;
	struct ls_sock_peer *peer = bpf_sk_storage_get(&ls_sock_peer, ctx->sk, NULL, 0);

	ls_ctx_key(ctx, &seen, v6);
	if (peer && (peer->be_port_be != seen.port_be || !ls_addr_same(peer->be_addr_be, seen.addr_be, true)))
		peer = NULL;
	if (!peer && datagram) {
		struct ls_sock_key from = {};

		from.cookie = bpf_get_socket_cookie(ctx);
		memcpy(from.addr_be, seen.addr_be, 16);
		from.port_be = seen.port_be;
		peer = bpf_map_lookup_elem(&ls_sock_rev, &from);
	}
	if (peer)
		ls_ctx_set(ctx, peer->svc_addr_be, peer->svc_port_be, v6);
	return GO_ON;
}

SEC("cgroup/connect4")
int ls_connect4(struct bpf_sock_addr *ctx)
{
	return ls_connect(ctx, false);
}

SEC("cgroup/connect6")
int ls_connect6(struct bpf_sock_addr *ctx)
{
	return ls_connect(ctx, true);
}

SEC("cgroup/sendmsg4")
int ls_sendmsg4(struct bpf_sock_addr *ctx)
{
	return ls_sendmsg(ctx, false);
}

SEC("cgroup/sendmsg6")
int ls_sendmsg6(struct bpf_sock_addr *ctx)
{
	return ls_sendmsg(ctx, true);
}

SEC("cgroup/recvmsg4")
int ls_recvmsg4(struct bpf_sock_addr *ctx)
{
	return ls_turn_back(ctx, false, true);
}

SEC("cgroup/recvmsg6")
int ls_recvmsg6(struct bpf_sock_addr *ctx)
{
	return ls_turn_back(ctx, true, true);
}

SEC("cgroup/getpeername4")
int ls_getpeername4(struct bpf_sock_addr *ctx)
{
	return ls_turn_back(ctx, false, false);
}

SEC("cgroup/getpeername6")
int ls_getpeername6(struct bpf_sock_addr *ctx)
{
	return ls_turn_back(ctx, true, false);
}
