#pragma once
/// NameBuilder: the records of one name while the control loop changes them; makes the immutable ZoneName.
/// Thread: the control loop. Used again for name after name, so that a change allocates nothing but the new block.
/// Cost: O(records of the name).
#include <cstdint>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "dns/zone_table.h"

namespace ls::dns {

class NameBuilder {
 public:
  /// Begins with what the name has; nullptr: nothing. Both `existing` and added records must stay until build() is done.
  void start(const ZoneName* existing);
  /// Every record is gone unless it is added again; those that are keep their place.
  void forget();
  void add(const Record& record);
  bool remove(const Record& record);  ///< false: it was not there

  bool changed() const;
  size_t records() const;  ///< as a reader will see them
  bool empty() const { return live_ == 0; }
  ZoneName* build(std::string_view owner, uint32_t children);
  static void free(ZoneName* name);

 private:
  struct Entry {
    RrType type;
    uint32_t ttl;
    uint32_t had, has;  ///< multiplicity before and now
    std::string_view rdata;
  };
  Entry* find(RrType type, uint32_t ttl, std::string_view rdata);
  void append(Entry entry);
  void index(size_t entry);
  struct Set {
    RrSet::Head head;
    std::vector<uint32_t> members;  ///< indexes of entries, shown ones first
  };
  void plan(RrType type, Set& set) const;
  void collect_types();

  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  ///< open addressing over entries_, index + 1; empty while there are few
  std::vector<RrType> types_;
  std::vector<Set> sets_;
  size_t live_ = 0;  ///< entries with has > 0
};

}  // namespace ls::dns
