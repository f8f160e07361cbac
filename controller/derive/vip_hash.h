#pragma once
/// Start address of a named VIP (spec/minuteman-vips.md 3.2): kept from the system this one replaces, so that a cluster
/// that migrates keeps its addresses. Pure, thread: any. Not for anything security relevant.
#include <cstdint>
#include <string_view>

namespace ls {

/// Addresses as numbers; wide enough for IPv6. IPv4 addresses are counted inside ::ffff:0:0/96.
using Address128 = unsigned __int128;

/// The portable 32-bit hash of the former runtime for a byte string: Jenkins lookup2 over 12-byte blocks.
uint32_t name_hash32(std::string_view name);

/// name_hash32 modulo `range`; 0 when the range is 0.
Address128 start_offset_v4(std::string_view name, Address128 range);

/// SHA-1 of the name as an unsigned 160-bit integer modulo `range`, exactly; 0 when the range is 0.
Address128 start_offset_v6(std::string_view name, Address128 range);

}  // namespace ls
