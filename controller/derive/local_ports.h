#pragma once
/// The node's own view of backends: a backend at an own agent address and host port that a local container stands behind is
/// dialled at the container (spec/minuteman-vips.md 1.6), because traffic made on this machine does not pass its port-mapping
/// rules. Thread: one. Cost: O(log ports) a change or look-up.
#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "derive/ports.h"
#include "derive/vip_table.h"

namespace ls {

class LocalPortTable {
 public:
  struct Key {
    Protocol protocol = Protocol::kTcp;
    uint16_t host_port = 0;
    auto operator<=>(const Key&) const = default;
  };

  /// `owner` names the task. Several tasks may claim one port while one follows another: the running one wins, then the
  /// smallest owner. Returns true if what the port leads to changed.
  bool add(const LocalPort& port, const std::string& owner, bool running);
  bool remove(const LocalPort& port, const std::string& owner, bool running);

  std::optional<Endpoint> find(Protocol protocol, uint16_t host_port) const;
  size_t size() const { return ports_.size(); }
  std::vector<LocalPort> all() const;

 private:
  struct Claim {
    bool leaving = false;
    std::string owner;
    Endpoint container;
    auto operator<=>(const Claim&) const = default;
  };
  std::map<Key, std::set<Claim>> ports_;
};

/// Replaces the endpoints of `backends` that the table knows under one of `own`; weights and agents stay. The
/// result is sorted by endpoint; of two backends that become one the heavier stays.
std::vector<Backend> rewrite_local(std::vector<Backend> backends, Protocol protocol, const std::vector<IpAddress>& own,
                                   const LocalPortTable& table);

/// Sorts by (address, port) and keeps the heaviest of each.
void normalise(std::vector<Backend>& backends);

}  // namespace ls
