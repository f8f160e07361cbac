#pragma once
/// Every place a program of ours can be attached to, once: the name that pins, status and metrics show, the
/// program, how. A new hook is a line here and a program of that name in bpf/.
#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "bpf/link.h"
#include "datapath/programs.h"

namespace ls::datapath {

enum class HookKind : uint8_t { kCgroup, kUplink, kPort, kBridgePort, kLoopback, kVtep };

struct HookSpec {
  std::string_view name;
  std::string_view program;
  HookKind kind;
  int attach_type;  ///< enum bpf_attach_type
  ProgramObject object;  ///< that the program is in
  bool is_cgroup() const { return kind == HookKind::kCgroup; }
  bool is_xdp() const { return attach_type == BPF_XDP; }
  /// What is there only while this machine is a node of the overlay.
  bool is_overlay() const { return object == ProgramObject::kOverlay || kind == HookKind::kVtep; }
  bool is_dns() const { return object == ProgramObject::kDnsXdp || object == ProgramObject::kDnsTc; }
  bpf::TcSide side() const {
    return attach_type == bpf::kTcxIngress ? bpf::TcSide::kIngress : bpf::TcSide::kEgress;
  }
};

// The side is seen from the host: what a container sends comes *in* on its port. Each device of a kind has all lines of that
// kind, except that an uplink has one of dns_xdp and dns_uplink, ovl_port is for devices that loadstar-cni made in direct mode,
// and ovl_bridge for ports of bridges of the overlay. Programs of overlay_tc come before all others of ours at the same place:
// a packet with a false source must not have been translated before anybody looks at it (docs/design/10-overlay-wiring.md).
// The others are in no order that matters: each lets pass what is not its own.
inline constexpr std::array<HookSpec, 27> kHooks{{
    {"connect4", "ls_connect4", HookKind::kCgroup, BPF_CGROUP_INET4_CONNECT, ProgramObject::kSocket},
    {"connect6", "ls_connect6", HookKind::kCgroup, BPF_CGROUP_INET6_CONNECT, ProgramObject::kSocket},
    {"sendmsg4", "ls_sendmsg4", HookKind::kCgroup, BPF_CGROUP_UDP4_SENDMSG, ProgramObject::kSocket},
    {"sendmsg6", "ls_sendmsg6", HookKind::kCgroup, BPF_CGROUP_UDP6_SENDMSG, ProgramObject::kSocket},
    {"recvmsg4", "ls_recvmsg4", HookKind::kCgroup, BPF_CGROUP_UDP4_RECVMSG, ProgramObject::kSocket},
    {"recvmsg6", "ls_recvmsg6", HookKind::kCgroup, BPF_CGROUP_UDP6_RECVMSG, ProgramObject::kSocket},
    {"getpeername4", "ls_getpeername4", HookKind::kCgroup, BPF_CGROUP_INET4_GETPEERNAME, ProgramObject::kSocket},
    {"getpeername6", "ls_getpeername6", HookKind::kCgroup, BPF_CGROUP_INET6_GETPEERNAME, ProgramObject::kSocket},
    {"ovl_in", "ls_ovl_in", HookKind::kVtep, bpf::kTcxIngress, ProgramObject::kOverlay},
    {"ovl_out", "ls_ovl_out", HookKind::kVtep, bpf::kTcxEgress, ProgramObject::kOverlay},
    {"ovl_uplink", "ls_ovl_uplink", HookKind::kUplink, bpf::kTcxIngress, ProgramObject::kOverlay},
    {"ovl_port", "ls_ovl_port", HookKind::kPort, bpf::kTcxIngress, ProgramObject::kOverlay},
    {"ovl_bridge", "ls_ovl_bridge", HookKind::kBridgePort, bpf::kTcxIngress, ProgramObject::kOverlay},
    {"port_in", "ls_port_in", HookKind::kPort, bpf::kTcxIngress, ProgramObject::kPacket},
    {"port_out", "ls_port_out", HookKind::kPort, bpf::kTcxEgress, ProgramObject::kPacket},
    {"bridge_in", "ls_bridge_in", HookKind::kBridgePort, bpf::kTcxIngress, ProgramObject::kPacket},
    {"bridge_out", "ls_port_out", HookKind::kBridgePort, bpf::kTcxEgress, ProgramObject::kPacket},
    {"uplink_in", "ls_uplink_in", HookKind::kUplink, bpf::kTcxIngress, ProgramObject::kPacket},
    {"uplink_out", "ls_uplink_out", HookKind::kUplink, bpf::kTcxEgress, ProgramObject::kPacket},
    {"vtep_in", "ls_uplink_in", HookKind::kVtep, bpf::kTcxIngress, ProgramObject::kPacket},
    {"vtep_out", "ls_uplink_out", HookKind::kVtep, bpf::kTcxEgress, ProgramObject::kPacket},
    {"lo", "ls_lo", HookKind::kLoopback, bpf::kTcxEgress, ProgramObject::kPacket},
    {"dns_xdp", "ls_dns_xdp", HookKind::kUplink, BPF_XDP, ProgramObject::kDnsXdp},
    {"dns_uplink", "ls_dns_uplink", HookKind::kUplink, bpf::kTcxIngress, ProgramObject::kDnsTc},
    {"dns_port", "ls_dns_port", HookKind::kPort, bpf::kTcxIngress, ProgramObject::kDnsTc},
    {"dns_bridge", "ls_dns_port", HookKind::kBridgePort, bpf::kTcxIngress, ProgramObject::kDnsTc},
    {"dns_lo", "ls_dns_lo", HookKind::kLoopback, bpf::kTcxEgress, ProgramObject::kDnsTc},
}};
constexpr size_t hook_number(std::string_view name) {
  size_t i = 0;
  while (kHooks[i].name != name) i++;
  return i;
}
inline constexpr size_t kDnsXdpHook = hook_number("dns_xdp"), kDnsUplinkHook = hook_number("dns_uplink");

/// All our programs and filters are recognised by this.
inline constexpr std::string_view kOwnPrefix = "ls_";
/// Places of our clsact filters: between what runs first (1) and what a distribution appends (49152 and up). One for load
/// balancing, one for DNS and one for the overlay, because a place holds one filter. The handles are "LS", "LD" and "LO".
inline constexpr uint32_t kTcPriority = 0x15, kTcHandle = 0x4c53;
inline constexpr uint32_t kDnsTcPriority = 0x16, kDnsTcHandle = 0x4c44;
inline constexpr uint32_t kOverlayTcPriority = 0x14, kOverlayTcHandle = 0x4c4f;

}  // namespace ls::datapath
