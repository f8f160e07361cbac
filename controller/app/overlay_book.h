#pragma once
/// OverlayBook: the allocations of all nodes as this node knows them, for the control loop that writes it and for whoever shows it.
/// Thread: any. Cost: put and remove O(log nodes); all() copies pointers, the allocations themselves never change.
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "api/overlay_node.h"
#include "overlay/model.h"
#include "util/guarded.h"

namespace ls {

class OverlayBook {
 public:
  using One = std::shared_ptr<const overlay::Allocation>;
  void put(overlay::Allocation a) {
    auto one = std::make_shared<const overlay::Allocation>(std::move(a));
    nodes_.with([&](auto& nodes) { nodes[one->node] = one; });
  }
  void remove(const IpAddress& node) {
    nodes_.with([&](auto& nodes) { nodes.erase(node); });
  }
  /// Exactly these.
  void replace(std::vector<overlay::Allocation> all) {
    std::map<IpAddress, One> fresh;
    for (auto& a : all) fresh[a.node] = std::make_shared<const overlay::Allocation>(std::move(a));
    nodes_.with([&](auto& nodes) { nodes.swap(fresh); });
  }
  One find(const IpAddress& node) const {
    return nodes_.with([&](auto& nodes) {
      auto it = nodes.find(node);
      return it == nodes.end() ? One() : it->second;
    });
  }
  /// Sorted by address.
  std::vector<One> all() const {
    return nodes_.with([](auto& nodes) {
      std::vector<One> out;
      out.reserve(nodes.size());
      for (auto& [node, one] : nodes) out.push_back(one);
      return out;
    });
  }
  /// At most `most` from the first above `after` on.
  std::vector<One> some(const std::optional<IpAddress>& after, size_t most) const {
    return nodes_.with([&](auto& nodes) {
      std::vector<One> out;
      for (auto it = after ? nodes.upper_bound(*after) : nodes.begin(); it != nodes.end() && out.size() < most; ++it) out.push_back(it->second);
      return out;
    });
  }
  size_t size() const {
    return nodes_.with([](auto& nodes) { return nodes.size(); });
  }

 private:
  mutable Guarded<std::map<IpAddress, One>> nodes_;
};

/// As the API shows it.
api::OverlayPeerView peer_view(const overlay::Allocation& a, const IpAddress& self);
api::OverlayShareView share_view(const overlay::Share& s);

}  // namespace ls
