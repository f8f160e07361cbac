#include "datapath/flow_table.h"

#include <time.h>

#include <algorithm>
#include <type_traits>

#include "datapath/abi_convert.h"

namespace ls {
namespace {

typedef uint64_t __attribute__((may_alias)) Word;

/// Copies one entry by the rule of abi/flow.h. False: free, or a writer was always in the middle of it.
template <class F>
bool copy_entry(const F& at, F& out) {
  static_assert(sizeof(F) % sizeof(Word) == 0);
  if (__atomic_load_n(&at.kind, __ATOMIC_RELAXED) == LS_FLOW_FREE) return false;
  for (int tries = 0; tries < 4; tries++) {
    uint32_t version = __atomic_load_n(&at.version, __ATOMIC_ACQUIRE);
    if (version & 1) continue;
    auto* from = reinterpret_cast<const Word*>(&at);
    auto* to = reinterpret_cast<Word*>(&out);
    for (size_t i = 0; i < sizeof(F) / sizeof(Word); i++) to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (__atomic_load_n(&at.version, __ATOMIC_RELAXED) == version) return out.kind != LS_FLOW_FREE;
  }
  return false;
}

template <class F>
FlowState state_from(const F& f) {
  if (f.proto != uint8_t(Protocol::kTcp)) return FlowState::kUdp;
  if (f.tcp & LS_TCP_CLOSING) return FlowState::kClosing;
  return f.tcp & LS_TCP_REPLIED ? FlowState::kEstablished : FlowState::kSyn;
}

uint32_t timeout_ticks(FlowState s) {
  switch (s) {
    case FlowState::kSyn:
      return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_SYN_S);
    case FlowState::kEstablished:
      return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_ESTABLISHED_S);
    case FlowState::kClosing:
      return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_CLOSING_S);
    case FlowState::kUdp:
      break;
  }
  return LS_TICKS_PER_S(LS_FLOW_TIMEOUT_UDP_S);
}

/// Ticks wrap after 18 years; an entry "from the future" was refreshed after `now` was read.
uint32_t age_ticks(uint32_t seen, uint32_t now) {
  auto age = int32_t(now - seen);
  return age < 0 ? 0 : uint32_t(age);
}

template <class F>
bool is_expired(const F& f, uint32_t now) {
  return age_ticks(f.seen, now) > timeout_ticks(state_from(f));
}

template <class F>
Endpoint source_of(const F& f) {
  if constexpr (std::is_same_v<F, ls_flow4>) {
    return {get_address4(f.src_be), ntohs(f.sport_be)};
  } else {
    return {get_address(f.src_be), ntohs(f.sport_be)};
  }
}
template <class F>
Endpoint destination_of(const F& f) {
  if constexpr (std::is_same_v<F, ls_flow4>) {
    return {get_address4(f.dst_be), ntohs(f.dport_be)};
  } else {
    return {get_address(f.dst_be), ntohs(f.dport_be)};
  }
}

}  // namespace

std::string_view to_text(FlowKind kind) {
  return kind == FlowKind::kForward ? "forward" : "reverse";
}
std::string_view to_text(FlowState state) {
  static constexpr std::string_view kText[] = {"syn", "established", "closing", "udp"};
  return kText[size_t(state)];
}

