#pragma once
/// The one generic diff: what must be added, changed and removed so that `have` becomes `want`. Pure, thread: any.
/// Cost: O(want + have). A key is in at most one of the three lists, each in key order.
#include <map>
#include <utility>
#include <vector>

#include "derive/vip_table.h"

namespace ls {

template <class K, class V>
struct Diff {
  struct Change {
    K key;
    V from, to;
  };
  std::vector<std::pair<K, V>> add;
  std::vector<Change> modify;
  std::vector<std::pair<K, V>> remove;
  bool empty() const { return add.empty() && modify.empty() && remove.empty(); }
};

template <class K, class V>
Diff<K, V> diff(const std::map<K, V>& want, const std::map<K, V>& have) {
  Diff<K, V> out;
  auto w = want.begin();
  auto h = have.begin();
  while (w != want.end() || h != have.end()) {
    if (h == have.end() || (w != want.end() && w->first < h->first)) {
      out.add.push_back(*w++);
    } else if (w == want.end() || h->first < w->first) {
      out.remove.push_back(*h++);
    } else {
      if (!(w->second == h->second)) out.modify.push_back({w->first, h->second, w->second});
      ++w;
      ++h;
    }
  }
  return out;
}

/// What a data path sees of a service: endpoint -> weight. Two tables that differ in agents, tasks or names only are equal here.
using Endpoints = std::map<Endpoint, uint8_t>;
using EndpointTable = std::map<ServiceKey, Endpoints>;

inline EndpointTable endpoint_table(const std::vector<Service>& services) {
  EndpointTable out;
  for (auto& s : services) {
    auto& endpoints = out[s.key];
    for (auto& b : s.backends) endpoints.emplace(b.endpoint(), b.weight);
  }
  return out;
}

}  // namespace ls
