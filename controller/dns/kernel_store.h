#pragma once
/// KernelStore: where entries for the kernel's answers are put (include/loadstar/abi/dns.h). The DNS side knows names and records,
/// who implements this knows maps. Thread: control loop.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ls::dns {

/// What an entry is found by. `key` is a folded name in wire form, or the part of one in front of an apex.
struct KernelKey {
  uint32_t space = 0;
  uint16_t aux = 0;
  std::string_view key;
};

class KernelStore {
 public:
  virtual ~KernelStore() = default;
  /// Makes the entry hold `body` (what follows the key; offsets in it count from the entry's start), with `flags` and the number
  /// of sets. Does nothing when it does already. A reader sees the entry before or the one after. False: there is no room; what was
  /// there under this key stays: the caller removes it, as soon as nothing says any more that what is not here does not exist.
  virtual bool put(const KernelKey& key, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) = 0;
  /// False: there was none.
  virtual bool remove(const KernelKey& key) = 0;
  /// Whether there is an entry, whoever put it.
  virtual bool contains(const KernelKey& key) const = 0;
  /// The hash programs look a key up by (ls_dns_hash).
  virtual uint64_t hash(const KernelKey& key) const = 0;

  /// Removes what is in `space` and was not put since the last mark(). For what a daemon before left behind. Cost: O(all entries).
  virtual size_t sweep(uint32_t space) = 0;
  /// The same for all spaces, those nobody knows of any more too.
  virtual size_t sweep_all() = 0;
  /// From now on nothing counts as put.
  virtual void mark() = 0;
};

}  // namespace ls::dns
