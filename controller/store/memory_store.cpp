#include <algorithm>
#include <cerrno>
#include <map>

#include "store/store.h"

namespace ls {
namespace {

class MemoryStore final : public Store {
 public:
  Result<std::vector<StoredRecord>> list(std::string_view area) override {
    std::vector<StoredRecord> out;
    if (auto found = areas_.find(area); found != areas_.end()) {
      for (auto& [key, held] : found->second) out.push_back({key, held.value, held.version});
    }
    return out;
  }

  Result<std::optional<StoredRecord>> get(std::string_view area, std::string_view key) override {
    auto* held = find(area, key);
    if (!held) return std::optional<StoredRecord>();
    return std::optional(StoredRecord{std::string(key), held->value, held->version});
  }

  Result<uint64_t> put(std::string_view area, std::string_view key, std::string_view value,
                       std::optional<uint64_t> expected) override {
    LS_TRY(check(find(area, key), expected, "put", key));
    areas_[std::string(area)][std::string(key)] = {std::string(value), ++last_};
    return last_;
  }

  Result<> erase(std::string_view area, std::string_view key, std::optional<uint64_t> expected) override {
    auto* held = find(area, key);
    LS_TRY(check(held, expected, "erase", key));
    if (held) areas_[std::string(area)].erase(std::string(key));
    return {};
  }

  Result<std::vector<std::string>> areas() override {
    std::vector<std::string> out;
    for (auto& [name, records] : areas_) {
      if (!records.empty()) out.push_back(name);
    }
    return out;
  }
  Result<uint64_t> last_version() override { return last_; }
  Result<> skip_versions(uint64_t last) override {
    last_ = std::max(last_, last);
    return {};
  }

 private:
  struct Held {
    std::string value;
    uint64_t version = 0;
  };

  const Held* find(std::string_view area, std::string_view key) const {
    auto found = areas_.find(area);
    if (found == areas_.end()) return nullptr;
    auto held = found->second.find(std::string(key));
    return held == found->second.end() ? nullptr : &held->second;
  }

  static Result<> check(const Held* held, std::optional<uint64_t> expected, const char* what, std::string_view key) {
    uint64_t there = held ? held->version : 0;
    if (!expected || *expected == there) return {};
    return fail(held ? EEXIST : ENOENT, std::string(what) + " '" + std::string(key) + "'");
  }

  std::map<std::string, std::map<std::string, Held>, std::less<>> areas_;
  uint64_t last_ = 0;  ///< one counter for all keys, so that no key can see a version twice
};

}  // namespace

Result<std::vector<std::string>> Store::areas() { return fail(ENOTSUP, "list the areas of this store"); }
Result<uint64_t> Store::last_version() { return fail(ENOTSUP, "read the last version of this store"); }
Result<> Store::skip_versions(uint64_t) { return fail(ENOTSUP, "skip versions of this store"); }

std::unique_ptr<Store> make_memory_store() { return std::make_unique<MemoryStore>(); }

}  // namespace ls
