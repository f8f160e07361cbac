// The overlay's routes and metrics, without sockets.
#include "api/router_overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "api_fake.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

class FakeOverlay : public OverlaySource {
 public:
  OverlayBody master_state() override { return answer("{\"network\":{}}\n"); }
  OverlayBody delete_agents(std::string_view body, std::string_view by) override {
    deleted = body;
    caller = by;
    return answer("{\"remaining\":1}\n");
  }
  OverlayBody capacity() override { return answer("{\"pools\":[]}\n"); }
  OverlayBody register_node(std::string_view body, std::string_view by, const std::optional<IpAddress>& address) override {
    deleted = body;
    caller = by;
    from = address;
    return answer("{\"allocation\":{}}\n");
  }
  tl::expected<std::shared_ptr<const std::string>, OverlayFailure> feed(const std::string& run, uint64_t version) override {
    if (failure) return tl::make_unexpected(*failure);
    return std::make_shared<const std::string>(run + " " + std::to_string(version));
  }
  std::pair<std::string, uint64_t> feed_position() const override { return {"r", 7}; }
  OverlayBody agent_overlay() override { return answer("{\"ip\":\"10.0.0.1\"}\n"); }
  bool allocates() const override { return true; }
  OverlayMasterView master_view() override { return view; }

  std::optional<OverlayFailure> failure;
  std::string deleted, caller;
  std::optional<IpAddress> from;
  OverlayMasterView view;

 private:
  OverlayBody answer(std::string body) {
    if (failure) return tl::make_unexpected(*failure);
    return body;
  }
};

class OverlayProvider : public FakeProvider {
 public:
  OverlaySource* overlay() override { return absent ? nullptr : &source; }
  FakeOverlay source;
  bool absent = false;
};

class RouterOverlay : public testing::Test {
 protected:
  Reply ask(std::string method, std::string target, std::string body = {}, Caller caller = {}) {
    Request q{std::move(method), std::move(target), {}, {}, {}, std::move(body), std::move(caller)};
    return router_.handle(q, {});
  }
  OverlayProvider provider_;
  Router router_{provider_};
};

TEST_F(RouterOverlay, Bodies) {
  EXPECT_EQ(ask("GET", "/overlay-master/state").body, "{\"network\":{}}\n");
  EXPECT_EQ(ask("GET", "/overlay-agent/overlay").body, "{\"ip\":\"10.0.0.1\"}\n");
  EXPECT_EQ(ask("GET", "/v1/overlay/capacity").body, "{\"pools\":[]}\n");
  auto script = ask("GET", "/overlay-master/state?jsonp=a.b_c%241");
  EXPECT_EQ(script.body, "a.b_c$1({\"network\":{}});");
  EXPECT_EQ(script.type, "text/javascript");
  EXPECT_EQ(ask("GET", "/overlay-agent/overlay?jsonp=f").body, "f({\"ip\":\"10.0.0.1\"});");
  for (auto* bad : {"jsonp=", "jsonp=alert(1)", "jsonp=a%3Cb", "other=1"}) EXPECT_EQ(ask("GET", std::string("/overlay-master/state?") + bad).status, 400u) << bad;
  EXPECT_EQ(ask("GET", "/v1/overlay/capacity?jsonp=f").status, 400u);
}

TEST_F(RouterOverlay, TheAgentsEndpointSpeaksJson) {
  auto accepting = [&](std::string accept) {
    Request q;
    q.method = "GET";
    q.target = "/overlay-agent/overlay";
    q.accept = std::move(accept);
    return router_.handle(q, {}).status;
  };
  for (auto* good : {"", "application/json", "text/html, application/json;q=0.9", "*/*", "application/*"}) EXPECT_EQ(accepting(good), 200u) << good;
  for (auto* bad : {"text/html", "application/x-protobuf"}) EXPECT_EQ(accepting(bad), 415u) << bad;
}

TEST_F(RouterOverlay, Methods) {
  auto r = ask("POST", "/overlay-master/state");
  EXPECT_EQ(r.status, 405u);
  for (auto* method : {"GET", "HEAD", "PUT", "DELETE"}) {
    r = ask(method, "/overlay-master/agents/delete");
    EXPECT_EQ(r.status, 405u) << method;
    EXPECT_EQ(r.headers, (std::vector<std::pair<std::string, std::string>>{{"Allow", "POST"}}));
  }
  EXPECT_EQ(provider_.source.deleted, "");
}

TEST_F(RouterOverlay, Delete) {
  auto r = ask("POST", "/overlay-master/agents/delete", "{\"agents\": []}", {.text = "uid 0, pid 7"});
  EXPECT_EQ(r.status, 200u);
  EXPECT_EQ(r.body, "{\"remaining\":1}\n");
  EXPECT_EQ(r.headers, (std::vector<std::pair<std::string, std::string>>{{"X-Loadstar-Removed", "0"}}));
  EXPECT_EQ(provider_.source.deleted, "{\"agents\": []}");
  EXPECT_EQ(provider_.source.caller, "uid 0, pid 7");
}

