#include "overlay/old_state.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "overlay/allocator.h"
#include "overlay/json_text.h"

namespace ls::overlay {
namespace {

using Json = nlohmann::json;

/// A text below `object`; empty when it is not there. `wrong` keeps the first that is no text.
std::string text_of(const Json& object, const char* key, const std::string& place, std::string& wrong) {
  auto it = object.find(key);
  if (it == object.end()) return {};
  if (it->is_string()) return it->get<std::string>();
  if (wrong.empty()) wrong = fmt::format("{}.{} is no text", place, key);
  return {};
}

const Json* object_of(const Json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_object() ? &*it : nullptr;
}

Result<RegisterRequest> node_of(const Json& agent, const std::string& place) {
  if (!agent.is_object()) return fail(place + " is no object");
  RegisterRequest out;
  std::string wrong;
  auto ip = text_of(agent, "ip", place, wrong);
  auto address = IpAddress::parse(ip);
  if (wrong.empty() && (!address || !address->is_v4())) wrong = fmt::format("{}.ip: '{}' is no IPv4 address", place, ip.substr(0, 64));
  if (!wrong.empty()) return fail(wrong);
  out.node = *address;
  out.allocate_subnet = out.mesos_bridge = out.docker_bridge = false;
  auto overlays = agent.find("overlays");
  if (overlays == agent.end()) return out;
  if (!overlays->is_array()) return fail(place + ".overlays is no list");
  if (overlays->size() > kMaxHeldBlocks) return fail(fmt::format("{}.overlays are more than {}", place, kMaxHeldBlocks));
  for (size_t i = 0; i < overlays->size(); i++) {
    auto& o = (*overlays)[i];
    auto at = fmt::format("{}.overlays[{}]", place, i);
    auto* info = o.is_object() ? object_of(o, "info") : nullptr;
    if (!info) return fail(at + ".info is no object");
    Holding::Block block{text_of(*info, "name", at + ".info", wrong), text_of(o, "subnet", at, wrong), text_of(o, "subnet6", at, wrong)};
    if (auto* backend = object_of(o, "backend")) {
      if (auto* vxlan = object_of(*backend, "vxlan")) {
        // All overlays of a node have the same tunnel.
        if (out.holding.vtep4.empty()) out.holding.vtep4 = text_of(*vxlan, "vtep_ip", at + ".backend.vxlan", wrong);
        if (out.holding.vtep6.empty()) out.holding.vtep6 = text_of(*vxlan, "vtep_ip6", at + ".backend.vxlan", wrong);
      }
    }
    if (!wrong.empty()) return fail(wrong);
    if (block.overlay.empty()) return fail(at + ".info.name is missing");
    out.mesos_bridge |= object_of(o, "mesos_bridge") != nullptr;
    out.docker_bridge |= object_of(o, "docker_bridge") != nullptr;
    if (block.v4.empty() && block.v6.empty()) continue;
    out.allocate_subnet = true;
    out.holding.blocks.push_back(std::move(block));
  }
  return out;
}

}  // namespace

Result<std::vector<RegisterRequest>> parse_old_state(std::string_view text) {
  if (text.size() > kMaxOldState) return fail(EMSGSIZE, fmt::format("the state has {} octets, more than {}", text.size(), kMaxOldState));
  auto json = parse_json(text);
  if (!json || !json->is_object()) return fail("the state is no JSON object, as /overlay-master/state gives it");
  std::vector<RegisterRequest> out;
  auto agents = json->find("agents");
  if (agents == json->end()) {
    if (!json->contains("network")) return fail("the state has neither network nor agents: it is none of /overlay-master/state");
    return out;
  }
  if (!agents->is_array()) return fail("agents is no list");
  for (size_t i = 0; i < agents->size(); i++) {
    LS_ASSIGN(auto node, node_of((*agents)[i], fmt::format("agents[{}]", i)));
    out.push_back(std::move(node));
  }
  return out;
}

}  // namespace ls::overlay
