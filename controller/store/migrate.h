#pragma once
/// Copies of a whole store: from files to ZooKeeper and back (loadstard store migrate).
///
/// While a copy is being made the target holds a mark, written before the first record and taken away after everything was compared. A
/// copy that was interrupted is therefore recognised: the next run begins it anew, and no daemon works with it (check_copied()).
///
/// Thread: the owner of both stores; calls wait. Errors: EEXIST: the target holds records and no mark; EILSEQ: what was written is not what is
/// read back; those of the stores.
#include <functional>
#include <string>
#include <vector>

#include "store/store.h"

namespace ls {

struct MigratedArea {
  std::string area;
  size_t records = 0;
};

/// What goes where: of each part's store only `areas`. No area is in two parts.
struct StoreCopy {
  struct Part {
    Store* from = nullptr;
    std::vector<std::string> areas;
  };
  std::vector<Part> parts;
  Store* to = nullptr;
  std::function<Result<>()> unchanged;  ///< asked before the copy counts: whether there is no more than what was read; may be empty
  std::string to_name;  ///< for errors: "/var/lib/loadstar/store.db"
};

/// All copies or none: the marks of all targets are there before the first record and go after the last comparison. A target that holds exactly what is
/// to be copied, without a mark, is done already. Versions of the target go on above those of its source. The number of records by area.
Result<std::vector<MigratedArea>> copy_stores(const std::vector<StoreCopy>& copies);

/// An error when `store` is a copy that was interrupted.
Result<> check_copied(Store& store);

}  // namespace ls
