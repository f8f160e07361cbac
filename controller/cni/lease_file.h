#pragma once
/// The state file of one network: records of attachments, found by container and interface or by address with the same work
/// whatever their number, and changed in transactions that are there wholly or not at all, whenever the process is killed or the
/// machine loses power.
///
/// Layout: header | two journals | heads of three hash tables | records, 2 KiB each, linked by number. A transaction is written to
/// one journal with a checksum and synced once; that sync also makes the places durable that the transaction before it changed. Then its
/// writes are made in place. Opening makes the writes of both journals again where they differ, after a sync: a transaction that was not
/// confirmed is confirmed before another one builds on it. Everything but the heads carries a CRC-32C; a damaged file is named and never overwritten.
///
/// Thread: the owner's, who holds the file's lock (disk.h). Errors: code 5. Cost: one sync a transaction.
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cni/config.h"
#include "cni/disk.h"

namespace ls::cni {

inline constexpr uint32_t kBuckets = 16384;  ///< of each hash table: chains of four in a full file
inline constexpr uint32_t kSlots = 65536;    ///< attachments of one network on one node; the largest half of a share in use is a /17
inline constexpr uint32_t kNoSlot = 0;       ///< slots are numbered from 1 on

/// One attachment as it is on the disk, in the machine's byte order. Texts end with a zero.
struct LeaseRecord {
  uint32_t crc = 0;
  uint32_t used = 0;
  uint32_t next[3] = {};   ///< in the chain of each hash table; next[0] of a free record: the next free one
  uint8_t mode = 0;        ///< enum Mode, or kImported
  uint8_t owned = 0;       ///< its addresses were handed out here: 1 IPv4, 2 IPv6
  uint16_t mappings = 0;
  uint64_t boot = 0;       ///< hash of the boot it was made in
  uint8_t address[2][16] = {};  ///< IPv4 mapped, IPv6; zero: none
  uint8_t mac[6] = {};     ///< of the container's device
  uint8_t pad[2] = {};
  char host_device[16] = {}, ifname[16] = {}, bridge[16] = {};
  char container[256] = {};
  struct Mapping {
    uint16_t host_port, container_port, protocol;
  } mapping[kMaxMappings] = {};
  uint8_t rest[136] = {};
};
static_assert(sizeof(LeaseRecord) == 2048);
inline constexpr uint8_t kImported = 16;

/// What of a range is remembered: where the round robin is.
struct LeaseHeader {
  char magic[8] = {};
  uint32_t format = 0, crc = 0;
  uint32_t free_slot = kNoSlot;  ///< first of the free ones
  uint32_t high = 0;             ///< slots that were ever used
  uint32_t used = 0;
  uint32_t imported = 0;         ///< the host-local folder was taken over, or there was none
  uint64_t boot = 0;             ///< of the last call that looked for records of earlier boots
  uint64_t sequence = 0;         ///< of the last transaction whose writes are in place
  uint8_t last[2][16] = {};      ///< handed out last, a family each; zero: none yet
};

enum class Index : uint8_t { kKey = 0, kIpv4 = 1, kIpv6 = 2 };

class LeaseFile {
 public:
  static constexpr uint64_t kHeaderAt = 0, kJournalAt = 4096, kJournalSize = 16384, kHeadsAt = kJournalAt + 2 * kJournalSize,
                            kRecordsAt = kHeadsAt + 3 * kBuckets * 4, kSize = kRecordsAt + uint64_t(kSlots) * sizeof(LeaseRecord);

  /// Finishes what a crash left undone; a file of zeroes becomes an empty table.
  static Outcome<LeaseFile> open(std::unique_ptr<Disk> disk, std::string name);

  const LeaseHeader& header() const { return header_; }
  /// Checked; code 5 when it is damaged.
  Outcome<LeaseRecord> read(uint32_t slot) const;
  /// Slot of the attachment, or kNoSlot.
  Outcome<uint32_t> find(std::string_view container, std::string_view ifname) const;
  Outcome<uint32_t> find(const IpAddress& address) const;
  /// Any attachment of the address, without reading more than needed: what a search for a free address asks.
  bool taken(const IpAddress& address) const;
  /// One transaction each.
  Outcome<uint32_t> add(LeaseRecord record, const LeaseHeader& header);
  Outcome<> remove(uint32_t slot, const LeaseHeader& header);
  Outcome<> replace(uint32_t slot, LeaseRecord record);
  Outcome<> set_header(const LeaseHeader& header);
  /// Every attachment; stops at the first failure of `each`.
  Outcome<> for_each(const std::function<Outcome<>(uint32_t slot, const LeaseRecord&)>& each) const;

 private:
  struct Piece {
    uint64_t offset;
    std::vector<uint8_t> bytes;
  };
  /// Writes collected for one transaction; a later one of the same place replaces an earlier one.
  class Changes {
   public:
    void put(uint64_t offset, const void* data, size_t size);
    void record(uint32_t slot, LeaseRecord r);
    void header(LeaseHeader h);
    std::vector<Piece> pieces;
    std::vector<std::pair<uint32_t, LeaseRecord>> records;
  };

  Outcome<> recover();
  Outcome<> commit(Changes& c, LeaseHeader h);
  const LeaseRecord& raw(uint32_t slot) const;
  uint32_t head(Index i, uint32_t bucket) const;
  /// The record as it will be after `c`.
  Outcome<LeaseRecord> current(const Changes& c, uint32_t slot) const;
  Outcome<> unlink(Changes& c, Index i, uint32_t bucket, uint32_t slot, uint32_t next) const;
  tl::unexpected<Failure> damaged(std::string_view what) const;

  std::unique_ptr<Disk> disk_;
  std::string name_;
  LeaseHeader header_;
  uint64_t sequence_ = 0;  ///< of the last transaction
};

/// Where the record's texts and addresses are.
std::optional<IpAddress> address_of(const LeaseRecord& r, bool v4);
void set_address(LeaseRecord& r, const IpAddress& a);
/// False: too long.
bool set_text(char* to, size_t size, std::string_view text);

}  // namespace ls::cni
