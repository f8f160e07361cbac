#include "overlay/allocation_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "overlay/json_text.h"
#include "overlay/overlay_json.h"
#include "overlay/parse.h"
#include "overlay/plan.h"

namespace ls::overlay {
namespace {

using Json = nlohmann::json;

constexpr int64_t kFormat = 1;
constexpr std::string_view kStates[] = {"ok", "exhausted", "conflict"};

/// The object of a record whose form is one we know.
Result<Json> object_of(std::string_view text) {
  auto json = parse_json(text);
  if (!json || !json->is_object()) return fail(EILSEQ, "it is no JSON object");
  auto format = json->find("format");
  if (format == json->end() || !format->is_number_integer()) return fail(EILSEQ, "it has no format");
  if (*format != kFormat) return fail(format->is_number_unsigned() && *format > kFormat ? EPROTO : EILSEQ, fmt::format("its format is {}, {} is known", json_text(*format), kFormat));
  return std::move(*json);
}

/// "" where there is none; nullopt where it is no text.
std::optional<std::string> text_in(const Json& object, const char* key) {
  auto it = object.find(key);
  if (it == object.end()) return "";
  if (!it->is_string()) return std::nullopt;
  return it->get<std::string>();
}

std::optional<bool> flag_in(const Json& object, const char* key) {
  auto it = object.find(key);
  if (it == object.end()) return false;
  if (!it->is_boolean()) return std::nullopt;
  return it->get<bool>();
}

Result<Share> share_of(const Json& j) {
  if (!j.is_object()) return fail(EILSEQ, "a share is no object");
  Share s;
  auto overlay = text_in(j, "overlay"), state = text_in(j, "state"), detail = text_in(j, "detail"), v4 = text_in(j, "v4"), v6 = text_in(j, "v6");
  auto mesos = flag_in(j, "mesos"), docker = flag_in(j, "docker");
  if (!overlay || overlay->empty() || !state || !detail || !v4 || !v6 || !mesos || !docker) return fail(EILSEQ, "a share has a field of a wrong type");
  auto known = std::find(std::begin(kStates), std::end(kStates), *state);
  if (known == std::end(kStates)) return fail(EILSEQ, fmt::format("overlay {}: state '{}' is not known", *overlay, *state));
  s.overlay = *overlay;
  s.state = ShareState(known - std::begin(kStates));
  s.detail = *detail;
  s.mesos_bridge = *mesos;
  s.docker_bridge = *docker;
  auto block = [&](const std::string& text, bool want_v4, std::optional<IpNetwork>& into) {
    if (text.empty()) return true;
    into = parse_block(text);
    return into && into->address.is_v4() == want_v4;
  };
  if (!block(*v4, true, s.v4) || !block(*v6, false, s.v6)) return fail(EILSEQ, fmt::format("overlay {}: '{}' '{}' are no blocks", *overlay, *v4, *v6));
  if (s.state != ShareState::kOk && (s.v4 || s.v6)) return fail(EILSEQ, fmt::format("overlay {}: has blocks though its state is {}", *overlay, *state));
  return s;
}

}  // namespace

std::string node_key(const IpAddress& node) { return "node/" + node.text(); }

Mac mac_of(const Mac& oui, const IpAddress& vtep4) {
  auto& b = vtep4.bytes();
  return {oui[0], oui[1], oui[2], b[13], b[14], b[15]};
}

std::string record_text(const NodeRecord& r) {
  auto& a = r.allocation;
  Json out{{"format", kFormat}, {"node", a.node.text()}, {"vtep", a.vtep.v4.text()}, {"shares", Json::array()}};
  if (!a.id.empty()) out["id"] = a.id;
  if (a.vtep.v6) out["vtep6"] = a.vtep.v6->text();
  if (r.removed) out["removed"] = true;
  for (auto& s : a.shares) {
    Json share{{"overlay", s.overlay}, {"state", kStates[size_t(s.state)]}};
    if (!s.detail.empty()) share["detail"] = s.detail;
    if (s.v4) share["v4"] = s.v4->text();
    if (s.v6) share["v6"] = s.v6->text();
    if (s.mesos_bridge) share["mesos"] = true;
    if (s.docker_bridge) share["docker"] = true;
    out["shares"].push_back(std::move(share));
  }
  return json_text(out);
}

Result<NodeRecord> parse_node_record(std::string_view text, const Mac& oui) {
  LS_ASSIGN(auto json, object_of(text));
  NodeRecord out;
  auto& a = out.allocation;
  auto node = text_in(json, "node"), id = text_in(json, "id"), vtep = text_in(json, "vtep"), vtep6 = text_in(json, "vtep6");
  auto removed = flag_in(json, "removed");
  if (!node || !id || !vtep || !vtep6 || !removed) return fail(EILSEQ, "it has a field of a wrong type");
  auto address = IpAddress::parse(*node);
  if (!address || !address->is_v4()) return fail(EILSEQ, fmt::format("node '{}' is no IPv4 address", *node));
  auto v4 = parse_interface_address(*vtep), v6 = parse_interface_address(*vtep6);
  if (!v4 || !v4->address.is_v4()) return fail(EILSEQ, fmt::format("vtep '{}' is no IPv4 address with a length", *vtep));
  if (!vtep6->empty() && (!v6 || v6->address.is_v4())) return fail(EILSEQ, fmt::format("vtep6 '{}' is no IPv6 address with a length", *vtep6));
  a.node = *address;
  a.id = *id;
  a.vtep = {*v4, v6, mac_of(oui, v4->address)};
  out.removed = *removed;
  auto shares = json.find("shares");
  if (shares == json.end() || !shares->is_array()) return fail(EILSEQ, "shares is no array");
  for (auto& j : *shares) {
    LS_ASSIGN(auto share, share_of(j));
    if (!a.shares.empty() && a.shares.back().overlay >= share.overlay) return fail(EILSEQ, fmt::format("overlay {} is out of order or there twice", share.overlay));
    a.shares.push_back(std::move(share));
  }
  return out;
}

std::string record_text(const PlanRecord& r) {
  Json out{{"format", kFormat}, {"network", *parse_json(plan_json(r.plan))}};
  if (!r.retired.empty()) out["retired"] = r.retired;
  if (!r.allocator.empty()) out["allocator"] = r.allocator;
  return json_text(out);
}

Result<PlanRecord> parse_plan_record(std::string_view text) {
  LS_ASSIGN(auto json, object_of(text));
  auto network = json.find("network");
  if (network == json.end()) return fail(EILSEQ, "network is missing");
  auto plan = read_plan(json_text(*network));
  if (!plan) return fail(EILSEQ, plan.error().text());
  auto allocator = text_in(json, "allocator");
  if (!allocator) return fail(EILSEQ, "allocator is no text");
  PlanRecord out{std::move(plan->plan), {}, std::move(*allocator)};
  auto retired = json.find("retired");
  if (retired == json.end()) return out;
  if (!retired->is_array()) return fail(EILSEQ, "retired is no array");
  for (auto& name : *retired) {
    if (!name.is_string()) return fail(EILSEQ, "retired has something that is no text");
    out.retired.insert(name.get<std::string>());
  }
  return out;
}

}  // namespace ls::overlay
