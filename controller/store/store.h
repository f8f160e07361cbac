#pragma once
/// Store: where loadstar keeps what nobody else can tell it again: registrations now, overlay allocations and the cluster's id later.
/// A table of (area, key) -> value with a version each. Embedded: SQLite, one file, write-ahead log, synchronous FULL: what put()
/// confirmed survives a power cut. In ZooKeeper: store/zk_store.h.
///
/// Threads: one (the owner); calls may wait for the disk. Errors: a damaged file is named, left as it is and never overwritten; a
/// full disk (ENOSPC) fails the put and changes nothing.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"

namespace ls {

struct StoredRecord {
  std::string key, value;
  uint64_t version = 0;  ///< grows with each put of this key; never 0, never used again after an erase
};

class Store {
 public:
  virtual ~Store() = default;
  /// Sorted by key, octet by octet.
  virtual Result<std::vector<StoredRecord>> list(std::string_view area) = 0;
  virtual Result<std::optional<StoredRecord>> get(std::string_view area, std::string_view key) = 0;
  /// `expected`: the version that must be there (0: none must be there); nullopt: whatever is there. EEXIST (there is another
  /// version) or ENOENT (there is none) when it is not so (compare and set). Returns the new version.
  virtual Result<uint64_t> put(std::string_view area, std::string_view key, std::string_view value,
                               std::optional<uint64_t> expected = std::nullopt) = 0;
  /// Without `expected`, a key that is not there is a success. With it, errors as those of put.
  virtual Result<> erase(std::string_view area, std::string_view key, std::optional<uint64_t> expected = std::nullopt) = 0;

  // For who copies a whole store (store/migrate.h); ENOTSUP from one that cannot.
  /// Areas with at least one record, sorted.
  virtual Result<std::vector<std::string>> areas();
  /// The highest version that was ever given.
  virtual Result<uint64_t> last_version();
  /// Every version from now on is above `last`, as in the store that is copied: what was told of it outside stays older.
  virtual Result<> skip_versions(uint64_t last);
};

/// Opens or makes the file (mode 0600; its folder must exist). One process at a time holds it (EBUSY for the second, after
/// waiting 2 s for the first to end). Every record carries a checksum of its own beside the checks of SQLite: a file that fails
/// either is an error that names it. EILSEQ: damaged, or not a store of loadstar; EPROTO: written by a newer loadstar.
Result<std::unique_ptr<Store>> open_file_store(const std::filesystem::path& file);
/// Forgets everything at its end; for tests and for nodes without a state folder.
std::unique_ptr<Store> make_memory_store();

}  // namespace ls
