#include <fmt/format.h>

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "dns/registration.h"
#include "dns/registration_feed.h"

namespace ls::dns {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::pair<std::string_view, int64_t>, 5> kUnits{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};

std::string text_of(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<std::string> string_in(const Json& j, const char* key, size_t most) {
  auto it = j.find(key);
  if (it == j.end() || !it->is_string()) return fail(fmt::format("{}: a text is missing", key));
  auto& s = it->get_ref<const std::string&>();
  if (s.size() > most) return fail(fmt::format("{}: {} octets, {} at most", key, s.size(), most));
  return s;
}

Result<uint64_t> number_in(const Json& j, const char* key, uint64_t most) {
  auto it = j.find(key);
  bool whole = it != j.end() && (it->is_number_unsigned() || (it->is_number_integer() && it->get<int64_t>() >= 0));
  if (!whole || it->get<uint64_t>() > most) {
    return fail(fmt::format("{}: a number from 0 to {} is missing", key, most));
  }
  return it->get<uint64_t>();
}

Result<RegistrationKey> key_of(const Json& j) {
  if (!j.is_object()) return fail("an entry is not an object");
  RegistrationKey key;
  LS_ASSIGN(key.zone, string_in(j, "zone", 255));
  LS_ASSIGN(key.name, string_in(j, "name", 255));
  LS_ASSIGN(auto type, string_in(j, "type", 16));
  auto parsed = parse_rr_type(type);
  if (!parsed) return fail(fmt::format("type: '{}' is not a type", type));
  key.type = *parsed;
  return key;
}

/// Refuses before memory is spent on it: feeds are flat.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    if (quoted) {
      if (c == '\\') i++;
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > 8) return true;
    } else if (c == ']' || c == '}') {
      depth--;
    }
  }
  return false;
}

}  // namespace

std::optional<Millis> parse_lease(std::string_view text) {
  if (text.empty()) return std::nullopt;
  int64_t total = 0;
  size_t next_unit = 0;
  while (!text.empty()) {
    int64_t n = 0;
    auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (err != std::errc() || n < 0 || n > 1'000'000'000 || text[0] == '-') return std::nullopt;
    text.remove_prefix(size_t(end - text.data()));
    auto word = text.substr(0, std::min(text.find_first_of("0123456789"), text.size()));
    text.remove_prefix(word.size());
    while (next_unit < kUnits.size() && kUnits[next_unit].first != word) next_unit++;
    if (next_unit == kUnits.size()) return std::nullopt;
    total += n * kUnits[next_unit++].second;  // at most five terms below 2^57
  }
  return Millis(total);
}

std::string lease_text(Millis lease) {
  for (auto& [unit, ms] : kUnits) {
    if (lease.count() % ms == 0 && lease.count() >= ms) return fmt::format("{}{}", lease.count() / ms, unit);
  }
  return "0s";
}

Json to_json(const Registration& r) {
  Json j{{"zone", r.zone}, {"name", r.name}, {"type", to_text(r.type)}, {"data", r.data}, {"ttl", r.ttl}, {"version", r.version}};
  if (r.lease) {
    j["lease"] = lease_text(*r.lease);
    j["expires_unix_ms"] = r.expires_unix_ms;
  }
  return j;
}

Result<Registration> registration_of(const Json& j) {
  Registration r;
  LS_ASSIGN(auto key, key_of(j));
  r.zone = std::move(key.zone);
  r.name = std::move(key.name);
  r.type = key.type;
  auto data = j.find("data");
  if (data == j.end() || !data->is_array() || data->size() > 1000) return fail("data: a list of texts is missing");
  for (auto& d : *data) {
    if (!d.is_string() || d.get_ref<const std::string&>().size() > 65536) return fail("data: a list of texts is missing");
    r.data.push_back(d);
  }
  LS_ASSIGN(auto ttl, number_in(j, "ttl", UINT32_MAX));
  r.ttl = uint32_t(ttl);
  if (j.contains("version")) {
    LS_ASSIGN(r.version, number_in(j, "version", INT64_MAX));
  }
  if (j.contains("lease")) {
    LS_ASSIGN(auto lease, string_in(j, "lease", 64));
    r.lease = parse_lease(lease);
    if (!r.lease) return fail(fmt::format("lease: '{}' is not a duration", lease));
    LS_ASSIGN(auto expires, number_in(j, "expires_unix_ms", INT64_MAX));
    r.expires_unix_ms = int64_t(expires);
  }
  return r;
}

std::string feed_text(const RegistrationFeed& feed) {
  Json j{{"store", feed.at.store}, {"epoch", feed.at.epoch},        {"version", feed.at.version},
         {"full", feed.full},      {"registrations", Json::array()}, {"removed", Json::array()}};
  if (feed.elected) j["elected"] = true;
  for (auto& r : feed.registrations) j["registrations"].push_back(to_json(r));
  for (auto& k : feed.removed) j["removed"].push_back({{"zone", k.zone}, {"name", k.name}, {"type", to_text(k.type)}});
  return text_of(j) + "\n";
}

Result<RegistrationFeed> parse_feed(std::string_view text) {
  if (text.size() > kMaxFeedBytes) return fail(EMSGSIZE, fmt::format("registrations of {} octets", text.size()));
  if (too_deep(text)) return fail("registrations: nested too deeply");
  auto j = Json::parse(text, nullptr, false);
  if (!j.is_object()) return fail("registrations: this is not a JSON object");
  RegistrationFeed feed;
  LS_ASSIGN(feed.at.store, string_in(j, "store", 64));
  LS_ASSIGN(feed.at.epoch, number_in(j, "epoch", INT64_MAX));
  LS_ASSIGN(feed.at.version, number_in(j, "version", INT64_MAX));
  auto full = j.find("full");
  if (full == j.end() || !full->is_boolean()) return fail("full: true or false is missing");
  feed.full = *full;
  if (auto elected = j.find("elected"); elected != j.end()) {
    if (!elected->is_boolean()) return fail("elected: is true or false");
    feed.elected = *elected;
  }
  for (auto* list : {"registrations", "removed"}) {
    auto it = j.find(list);
    if (it == j.end() || !it->is_array()) return fail(fmt::format("{}: a list is missing", list));
    if (it->size() > kMaxFeedEntries) return fail(EMSGSIZE, fmt::format("{}: {} entries, {} at most", list, it->size(), kMaxFeedEntries));
  }
  feed.registrations.reserve(j["registrations"].size());
  for (auto& e : j["registrations"]) {
    LS_ASSIGN(auto r, registration_of(e));
    feed.registrations.push_back(std::move(r));
  }
  for (auto& e : j["removed"]) {
    LS_ASSIGN(auto key, key_of(e));
    feed.removed.push_back(std::move(key));
  }
  return feed;
}

}  // namespace ls::dns
