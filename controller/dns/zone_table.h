#pragma once
/// ZoneTable: the records of one zone, read by DNS workers without a lock while the control loop changes them.
///
/// Threads: apply, replace, set_* from one (the control loop); everything else from any thread inside an Epoch::Guard.
/// Atomic for a reader: a name's records change all at once. A name that goes on existing is never missing in between.
/// Cost: a lookup is one hash, one probe on average and one comparison of the name, independent of the zone's size. A change costs
/// the records of the names it touches (plus, rarely, doubling the table: O(names), amortised).
/// Names that have only names below them ("empty non-terminals", RFC 8020) exist here without records; they come and go with
/// the names below.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "util/epoch.h"

namespace ls::dns {

/// The records of one name and type. Points into the name's own memory: good as long as the Guard is held.
class RrSet {
 public:
  RrType type() const { return static_cast<RrType>(head().type); }
  /// The smallest of its records'; 0: the zone's. Records without a TTL count only when none has one.
  uint32_t ttl() const { return head().ttl; }
  size_t count() const { return head().count; }
  /// i-th record's data, in the order in which they were added (kApexMark in names, see derive/records.h).
  std::string_view rdata(size_t i) const;
  /// How often the same record was given (derive/records.h: multisets).
  uint32_t multiplicity(size_t i) const;
  /// Data of all records in a row, `fixed` octets each; nullptr when their sizes differ. For copying many at once.
  const uint8_t* fixed_data(size_t& fixed) const;

 private:
  friend class ZoneName;
  friend class NameBuilder;
  /// Behind it: offsets (unless kFixed; total + 1), multiplicities (kCounted; total), TTLs (kTtls; total), four octets each; data.
  /// Records from `count` to `total` repeat the data of an earlier one with another TTL: they are kept, not shown.
  struct Head {
    uint16_t type;
    uint8_t flags, reserved;
    uint32_t ttl, count, total, size;  ///< size: octets with everything behind it
    uint16_t fixed, reserved2;         ///< octets of each record's data, with kFixed
  };
  static constexpr uint8_t kFixed = 1, kCounted = 2, kTtls = 4;

  explicit RrSet(const uint8_t* at) : at_(at) {}
  Head head() const {
    Head h;
    std::memcpy(&h, at_, sizeof h);
    return h;
  }
  static uint32_t word(const uint8_t* at) {
    uint32_t v;
    std::memcpy(&v, at, sizeof v);
    return v;
  }
  static size_t words(const Head& h) {
    return (h.flags & kFixed ? 0 : size_t{h.total} + 1) + (h.flags & kCounted ? h.total : 0) + (h.flags & kTtls ? h.total : 0);
  }
  const uint8_t* at_;
};

/// One name of a zone and all its records: immutable, one block of memory.
class ZoneName {
 public:
  std::string_view owner() const { return {reinterpret_cast<const char*>(this + 1), owner_size_}; }  ///< relative, folded
  bool empty_non_terminal() const { return sets_ == 0; }
  size_t rrset_count() const { return sets_; }
  std::optional<RrSet> rrset(RrType type) const;
  void for_each(const std::function<void(RrSet)>& visit) const;

 private:
  friend class ZoneTable;
  friend class NameBuilder;
  ZoneName() = default;
  const uint8_t* first_set() const { return reinterpret_cast<const uint8_t*>(this + 1) + owner_size_; }

  uint32_t children_ = 0;  ///< names right below this one; read and written by the control loop only
  uint32_t size_ = 0;      ///< octets of the block
  uint16_t sets_ = 0;
  uint8_t owner_size_ = 0;
};

class ZoneTable {
 public:
  explicit ZoneTable(Epoch& epoch);
  ~ZoneTable();
  ZoneTable(const ZoneTable&) = delete;
  ZoneTable& operator=(const ZoneTable&) = delete;

