#include "api/overlay_node_views.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "util/network.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

Json age(double seconds) { return seconds >= 0 ? Json(seconds) : Json(nullptr); }

Json share_json(const OverlayShareView& s) {
  Json j{{"overlay", s.overlay}, {"v4", s.v4}, {"v6", s.v6}, {"state", s.state}, {"detail", s.detail}};
  auto half = [&](const char* name4, const char* name6, bool used, bool docker) {
    j[name4] = used ? overlay_half(s.v4, docker) : "";
    j[name6] = used ? overlay_half(s.v6, docker) : "";
  };
  half("mesos4", "mesos6", s.mesos, false);
  half("docker4", "docker6", s.docker, true);
  return j;
}

/// An overlay that this node was to have and has not.
bool lacks(const OverlayLocalView& l) { return l.share.state != "ok" || l.status == "failed"; }

}  // namespace

std::string overlay_half(const std::string& share, bool docker) {
  auto half = IpNetwork::parse(share);
  if (!half || half->prefix >= 128) return {};
  if (docker) {
    auto bytes = half->address.bytes();
    bytes[half->prefix / 8] |= uint8_t(0x80u >> half->prefix % 8);
    half->address = IpAddress::from_bytes(bytes.data());
  }
  half->prefix++;
  return half->text();
}

bool is_overlay_share_state(std::string_view text) { return text == "ok" || text == "exhausted" || text == "conflict"; }

bool OverlayPeerFilter::matches(const OverlayPeerView& p) const {
  if (!overlay && !state) return true;
  return std::any_of(p.shares.begin(), p.shares.end(),
                     [&](auto& s) { return (!overlay || s.overlay == *overlay) && (!state || s.state == *state); });
}

Json overlay_node_summary_json(const OverlayNodeView& v) {
  Json lacking = Json::array();
  for (auto& l : v.shares) {
    if (lacks(l)) lacking.push_back(l.share.overlay);
  }
  return {{"state", v.state},
          {"problem", v.problem},
          {"master", v.master},
          {"last_error", v.last_error},
          {"heard_s", age(v.heard_s)},
          {"node", v.node},
          {"vtep4", v.vtep4},
          {"vtep6", v.vtep6},
          {"device", v.device},
          {"mtu", v.mtu},
          {"offload", v.offload},
          {"overlays", v.shares.size()},
          {"lacking", std::move(lacking)},
          {"peers", v.peers},
          {"entries", v.entries},
          {"conflicts", v.conflicts}};
}

Json overlay_node_json(const OverlayNodeView& v) {
  auto j = overlay_node_summary_json(v);
  j.erase("overlays");
  j.erase("lacking");
  j.update({{"id", v.id},
            {"mac", v.mac},
            {"ifindex", v.ifindex},
            {"underlay_mtu", v.underlay_mtu},
            {"offload_state", v.offload_state},
            {"probe_talks", {{"good", v.talks_good}, {"lost_here", v.talks_lost_here}, {"lost_there", v.talks_lost_there}}},
            {"registrations", v.registrations},
            {"failures", v.failures},
            {"updates", v.updates},
            {"repaired", v.repaired},
            {"docker_failures", v.docker_failures},
            {"warnings", v.warnings},
            {"shares", Json::array()},
            {"hooks", Json::array()}});
  for (auto& l : v.shares) {
    auto s = share_json(l.share);
    s.update({{"pool4", l.pool4},
              {"pool6", l.pool6},
              {"status", l.status},
              {"error", l.error},
              {"cni_file", l.cni_file},
              {"docker_network", l.docker_network}});
    j["shares"].push_back(std::move(s));
  }
  for (auto& h : v.hooks) j["hooks"].push_back({{"hook", h.hook}, {"result", h.result}, {"packets", h.packets}, {"bytes", h.bytes}});
  return j;
}

std::vector<std::string> overlay_node_warnings(const OverlayNodeView& v) {
  std::vector<std::string> out;
  if (v.state == "failed") out.push_back("the overlay of this node: " + (v.problem.empty() ? std::string("failed") : v.problem));
  for (auto& w : v.warnings) out.push_back("the overlay of this node: " + w);
  return out;
}

Json overlay_peer_json(const OverlayPeerView& p) {
  Json j{{"node", p.node}, {"id", p.id}, {"vtep4", p.vtep4}, {"vtep6", p.vtep6}, {"mac", p.mac}, {"self", p.self}, {"shares", Json::array()}};
  for (auto& s : p.shares) j["shares"].push_back(share_json(s));
  return j;
}

Json overlay_trace_json(const OverlayTraceView& t) {
  return {{"address", t.address}, {"kind", t.kind}, {"overlay", t.overlay}, {"pool", t.pool},   {"share", t.share},
          {"node", t.node},       {"mac", t.mac},   {"self", t.self},       {"steps", t.steps}, {"verdict", t.verdict}};
}

Json overlay_check_json(const OverlayCheckView& v) {
  auto broken = std::count_if(v.results.begin(), v.results.end(), [](auto& r) { return !r.ok; });
  return {{"done", v.done}, {"asked", v.asked}, {"answered", v.answered}, {"broken", broken}};
}

Json overlay_check_result_json(const OverlayCheckResult& r) {
  return {{"node", r.node}, {"vtep", r.vtep}, {"ok", r.ok}, {"rtt_ms", r.ok ? Json(r.rtt_ms) : Json(nullptr)}, {"cause", r.cause}};
}

}  // namespace ls::api
