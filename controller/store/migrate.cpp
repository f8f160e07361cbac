#include "store/migrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace ls {
namespace {

constexpr std::string_view kMarkArea = "store.copy", kMarkKey = "unfinished";

/// Keys and values; versions are given anew.
bool same(const std::vector<StoredRecord>& a, const std::vector<StoredRecord>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](auto& x, auto& y) { return x.key == y.key && x.value == y.value; });
}

Result<std::vector<std::string>> areas_of(Store& store) {
  LS_ASSIGN(auto all, store.areas());
  std::erase(all, kMarkArea);
  return all;
}

Result<bool> holds_all(const StoreCopy& c) {
  LS_ASSIGN(auto there, areas_of(*c.to));
  for (auto& part : c.parts) {
    for (auto& area : part.areas) {
      std::erase(there, area);
      LS_ASSIGN(auto from, part.from->list(area));
      LS_ASSIGN(auto to, c.to->list(area));
      if (!same(from, to)) return false;
    }
  }
  return there.empty();
}

/// Whether there is something to do; the target is empty but for the mark then.
Result<bool> prepare(const StoreCopy& c) {
  LS_ASSIGN(auto mark, c.to->get(kMarkArea, kMarkKey));
  LS_ASSIGN(auto there, areas_of(*c.to));
  if (mark) {
    for (auto& area : there) {
      LS_ASSIGN(auto records, c.to->list(area));
      for (auto& r : records) LS_TRY(c.to->erase(area, r.key));
    }
    return true;
  }
  return there.empty();  // else it was found to be complete
}

Result<> fill(const StoreCopy& c) {
  // Before any record: its new version is one that nobody holds for an older content.
  for (auto& part : c.parts) {
    LS_ASSIGN(auto last, part.from->last_version());
    LS_TRY(c.to->skip_versions(last));
  }
  for (auto& part : c.parts) {
    for (auto& area : part.areas) {
      LS_ASSIGN(auto records, part.from->list(area));
      for (auto& r : records) LS_TRY(c.to->put(area, r.key, r.value, 0));
    }
  }
  LS_ASSIGN(bool good, holds_all(c));
  if (!good) return fail(EILSEQ, fmt::format("{} does not hold what was copied to it", c.to_name));
  return {};
}

}  // namespace

Result<std::vector<MigratedArea>> copy_stores(const std::vector<StoreCopy>& copies) {
  // Everything is looked at before anything is changed.
  for (auto& c : copies) {
    for (auto& part : c.parts) LS_TRY(check_copied(*part.from));
  }
  for (auto& c : copies) {
    LS_ASSIGN(auto mark, c.to->get(kMarkArea, kMarkKey));
    LS_ASSIGN(auto there, areas_of(*c.to));
    if (mark || there.empty()) continue;
    LS_ASSIGN(bool done, holds_all(c));
    if (!done) return fail(EEXIST, fmt::format("{} is not empty: it has records in '{}'", c.to_name, there.front()));
  }
  std::vector<const StoreCopy*> todo;
  for (auto& c : copies) {
    LS_ASSIGN(bool wanted, prepare(c));
    if (!wanted) continue;
    LS_TRY(c.to->put(kMarkArea, kMarkKey, ""));
    todo.push_back(&c);
  }
  for (auto* c : todo) LS_TRY(fill(*c));
  for (auto* c : todo) {
    if (c->unchanged) LS_TRY(c->unchanged());
  }
  for (auto* c : todo) LS_TRY(c->to->erase(kMarkArea, kMarkKey));
  std::vector<MigratedArea> out;
  for (auto& c : copies) {
    for (auto& part : c.parts) {
      for (auto& area : part.areas) {
        LS_ASSIGN(auto records, c.to->list(area));
        out.push_back({area, records.size()});
      }
    }
  }
  return out;
}

Result<> check_copied(Store& store) {
  LS_ASSIGN(auto mark, store.get(kMarkArea, kMarkKey));
  if (mark) return fail(EBUSY, "this store is a copy that was interrupted: run 'loadstard store migrate' once more");
  return {};
}

}  // namespace ls
