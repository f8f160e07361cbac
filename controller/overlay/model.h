#pragma once
/// What the overlay is made of: the plan (pools and their cut, from the configuration) and what each node got of it.
/// Plain values, thread: any. Addresses in network order inside IpAddress, everything else in host order.
/// Source of names, defaults and limits: spec/overlay-modules.md.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/address.h"
#include "util/network.h"

namespace ls::overlay {

inline constexpr uint32_t kVni = 1024;
inline constexpr uint16_t kUdpPort = 64000;
inline constexpr char kVtepName[] = "vtep1024";

using Mac = std::array<uint8_t, 6>;
std::string to_text(const Mac&);  ///< 70:b3:d5:80:00:01
std::optional<Mac> parse_mac(std::string_view);

/// A pool and the length of one node's share. `share` is a prefix length of the family's own counting (24, 80), as the files have it.
struct Pool {
  IpNetwork network;
  uint8_t share = 0;
  auto operator<=>(const Pool&) const = default;
};

struct OverlayPlan {
  std::string name;  ///< at most 13 octets
  std::optional<Pool> v4, v6;  ///< at least one
  bool enabled = true;  ///< false: no new allocations
  auto operator<=>(const OverlayPlan&) const = default;
};

struct Plan {
  IpNetwork vtep4;
  std::optional<IpNetwork> vtep6;
  Mac oui{};  ///< the last three are zero
  std::string oui_text;  ///< as the file has it, in its case: the state endpoint shows it so
  std::optional<uint32_t> vtep_mtu;
  std::vector<OverlayPlan> overlays;
  auto operator<=>(const Plan&) const = default;
};

/// An address with the length of the network it is in, of the family's own counting ("44.128.0.1/20").
struct InterfaceAddress {
  IpAddress address;
  uint8_t prefix = 0;
  auto operator<=>(const InterfaceAddress&) const = default;
  std::string text() const;
};

enum class ShareState : uint8_t { kOk, kExhausted, kConflict };

/// What one node has of one overlay. A half is present when the node asked for that side.
struct Share {
  std::string overlay;
  ShareState state = ShareState::kOk;
  std::string detail;  ///< of another state: which pool, or whose it is
  std::optional<IpNetwork> v4, v6;
  bool mesos_bridge = false, docker_bridge = false;
  auto operator<=>(const Share&) const = default;
};

/// The Mesos half (top host bit 0) or the Docker half (1) of a share.
IpNetwork half_of(const IpNetwork& share, bool docker);
/// First host address of a half.
IpAddress gateway_of(const IpNetwork& half);

struct Vtep {
  InterfaceAddress v4;
  std::optional<InterfaceAddress> v6;
  Mac mac{};
  auto operator<=>(const Vtep&) const = default;
};

/// Everything one node was given.
struct Allocation {
  IpAddress node;  ///< the node's own address, IPv4: its identity together with `id`
  std::string id;  ///< of the node, chosen by it; empty: known by its address alone (an agent of the original)
  Vtep vtep;
  std::vector<Share> shares;  ///< sorted by overlay
  auto operator<=>(const Allocation&) const = default;
};

}  // namespace ls::overlay
