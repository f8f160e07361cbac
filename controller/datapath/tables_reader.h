#pragma once
/// What the kernel holds, read from the maps themselves, for `loadstar vip` and `backend`. Never what the
/// controller believes. Thread: any one thread with its own reader (the admin thread). Reads take no lock; a
/// service that changes while it is read may show its old or its new state, each backend by itself. Cost: one
/// pass over ls_be (131,072 entries: 1 ms) and ls_be_stat (10 ms).
#include <optional>
#include <string_view>
#include <vector>

#include "datapath/svc_tables.h"

namespace ls {

struct KernelBackend {
  Endpoint endpoint;
  uint32_t number = 0;
  uint32_t generation = 0;
  std::string_view state;   ///< active, draining
  uint64_t flows_tc = 0;    ///< flows this backend was chosen for by the packet path
  uint64_t flows_sock = 0;  ///< by the socket path
};

struct KernelService {
  ServiceKey key;
  uint32_t id = 0;
  bool listed = false;  ///< ls_svc leads to it; false for a moment only, or when somebody deleted the entry
  uint32_t ring_slots = 0;
  std::vector<KernelBackend> backends;  ///< by endpoint, dead ones left out
};

class TablesReader {
 public:
  static Result<TablesReader> open(const MapOpener& opener);
  /// All services by key.
  Result<std::vector<KernelService>> services() const;
  Result<std::optional<KernelService>> find(const ServiceKey& key) const;
  /// Who has this number, living or dead; nobody: nullopt. Any thread: one read of a mapped table.
  std::optional<Endpoint> backend(uint32_t number) const;

 private:
  Result<std::vector<KernelService>> read(const ServiceKey* only) const;
  SvcMaps maps_;
};

}  // namespace ls