Result<FlowReader> FlowReader::open(const MapOpener& opener) {
  FlowReader r;
  LS_ASSIGN(auto flow4, opener("ls_flow4"));
  LS_ASSIGN(r.flow4_, MmapArray<ls_flow4_bucket>::adopt(std::move(flow4), MapAccess::kRead));
  LS_ASSIGN(auto flow6, opener("ls_flow6"));
  LS_ASSIGN(r.flow6_, MmapArray<ls_flow6_bucket>::adopt(std::move(flow6), MapAccess::kRead));
  LS_ASSIGN(auto be, opener("ls_be"));
  LS_ASSIGN(r.be_, MmapArray<ls_be>::adopt(std::move(be), MapAccess::kRead));
  LS_ASSIGN(auto tab, opener("ls_svc_tab"));
  LS_ASSIGN(r.tab_, MmapArray<ls_svc>::adopt(std::move(tab), MapAccess::kRead));
  if (auto own = opener("ls_own")) {
    LS_ASSIGN(r.own_, MmapArray<ls_own>::adopt(std::move(*own), MapAccess::kRead));
  }
  if (auto ports = opener("ls_portmap")) {
    using Ports = Map<ls_portmap_key, ls_portmap>;
    LS_ASSIGN(r.ports_, Ports::adopt(std::move(*ports)));
  }
  return r;
}

uint32_t FlowReader::tick_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint32_t((uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec)) >> LS_TICK_SHIFT);
}

uint32_t FlowReader::state_of(uint32_t be) const {
  return be > 0 && be < be_.size() ? be_.load(be, &ls_be::state) : 0;
}

/// As ls_port_of_flow() of bpf/lib/portmap.h; a mapping that is gone shows as a dead backend.
template <class F>
void FlowReader::decode_port(const F& raw, Flow& f) const {
  bool forward = f.kind == FlowKind::kForward;
  f.host_port = true;
  f.be = f.be_generation = 0;
  f.client = forward ? source_of(raw) : destination_of(raw);
  if (forward) {
    f.service = destination_of(raw);
  } else {
    f.backend = source_of(raw);
    auto at = raw.be & (LS_OWN_SLOTS - 1);
    if (own_ && (*own_)[at].used) f.service = {get_address((*own_)[at].addr_be), ntohs(raw.be_gen)};
  }
  ls_portmap_key key{};
  key.port_be = forward ? raw.dport_be : raw.be_gen;
  key.proto = raw.proto;
  key.family = f.client.address.is_v4() ? 4 : 6;
  if (ports_) {
    auto m = ports_->get(key);
    if (m && *m) {
      Endpoint container{get_address((*m)->addr_be), ntohs((*m)->port_be)};
      if (forward) f.backend = container;
      f.backend_dead = f.backend != container;
      f.backend_state = f.backend_dead ? "dead" : "active";
      return;
    }
  }
  f.backend_dead = true;
  f.backend_state = "dead";
}

template <class F>
Flow FlowReader::decode(const F& raw, uint32_t now) const {
  Flow f;
  f.kind = FlowKind(raw.kind);
  f.state = state_from(raw);
  f.protocol = Protocol(raw.proto);
  f.be = raw.be;
  f.be_generation = raw.be_gen;
  f.hairpin = raw.flags & LS_FLOW_HAIRPIN;
  f.reset = raw.tcp & LS_TCP_RST;
  uint32_t age = age_ticks(raw.seen, now);
  f.expired = age > timeout_ticks(f.state);
  f.age_s = double(uint64_t(age) << LS_TICK_SHIFT) / 1e9;
  if (raw.flags & LS_FLOW_PORT) {
    decode_port(raw, f);
    return f;
  }
  uint32_t word = state_of(raw.be);
  bool same_owner = LS_BE_GEN(word) == raw.be_gen && LS_BE_STATE(word) != LS_BE_FREE;
  f.backend_dead = !same_owner || !be_is_live(word);
  f.backend_state = f.backend_dead ? "dead" : be_state_text(word);
  // The entry has two of the three addresses; the third is behind the backend's number.
  bool forward = f.kind == FlowKind::kForward;
  f.client = forward ? source_of(raw) : destination_of(raw);
  if (forward) {
    f.service = destination_of(raw);
  } else {
    f.backend = source_of(raw);
  }
  if (same_owner) {
    const ls_be& b = be_[raw.be];
    if (forward) {
      f.backend = endpoint_of(b);
    } else if (b.svc < tab_.size()) {
      auto& key = tab_[b.svc].key;
      f.service = {get_address(key.addr_be), ntohs(key.port_be)};
    }
  }
  return f;
}

