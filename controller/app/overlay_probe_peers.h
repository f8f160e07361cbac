#pragma once
/// The peers of OverlayProbe: by node, by VTEP address, and a random few. Plain value, control loop. put() and remove() O(1), sample() O(count).
#include <algorithm>
#include <random>
#include <unordered_map>
#include <vector>

#include "app/overlay_probe.h"

namespace ls::overlay_probe {

class Peers {
 public:
  size_t size() const { return all_.size(); }
  const std::vector<OverlayProbePeer>& all() const { return all_; }
  bool has_vtep(const IpAddress& vtep4) const { return vteps_.contains(vtep4); }

  /// True: it was not there.
  bool put(const OverlayProbePeer& p) {
    auto [it, fresh] = places_.try_emplace(p.node, all_.size());
    if (fresh) {
      all_.push_back(p);
    } else {
      drop_vtep(all_[it->second]);
      all_[it->second] = p;
    }
    vteps_[p.vtep4] = p.node;
    return fresh;
  }
  void remove(const IpAddress& node) {
    auto it = places_.find(node);
    if (it == places_.end()) return;
    auto place = it->second;
    drop_vtep(all_[place]);
    places_.erase(it);
    if (place + 1 != all_.size()) {
      all_[place] = std::move(all_.back());
      places_[all_[place].node] = place;
    }
    all_.pop_back();
  }
  void clear() { *this = {}; }

  /// Own address or VTEP address; null: none.
  const OverlayProbePeer* find(const IpAddress& address) const {
    auto v = vteps_.find(address);
    auto it = places_.find(v == vteps_.end() ? address : v->second);
    return it == places_.end() ? nullptr : &all_[it->second];
  }

  /// At most `count` different ones, each as probable as any other.
  template <class Random>
  std::vector<OverlayProbePeer> sample(size_t count, Random& random) const {
    std::vector<OverlayProbePeer> out;
    count = std::min(count, all_.size());
    // Floyd's choice: a number that is taken is replaced by the last one of its range.
    std::vector<size_t> taken;
    for (size_t last = all_.size() - count; last < all_.size(); last++) {
      size_t at = std::uniform_int_distribution<size_t>(0, last)(random);
      if (std::find(taken.begin(), taken.end(), at) != taken.end()) at = last;
      taken.push_back(at);
      out.push_back(all_[at]);
    }
    std::shuffle(out.begin(), out.end(), random);
    return out;
  }

 private:
  void drop_vtep(const OverlayProbePeer& p) {
    auto it = vteps_.find(p.vtep4);
    if (it != vteps_.end() && it->second == p.node) vteps_.erase(it);
  }
  std::vector<OverlayProbePeer> all_;
  std::unordered_map<IpAddress, size_t> places_;
  std::unordered_map<IpAddress, IpAddress> vteps_;
};

}  // namespace ls::overlay_probe
