#pragma once
/// Registry: names below thisdcos.directory that operators and services register (issue text; spec/spartan-dns.md section 9 has no
/// such thing: names entered only through tasks). Kept in the store; told to the zones as RecordDelta for each zone.
///
/// Thread: the admin thread (calls wait for the disk). on_change is called there; whoever listens posts to the control loop.
/// Time is an argument. Cost: O(1) a call, O(expired) for expire.
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls::dns {

/// One RRset as it is registered: PUT /v1/zones/<zone>/records/<name>/<type>.
struct Registration {
  std::string zone;  ///< "reg.thisdcos.directory", lower case, without trailing dot
  std::string name;  ///< relative text; "@" for the apex
  RrType type = RrType::kA;
  std::vector<std::string> data;       ///< presentation form of each record, as ldns reads it
  uint32_t ttl = 0;                    ///< seconds; 0: the default
  std::optional<Millis> lease;         ///< gone when it is not put again in this time
  int64_t expires_unix_ms = 0;         ///< with lease
  uint64_t version = 0;                ///< ETag
};

struct RegistryOptions {
  uint32_t default_ttl = 5;
  Millis max_lease{86'400'000};
  size_t max_records = 10'000;
};

/// Why a call was refused: `field` names the part of the request, for the error reply.
struct Refusal {
  enum class Kind { kInvalid, kConflict, kNotFound, kFull, kStore } kind = Kind::kInvalid;
  std::string field, why;
};

class Registry {
 public:
  /// Changes of one zone (its name without trailing dot).
  using OnChange = std::function<void(const std::string& zone, RecordDelta)>;
  Registry(Store& store, RegistryOptions options, OnChange on_change);
  ~Registry();
  /// Loads what is stored; gives everything to on_change once. Records that do not parse are left out and counted.
  Result<> load(int64_t unix_ms);

  /// `expected`: ETag of If-Match; 0: If-None-Match: *.
  tl::expected<Registration, Refusal> put(Registration wanted, std::optional<uint64_t> expected, int64_t unix_ms);
  tl::expected<void, Refusal> remove(std::string_view zone, std::string_view name, RrType type, std::optional<uint64_t> expected);
  std::optional<Registration> get(std::string_view zone, std::string_view name, RrType type) const;
  std::vector<Registration> list(std::string_view zone = {}) const;  ///< sorted; empty: all zones
  std::vector<std::string> zones() const;
  /// Takes away what was not renewed.
  size_t expire(int64_t unix_ms);
  uint64_t version() const;  ///< of the whole; grows with each change

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Zones that may be registered in or set up statically: below thisdcos.directory, one label more at least, not one that loadstar makes
/// itself (l4lb, mesos, dcos, thisnode, dclb ...). The error says why not. spec/spartan-dns.md 5.5; cases/dns/static-zones.json.
Result<> check_custom_zone(std::string_view zone);

}  // namespace ls::dns
