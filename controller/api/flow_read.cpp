#include "api/flow_read.h"

#include <arpa/inet.h>
#include <time.h>

#include <cstring>

namespace ls::api {
namespace {

constexpr double kTickS = double(1ull << LS_TICK_SHIFT) / 1e9;

IpAddress address(const __be32& be) { return IpAddress::from_v4(ntohl(be)); }
IpAddress address(const __be32 (&be)[4]) { return IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(be)); }

/// A whole copy of an entry that programs may be writing: the rule of bpf/lib/flow.h. False: it kept changing.
template <class Flow>
bool copy_whole(const Flow& from, Flow& to) {
  for (int attempt = 0; attempt < 4; attempt++) {
    auto before = __atomic_load_n(&from.version, __ATOMIC_ACQUIRE);
    memcpy(&to, &from, sizeof to);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (before % 2 == 0 && __atomic_load_n(&from.version, __ATOMIC_RELAXED) == before) return true;
  }
  return false;
}

uint32_t age_ticks(uint32_t now, uint32_t seen) {
  // A packet after `now` was read makes `seen` the later one.
  auto age = int32_t(now - seen);
  return age > 0 ? uint32_t(age) : 0;
}

FlowState state_of(uint8_t proto, uint8_t tcp) {
  if (proto != IPPROTO_TCP) return FlowState::kUdp;
  if (tcp & LS_TCP_CLOSING) return FlowState::kClosing;
  return tcp & LS_TCP_REPLIED ? FlowState::kEstablished : FlowState::kSyn;
}

uint32_t timeout_ticks(FlowState s) {
  switch (s) {
    case FlowState::kUdp: return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_UDP_S);
    case FlowState::kClosing: return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_CLOSING_S);
    case FlowState::kEstablished: return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_ESTABLISHED_S);
    case FlowState::kSyn: break;
  }
  return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_SYN_S);
}

/// Calls `visit(entry, state, age)` for the client's direction of each live flow; false ends.
template <class Bucket, class Visit>
void each_flow(std::span<const Bucket> table, uint32_t now, Visit visit) {
  for (auto& bucket : table) {
    for (auto& way : bucket.way) {
      if (__atomic_load_n(&way.kind, __ATOMIC_RELAXED) != LS_FLOW_FORWARD) continue;
      auto flow = way;
      if (!copy_whole(way, flow) || flow.kind != LS_FLOW_FORWARD) continue;
      auto state = state_of(flow.proto, flow.tcp);
      auto age = age_ticks(now, flow.seen);
      if (age > timeout_ticks(state)) continue;
      if (!visit(flow, state, age)) return;
    }
  }
}

template <class Bucket>
void read(std::span<const Bucket> table, uint32_t now, const FlowBackends& backends, const FlowFilter& filter, size_t limit,
          FlowList& out) {
  if (out.truncated) return;
  each_flow(table, now, [&](auto& flow, FlowState state, uint32_t age) {
    if (filter.state && *filter.state != state) return true;  // before the look-ups
    FlowView v;
    v.client = {address(flow.src_be), ntohs(flow.sport_be)};
    v.service = {address(flow.dst_be), ntohs(flow.dport_be), Protocol(flow.proto)};
    v.backend_number = flow.be;
    if (auto b = backends(flow.be, flow.be_gen)) {
      v.backend = b->endpoint;
      v.vip_name = std::move(b->vip_name);
    }
    v.state = state;
    v.hairpin = flow.flags & LS_FLOW_HAIRPIN;
    v.idle_s = age * kTickS;
    if (!filter.matches(v)) return true;
    out.truncated = out.flows.size() >= limit;
    if (!out.truncated) out.flows.push_back(std::move(v));
    return !out.truncated;
  });
}

template <class Bucket>
void count(std::span<const Bucket> table, uint32_t now, std::array<uint64_t, kFlowStates.size()>& counts) {
  each_flow(table, now, [&](auto&, FlowState state, uint32_t) {
    counts[size_t(state)]++;
    return true;
  });
}

}  // namespace

uint32_t flow_tick_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return uint32_t((uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec)) >> LS_TICK_SHIFT);
}

void read_flows(std::span<const ls_flow4_bucket> t, uint32_t now, const FlowBackends& b, const FlowFilter& f, size_t limit, FlowList& out) {
  read(t, now, b, f, limit, out);
}
void read_flows(std::span<const ls_flow6_bucket> t, uint32_t now, const FlowBackends& b, const FlowFilter& f, size_t limit, FlowList& out) {
  read(t, now, b, f, limit, out);
}
void count_flows(std::span<const ls_flow4_bucket> t, uint32_t now, std::array<uint64_t, kFlowStates.size()>& counts) {
  count(t, now, counts);
}
void count_flows(std::span<const ls_flow6_bucket> t, uint32_t now, std::array<uint64_t, kFlowStates.size()>& counts) {
  count(t, now, counts);
}

}  // namespace ls::api
