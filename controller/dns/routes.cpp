#include "dns/routes.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace ls::dns {
namespace {

/// Octets of one label onto the hash of what follows it. The suffixes are the operator's, so no key is needed: whoever asks cannot
/// add any.
uint64_t add_label(uint64_t hash, std::string_view label) {
  constexpr uint64_t kPrime = 0x9e3779b97f4a7c15ull;
  while (label.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, label.data(), 8);
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 32;
    label.remove_prefix(8);
  }
  uint64_t word = 0;
  std::memcpy(&word, label.data(), label.size());
  hash = (hash ^ word ^ (uint64_t{label.size()} << 56)) * kPrime;
  return hash ^ (hash >> 32);
}

/// Places of the labels, and their number. A name has at most 127.
struct Labels {
  std::array<uint8_t, 128> at;
  size_t count = 0;
};

void find_labels(std::string_view wire, Labels& labels) {
  size_t at = 0;
  while (wire[at] != 0) {
    labels.at[labels.count++] = static_cast<uint8_t>(at);
    at += static_cast<uint8_t>(wire[at]) + size_t{1};
  }
}

}  // namespace

/// Open addressing over all suffixes; never more than half full, so that probes end.
struct Routes::Index {
  struct Slot {
    uint64_t hash = 0;
    std::string suffix;  ///< folded wire form; empty: free
    Route route;
  };
  std::vector<Slot> slots;
  size_t mask = 0;
  size_t deepest = 0;  ///< labels of the longest suffix
  Route root;

  Slot& place(uint64_t hash, std::string_view suffix) {
    for (size_t i = hash & mask;; i = (i + 1) & mask)
      if (slots[i].suffix.empty() || (slots[i].hash == hash && slots[i].suffix == suffix)) return slots[i];
  }

  Route& entry(const DnsName& name) {
    if (name.is_root()) return root;
    const DnsName folded = name.folded();
    Labels labels;
    find_labels(folded.wire(), labels);
    uint64_t hash = 0;
    for (size_t i = labels.count; i-- > 0;) {
      const size_t at = labels.at[i];
      hash = add_label(hash, folded.wire().substr(at, static_cast<uint8_t>(folded.wire()[at]) + size_t{1}));
    }
    deepest = std::max(deepest, labels.count);
    Slot& slot = place(hash, folded.wire());
    slot.hash = hash;
    slot.suffix = folded.wire();
    return slot.route;
  }
};

Routes::Routes(std::vector<ZoneView> views, std::vector<ForwardGroup> groups) : views_(std::move(views)), groups_(std::move(groups)) {
  auto index = std::make_shared<Index>();
  size_t size = 8;
  while (size < 2 * (views_.size() + groups_.size())) size *= 2;
  index->slots.resize(size);
  index->mask = size - 1;
  // Backwards, so that the first of two with the same name wins; a zone wins against a group.
  for (size_t i = groups_.size(); i-- > 0;) index->entry(groups_[i].zone).forward = &groups_[i];
  for (size_t i = views_.size(); i-- > 0;) index->entry(views_[i].apex) = {&views_[i], nullptr};
  index_ = std::move(index);
}

Route Routes::find(std::string_view name) const {
  const Index& index = *index_;
  Labels labels;
  find_labels(name, labels);
  Route best = index.root;
  uint64_t hash = 0;
  const size_t stop = labels.count > index.deepest ? labels.count - index.deepest : 0;
  for (size_t i = labels.count; i-- > stop;) {
    const size_t at = labels.at[i];
    hash = add_label(hash, name.substr(at, static_cast<uint8_t>(name[at]) + size_t{1}));
    for (size_t slot = hash & index.mask; !index.slots[slot].suffix.empty(); slot = (slot + 1) & index.mask) {
      const Index::Slot& s = index.slots[slot];
      if (s.hash != hash || s.suffix != name.substr(at)) continue;
      best = s.route;
      break;
    }
  }
  return best;
}

}  // namespace ls::dns