TEST_F(RouterOverlay, WhoMayNotChangeDoesNotReachIt) {
  Caller stranger{.on_socket = false, .may_change = false, .refusal_status = 401, .refusal = "no token", .text = "10.0.0.9"};
  auto r = ask("POST", "/overlay-master/agents/delete", "{\"agents\": []}", stranger);
  EXPECT_EQ(r.status, 401u);
  EXPECT_EQ(r.headers[0].first, "WWW-Authenticate");
  EXPECT_EQ(provider_.source.deleted, "");
  // Reading is for everybody, on TCP too; the capacity is not.
  EXPECT_EQ(ask("GET", "/overlay-master/state", {}, stranger).status, 200u);
  EXPECT_EQ(ask("GET", "/overlay-agent/overlay", {}, stranger).status, 200u);
  EXPECT_EQ(ask("GET", "/v1/overlay/capacity", {}, stranger).status, 403u);
}

TEST_F(RouterOverlay, RegistrationAndFeed) {
  EXPECT_EQ(ask("POST", "/v1/overlay/nodes", "{}").body, "{\"allocation\":{}}\n");
  EXPECT_FALSE(provider_.source.from);
  EXPECT_EQ(ask("POST", "/v1/overlay/nodes", "{}", {.on_socket = false, .address = ip("10.0.0.9")}).status, 200u);
  EXPECT_EQ(provider_.source.from, ip("10.0.0.9"));
  EXPECT_EQ(ask("PUT", "/v1/overlay/nodes").status, 405u);
  Caller stranger{.on_socket = false, .may_change = false, .refusal_status = 403, .refusal = "no", .text = "x"};
  EXPECT_EQ(ask("POST", "/v1/overlay/nodes", "{}", stranger).status, 403u);
  EXPECT_EQ(*ask("GET", "/v1/overlay/allocations", {}, stranger).shared, " 0");
  auto same = ask("GET", "/v1/overlay/allocations?run=r&version=7&wait=60");
  EXPECT_EQ(*same.shared, "r 7");
  EXPECT_EQ(same.wait, Millis(30'000));
  EXPECT_FALSE(ask("GET", "/v1/overlay/allocations?run=r&version=6&wait=60").wait);
  EXPECT_FALSE(ask("GET", "/v1/overlay/allocations?run=q&version=7&wait=60").wait);
  EXPECT_FALSE(ask("GET", "/v1/overlay/allocations?run=r&version=7").wait);
  for (auto* bad : {"version=x", "version=-1", "wait=9999", "after=1"}) EXPECT_EQ(ask("GET", std::string("/v1/overlay/allocations?") + bad).status, 400u) << bad;
  EXPECT_EQ(router_.position().overlay, (std::pair<std::string, uint64_t>{"r", 7}));
  provider_.source.failure = {OverlayFailure::Kind::kRefused, "no address is free", "vtep-exhausted"};
  auto r = ask("POST", "/v1/overlay/nodes", "{}");
  EXPECT_EQ(r.status, 409u);
  EXPECT_EQ(Json::parse(r.body)["reason"], "vtep-exhausted");
}

TEST_F(RouterOverlay, Failures) {
  using Kind = OverlayFailure::Kind;
  for (auto [kind, status] : {std::pair(Kind::kAbsent, 404u), std::pair(Kind::kInvalid, 400u), std::pair(Kind::kUnavailable, 503u), std::pair(Kind::kFailed, 500u)}) {
    provider_.source.failure = {kind, "why it is so"};
    auto r = ask("GET", "/overlay-master/state?jsonp=f");
    EXPECT_EQ(r.status, status);
    EXPECT_THAT(r.body, HasSubstr("why it is so"));
    EXPECT_EQ(Json::parse(r.body)["error"], "why it is so");
    EXPECT_EQ(ask("POST", "/overlay-master/agents/delete").status, status);
  }
  provider_.absent = true;
  EXPECT_EQ(ask("GET", "/overlay-master/state").status, 404u);
}

TEST_F(RouterOverlay, Metrics) {
  auto& v = provider_.source.view;
  v.nodes = 3;
  v.exhausted = 2;
  v.pools = {{"", "44.128.0.0/20", 4094, 3, 1}, {"dcos", "9.0.0.0/8", 65536, 3, 0}};
  auto text = ask("GET", "/metrics").body;
  for (auto* line : {"loadstar_overlay_allocator_up 1", "loadstar_overlay_nodes 3", "loadstar_overlay_shares_refused_total{reason=\"exhausted\"} 2",
                     "loadstar_overlay_pool_held{overlay=\"\",pool=\"44.128.0.0/20\"} 1", "loadstar_overlay_pool_size{overlay=\"dcos\",pool=\"9.0.0.0/8\"} 65536"}) {
    EXPECT_THAT(text, HasSubstr(std::string(line) + "\n"));
  }
  v.problem = "overlay record 'x' is damaged";
  text = ask("GET", "/metrics").body;
  EXPECT_THAT(text, HasSubstr("loadstar_overlay_allocator_up 0\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("loadstar_overlay_nodes")));
  std::ifstream file(LS_SOURCE_DIR "/docs/operate/metrics.md");
  std::string doc((std::istreambuf_iterator<char>(file)), {});
  v.problem.clear();
  std::istringstream lines(ask("GET", "/metrics").body);
  for (std::string l; std::getline(lines, l);) {
    if (!l.starts_with("# TYPE loadstar_overlay_")) continue;
    EXPECT_THAT(doc, HasSubstr("`" + l.substr(7, l.find(' ', 7) - 7) + "`"));
  }
}

}  // namespace
}  // namespace ls::api
