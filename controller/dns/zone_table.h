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
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "util/epoch.h"

namespace ls::dns {

/// The records of one name and type. Points into the name's own memory: good as long as the Guard is held.
class RrSet {
 public:
  RrType type() const;
  uint32_t ttl() const;  ///< the smallest of its records'; 0: the zone's
  size_t count() const;
  /// i-th record's data, in the order in which they were added (kApexMark in names, see derive/records.h).
  std::string_view rdata(size_t i) const;
  /// How often the same record was given (derive/records.h: multisets).
  uint32_t multiplicity(size_t i) const;

 private:
  friend class ZoneName;
  explicit RrSet(const uint8_t* at) : at_(at) {}
  const uint8_t* at_;
};

/// One name of a zone and all its records: immutable, one block of memory.
class ZoneName {
 public:
  std::string_view owner() const;  ///< relative, folded
  bool empty_non_terminal() const { return rrset_count() == 0; }
  size_t rrset_count() const;
  std::optional<RrSet> rrset(RrType type) const;
  void for_each(const std::function<void(RrSet)>& visit) const;

 private:
  friend class ZoneTable;
  ZoneName() = default;
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

  // Any thread.
  /// Before the first apply or replace nothing is known: "not there" must not be said (lessons.md 35).
  bool loaded() const { return loaded_.load(std::memory_order_acquire); }
  uint32_t serial() const { return serial_.load(std::memory_order_acquire); }
  uint64_t version() const { return version_.load(std::memory_order_acquire); }  ///< grows with each change
  size_t names() const;    ///< without empty non-terminals
  size_t records() const;  ///< different ones
  size_t bytes() const;    ///< heap bytes of table and names
  uint64_t faults() const;

  // Any thread, inside a Guard.
  /// `relative` is folded. nullptr: no such name.
  const ZoneName* find(std::string_view relative) const;
  /// Every name once, in no order. Changes meanwhile may be seen or not, each name whole.
  void for_each(const std::function<void(const ZoneName&)>& visit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::atomic<bool> loaded_{false};
  std::atomic<uint32_t> serial_{1};
  std::atomic<uint64_t> version_{0};
};

}  // namespace ls::dns
