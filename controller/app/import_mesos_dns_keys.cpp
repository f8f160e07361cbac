#include "app/import_mesos_dns_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

namespace ls {
namespace {

using Json = nlohmann::json;
using Member = std::pair<std::string, Json>;

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  return out;
}

/// The members of the outer object in the order in which they stand; nlohmann's own objects keep one of each name.
std::optional<std::vector<Member>> members(std::string_view text, std::string& why) {
  std::vector<Member> out;
  std::string key;
  int deepest = 0;
  auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    deepest = std::max(deepest, depth);
    if (depth != 1) return depth < 64;
    if (event == Json::parse_event_t::key) key = parsed.get<std::string>();
    bool whole = event == Json::parse_event_t::value || event == Json::parse_event_t::array_end || event == Json::parse_event_t::object_end;
    if (whole) out.emplace_back(key, parsed);
    return true;
  };
  try {
    auto root = Json::parse(text, watch);
    if (!root.is_object()) {
      why = "an object in braces is wanted";
      return std::nullopt;
    }
  } catch (const Json::parse_error& e) {
    // The library's own text repeats what it read last, which may be a secret.
    why = fmt::format("is no JSON: the error is at octet {}", e.byte);
    return std::nullopt;
  } catch (const Json::exception& e) {
    why = fmt::format("is no usable JSON (error {})", e.id);
    return std::nullopt;
  }
  return out;
}

using Reader = std::function<Result<>(const Json&)>;

Reader integer(int64_t& into, int64_t min = INT64_MIN, int64_t max = INT64_MAX) {
  return [&into, min, max](const Json& v) -> Result<> {
    if (v.is_null()) return {};
    if (!v.is_number_integer()) return fail("a whole number is wanted");
    bool large = v.is_number_unsigned() && v.get<uint64_t>() > uint64_t(INT64_MAX);
    if (large || v.get<int64_t>() < min || v.get<int64_t>() > max) return fail(fmt::format("{} is out of range", v.dump()));
    into = v.get<int64_t>();
    return {};
  };
}

Reader boolean(bool& into) {
  return [&into](const Json& v) -> Result<> {
    if (v.is_null()) return {};
    if (!v.is_boolean()) return fail("true or false is wanted");
    into = v.get<bool>();
    return {};
  };
}

Reader text(std::string& into) {
  return [&into](const Json& v) -> Result<> {
    if (v.is_null()) return {};
    if (!v.is_string()) return fail("a string is wanted");
    into = v.get<std::string>();
    return {};
  };
}

Result<std::vector<std::string>> strings(const Json& v) {
  std::vector<std::string> out;
  if (v.is_null()) return out;
  if (!v.is_array()) return fail("a list of strings is wanted");
  for (auto& item : v) {
    if (!item.is_string() && !item.is_null()) return fail("a list of strings is wanted");
    out.push_back(item.is_null() ? "" : item.get<std::string>());
  }
  return out;
}

Reader list(std::vector<std::string>& into) {
  return [&into](const Json& v) -> Result<> {
    LS_ASSIGN(into, strings(v));
    return {};
  };
}

}  // namespace

Result<MesosDnsConfig> read_mesos_dns(std::string_view json) {
  std::string why;
  auto all = members(json, why);
  if (!all) return fail(why);
  MesosDnsConfig c;
  auto zones = [&](const Json& v) -> Result<> {
    c.zone_resolvers.clear();
    if (v.is_null()) return {};
    if (!v.is_object()) return fail("an object of lists is wanted");
    for (auto& [zone, servers] : v.items()) {
      LS_ASSIGN(c.zone_resolvers[zone], strings(servers));
    }
    return {};
  };
  auto credentials = [&](const Json& v) -> Result<> {
    if (v.is_null()) return {};
    if (!v.is_object()) return fail("an object with principal and secret is wanted");
    for (auto& [key, value] : v.items()) {
      auto name = lower(key);
      if (name != "principal" && name != "secret") continue;
      if (!value.is_string() && !value.is_null()) return fail(name + ": a string is wanted");
      auto given = value.is_null() ? std::string() : value.get<std::string>();
      if (name == "secret") {
        c.has_secret = !given.empty();
      } else {
        c.principal = given;
      }
    }
    return {};
  };
  constexpr int64_t kU32 = UINT32_MAX;
  const std::map<std::string, Reader> readers{
      {"zk", text(c.zk)},
      {"masters", list(c.masters)},
      {"zkdetectiontimeout", integer(c.zk_detection_timeout)},
      {"refreshseconds", integer(c.refresh)},
      {"statetimeoutseconds", integer(c.state_timeout)},
      {"domain", text(c.domain)},
      {"port", integer(c.port)},
      {"listener", text(c.listener)},
      {"httplistener", text(c.http_listener)},
      {"httpport", integer(c.http_port)},
      {"dnson", boolean(c.dns_on)},
      {"httpon", boolean(c.http_on)},
      {"externalon", boolean(c.external_on)},
      {"resolvers", list(c.resolvers)},
      {"zoneresolvers", zones},
      {"timeout", integer(c.timeout)},
      {"recurseon", boolean(c.recurse_on)},
      {"ttl", integer(c.ttl, INT32_MIN, INT32_MAX)},
      {"srvrecorddefaultweight", integer(c.srv_weight, 0, UINT16_MAX)},
      {"soamname", text(c.soa_mname)},
      {"soarname", text(c.soa_rname)},
      {"soarefresh", integer(c.soa_refresh, 0, kU32)},
      {"soaretry", integer(c.soa_retry, 0, kU32)},
      {"soaexpire", integer(c.soa_expire, 0, kU32)},
      {"soaminttl", integer(c.soa_minttl, 0, kU32)},
      {"soaserial", integer(c.soa_serial, 0, kU32)},
      {"ipsources", list(c.ip_sources)},
      {"enforcerfc952", boolean(c.rfc952)},
      {"settruncatebit", boolean(c.truncate_bit)},
      {"enumerationon", boolean(c.enumeration)},
      {"mesoshttpson", boolean(c.https)},
      {"cacertfile", text(c.ca_file)},
      {"certfile", text(c.cert_file)},
      {"keyfile", text(c.key_file)},
      {"mesosauthentication", text(c.authentication)},
      {"mesoscredentials", credentials},
      {"iamconfigfile", text(c.iam_file)},
  };
  for (auto& [key, value] : *all) {
    auto name = lower(key);
    auto reader = readers.find(name);
    auto& into = reader == readers.end() ? c.unknown : c.seen;
    auto& entry = reader == readers.end() ? key : name;
    if (std::find(into.begin(), into.end(), entry) == into.end()) into.push_back(entry);
    if (reader == readers.end()) continue;
    if (auto done = reader->second(value); !done) return fail(key + ": " + done.error().doing);
  }
  return c;
}

}  // namespace ls
