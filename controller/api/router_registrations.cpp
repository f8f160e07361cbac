#include "api/router_registrations.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "api/params.h"
#include "api/routes.h"
#include "util/log.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using dns::Refusal;
using dns::Registration;

constexpr Millis kMaxWait{30'000};
constexpr size_t kFeedTextsKept = 64;  // of one version; followers are nearly all at the same place

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t n = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (text.empty() || err != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

Reply refusal_reply(const Refusal& r) {
  unsigned status = 500;
  switch (r.kind) {
    case Refusal::Kind::kInvalid: status = 400; break;
    case Refusal::Kind::kConflict: status = 409; break;
    case Refusal::Kind::kPrecondition: status = 412; break;
    case Refusal::Kind::kNotFound: status = 404; break;
    case Refusal::Kind::kFull: status = 507; break;
    case Refusal::Kind::kStore: status = 500; break;
  }
  return error_reply(status, r.why, r.field);
}

std::string etag_of(const Registration& r) { return fmt::format("\"{}\"", r.version); }

Reply registration_reply(const Registration& r, unsigned status = 200) {
  auto out = json_reply(to_json(r));
  out.status = status;
  out.headers.push_back({"ETag", etag_of(r)});
  return out;
}

/// What the path names: /v1/zones/<zone>/records/<name>/<type>.
struct Place {
  std::string zone, name;
  RrType type{};
};

/// What If-Match and If-None-Match ask for. `there`: the version that is there, 0: none.
tl::expected<std::optional<uint64_t>, Reply> expected_version(const Request& q, uint64_t there) {
  auto bad = [](std::string_view header, std::string_view why) { return tl::make_unexpected(error_reply(400, fmt::format("{} {}", header, why), header)); };
  if (!q.if_none_match.empty()) {
    if (!q.if_match.empty()) return bad("If-Match", "and If-None-Match exclude each other");
    if (q.if_none_match != "*") return bad("If-None-Match", "takes \"*\" only, which means: only if it is not there");
    return std::optional<uint64_t>(0);
  }
  if (q.if_match.empty()) return std::optional<uint64_t>();
  if (q.if_match == "*") {
    if (there == 0) return tl::make_unexpected(error_reply(412, "it is not there", "If-Match"));
    return std::optional(there);
  }
  std::string_view tag = q.if_match;
  auto version = tag.size() > 2 && tag.front() == '"' && tag.back() == '"' ? number_of(tag.substr(1, tag.size() - 2)) : std::nullopt;
  // A tag that cannot be one of ours matches nothing, as RFC 9110 13.1.1 has it.
  if (!version || *version == 0) return tl::make_unexpected(error_reply(412, "its ETag is another one", "If-Match"));
  return std::optional(*version);
}

/// The body of a PUT.
tl::expected<Registration, Reply> wanted_of(const Request& q, const Place& place) {
  auto bad = [](std::string_view field, std::string_view why) { return tl::make_unexpected(error_reply(400, fmt::format("{} {}", field, why), field)); };
  auto type = q.content_type.substr(0, q.content_type.find(';'));
  while (type.ends_with(' ')) type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return char(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  if (type != "application/json") return tl::make_unexpected(error_reply(415, "the body must be application/json", "Content-Type"));
  // Depth three is all a good body has; the parser must not be led deeper.
  int depth = 0;
  bool deep = false;
  auto j = Json::parse(
      q.body,
      [&](int d, Json::parse_event_t, Json&) {
        depth = std::max(depth, d);
        deep = deep || d > 4;
        return !deep;
      },
      false);
  if (deep || !j.is_object()) return bad("body", "is not a JSON object such as {\"data\": [\"10.0.0.1\"], \"ttl\": 5, \"lease\": \"30s\"}");
  Registration r{place.zone, place.name, place.type, {}, 0, std::nullopt, 0, 0};
  for (auto& [key, value] : j.items()) {
    if (key == "data") {
      if (!value.is_array()) return bad("data", "is a list of texts");
      for (auto& d : value) {
        if (!d.is_string()) return bad("data", "is a list of texts");
        r.data.push_back(d);
      }
    } else if (key == "ttl") {
      if (!value.is_number_unsigned() || value.get<uint64_t>() > UINT32_MAX) return bad("ttl", "is a whole number of seconds");
      r.ttl = value;
    } else if (key == "lease") {
      if (value.is_string()) r.lease = dns::parse_lease(value.get_ref<const std::string&>());
      if (!r.lease) return bad("lease", "is a duration such as \"30s\" or \"1m30s\"");
    } else {
      return bad(key.substr(0, 64), "is not known; the body has data, ttl and lease");
    }
  }
  if (!j.contains("data")) return bad("data", "is missing");
  return r;
}

Reply put(dns::Registry& registry, const Request& q, const Place& place) {
  auto wanted = wanted_of(q, place);
  if (!wanted) return std::move(wanted.error());
  auto before = registry.get(place.zone, place.name, place.type);
  auto expected = expected_version(q, before ? before->version : 0);
  if (!expected) return std::move(expected.error());
  auto done = registry.put(std::move(*wanted), *expected, dns::RegistryTime::now());
  if (!done) {
    log::info("registration_refused", {{"zone", place.zone}, {"name", place.name}, {"type", to_text(place.type)}, {"caller", q.caller.text}, {"why", done.error().why}});
    return refusal_reply(done.error());
  }
  bool renewed = before && before->version == done->version;
  log::write(renewed ? log::Level::kDebug : log::Level::kInfo, renewed ? "registration_renewed" : "registration_put",
             {{"zone", place.zone}, {"name", place.name}, {"type", to_text(place.type)}, {"version", done->version}, {"caller", q.caller.text}});
  return registration_reply(*done, before ? 200 : 201);
}

Reply remove(dns::Registry& registry, const Request& q, const Place& place) {
  auto before = registry.get(place.zone, place.name, place.type);
  auto expected = expected_version(q, before ? before->version : 0);
  if (!expected) return std::move(expected.error());
  auto done = registry.remove(place.zone, place.name, place.type, *expected);
  if (!done) return refusal_reply(done.error());
  log::info("registration_removed", {{"zone", place.zone}, {"name", place.name}, {"type", to_text(place.type)}, {"caller", q.caller.text}});
  return {.status = 204, .type = {}};
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return text;
}

/// The registrations this node shows: its own, else those it follows.
std::vector<Registration> shown(Provider& provider) {
  if (auto* registry = provider.registry()) return registry->list();
  auto followed = provider.followed();
  return followed ? followed->registrations : std::vector<Registration>();
}

Reply zones(Provider& provider) {
  std::map<std::string, size_t> count;
  for (auto& r : shown(provider)) count[r.zone]++;
  Json out = Json::array();
  for (auto& [zone, n] : count) out.push_back({{"zone", zone}, {"registrations", n}});
  return json_reply(out);
}

Reply zone_records(Provider& provider, const std::string& zone) {
  if (auto ok = dns::check_custom_zone(zone); !ok) return error_reply(400, ok.error().text(), "zone");
  Json out = Json::array();
  for (auto& r : shown(provider)) {
    if (r.zone == zone) out.push_back(to_json(r));
  }
  return json_reply(out);
}

Reply one_record(Provider& provider, const Request& q, const Place& place) {
  auto* registry = provider.registry();
  if (reads(q)) {
    std::optional<Registration> found;
    if (registry) {
      found = registry->get(place.zone, place.name, place.type);
    } else {
      for (auto& r : shown(provider)) {
        if (r.key() == dns::RegistrationKey{place.zone, place.name, place.type}) found = r;
      }
    }
    if (!found) return error_reply(404, fmt::format("{} has no {} records for '{}'", place.zone, to_text(place.type), place.name));
    auto reply = registration_reply(*found);
    if (q.if_none_match == "*" || q.if_none_match.find(etag_of(*found)) != q.if_none_match.npos) {
      reply.status = 304;
      reply.type.clear();
      reply.body.clear();
    }
    return reply;
  }
  if (q.method != "PUT" && q.method != "DELETE") return method_reply("GET, HEAD, PUT, DELETE");
  if (!q.caller.may_change) {
    log::warn("registration_denied", {{"caller", q.caller.text}, {"why", q.caller.refusal}});
    auto r = error_reply(q.caller.refusal_status, q.caller.refusal);
    if (r.status == 401) r.headers.push_back({"WWW-Authenticate", "Bearer"});
    return r;
  }
  if (auto leader = provider.other_leads()) return not_leading_reply(*leader);
  if (!registry) return error_reply(404, "this node keeps no registrations of its own; send this to a master (registration.follow names them)");
  return q.method == "PUT" ? put(*registry, q, place) : remove(*registry, q, place);
}

/// "<zone>/records", "<zone>/records/<name>/<type>"; each part percent-encoded.
Reply below_zones(Provider& provider, const Request& q, std::string_view rest) {
  std::vector<std::string> parts;
  while (true) {
    auto part = percent_decoded(rest.substr(0, rest.find('/')));
    if (!part) return error_reply(400, "the path has a '%' that is not followed by two hexadecimal digits", "path");
    parts.push_back(std::move(*part));
    if (rest.find('/') == rest.npos) break;
    rest.remove_prefix(rest.find('/') + 1);
  }
  if (parts.size() < 2 || parts[1] != "records" || (parts.size() != 2 && parts.size() != 4)) {
    return error_reply(404, "a path here is /v1/zones/{zone}/records or /v1/zones/{zone}/records/{name}/{type}");
  }
  auto zone = lower(parts[0]);
  if (zone.size() > 1 && zone.ends_with('.')) zone.pop_back();
  if (parts.size() == 2) return reads(q) ? zone_records(provider, zone) : method_reply("GET, HEAD");
  auto type = parse_rr_type(parts[3]);
  if (!type || !dns::registrable(*type)) {
    return error_reply(400, fmt::format("type '{}' cannot be registered, only {}", parts[3].substr(0, 32), dns::registrable_types()), "type");
  }
  return one_record(provider, q, {zone, lower(parts[2]), *type});
}

Reply feed(Provider& provider, FeedTexts& texts, Params& params) {
  if (auto leader = provider.other_leads()) return not_leading_reply(*leader);
  auto* registry = provider.registry();
  auto followed = registry ? nullptr : provider.followed();
  if (!registry && !followed) return error_reply(404, "this node holds no registrations");
  auto at = registry ? registry->position() : followed->at;

  dns::RegistrationPosition after{"", 0, 0};
  auto* text = params.find("after");
  if (text) {
    auto n = number_of(*text);
    if (!n) params.bad("after", "is a version, as the answer before named it");
    // Whoever does not say of which store and epoch means those of now.
    after = {at.store, at.epoch, n.value_or(0)};
  }
  if (auto* store = params.find("store")) after.store = *store;
  if (auto* epoch = params.find("epoch")) {
    auto n = number_of(*epoch);
    if (!n) params.bad("epoch", "is a number, as the answer before named it");
    after.epoch = n.value_or(0);
  }
  Millis wait{0};
  if (auto* seconds = params.find("wait")) {
    auto n = number_of(*seconds);
    if (!n || *n > 3600) params.bad("wait", "is a number of seconds");
    else wait = std::min(Millis(*n * 1000), kMaxWait);
  }
  if (auto bad = params.refused()) return *bad;

  if (texts.at != at || texts.by_position.size() > kFeedTextsKept) texts = {at, {}};
  auto& shared = texts.by_position[fmt::format("{} {} {}", after.store, after.epoch, after.version)];
  if (!shared) {
    dns::RegistrationFeed out;
    if (registry) out = registry->feed(after);
    else if (after == at) out = {.at = at, .full = false, .registrations = {}, .removed = {}, .elected = followed->elected};
    else out = *followed;
    shared = std::make_shared<const std::string>(feed_text(out));
  }
  Reply r;
  r.shared = shared;
  if (after == at && wait > Millis(0)) r.wait = wait;
  return r;
}

}  // namespace

std::optional<Reply> registration_route(Provider& provider, FeedTexts& feeds, const Request& q) {
  constexpr std::string_view kZones = "/v1/zones", kBelow = "/v1/zones/", kFeed = "/v1/registrations";
  auto path = path_of(q);
  if (path != kZones && path != kFeed && !path.starts_with(kBelow)) return std::nullopt;
  Params params(query_of(q));
  constexpr std::array<std::string_view, 4> kFeedParams{"after", "store", "epoch", "wait"};
  if (path == kFeed) params.only(kFeedParams);
  else params.only({});
  if (auto bad = params.refused()) return bad;
  if (path.starts_with(kBelow)) return below_zones(provider, q, path.substr(kBelow.size()));
  if (!reads(q)) return method_reply("GET, HEAD");
  return path == kZones ? zones(provider) : feed(provider, feeds, params);
}

std::vector<std::string_view> registration_route_list() {
  return {"/v1/zones", "/v1/zones/{zone}/records", "/v1/zones/{zone}/records/{name}/{type}", "/v1/registrations?after=&store=&epoch=&wait="};
}

}  // namespace ls::api
