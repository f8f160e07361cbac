/// Requests to the allocator of the overlay, as anybody may send them: registrations, deletes, the feed, the states, the list of nodes. Whatever comes
/// is answered with a status that fits, in JSON; who may change nothing changes nothing; what is answered is what is there; a follower of the feed
/// has what the allocator has; nothing has two owners.
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "api/router_overlay.h"
#include "api/router_overlay_node.h"
#include "app/overlay_service.h"
#include "bare_provider.h"
#include "overlay/node_wire.h"
#include "overlay_owners.h"
#include "util/log.h"

using namespace ls;
using namespace ls::api;
using Json = nlohmann::json;

namespace {

using ls::fuzz::Input;
using ls::fuzz::one_owner;
using ls::fuzz::require;

class OnlyOverlay : public ls::fuzz::BareProvider {
 public:
  explicit OnlyOverlay(OverlayService& service) : service_(service) {}
  OverlaySource* overlay() override { return &service_; }

 private:
  OverlayService& service_;
};

Config config() {
  Config c;
  c.node.roles = {Role::kMaster};
  c.overlay.vtep_subnet = "44.128.0.0/28";
  c.overlay.vtep_subnet6 = "fd01:a::/120";
  c.overlay.hold_down = Millis(500);
  c.overlay.takeover = Millis(500);
  c.overlay.network.resize(2);
  auto& a = c.overlay.network[0].values;
  a.name = "a";
  a.subnet = "9.0.0.0/22";
  a.prefix = 25;
  auto& b = c.overlay.network[1].values;
  b.name = "b";
  b.subnet = "11.0.0.0/22";
  b.prefix = 24;
  b.subnet6 = "fd01:b::/64";
  b.prefix6 = 67;
  return c;
}

std::string node_text(uint8_t number) { return "10.0.0." + std::to_string(number % 24); }

/// A registration that is read whole, so that what it says is looked at.
std::string registration(Input& in, uint8_t more) {
  overlay::NodeRegistration r;
  r.request.node = *IpAddress::parse(node_text(in.octet()));
  if (more & 2) r.request.id = in.line();
  r.request.allocate_subnet = (more & 4) == 0;
  r.request.mesos_bridge = (more & 8) == 0;
  r.request.docker_bridge = (more & 16) == 0;
  if (more & 32) {
    r.request.holding.vtep4 = in.line();
    r.request.holding.vtep6 = in.line();
    auto name = in.line(), v4 = in.line(), v6 = in.line();
    r.request.holding.blocks.push_back({name, v4, v6});
  }
  return overlay::registration_text(r);
}

std::string content(Reply& r) {
  if (r.shared) return *r.shared;
  if (!r.parts) return r.body;
  std::string out;
  while (auto part = r.parts()) out += *part;
  return out;
}

class World {
 public:
  World() : service_(config_, clock_), provider_(service_) {
    service_.start(make_memory_store());
    require(service_.allocator() != nullptr, "the allocator begins");
  }

  void step(Input& in) {
    static const char* const kMethods[] = {"GET", "POST", "HEAD", "PUT", "DELETE", ""};
    static const char* const kPaths[] = {"/overlay-master/state", "/overlay-master/agents/delete", "/overlay-agent/overlay", "/v1/overlay/capacity",
                                         "/v1/overlay/nodes", "/v1/overlay/allocations", "/v1/overlay/check", "/v1/overlay/trace", "/v1/overlay/adopt"};
    const uint8_t kind = in.octet(), more = in.octet();
    Request q;
    q.method = "GET";
    switch (kind % 9) {
      case 0:
      case 1:
        q.method = "POST";
        q.target = "/v1/overlay/nodes";
        q.body = more & 1 ? in.line() : registration(in, more);
        break;
      case 2:
        q.method = "POST";
        q.target = "/overlay-master/agents/delete";
        q.body = more & 1 ? in.line() : "{\"agents\":[\"" + node_text(in.octet()) + "\"]}";
        break;
      case 3: follow(more & 1); return;
      case 4: q.target = "/v1/overlay/allocations?" + in.line(); break;
      case 5: q.target = (more & 1 ? "/overlay-master/state?jsonp=" : "/v1/overlay/nodes?") + in.line(); break;
      case 6: clock_.advance(Millis(more * 10)); service_.tick(); return;
      case 8:
        q.method = "POST";
        q.target = "/v1/overlay/adopt";
        q.body = more & 1 ? in.line()
                          : "{\"agents\":[{\"ip\":\"" + node_text(in.octet()) + "\",\"overlays\":[{\"info\":{\"name\":\"dcos\"},\"subnet\":\"9.0." +
                                std::to_string(in.octet()) + ".0/24\"}]}]}";
        break;
      case 7:
        q.method = kMethods[more % 6];
        q.target = kPaths[more / 6 % 9] + (kind & 8 ? "?" + in.line() : std::string());
        if (kind & 16) q.body = in.line();
        if (kind & 32) q.accept = in.line();
    }
    if (more & 64) q.caller = {.on_socket = false, .may_change = false, .refusal_status = 401, .refusal = "no token", .text = "10.0.0.9"};
    else if (more & 128) q.caller = {.on_socket = false, .text = "with the token", .address = *IpAddress::parse(node_text(kind / 8))};
    ask(std::move(q));
  }

