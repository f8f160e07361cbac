#pragma once
/// KernelViews: the suffixes of one service in a KernelStore. Thread: control loop.
///
/// A suffix that is missing would let a shorter one answer for it. So those that find no room take all shorter ones above them
/// out, shortest first, until there is room: what is not found goes up to the process. Longer ones are put before shorter ones.
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dns/kernel_form.h"
#include "dns/kernel_store.h"

namespace ls::dns {

class KernelViews {
 public:
  KernelViews(KernelStore& store, uint32_t space) : store_(store), space_(space) {}
  /// What is to be there, from the next sync() on. `suffix`: folded, absolute.
  void set(const std::string& suffix, const KernelBody& body);
  /// What a daemon before put there stays as it is.
  void keep(const std::string& suffix);
  /// Whether an entry for it is there that another daemon put.
  bool foreign(const std::string& suffix) const;
  /// Every other suffix goes.
  void retain(const std::set<std::string>& suffixes);
  /// Puts what is different. Cost: O(suffixes), plus those that are put.
  void sync();
  size_t size() const;  ///< that are there

 private:
  struct Suffix {
    std::vector<uint8_t> wanted;
    bool put = false;   ///< `wanted` is there
    bool there = false;
  };
  struct LongerFirst {
    bool operator()(const std::string& a, const std::string& b) const { return a.size() != b.size() ? a.size() > b.size() : a < b; }
  };
  KernelKey key(const std::string& suffix) const { return {space_, 0, suffix}; }

  KernelStore& store_;
  const uint32_t space_;
  std::map<std::string, Suffix, LongerFirst> suffixes_;
};

}  // namespace ls::dns
