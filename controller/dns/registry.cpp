#include "dns/registry.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "util/log.h"

namespace ls::dns {
namespace {

using Json = nlohmann::json;
using Kind = Refusal::Kind;

constexpr std::string_view kRecords = "dns.registrations", kLeases = "dns.leases", kOwn = "dns.registry";
constexpr Millis kExpireFor{200};
constexpr size_t kMaxLog = 4096;  // changes a follower may be behind and still gets only these

/// Zone and type hold no space, so the key is unique.
std::string stored_key(const RegistrationKey& k) { return fmt::format("{} {} {}", k.zone, to_text(k.type), k.name); }

tl::unexpected<Refusal> refuse(Kind kind, std::string field, std::string why) {
  return tl::make_unexpected(Refusal{kind, std::move(field), std::move(why)});
}

tl::unexpected<Refusal> store_failed(const Error& e) {
  bool full = e.code == std::errc::no_space_on_device;
  return refuse(full ? Kind::kFull : Kind::kStore, "", e.text());
}

std::optional<int64_t> number_of(std::string_view text) {
  int64_t n = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (err != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

struct Entry {
  Registration r;
  std::vector<Record> records;
  Instant due{};               ///< with lease
  int64_t saved_unix_ms = 0;   ///< end of the lease as the disk knows it
};

}  // namespace

RegistryTime RegistryTime::now() {
  using namespace std::chrono;
  return {duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count(), steady_clock::now()};
}

struct Registry::Impl {
  using Entries = std::map<RegistrationKey, Entry>;

  Store& store;
  RegistryOptions options;
  OnChange on_change;
  Entries entries;
  std::set<std::pair<Instant, const RegistrationKey*>> due;  ///< keys are those of `entries`
  RegistrationPosition at{"", 0, 1};
  std::deque<std::pair<uint64_t, RegistrationKey>> log;  ///< version and what changed in it, oldest first
  size_t record_count = 0, left_out = 0;

  RegistrationLimits limits() const { return {.max_lease = options.max_lease}; }

  void changed(const RegistrationKey& key, RecordDelta delta) {
    at.version++;
    log.emplace_back(at.version, key);
    if (log.size() > kMaxLog) log.pop_front();
    if (!delta.empty() && on_change) on_change(key.zone, std::move(delta));
  }

  void set_due(const RegistrationKey& key, Entry& e, std::optional<Instant> when) {
    if (e.r.lease) due.erase({e.due, &key});
    if (when) {
      e.due = *when;
      due.insert({*when, &key});
    }
  }

  /// CNAME and other data exclude each other (RFC 1034 3.6.2).
  std::optional<RrType> conflict(const RegistrationKey& key) const {
    for (auto it = entries.lower_bound({key.zone, key.name, RrType{}}); it != entries.end(); ++it) {
      auto& k = it->first;
      if (k.zone != key.zone || k.name != key.name) break;
      if (k.type != key.type && (k.type == RrType::kCname || key.type == RrType::kCname)) return k.type;
    }
    return std::nullopt;
  }

  std::optional<Refusal> precondition(const Entries::const_iterator& found, std::optional<uint64_t> expected) const {
    uint64_t there = found == entries.end() ? 0 : found->second.r.version;
    if (!expected || *expected == there) return std::nullopt;
    if (*expected == 0) return Refusal{Kind::kPrecondition, "If-None-Match", fmt::format("it is there already, its ETag is \"{}\"", there)};
    if (there == 0) return Refusal{Kind::kPrecondition, "If-Match", "it is not there"};
    return Refusal{Kind::kPrecondition, "If-Match", fmt::format("its ETag is \"{}\" now", there)};
  }

  /// A renewal without any change: the version stays.
  void renew(const RegistrationKey& key, Entry& e, RegistryTime now) {
    auto lease = *e.r.lease;
    set_due(key, e, now.monotonic + lease);
    e.r.expires_unix_ms = now.unix_ms + lease.count();
    // The disk may lag by a quarter, since half a lease is given after a restart in any case.
    if (std::abs(e.r.expires_unix_ms - e.saved_unix_ms) < lease.count() / 4) return;
    auto saved = store.put(kLeases, stored_key(key), std::to_string(e.r.expires_unix_ms));
    if (saved) e.saved_unix_ms = e.r.expires_unix_ms;
    else log::warn("registration_renewal_not_saved", {{"name", stored_key(key)}, {"error", saved.error().text()}});
  }

  void drop(Entries::iterator it) {
    set_due(it->first, it->second, std::nullopt);
    auto key = it->first;
    auto records = std::move(it->second.records);
    record_count -= records.size();
    entries.erase(it);
    changed(key, difference(std::move(records), {}));
  }

  Result<> erase_stored(const RegistrationKey& key, bool leased) {
    LS_TRY(store.erase(kRecords, stored_key(key)));
    // An end of a lease without its record means nothing and goes at the next start.
    if (leased) (void)store.erase(kLeases, stored_key(key));
    return {};
  }

  Result<> open_position(int64_t unix_ms);
  bool load_one(const StoredRecord& stored, const std::map<std::string, int64_t>& leases, RegistryTime now);
};

Registry::Registry(Store& store, RegistryOptions options, OnChange on_change)
    : impl_(new Impl{store, options, std::move(on_change), {}, {}, {"", 0, 1}, {}, 0, 0}) {}
Registry::~Registry() = default;

/// Name of the store and number of this start.
Result<> Registry::Impl::open_position(int64_t unix_ms) {
  LS_ASSIGN(auto name, store.get(kOwn, "name"));
  if (name) {
    at.store = name->value;
  } else {
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != ssize_t(sizeof random)) return fail(errno, "read random octets");
    at.store = fmt::format("{:016x}", random);
    if (auto put = store.put(kOwn, "name", at.store); !put) log::warn("registry_name_not_saved", {{"error", put.error().text()}});
  }
  auto started = store.put(kOwn, "started", std::to_string(unix_ms));
  if (started) {
    at.epoch = *started;
    return {};
  }
  if (options.elected) return pass(std::move(started.error()), "begin a turn");
  // A full disk must not end the names that are there. Without a number of its own this start goes on in the epoch of
  // the one before, with versions that one cannot have reached.
  log::warn("registry_start_not_saved", {{"error", started.error().text()}});
  LS_ASSIGN(auto before, store.get(kOwn, "started"));
  at.epoch = before ? before->version : 0;
  at.version = uint64_t(std::max<int64_t>(unix_ms, 1));
  return {};
}

bool Registry::Impl::load_one(const StoredRecord& stored, const std::map<std::string, int64_t>& leases, RegistryTime now) {
  auto j = Json::parse(stored.value, nullptr, false);
  auto r = registration_of(j);
  if (!r) return false;
  r->version = stored.version;
  // The limit of leases may have been lowered since; that is no reason to lose a name.
  RegistrationLimits any;
  any.max_lease = Millis::max();
  if (!normalize(*r, any) || stored_key(r->key()) != stored.key) return false;
  auto records = records_of(*r);
  if (!records) return false;
  Entry e{std::move(*r), std::move(*records), {}, 0};
  auto key = e.r.key();
  record_count += e.records.size();
  auto [it, added] = entries.insert_or_assign(key, std::move(e));
  auto& entry = it->second;
  if (entry.r.lease) {
    if (auto renewed = leases.find(stored.key); renewed != leases.end()) entry.r.expires_unix_ms = renewed->second;
    entry.saved_unix_ms = entry.r.expires_unix_ms;
    auto lease = std::min(*entry.r.lease, options.max_lease);
    auto left = Millis(std::clamp(entry.r.expires_unix_ms - now.unix_ms, lease.count() / 2, lease.count()));
    entry.r.expires_unix_ms = now.unix_ms + left.count();
    set_due(it->first, entry, now.monotonic + left);
  }
  return true;
}

Result<> Registry::load(RegistryTime now) {
  auto& m = *impl_;
  LS_TRY(m.open_position(now.unix_ms));
  LS_ASSIGN(auto leases_stored, m.store.list(kLeases));
  std::map<std::string, int64_t> leases;
  for (auto& l : leases_stored) {
    if (auto at = number_of(l.value); at && *at >= 0) leases[l.key] = *at;
  }
  LS_ASSIGN(auto stored, m.store.list(kRecords));
  std::set<std::string_view> keys;
  for (auto& s : stored) {
    keys.insert(s.key);
    if (m.load_one(s, leases, now)) continue;
    m.left_out++;
    log::warn("registration_left_out", {{"name", s.key}});
  }
  for (auto& l : leases_stored) {
    if (!keys.contains(l.key)) (void)m.store.erase(kLeases, l.key);
  }
  std::map<std::string, RecordDelta> all;
  for (auto& [key, e] : m.entries) {
    auto& add = all[key.zone].add;
    add.insert(add.end(), e.records.begin(), e.records.end());
  }
  for (auto& [zone, delta] : all) {
    if (m.on_change) m.on_change(zone, std::move(delta));
  }
  return {};
}

tl::expected<Registration, Refusal> Registry::put(Registration wanted, std::optional<uint64_t> expected, RegistryTime now) {
  auto& m = *impl_;
  if (auto ok = normalize(wanted, m.limits()); !ok) return tl::make_unexpected(std::move(ok.error()));
  if (wanted.ttl == 0) wanted.ttl = m.options.default_ttl;
  auto key = wanted.key();
  auto found = m.entries.find(key);
  if (auto wrong = m.precondition(found, expected)) return tl::make_unexpected(std::move(*wrong));
  if (auto other = m.conflict(key)) {
    return refuse(Kind::kConflict, "type", fmt::format("'{}' has {} records, and a CNAME stands alone (RFC 1034 3.6.2)", key.name, to_text(*other)));
  }
  bool there = found != m.entries.end();
  if (there && found->second.r.data == wanted.data && found->second.r.ttl == wanted.ttl && found->second.r.lease == wanted.lease) {
    if (wanted.lease) m.renew(found->first, found->second, now);
    return found->second.r;
  }
  auto records = records_of(wanted);
  if (!records) return tl::make_unexpected(std::move(records.error()));
  size_t had = there ? found->second.records.size() : 0;
  if (records->size() > had && m.record_count - had + records->size() > m.options.max_records) {
    return refuse(Kind::kFull, "data", fmt::format("{} records are registered, {} at most", m.record_count, m.options.max_records));
  }
  wanted.expires_unix_ms = wanted.lease ? now.unix_ms + wanted.lease->count() : 0;
  auto kept = to_json(wanted);
  kept.erase("version");
  auto text = stored_key(key);
  auto version = m.store.put(kRecords, text, kept.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!version) return store_failed(version.error());
  // A later end of an earlier lease must not outlive it.
  if (there && found->second.r.lease) (void)m.store.erase(kLeases, text);
  wanted.version = *version;

  auto it = there ? found : m.entries.emplace(key, Entry{}).first;
  auto& e = it->second;
  m.set_due(it->first, e, wanted.lease ? std::optional(now.monotonic + *wanted.lease) : std::nullopt);
  e.saved_unix_ms = wanted.expires_unix_ms;
  e.r = std::move(wanted);
  auto before = std::exchange(e.records, *records);
  m.record_count += e.records.size();
  m.record_count -= before.size();
  m.changed(key, difference(std::move(before), std::move(*records)));
  return e.r;
}

tl::expected<void, Refusal> Registry::remove(std::string_view zone, std::string_view name, RrType type, std::optional<uint64_t> expected) {
  auto& m = *impl_;
  auto found = m.entries.find({std::string(zone), std::string(name), type});
  if (auto wrong = m.precondition(found, expected)) return tl::make_unexpected(std::move(*wrong));
  if (found == m.entries.end()) return refuse(Kind::kNotFound, "", fmt::format("{} has no {} records for '{}'", zone, to_text(type), name));
  if (auto done = m.erase_stored(found->first, found->second.r.lease.has_value()); !done) return store_failed(done.error());
  m.drop(found);
  return {};
}

std::optional<Registration> Registry::get(std::string_view zone, std::string_view name, RrType type) const {
  auto found = impl_->entries.find({std::string(zone), std::string(name), type});
  if (found == impl_->entries.end()) return std::nullopt;
  return found->second.r;
}

std::vector<Registration> Registry::list(std::string_view zone) const {
  std::vector<Registration> out;
  for (auto it = impl_->entries.lower_bound({std::string(zone), "", RrType{}}); it != impl_->entries.end(); ++it) {
    if (!zone.empty() && it->first.zone != zone) break;
    out.push_back(it->second.r);
  }
  return out;
}

std::vector<std::string> Registry::zones() const {
  std::vector<std::string> out;
  for (auto& [key, e] : impl_->entries) {
    if (out.empty() || out.back() != key.zone) out.push_back(key.zone);
  }
  return out;
}

size_t Registry::expire(RegistryTime now) {
  auto& m = *impl_;
  size_t gone = 0;
  auto begin = std::chrono::steady_clock::now();  // not the argument: how long the store takes is what counts here
  while (!m.due.empty() && m.due.begin()->first <= now.monotonic && std::chrono::steady_clock::now() - begin < kExpireFor) {
    auto found = m.entries.find(*m.due.begin()->second);
    // When the disk refuses, the name goes all the same; after a restart it would be there for half a lease once more. A master that takes turns
    // may be one no more: the lease may have been renewed at another, so the name stays.
    if (auto done = m.erase_stored(found->first, true); !done) {
      if (m.options.elected) {
        log::warn("registration_end_refused", {{"name", stored_key(found->first)}, {"error", done.error().text()}});
        break;
      }
      log::warn("registration_end_not_saved", {{"name", stored_key(found->first)}, {"error", done.error().text()}});
    }
    log::info("registration_expired", {{"zone", found->first.zone}, {"name", found->first.name}, {"type", to_text(found->first.type)}});
    m.drop(found);
    gone++;
  }
  return gone;
}

uint64_t Registry::version() const { return impl_->at.version; }
size_t Registry::left_out() const { return impl_->left_out; }
size_t Registry::records() const { return impl_->record_count; }
RegistrationPosition Registry::position() const { return impl_->at; }

RegistrationFeed Registry::feed(const RegistrationPosition& after) const {
  auto& m = *impl_;
  RegistrationFeed out{.at = m.at, .registrations = {}, .removed = {}, .elected = m.options.elected};
  bool known = after.store == m.at.store && after.epoch == m.at.epoch && after.version <= m.at.version &&
               m.at.version - after.version <= m.log.size();
  if (!known) {
    out.registrations = list();
    return out;
  }
  out.full = false;
  std::set<RegistrationKey> keys;
  auto behind = size_t(m.at.version - after.version);
  for (auto it = m.log.end() - ptrdiff_t(behind); it != m.log.end(); ++it) keys.insert(it->second);
  for (auto& k : keys) {
    auto found = m.entries.find(k);
    if (found == m.entries.end()) out.removed.push_back(k);
    else out.registrations.push_back(found->second.r);
  }
  return out;
}

}  // namespace ls::dns
