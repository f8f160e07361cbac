#pragma once
/// DnsTables: owner of ls_dns_bucket and ls_dns_data: puts entries where programs find them (include/loadstar/abi/dns.h).
///
/// Thread: control loop only; programs read meanwhile. Nothing is kept beside the maps but which rooms are free, so a daemon that
/// starts finds everything its predecessor wrote, also after a kill at any moment: an entry counts when a slot shows it.
/// Cost: put() and remove() O(octets of the entry), independent of how many there are; mark() too, but each 255th call writes an octet
/// of every entry. adopt() and sweep() read all slots and the header of each entry.
/// Measured (release build, maps of 2^17 buckets and 64 segments, 600,000 keys of 40 octets in entries of 80): new 640 ns, equal 330 ns,
/// replaced 550 ns each; sweep 70 ms, adopt 0.5 s; 45.8 MiB of rooms, 57 % of the slots. The first refusal came at 730,000 (70 %
/// of the slots: both buckets of a key were full). So for n such names: n / 5 buckets or more, and 80 octets and a tenth a name.
/// Rooms have sizes of a few classes (datapath/dns_rooms.h); what is given up is used again after an RCU grace period
/// (datapath/svc_tables.h), asked for in bulk: when rooms run out or tens of thousands rest. With the data full, new keys are refused
/// while some chunks are kept back, so that what is there can still be replaced, and views be put.
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "bpf/mmap_array.h"
#include "loadstar/abi/dns.h"
#include "util/result.h"

namespace ls::datapath {

struct DnsMaps {
  MmapArray<ls_dns_bucket> buckets;
  MmapArray<ls_dns_segment> data;
};

struct DnsTablesView {
  uint64_t entries = 0, slots = 0;          ///< used, in all
  uint64_t bytes_used = 0, bytes_total = 0; ///< of ls_dns_data; used: rooms, with those that wait for a grace period
  uint64_t refused = 0;                     ///< puts that found no room, since the start
};

class DnsTables {
 public:
  struct Key {
    uint32_t space = 0;
    uint16_t aux = 0;
    std::string_view key;
  };
  /// `hash_key`: ls_dns_conf.key, key[1] odd; `wait_readers`: returns when every program that was running has ended; called once here.
  /// Slots that show something that is no entry (maps from elsewhere, another hash key) are cleared and counted in the log; all views go
  /// with them, because a name that is lost must not be denied. EINVAL: sizes or a key that cannot work.
  static Result<DnsTables> adopt(DnsMaps maps, const uint64_t hash_key[2], void (*wait_readers)());
  DnsTables(DnsTables&&) noexcept;
  DnsTables& operator=(DnsTables&&) noexcept;
  ~DnsTables();

  // As dns/kernel_store.h says. put() is also refused when both buckets of a new key are full or the entry is longer than LS_DNS_ENTRY_MAX.
  bool put(const Key& key, uint8_t flags, uint8_t sets, std::span<const uint8_t> body);
  bool remove(const Key& key);
  uint64_t hash(const Key& key) const;
  size_t sweep(uint32_t space);
  size_t sweep_all();
  void mark();

  /// What is kept under a key, the header included; empty: nothing. Good until the next change.
  std::span<const uint8_t> find(const Key& key) const;
  /// Where it is (struct ls_dns_bucket); 0: nowhere. Good until the next change.
  uint32_t place(const Key& key) const;
  /// Everything, for purge of one daemon's zones and for tests: calls visit(entry header, key), which changes nothing here.
  template <class Visit>
  void for_each(Visit visit) const {
    each(+[](void* v, const ls_dns_entry& e, std::string_view key) { (*static_cast<Visit*>(v))(e, key); }, &visit);
  }
  DnsTablesView view() const;
  /// Gives back most of what is mapped of the maps, when that is much. Call it now and then, with nothing of find() in hand.
  void let_go();

 private:
  struct Impl;
  explicit DnsTables(std::unique_ptr<Impl> impl);
  void each(void (*visit)(void*, const ls_dns_entry&, std::string_view), void* context) const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::datapath
