#pragma once
/// Rooms of ls_dns_data for the entries of DnsTables. Pure bookkeeping, one thread; the maps are not touched.
///
/// Unit: LS_DNS_UNIT octets, as places count. The data is cut into chunks of 64 KiB; a chunk that is in use has rooms of one size, of
/// 27 classes from 32 to 4096 octets (four for each doubling, so at most a fifth of a room above 128 octets is air). No room crosses the end of
/// its chunk and so none the end of its segment. A chunk whose rooms are all free serves any class.
/// What is given up rests until settle(). Some chunks are a reserve: what takes the place of another entry may use it, what is
/// new only while as much rests as it takes.
/// Cost: take() and retire() O(1) but for 32 words of a chunk's free bits. Memory: 280 octets a chunk (0.4 %), 8 for each room at rest.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "loadstar/abi/dns.h"

namespace ls::datapath {

/// kKept: the entry replaces one that programs answer from.
enum class RoomFor { kNew, kKept };

class DnsRooms {
 public:
  static constexpr uint32_t kChunkUnits = 65536 / LS_DNS_UNIT;
  static constexpr uint32_t kSegmentUnits = LS_DNS_SEGMENT / LS_DNS_UNIT;
  static constexpr uint32_t units_of(size_t octets) { return uint32_t((octets + LS_DNS_UNIT - 1) / LS_DNS_UNIT); }
  /// Units of the smallest room for so many units, 1 .. LS_DNS_ENTRY_MAX / LS_DNS_UNIT.
  static uint32_t room_units(uint32_t units);

  /// All free, at most 65,536 segments (a place has 32 bits).
  explicit DnsRooms(uint32_t segments);
  DnsRooms(DnsRooms&&) noexcept;
  DnsRooms& operator=(DnsRooms&&) noexcept;
  ~DnsRooms();

  /// First thing after the constructor: each entry that is there already, in any order; then claimed(). False: it lies outside, at
  /// place 0, across the end of a chunk, or over another one; it was not taken.
  bool claim(uint32_t place, uint32_t units);
  void claimed();

  /// A room of the class of `units`, of a chunk that has such rooms or of a free one.
  std::optional<uint32_t> take(uint32_t units);
  /// A larger room, of up to `limit` units.
  std::optional<uint32_t> take_larger(uint32_t units, uint32_t limit);
  std::optional<uint32_t> take_reserve(uint32_t units, RoomFor use);
  /// Nobody is led to the room from now on, but may still read it. `units` as taken or claimed.
  void retire(uint32_t place, uint32_t units);
  /// Nobody reads what was retired so far.
  void settle();

  size_t retired() const { return resting_.size(); }
  uint64_t used_units() const { return used_units_; }  ///< rooms with entries and rooms at rest
  uint64_t units() const { return uint64_t(chunks_.size()) * kChunkUnits; }
  uint32_t free_chunks() const { return uint32_t(pool_.size()); }
  uint32_t reserve() const { return reserve_; }

 private:
  enum Lane : uint8_t { kOpen, kReserve };
  static constexpr size_t kClasses = 27;
  static constexpr uint8_t kFree = 0xff;   ///< class of a chunk without rooms
  static constexpr uint8_t kMixed = 0xfe;  ///< entries of no common class (made by another release): nothing is given out until it is empty
  static constexpr uint32_t kNone = ~0u;
  struct Chunk {
    std::array<uint64_t, kChunkUnits / 2 / 64> free{};  ///< by number of the room
    uint32_t before = kNone, after = kNone;             ///< in the list of chunks of its class and lane that have a free room
    uint16_t used = 0, left = 0;                        ///< rooms
    uint8_t size_class = kFree, lane = kOpen;
    uint8_t first_word = 0;  ///< no free room in words before
  };
  struct Claims;
  struct Resting {
    uint32_t place, units;
  };

  std::optional<uint32_t> take_from(size_t size_class, Lane lane);
  void open_chunk(uint32_t number, size_t size_class, Lane lane);
  void give(uint32_t place, uint32_t units);
  void link(uint32_t number);
  void unlink(uint32_t number);
  uint32_t size_of(const Chunk& c, uint32_t units) const;

  std::vector<Chunk> chunks_;
  std::vector<uint32_t> pool_;  ///< free chunks
  std::array<std::array<uint32_t, 2>, kClasses> heads_;
  std::vector<Resting> resting_;
  std::unique_ptr<Claims> claims_;
  uint64_t used_units_ = 0, resting_units_ = 0, borrowed_units_ = 0;
  uint32_t reserve_ = 0;
};

}  // namespace ls::datapath
