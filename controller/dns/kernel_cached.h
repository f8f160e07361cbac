#pragma once
/// KernelCached: forwarded answers in a KernelStore, at most kMax, or fewer. Thread: control loop.
/// The index holds their keys and when they end, so that they can be found by suffix and by time. Cost: put and expiry O(log entries)
/// each, flush O(entries).
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "dns/kernel_form.h"
#include "dns/kernel_store.h"
#include "util/dns_name.h"

namespace ls::dns {

class KernelCached {
 public:
  static constexpr size_t kMax = 65'536;  ///< some 100 octets each here, up to 1.5 KiB in the store

  explicit KernelCached(KernelStore& store) : store_(store) {}
  void set_max(size_t max) { max_ = max < kMax ? max : kMax; }  ///< of what comes from now on
  /// When there are so many, the one that ends soonest makes place. What cannot be kept takes the answer before with it.
  void put(std::span<const uint8_t> message, uint64_t stored_ns, uint64_t expires_ns);
  size_t flush(const DnsName& suffix);
  void expire(uint64_t now_ns);
  /// Gives up to `n` of those that end soonest.
  void make_room(size_t n);
  size_t size() const { return entries_.size(); }

 private:
  void remove(std::string_view key);

  KernelStore& store_;
  size_t max_ = kMax;
  std::unordered_map<std::string, uint64_t> entries_;             ///< type (two octets) and name -> end
  std::set<std::pair<uint64_t, std::string_view>> by_end_;        ///< the views are keys of entries_
  KernelBody body_;
};

}  // namespace ls::dns