  /// Takes over what the feed says, everything or what changed.
  void follow(bool anew) {
    Request q;
    q.method = "GET";
    q.target = anew ? "/v1/overlay/allocations" : "/v1/overlay/allocations?run=" + at_.run + "&version=" + std::to_string(at_.version);
    auto r = overlay_route(provider_, q);
    require(r && r->shared, "a follower is answered");
    auto feed = overlay::parse_feed(*r->shared);
    require(feed.has_value(), "a follower can read it");
    if (feed->full) copy_.clear();
    for (auto& n : feed->nodes) copy_[n.node] = n;
    for (auto& n : feed->removed) copy_.erase(n);
    at_ = feed->at;
  }

  void end() {
    follow(false);
    auto& a = *service_.allocator();
    require(copy_.size() == a.size(), "a follower has every node");
    for (auto* n : a.nodes()) {
      auto it = copy_.find(n->allocation.node);
      require(it != copy_.end() && it->second == n->allocation, "a follower has what the node has");
    }
    one_owner(a);
    Request q;
    q.method = "GET";
    q.target = "/v1/overlay/nodes";
    auto r = overlay_node_route(provider_, turn_, q);
    require(r && Json::parse(content(*r)).size() == a.size(), "the list has every node");
  }

 private:
  void ask(Request q) {
    const bool stranger = !q.caller.may_change, jsonp = q.target.find("jsonp") != std::string::npos;
    const auto before = service_.allocator()->size();
    const auto at = service_.feed_position();
    auto r = overlay_node_route(provider_, turn_, q);
    if (!r) r = overlay_route(provider_, q);
    require(r.has_value(), "nobody's path");
    require(r->status >= 200 && r->status < 500, "a status that does not fit");
    auto body = content(*r);
    if (r->type == "text/javascript") {
      require(jsonp && r->status == 200 && body.ends_with(");"), "a script that nobody asked for");
    } else {
      auto j = Json::parse(body, nullptr, false);
      require(!j.is_discarded(), "the body is no JSON");
      if (r->status >= 400) require(j.contains("error"), "an error that says nothing");
    }
    if (stranger || r->status >= 400 || q.method != "POST") require(service_.feed_position() == at, "a change that must not be");
    if (q.method != "POST" || r->status != 200) return;
    if (q.target == "/overlay-master/agents/delete") {
      require(r->headers.size() == 1 && r->headers[0].second == std::to_string(before - service_.allocator()->size()), "the number of those removed");
    } else if (q.target == "/v1/overlay/nodes") {
      if (q.caller.address) require(service_.allocator()->find(*q.caller.address) != nullptr, "a node speaks for itself only");
      if (asked_++ % 4) return;  // reading the plan again costs more than everything else
      auto answer = overlay::parse_answer(body);
      require(answer.has_value(), "an answer that no node can read");
      auto* n = service_.allocator()->find(answer->allocation.node);
      require(n && n->allocation == answer->allocation, "what is answered is what is there");
    }
  }

  FakeClock clock_;
  const Config config_ = config();
  OverlayService service_;
  OnlyOverlay provider_;
  OverlayCheckTurn turn_;
  unsigned asked_ = 0;
  overlay::FeedPosition at_;
  std::map<IpAddress, overlay::Allocation> copy_;
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  log::set_level(log::Level::kError);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  World world;
  Input in(data, size);
  for (int i = 0; i < 20 && !in.empty(); i++) world.step(in);
  world.end();
  return 0;
}
