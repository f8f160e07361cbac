#include "overlay/node_wire.h"

#include <fmt/format.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "overlay/allocation_record.h"
#include "overlay/json_text.h"

namespace ls::overlay {
namespace {

using Json = nlohmann::json;

constexpr int64_t kFormat = 1;

Result<Json> object_of(std::string_view text, size_t most) {
  if (text.size() > most) return fail(EMSGSIZE, fmt::format("the text has {} octets, more than {}", text.size(), most));
  auto j = parse_json(text);
  if (!j || !j->is_object()) return fail("it is no JSON object");
  auto format = j->find("format");
  if (format == j->end() || !format->is_number_integer()) return fail("format is missing");
  if (*format != kFormat) return fail(EPROTO, fmt::format("its format is {}, {} is known", json_text(*format), kFormat));
  return std::move(*j);
}

/// Fields of one object; the first that is wrong is kept.
struct Reader {
  const Json& object;
  std::string& wrong;

  const Json* find(const char* key, bool (Json::*is)() const noexcept, const char* what) {
    auto it = object.find(key);
    if (it == object.end()) return nullptr;
    if ((*it.*is)()) return &*it;
    if (wrong.empty()) wrong = fmt::format("{} is not {}", key, what);
    return nullptr;
  }
  std::string text(const char* key) {
    auto* j = find(key, &Json::is_string, "a text");
    return j ? j->get<std::string>() : "";
  }
  bool flag(const char* key, bool otherwise) {
    auto* j = find(key, &Json::is_boolean, "true or false");
    return j ? j->get<bool>() : otherwise;
  }
  const Json* list(const char* key) { return find(key, &Json::is_array, "a list"); }
  const Json* table(const char* key) { return find(key, &Json::is_object, "an object"); }
};

Json json_of(const Allocation& a) { return *parse_json(record_text(NodeRecord{a, false})); }

Result<Allocation> allocation_of(const Json& j, const Mac& oui) {
  LS_ASSIGN(auto record, node_record_of(j, oui));
  return std::move(record.allocation);
}

Result<Plan> plan_of(const Json& object) {
  auto it = object.find("network");
  if (it == object.end()) return fail("network is missing");
  auto plan = read_plan(json_text(*it));
  if (!plan) return fail("network: " + plan.error().text());
  return std::move(plan->plan);
}

Result<std::vector<OverlayReport>> reports_of(const Json* list) {
  std::vector<OverlayReport> out;
  if (!list) return out;
  if (list->size() > kMaxHeldBlocks) return fail(fmt::format("reports are more than {}", kMaxHeldBlocks));
  for (auto& j : *list) {
    if (!j.is_object()) return fail("reports: an entry is no object");
    std::string wrong;
    Reader r{j, wrong};
    OverlayReport report{r.text("overlay"), ReportStatus::kOk, r.text("error")};
    auto status = r.text("status");
    if (!wrong.empty()) return fail("reports: " + wrong);
    bool known = false;
    for (auto s : {ReportStatus::kOk, ReportStatus::kFailed, ReportStatus::kConfiguring}) {
      if (status != to_text(s)) continue;
      report.status = s;
      known = true;
    }
    if (!known) return fail(fmt::format("reports: status of overlay {} is not known", report.overlay.substr(0, 64)));
    out.push_back(std::move(report));
  }
  return out;
}

}  // namespace

std::string registration_text(const NodeRegistration& n) {
  auto& q = n.request;
  Json out{{"format", kFormat}, {"node", q.node.text()}, {"id", q.id}, {"allocate_subnet", q.allocate_subnet}, {"mesos_bridge", q.mesos_bridge}, {"docker_bridge", q.docker_bridge}};
  Json holding = Json::object();
  if (!q.holding.vtep4.empty()) holding["vtep"]["ip"] = q.holding.vtep4;
  if (!q.holding.vtep6.empty()) holding["vtep"]["ip6"] = q.holding.vtep6;
  for (auto& b : q.holding.blocks) {
    Json block = Json::object();
    if (!b.v4.empty()) block["subnet"] = b.v4;
    if (!b.v6.empty()) block["subnet6"] = b.v6;
    holding["overlays"][b.overlay] = std::move(block);
  }
  if (!holding.empty()) out["holding"] = std::move(holding);
  for (auto& r : n.reports) {
    Json report{{"overlay", r.overlay}, {"status", to_text(r.status)}};
    if (!r.error.empty()) report["error"] = r.error;
    out["reports"].push_back(std::move(report));
  }
  return json_text(out);
}

Result<NodeRegistration> parse_registration(std::string_view text) {
  LS_ASSIGN(auto json, object_of(text, kMaxRegistrationText));
  NodeRegistration out;
  auto& q = out.request;
  std::string wrong;
  Reader r{json, wrong};
  auto node = r.text("node");
  q.id = r.text("id");
  q.allocate_subnet = r.flag("allocate_subnet", true);
  q.mesos_bridge = r.flag("mesos_bridge", true);
  q.docker_bridge = r.flag("docker_bridge", true);
  auto* holding = r.table("holding");
  auto* reports = r.list("reports");
  if (!wrong.empty()) return fail(wrong);
  auto address = IpAddress::parse(node);
  if (!address) return fail(fmt::format("node is no address: '{}'", node.substr(0, 64)));
  q.node = *address;
  if (holding) {
    Reader h{*holding, wrong};
    if (auto* vtep = h.table("vtep")) {
      Reader v{*vtep, wrong};
      q.holding.vtep4 = v.text("ip");
      q.holding.vtep6 = v.text("ip6");
    }
    auto* overlays = h.table("overlays");
    if (overlays && overlays->size() > kMaxHeldBlocks) return fail(fmt::format("holding.overlays are more than {}", kMaxHeldBlocks));
    for (auto it = overlays ? overlays->begin() : Json::const_iterator(); overlays && it != overlays->end(); ++it) {
      if (!it->is_object()) return fail("holding.overlays: an entry is no object");
      Reader b{*it, wrong};
      q.holding.blocks.push_back({it.key(), b.text("subnet"), b.text("subnet6")});
    }
    if (!wrong.empty()) return fail("holding: " + wrong);
  }
  LS_ASSIGN(out.reports, reports_of(reports));
  return out;
}

std::string answer_text(const RegistrationAnswer& a) {
  return json_text({{"format", kFormat}, {"allocation", json_of(a.allocation)}, {"notes", a.notes}, {"network", *parse_json(plan_json(a.plan))}, {"allocator", a.allocator}}) + "\n";
}

Result<RegistrationAnswer> parse_answer(std::string_view text) {
  LS_ASSIGN(auto json, object_of(text, kMaxAnswerText));
  RegistrationAnswer out;
  LS_ASSIGN(out.plan, plan_of(json));
  std::string wrong;
  Reader r{json, wrong};
  auto* allocation = r.table("allocation");
  auto* notes = r.list("notes");
  out.allocator = r.text("allocator");
  if (!wrong.empty() || !allocation) return fail(wrong.empty() ? "allocation is missing" : wrong);
  LS_ASSIGN(out.allocation, allocation_of(*allocation, out.plan.oui));
  for (size_t i = 0; notes && i < notes->size(); i++) {
    if (!(*notes)[i].is_string()) return fail("notes: an entry is no text");
    out.notes.push_back((*notes)[i]);
  }
  return out;
}

std::string feed_text(const AllocationFeed& f) {
  // Put together from texts: a tree of 65,536 nodes would be many times as large.
  std::string out = fmt::format("{{\"format\":{},\"allocator\":{},\"run\":{},\"version\":{},\"full\":{},\"network\":{},\"nodes\":[", kFormat,
                                json_text(f.at.allocator), json_text(f.at.run), f.at.version, f.full, plan_json(f.plan));
  if (f.at.term) out.insert(1, fmt::format("\"term\":{},", f.at.term));
  for (size_t i = 0; i < f.nodes.size(); i++) out += (i ? "," : "") + record_text(NodeRecord{f.nodes[i], false});
  out += "],\"removed\":[";
  for (size_t i = 0; i < f.removed.size(); i++) out += fmt::format("{}\"{}\"", i ? "," : "", f.removed[i].text());
  return out + "]}\n";
}

Result<AllocationFeed> parse_feed(std::string_view text) {
  LS_ASSIGN(auto json, object_of(text, kMaxFeedText));
  AllocationFeed out;
  LS_ASSIGN(out.plan, plan_of(json));
  std::string wrong;
  Reader r{json, wrong};
  out.at.run = r.text("run");
  out.at.allocator = r.text("allocator");
  auto* term = r.find("term", &Json::is_number_unsigned, "a number");
  out.full = r.flag("full", true);
  auto* version = r.find("version", &Json::is_number_unsigned, "a number");
  auto *nodes = r.list("nodes"), *removed = r.list("removed");
  if (!wrong.empty()) return fail(wrong);
  if (!version || !nodes) return fail("version or nodes are missing");
  out.at.version = version->get<uint64_t>();
  if (term) out.at.term = term->get<uint64_t>();
  if (nodes->size() > kMaxFeedNodes || (removed && removed->size() > kMaxFeedNodes)) return fail(fmt::format("nodes are more than {}", kMaxFeedNodes));
  for (auto& j : *nodes) {
    LS_ASSIGN(auto a, allocation_of(j, out.plan.oui));
    out.nodes.push_back(std::move(a));
  }
  for (size_t i = 0; removed && i < removed->size(); i++) {
    auto& j = (*removed)[i];
    auto address = j.is_string() ? IpAddress::parse(j.get_ref<const std::string&>()) : std::nullopt;
    if (!address) return fail("removed: an entry is no address");
    out.removed.push_back(*address);
  }
  return out;
}

}  // namespace ls::overlay
