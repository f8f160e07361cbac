#pragma once
/// The VIP table: what derive/ makes from ClusterState and datapath/ puts into the kernel.
/// Plain values, ports in host order, no thread rules. Source: spec/minuteman-vips.md sections 1, 3, 4.
#include <cstdint>
#include <string>
#include <vector>

#include "util/address.h"

namespace ls {

/// One endpoint behind a service. Identity within a service is (address, port).
struct Backend {
  IpAddress agent;    ///< machine the task runs on; zero when not known
  IpAddress address;  ///< where packets go
  uint16_t port = 0;
  uint8_t weight = 1;  ///< 0: keeps open flows, takes no new ones; 1: takes its equal share
  std::string task;    ///< task id, for people only; not part of the identity
  std::string framework;  ///< framework name, for people only
  auto operator<=>(const Backend&) const = default;
  Endpoint endpoint() const { return {address, port}; }
};

/// One service: what the kernel knows as (address, port, protocol) -> backends.
struct Service {
  ServiceKey key;
  std::string name;   ///< folded "label.framework" of a named VIP ("web.marathon"), empty for an address VIP
  std::string label;  ///< the label as written, without leading slashes ("/web" -> "web"); text of the address otherwise
  std::string framework;          ///< framework name of a named VIP, else empty
  std::vector<Backend> backends;  ///< sorted by (address, port); never empty
  bool operator==(const Service&) const = default;
  std::string dns_name() const { return name.empty() ? "" : name + ".l4lb.thisdcos.directory"; }
};

/// What changed, in the order the data path may apply it: upserts (new or changed services), then removals.
struct VipDelta {
  std::vector<Service> upsert;
  std::vector<ServiceKey> remove;
  bool empty() const { return upsert.empty() && remove.empty(); }
};

/// A label or task that was left out, and why; shown in `loadstar status`, counted in metrics.
struct VipProblem {
  std::string task;   ///< framework/task id
  std::string field;  ///< for example "discovery.ports[1].labels[VIP_0]"
  std::string why;    ///< "port 70000 is above 65535"
  auto operator<=>(const VipProblem&) const = default;
};

}  // namespace ls
