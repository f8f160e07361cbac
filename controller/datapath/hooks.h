#pragma once
/// Every place a program of ours can be attached to, once: the name that pins, status and metrics show, the
/// program, how. A new hook is a line here and a program of that name in bpf/.
#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "bpf/link.h"

namespace ls::datapath {

enum class HookKind : uint8_t { kCgroup, kUplink, kPort, kBridgePort, kLoopback };

struct HookSpec {
  std::string_view name;
  std::string_view program;
  HookKind kind;
  int attach_type;  ///< enum bpf_attach_type
  bool is_cgroup() const { return kind == HookKind::kCgroup; }
  bpf::TcSide side() const {
    return attach_type == bpf::kTcxIngress ? bpf::TcSide::kIngress : bpf::TcSide::kEgress;
  }
};

// The side is seen from the host: what a container sends comes *in* on its port.
inline constexpr std::array<HookSpec, 15> kHooks{{
    {"connect4", "ls_connect4", HookKind::kCgroup, BPF_CGROUP_INET4_CONNECT},
    {"connect6", "ls_connect6", HookKind::kCgroup, BPF_CGROUP_INET6_CONNECT},
    {"sendmsg4", "ls_sendmsg4", HookKind::kCgroup, BPF_CGROUP_UDP4_SENDMSG},
    {"sendmsg6", "ls_sendmsg6", HookKind::kCgroup, BPF_CGROUP_UDP6_SENDMSG},
    {"recvmsg4", "ls_recvmsg4", HookKind::kCgroup, BPF_CGROUP_UDP4_RECVMSG},
    {"recvmsg6", "ls_recvmsg6", HookKind::kCgroup, BPF_CGROUP_UDP6_RECVMSG},
    {"getpeername4", "ls_getpeername4", HookKind::kCgroup, BPF_CGROUP_INET4_GETPEERNAME},
    {"getpeername6", "ls_getpeername6", HookKind::kCgroup, BPF_CGROUP_INET6_GETPEERNAME},
    {"port_in", "ls_port_in", HookKind::kPort, bpf::kTcxIngress},
    {"port_out", "ls_port_out", HookKind::kPort, bpf::kTcxEgress},
    {"bridge_in", "ls_bridge_in", HookKind::kBridgePort, bpf::kTcxIngress},
    {"bridge_out", "ls_port_out", HookKind::kBridgePort, bpf::kTcxEgress},
    {"uplink_in", "ls_uplink_in", HookKind::kUplink, bpf::kTcxIngress},
    {"uplink_out", "ls_uplink_out", HookKind::kUplink, bpf::kTcxEgress},
    {"lo", "ls_lo", HookKind::kLoopback, bpf::kTcxEgress},
}};

/// All our programs and filters are recognised by this.
inline constexpr std::string_view kOwnPrefix = "ls_";
/// Place of our clsact filters: between what runs first (1) and what a distribution appends (49152 and up).
/// The handle is "LS".
inline constexpr uint32_t kTcPriority = 0x15;
inline constexpr uint32_t kTcHandle = 0x4c53;

}  // namespace ls::datapath
