#pragma once
/// FlowReader: the flow tables ls_flow4 and ls_flow6, read while the programs write them.
///
/// Thread: any one thread with its own reader. Takes no lock and writes nothing: an entry counts only if its
/// version is even and the same before and after it was copied (abi/flow.h); one that keeps changing is read
/// a few times, then skipped, the next pass meets it. Cost: a pass over 1 M entries of ls_flow4 reads 32 MB,
/// some 20 ms.
#include <array>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "bpf/mmap_array.h"
#include "loadstar/abi/flow.h"
#include "loadstar/abi/lb.h"
#include "loadstar/abi/portmap.h"
#include "util/address.h"

namespace ls {

enum class FlowKind : uint8_t { kForward = LS_FLOW_FORWARD, kReverse = LS_FLOW_REVERSE };
enum class FlowState : uint8_t { kSyn, kEstablished, kClosing, kUdp };
std::string_view to_text(FlowKind kind);    ///< forward, reverse
std::string_view to_text(FlowState state);  ///< syn, established, closing, udp

/// One entry, decoded. A flow has two: forward and reverse.
struct Flow {
  FlowKind kind = FlowKind::kForward;
  FlowState state = FlowState::kUdp;
  Endpoint client;
  Endpoint service;  ///< zero in a reverse entry whose backend's number was given to somebody else
  Endpoint backend;  ///< zero in a forward entry in the same case
  Protocol protocol = Protocol::kTcp;
  uint32_t be = 0;                 ///< number in ls_be
  uint16_t be_generation = 0;      ///< when the flow was made
  std::string_view backend_state;  ///< active, draining, dead; "dead" also when the number has another owner
  bool backend_dead = false;
  bool hairpin = false;
  bool host_port = false;  ///< of a mapped host port: `service` is the address that was dialled, `be` is 0
  bool reset = false;    ///< a RST was seen
  bool expired = false;  ///< older than its time-out: its place may be taken
  double age_s = 0;      ///< since its last packet, exact to a tick (0.13 s)
};

/// What to look for; an empty filter finds every forward entry that has not expired.
struct FlowFilter {
  std::optional<IpAddress> client;
  std::optional<ServiceKey> service;
  std::optional<Endpoint> backend;
  std::optional<Protocol> protocol;
  bool reverse_too = false;
  bool expired_too = false;
};

struct FlowCounts {
  uint64_t capacity = 0;  ///< entries; a flow takes two
  uint64_t used = 0;      ///< entries not free and not expired
  uint64_t expired = 0;
  std::array<uint64_t, 4> forward_by_state{};  ///< by FlowState, forward entries in use
  uint64_t dead = 0;                           ///< forward entries in use whose backend is dead
  struct Fill {
    uint64_t capacity = 0, used = 0;
  } ipv4, ipv6;  ///< the same by table
};

class FlowReader {
 public:
  /// Opens ls_flow4, ls_flow6, ls_be and ls_svc_tab for reading. With ls_own and ls_portmap flows of host ports have all their
  /// addresses; without (a set of maps of an older version) they lack one.
  static Result<FlowReader> open(const MapOpener& opener);

  /// Calls `each` until it returns false. `now`: tick of the coarse monotonic clock.
  void for_each(const FlowFilter& filter, const std::function<bool(const Flow&)>& each,
                uint32_t now = tick_now()) const;
  std::vector<Flow> list(const FlowFilter& filter, size_t limit, uint32_t now = tick_now()) const;
  FlowCounts count(uint32_t now = tick_now()) const;
  /// Forward TCP entries whose backend is dead and whose peers were not reset yet, for active resets.
  std::vector<Flow> dead_tcp(size_t limit, uint32_t now = tick_now()) const;

  /// CLOCK_MONOTONIC in ticks of LS_TICK_SHIFT, as the programs count.
  static uint32_t tick_now();

 private:
  template <class F>
  Flow decode(const F& raw, uint32_t now) const;
  template <class Bucket, class Visit>
  bool scan(MmapArray<Bucket>& table, Visit&& visit) const;
  template <class Visit>
  void scan_both(Visit&& visit) const;
  uint32_t state_of(uint32_t be) const;
  template <class F>
  void decode_port(const F& raw, Flow& f) const;

  /// Mapped while they are read, a part at a time.
  mutable MmapArray<ls_flow4_bucket> flow4_;
  mutable MmapArray<ls_flow6_bucket> flow6_;
  MmapArray<ls_be> be_;
  MmapArray<ls_svc> tab_;
  std::optional<MmapArray<ls_own>> own_;
  std::optional<Map<ls_portmap_key, ls_portmap>> ports_;
};

}  // namespace ls