  // The control loop.
  /// A removal of something that is not there is counted in faults() and otherwise ignored. Marks the zone as loaded.
  void apply(const RecordDelta& delta);
  /// As apply, but a zone that is not loaded stays so: for the few records that are known before the cluster's state is.
  void apply_unloaded(const RecordDelta& delta);
  /// Makes the contents equal to `all` (a multiset), touching only names that differ.
  void replace(const std::vector<Record>& all);
  /// Serial of the zone's SOA; grows (RFC 1982) with each change: max(serial + 1, `unix_seconds`) unless set_fixed_serial.
  void set_clock(std::function<uint32_t()> unix_seconds);
  void set_fixed_serial(uint32_t serial);
  /// Who keeps a copy of the zone elsewhere (dns/kernel_mirror.h). It must not change the table meanwhile. Cost: a call for each name
  /// that is touched.
  class Follower {
   public:
    virtual ~Follower() = default;
    /// The name's records, or whether it exists, changed; find() gives what it has now. Names that come or change first, then those that
    /// go. A name that loses its records and then its place is told twice. `owner` is good for the call.
    virtual void name_changed(std::string_view owner) = 0;
    /// A change is complete; serial(), version() and loaded() are what they are after it. Not told when nothing is different.
    virtual void change_ended() = 0;
  };
  /// One at a time; nullptr: nobody. It is no change of the table, so those that may only read it can be followed too.
  void follow(Follower* follower) const;

  // Any thread.
  /// Before the first apply or replace nothing is known: "not there" must not be said (lessons.md 35).
  bool loaded() const { return loaded_.load(std::memory_order_acquire); }
  uint32_t serial() const { return serial_.load(std::memory_order_acquire); }
  uint64_t version() const { return version_.load(std::memory_order_acquire); }  ///< grows with each change
  size_t names() const;    ///< without empty non-terminals
  size_t all_names() const;  ///< with them; the control loop
  size_t records() const;  ///< different ones
  size_t bytes() const;    ///< heap bytes of table and names
  uint64_t faults() const;  ///< removals of what is not there, records that no zone can hold

  // Any thread, inside a Guard.
  /// `relative` is folded. nullptr: no such name.
  const ZoneName* find(std::string_view relative) const;
  /// Every name once, in no order. Changes meanwhile may be seen or not, each name whole.
  void for_each(const std::function<void(const ZoneName&)>& visit) const;

 private:
  struct Impl;
  bool change(const RecordDelta& delta);  ///< true: something is different
  void changed();
  std::unique_ptr<Impl> impl_;
  std::atomic<bool> loaded_{false};
  std::atomic<uint32_t> serial_{1};
  std::atomic<uint64_t> version_{0};
};

inline std::string_view RrSet::rdata(size_t i) const {
  const Head h = head();
  const uint8_t* behind = at_ + sizeof h;
  const auto* data = reinterpret_cast<const char*>(behind + 4 * words(h));
  if (h.flags & kFixed) return {data + i * h.fixed, h.fixed};
  const uint32_t from = word(behind + 4 * i), to = word(behind + 4 * (i + 1));
  return {data + from, to - from};
}

inline uint32_t RrSet::multiplicity(size_t i) const {
  const Head h = head();
  if (!(h.flags & kCounted)) return 1;
  return word(at_ + sizeof h + 4 * ((h.flags & kFixed ? 0 : size_t{h.total} + 1) + i));
}

inline const uint8_t* RrSet::fixed_data(size_t& fixed) const {
  const Head h = head();
  if (!(h.flags & kFixed)) return nullptr;
  fixed = h.fixed;
  return at_ + sizeof h + 4 * words(h);
}

inline std::optional<RrSet> ZoneName::rrset(RrType type) const {
  const uint8_t* at = first_set();
  for (size_t i = 0; i < sets_; ++i) {
    const RrSet set(at);
    const RrSet::Head head = set.head();
    if (head.type == static_cast<uint16_t>(type)) return set;
    at += head.size;
  }
  return std::nullopt;
}

}  // namespace ls::dns
