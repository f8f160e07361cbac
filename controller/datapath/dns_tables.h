#pragma once
/// DnsTables: owner of ls_dns_bucket and ls_dns_data: puts entries where programs find them (include/loadstar/abi/dns.h).
///
/// Thread: control loop only; programs read meanwhile. Nothing is kept beside the maps but which rooms are free, so a daemon that
/// starts finds everything its predecessor wrote, also after a kill at any moment: an entry counts when a slot shows it.
/// Cost: put() and remove() O(octets of the entry), independent of how many there are. adopt() reads all slots once.
/// Rooms have sizes of a few classes; what is given up is used again after an RCU grace period (datapath/svc_tables.h), asked for in bulk.
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
  uint64_t bytes_used = 0, bytes_total = 0; ///< of ls_dns_data
  uint64_t refused = 0;                     ///< puts that found no room, since the start
};

class DnsTables {
 public:
  struct Key {
    uint32_t space = 0;
    uint16_t aux = 0;
    std::string_view key;
  };
  /// `hash_key`: ls_dns_conf.key; `wait_readers`: returns when every program that was running has ended. Slots that show something
  /// that is no entry (a file from elsewhere) are cleared and counted in the log.
  static Result<DnsTables> adopt(DnsMaps maps, const uint64_t hash_key[2], void (*wait_readers)());
  DnsTables(DnsTables&&) noexcept;
  DnsTables& operator=(DnsTables&&) noexcept;
  ~DnsTables();

  // As dns/kernel_store.h says.
  bool put(const Key& key, uint8_t flags, uint8_t sets, std::span<const uint8_t> body);
  bool remove(const Key& key);
  uint64_t hash(const Key& key) const;
  size_t sweep(uint32_t space);
  void mark();

  /// What is kept under a key, the header included; empty: nothing. Good until the next change.
  std::span<const uint8_t> find(const Key& key) const;
  /// Everything, for purge of one daemon's zones and for tests: calls visit(entry header, key).
  template <class Visit>
  void for_each(Visit visit) const {
    each(+[](void* v, const ls_dns_entry& e, std::string_view key) { (*static_cast<Visit*>(v))(e, key); }, &visit);
  }
  DnsTablesView view() const;

 private:
  struct Impl;
  explicit DnsTables(std::unique_ptr<Impl> impl);
  void each(void (*visit)(void*, const ls_dns_entry&, std::string_view), void* context) const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::datapath
