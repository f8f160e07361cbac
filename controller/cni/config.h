#pragma once
/// What a configuration asks for, whatever it is written for: this plugin's own type, the chain mesos-cni-port-mapper / bridge /
/// host-local, dcos-l4lb around either, or an unknown delegate. Rules: spec/cni.md, sections 3 and 4. Pure, thread: any.
///
/// Own configuration (docs/operate/cni.md has every key):
///   {"name": "dcos", "type": "loadstar-cni", "mode": "bridge", "ipam": {"overlay": "dcos"}, "mtu": 1420}
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cni/failure.h"
#include "cni/mac.h"
#include "cni/request.h"
#include "cni/result.h"
#include "util/address.h"

namespace ls::cni {

enum class Mode : uint8_t {
  kBridge = 1,   ///< container on a bridge that has the gateway's address
  kDirect = 2,   ///< no bridge: routes to the container's own device
  kChained = 3,  ///< somebody else made the interface; only port mappings are ours
};
std::string_view to_text(Mode m);

/// Addresses that may be handed out, as host-local has them.
struct Range {
  IpNetwork network;
  IpAddress first, last;  ///< both may be handed out
  IpAddress gateway;      ///< never handed out
  bool operator==(const Range&) const = default;
};

struct PortMapping {
  Protocol protocol = Protocol::kTcp;
  uint16_t host_port = 0, container_port = 0;
  auto operator<=>(const PortMapping&) const = default;
};

struct Delegate {
  std::string type;
  std::string config;  ///< JSON for its standard input
};

inline constexpr size_t kMaxMappings = 256;  ///< of one attachment; what one record of leases.h can hold
inline constexpr uint32_t kMinMtu = 68, kMinMtu6 = 1280, kMaxMtu = 65535;  // RFC 791, RFC 8200, the largest a device can have

struct Config {
  std::string network;
  Mode mode = Mode::kBridge;
  std::optional<Delegate> delegate;   ///< then everything about interfaces and addresses below is unused
  std::string overlay;                ///< whose half is used; empty: `ranges` as configured
  std::vector<Range> ranges;          ///< at most one a family, IPv4 first
  std::vector<IpAddress> requested;   ///< at most one a family
  std::optional<Mac> mac;             ///< of the container's device
  std::string bridge;                 ///< empty: named after the overlay
  bool gateway_on_bridge = true, hairpin = true, default_route = false;
  std::optional<uint32_t> mtu;
  std::vector<Route> routes;
  Dns dns;
  std::vector<PortMapping> mappings;
  std::filesystem::path data_dir = "/var/lib/cni/networks";  ///< of host-local too: what is there is taken over
  std::filesystem::path overlay_state = "/var/lib/loadstar/overlay-agent.json";
  std::string pin = "/sys/fs/bpf/loadstar";
  std::chrono::milliseconds timeout{10000};  ///< spec/cni.md 1.4
};

/// `program`: the name this executable was called by, for configurations without a type. For DEL it never fails: only where the records are
/// and which delegate there is are read, because a DEL follows an ADD that was refused, too.
Outcome<Config> parse_config(const Request& request, std::string_view program);
/// network + 1 .. the last but the broadcast address, gateway network + 1; code 7 for networks without a place for a container.
Outcome<Range> range_of(const IpNetwork& network);

}  // namespace ls::cni
