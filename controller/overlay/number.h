#pragma once
/// Addresses as 128-bit numbers, so that pools count exactly in both families. Plain functions, thread: any.
/// An IPv4 address is the number of its mapped form; a pool never leaves its family, so sums stay in it too.
#include <cstdint>
#include <string>

#include "util/address.h"
#include "util/network.h"

namespace ls::overlay {

__extension__ using Number = unsigned __int128;

inline constexpr unsigned kV4Bits = 96;  ///< in front of an IPv4 address in its 16-byte form

Number number_of(const IpAddress&);
IpAddress address_of(Number);
std::string to_text(Number);  ///< decimal

/// A prefix length of the family's own counting as one of the 16-byte form.
inline unsigned long_prefix(const IpAddress& of_family, unsigned prefix) { return of_family.is_v4() ? prefix + kV4Bits : prefix; }
inline unsigned own_prefix(const IpNetwork& n) { return n.address.is_v4() ? n.prefix - kV4Bits : n.prefix; }

/// Whether two networks share an address. Networks of different families never do.
bool overlap(const IpNetwork&, const IpNetwork&);

}  // namespace ls::overlay
