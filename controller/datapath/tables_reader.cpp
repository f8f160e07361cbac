#include "datapath/tables_reader.h"

#include <algorithm>
#include <unordered_map>

#include "datapath/abi_convert.h"

namespace ls {

Result<TablesReader> TablesReader::open(const MapOpener& opener) {
  TablesReader r;
  LS_ASSIGN(r.maps_, SvcMaps::open(opener, MapAccess::kRead));
  return r;
}

Result<std::vector<KernelService>> TablesReader::read(const ServiceKey* only) const {
  std::vector<KernelService> out;
  std::unordered_map<uint32_t, size_t> by_id;
  for (uint32_t id = 1; id < maps_.tab.size(); id++) {
    ls_svc entry = maps_.tab[id];
    auto key = from_abi(entry.key);
    if (!(entry.flags & LS_SVC_USED) || !key || (only && *key != *only)) continue;
    LS_ASSIGN(auto ref, maps_.svc.get(entry.key));
    by_id.emplace(id, out.size());
    out.push_back({*key, id, ref && ref->id == id, LS_RING_SLOTS(maps_.tab.load(id, &ls_svc::ring)), {}});
  }
  std::vector<ls_be_stat> stats;
  if (!only) {
    LS_ASSIGN(stats, maps_.be_stat.sums());
  }
  for (uint32_t n = 1; n < maps_.be.size(); n++) {
    uint32_t word = maps_.be.load(n, &ls_be::state);
    if (!be_is_live(word)) continue;
    const ls_be& b = maps_.be[n];
    auto owner = by_id.find(b.svc);
    if (owner == by_id.end()) continue;
    ls_be_stat stat{};
    if (only) {
      LS_ASSIGN(stat, maps_.be_stat.sum(n));
    } else if (n < stats.size()) {
      stat = stats[n];
    }
    out[owner->second].backends.push_back(
        {endpoint_of(b), n, LS_BE_GEN(word), be_state_text(word), stat.flows_tc, stat.flows_sock});
  }
  for (auto& s : out) {
    std::sort(s.backends.begin(), s.backends.end(), [](auto& a, auto& b) { return a.endpoint < b.endpoint; });
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.key < b.key; });
  return out;
}

Result<std::vector<KernelService>> TablesReader::services() const {
  return read(nullptr);
}

Result<std::optional<KernelService>> TablesReader::find(const ServiceKey& key) const {
  LS_ASSIGN(auto found, read(&key));
  // Two entries with one key exist only between a crash and the next sync; the listed one counts.
  std::stable_sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.listed > b.listed; });
  return found.empty() ? std::nullopt : std::optional(std::move(found.front()));
}

std::optional<Endpoint> TablesReader::backend(uint32_t number) const {
  if (number == 0 || number >= maps_.be.size()) return std::nullopt;
  if (LS_BE_STATE(maps_.be.load(number, &ls_be::state)) == LS_BE_FREE) return std::nullopt;
  return endpoint_of(maps_.be[number]);
}

}  // namespace ls