template <class Bucket, class Visit>
bool FlowReader::scan(MmapArray<Bucket>& table, Visit&& visit) const {
  constexpr uint32_t kAtOnce = uint32_t((1 << 20) / sizeof(Bucket));
  bool more = true;
  for (uint32_t first = 0; more && first < table.size(); first += kAtOnce) {
    for (auto& bucket : table.view(first, std::min(kAtOnce, table.size() - first))) {
      for (auto& way : bucket.way) {
        std::remove_cvref_t<decltype(way)> raw;
        if (more && copy_entry(way, raw)) more = visit(raw);
      }
    }
    table.let_go(2 << 20);
  }
  table.let_go();
  return more;
}

template <class Visit>
void FlowReader::scan_both(Visit&& visit) const {
  if (scan(flow4_, visit)) scan(flow6_, visit);
}

void FlowReader::for_each(const FlowFilter& filter, const std::function<bool(const Flow&)>& each,
                          uint32_t now) const {
  scan_both([&](const auto& raw) {
    if (raw.kind != LS_FLOW_FORWARD && !(filter.reverse_too && raw.kind == LS_FLOW_REVERSE)) return true;
    if (filter.protocol && raw.proto != uint8_t(*filter.protocol)) return true;
    if (!filter.expired_too && is_expired(raw, now)) return true;
    Flow f = decode(raw, now);
    if (filter.client && f.client.address != *filter.client) return true;
    if (filter.backend && f.backend != *filter.backend) return true;
    if (filter.service && (f.service != Endpoint{filter.service->address, filter.service->port} ||
                           f.protocol != filter.service->protocol)) {
      return true;
    }
    return each(f);
  });
}

std::vector<Flow> FlowReader::list(const FlowFilter& filter, size_t limit, uint32_t now) const {
  std::vector<Flow> out;
  if (!limit) return out;
  for_each(
      filter,
      [&](const Flow& f) {
        out.push_back(f);
        return out.size() < limit;
      },
      now);
  return out;
}

FlowCounts FlowReader::count(uint32_t now) const {
  FlowCounts c;
  c.ipv4.capacity = uint64_t(flow4_.size()) * LS_FLOW_WAYS;
  c.ipv6.capacity = uint64_t(flow6_.size()) * LS_FLOW_WAYS;
  c.capacity = c.ipv4.capacity + c.ipv6.capacity;
  scan_both([&](const auto& raw) {
    if (is_expired(raw, now)) {
      c.expired++;
      return true;
    }
    c.used++;
    (std::is_same_v<decltype(raw), const ls_flow4&> ? c.ipv4 : c.ipv6).used++;
    if (raw.kind != LS_FLOW_FORWARD) return true;
    c.forward_by_state[size_t(state_from(raw))]++;
    if (raw.flags & LS_FLOW_PORT) return true;
    uint32_t word = state_of(raw.be);
    c.dead += LS_BE_GEN(word) != raw.be_gen || !be_is_live(word);
    return true;
  });
  return c;
}

std::vector<Flow> FlowReader::dead_tcp(size_t limit, uint32_t now) const {
  std::vector<Flow> out;
  if (!limit) return out;
  scan_both([&](const auto& raw) {
    if (raw.kind != LS_FLOW_FORWARD || raw.proto != uint8_t(Protocol::kTcp) || (raw.tcp & LS_TCP_RST))
      return true;
    if (raw.flags & LS_FLOW_PORT) return true;  // the stack of whoever has the address answers, or nobody
    uint32_t word = state_of(raw.be);
    if (LS_BE_GEN(word) == raw.be_gen && be_is_live(word)) return true;
    if (is_expired(raw, now)) return true;
    out.push_back(decode(raw, now));
    return out.size() < limit;
  });
  return out;
}

}  // namespace ls
