#pragma once
/// How names, zones and kept answers look in the kernel (include/loadstar/abi/dns.h). Pure functions, threads: any, inside an
/// Epoch::Guard where a ZoneName is read. No allocation beyond `out`.
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "dns/answer.h"
#include "dns/routes.h"
#include "dns/zone_table.h"

namespace ls::dns {

struct KernelBody {
  std::vector<uint8_t> octets;  ///< what follows the key
  uint8_t flags = 0;            ///< enum ls_dns_entry_flags
  uint8_t sets = 0;
  bool partial() const;         ///< LS_DNS_PARTIAL: some types of the name are not in it
};

/// A name's A, AAAA and SRV records. Everything else, and sets that are too large, make it partial.
/// `hash_of`: hash of a name in the same zone (KernelStore::hash).
void kernel_name(const ZoneName& name, const std::function<uint64_t(std::string_view relative)>& hash_of, KernelBody& out);

/// A zone as it is seen under one name. `zone` and `ready`: spaces; `complete`: all its names are in the kernel; `nested`: another
/// route begins below the apex.
void kernel_view(const ZoneView& view, uint32_t zone, uint32_t ready, bool complete, bool nested, KernelBody& out);
/// A suffix whose names are forwarded.
void kernel_view(const ForwardGroup& group, KernelBody& out);

/// An answer that answer_from_zone() gave over `question` (header and question of `message`), without OPT, to be sent whenever that is
/// asked. `rotate`: addresses at the end of the chain change places. False: cannot be kept (too long, an error, truncated).
bool kernel_ready(std::span<const uint8_t> message, bool rotate, KernelBody& out);

/// A forwarded answer: `message` without OPT, its TTLs those of `stored_ns` (CLOCK_MONOTONIC); served until `expires_ns`. False: cannot be kept.
bool kernel_cached(std::span<const uint8_t> message, uint64_t stored_ns, uint64_t expires_ns, KernelBody& out);

}  // namespace ls::dns
