// spec/cases/overlay: every file, by its kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "overlay/peers.h"
#include "overlay_support.h"

namespace ls::overlay {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::vector<fs::path> case_files() {
  std::vector<fs::path> out;
  std::error_code ec;
  for (auto& e : fs::directory_iterator(fs::path(LS_SHARED_DIR) / "spec/cases/overlay", ec)) {
    if (e.path().extension() == ".json") out.push_back(e.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

Json content(const fs::path& file) {
  std::ifstream in(file);
  return Json::parse(in);
}

/// A cluster's allocator with its store and the file it was started with.
class World {
 public:
  explicit World(const Json& network) : file_(network.dump()) { open(read_plan(file_)->plan); }

  void step(const Json& s) {
    std::string what = s.at("do");
    if (what == "register") {
      auto got = join(s.at("agent").get<std::string>(), s);
      if (s.contains("expect")) compare(s["expect"], got, s.at("agent").get<std::string>());
    } else if (what == "register_range") {
      auto first = ip(s.at("first").get<std::string>()).v4();
      for (uint32_t i = 0; i < s.at("count").get<uint32_t>(); i++) {
        auto node = IpAddress::from_v4(first + i).text();
        auto got = join(node, Json::object());
        auto n = std::to_string(i + 1);
        if (s.at("expect_at").contains(n)) compare(s["expect_at"][n], got, "registration " + n);
      }
    } else if (what == "delete") {
      auto list = parse_delete_body(Json{{"agents", s.at("agents")}}.dump());
      ASSERT_TRUE(list);
      ASSERT_TRUE(a_->remove_nodes(*list));
      if (s.contains("expect") && s["expect"].contains("remaining_agents")) {
        EXPECT_EQ(a_->size(), s["expect"]["remaining_agents"].get<size_t>());
      }
    } else if (what == "restart") {
      restart(s);
    } else if (what == "lose_state") {
      store_ = make_memory_store();
      open(read_plan(file_)->plan);
    } else {
      FAIL() << "unknown step " << what;
    }
    // 65,537 nodes are walked at the end only.
    if (a_->size() < 1000) expect_sound(*a_);
  }

  void everybody_is_well() {
    for (auto* n : a_->nodes()) {
      std::vector<OverlayReport> reports;
      for (auto& s : n->allocation.shares) reports.push_back({s.overlay, ReportStatus::kOk, ""});
      EXPECT_FALSE(a_->report(n->allocation.node, reports));
    }
  }
  const Allocator& allocator() const { return *a_; }

 private:
  void open(std::optional<Plan> plan) {
    auto made = Allocator::open(*store_, clock_, std::move(plan));
    ASSERT_TRUE(made) << made.error().text();
    a_ = std::move(*made);
  }

  void restart(const Json& s) {
    auto file = s.contains("network") ? s["network"].dump() : file_;
    auto plan = read_plan(file);
    a_.reset();
    std::optional<std::string> reason;
    if (!plan) {
      reason = to_text(plan.error().reason);
      open(std::nullopt);
    } else {
      open(plan->plan);
      if (a_->rejected()) reason = a_->rejected()->reason;
    }
    bool rejected = s.value("outcome", "accepted") == "rejected";
    EXPECT_EQ(reason.has_value(), rejected) << reason.value_or("");
    if (rejected && s.contains("reason")) {
      EXPECT_EQ(reason.value_or(""), s["reason"]);
    }
    if (!reason) file_ = file;
  }

  tl::expected<Registered, Refusal> join(const std::string& node, const Json& s) {
    auto q = request(node);
    if (s.contains("request")) {
      q.allocate_subnet = s["request"].value("allocate_subnet", true);
      q.mesos_bridge = s["request"].value("mesos_bridge", true);
      q.docker_bridge = s["request"].value("docker_bridge", true);
    }
    if (s.contains("holding")) {
      auto& h = s["holding"];
      if (h.contains("vtep")) {
        q.holding.vtep4 = h["vtep"].value("ip", "");
        q.holding.vtep6 = h["vtep"].value("ip6", "");
      }
      if (h.contains("overlays")) {
        for (auto& [name, o] : h["overlays"].items()) q.holding.blocks.push_back({name, o.value("subnet", ""), o.value("subnet6", "")});
      }
    }
    return a_->register_node(q);
  }

  /// The answer in the shape of the cases.
  static Json shown(const tl::expected<Registered, Refusal>& got) {
    if (!got) return {{"status", "refused"}, {"reason", got.error().reason}};
    auto& v = got->allocation.vtep;
    Json out{{"status", "ok"}, {"vtep", {{"ip", v.v4.text()}, {"mac", to_text(v.mac)}}}, {"overlays", Json::object()}};
    if (v.v6) out["vtep"]["ip6"] = v.v6->text();
    for (auto& s : got->allocation.shares) {
      Json o = Json::object();
      if (s.state != ShareState::kOk) o["status"] = s.state == ShareState::kExhausted ? "exhausted" : "conflict";
      if (s.v4) o["subnet"] = s.v4->text();
      if (s.v6) o["subnet6"] = s.v6->text();
      for (bool docker : {false, true}) {
        if (!(docker ? s.docker_bridge : s.mesos_bridge)) continue;
        Json b{{"name", (docker ? "d-" : "m-") + s.overlay}};
        if (s.v4) b["ip"] = half_of(*s.v4, docker).text();
        if (s.v6) b["ip6"] = half_of(*s.v6, docker).text();
        o[docker ? "docker_bridge" : "mesos_bridge"] = b;
      }
      out["overlays"][s.overlay] = o;
    }
    return out;
  }

  static void compare(const Json& want, const tl::expected<Registered, Refusal>& got, const std::string& what) {
    auto has = shown(got);
    for (auto& [key, value] : want.items()) EXPECT_EQ(has.contains(key) ? has[key] : Json(), value) << what << ": " << key;
  }

  std::string file_;
  std::unique_ptr<Store> store_ = make_memory_store();
  FakeClock clock_;
  std::unique_ptr<Allocator> a_;
};

void allocation(const Json& c) {
  World world(c.at("network"));
  for (auto& s : c.at("steps")) {
    world.step(s);
    if (testing::Test::HasFatalFailure()) return;
  }
  expect_sound(world.allocator());
}

void expect_number(const Json& want, Number got, const std::string& what) { EXPECT_EQ(want.is_string() ? want.get<std::string>() : want.dump(), to_text(got)) << what; }

void capacity_keys(const Json& want, const Plan& plan, const std::string& what) {
  auto c = capacity_of(plan.overlays.at(0));
  for (auto& [key, value] : want.items()) {
    if (key == "agent_subnets" || key == "agents") expect_number(value, c.agent_subnets, what + key);
    else if (key == "nodes_by_vtep") expect_number(value, nodes_by_vtep(plan), what + key);
    else if (key == "containers_per_half") expect_number(value, c.containers_per_half, what + key);
    else if (key == "first") EXPECT_EQ(value, c.first.text()) << what;
    else if (key == "last") EXPECT_EQ(value, c.last.text()) << what;
    else if (key != "valid" && key != "network") ADD_FAILURE() << what << "unknown key " << key;
  }
}

void validation(const Json& c) {
  for (auto& item : c.at("configs")) {
    auto text = item.at("network").dump();
    auto plan = read_plan(text);
    auto& want = item.at("expect");
    EXPECT_EQ(plan.has_value(), want.at("valid").get<bool>()) << text;
    if (!plan) {
      EXPECT_EQ(to_text(plan.error().reason), want.value("reason", "")) << text;
      EXPECT_FALSE(plan.error().field().empty());
    } else if (want.at("valid")) {
      capacity_keys(want, plan->plan, text + ": ");
    }
  }
}

void capacity(const Json& c) {
  for (auto& item : c.at("items")) {
    auto plan = read_plan(item.at("network").dump());
    ASSERT_TRUE(plan) << plan.error().text();
    capacity_keys(item, plan->plan, item.at("network").dump() + ": ");
  }
}

void cni(const Json& c) {
  auto& allocation = c.at("allocation");
  Share s;
  s.overlay = allocation.at("name");
  if (allocation.contains("subnet")) s.v4 = net(allocation["subnet"].get<std::string>());
  if (allocation.contains("subnet6")) s.v6 = net(allocation["subnet6"].get<std::string>());
  s.mesos_bridge = allocation.contains("mesos_bridge");
  s.docker_bridge = allocation.contains("docker_bridge");
  auto& agent = c.at("agent_config");
  uint32_t mtu = agent.contains("network_config") ? agent["network_config"].value("overlay_mtu", 1420) : 1420;
  auto file = cni_file(s, mtu, agent.value("cni_data_dir", ""));
  auto& want = c.at("expect");
  if (!want.contains("file") || want["file"].is_null()) {
    EXPECT_FALSE(file);
    return;
  }
  ASSERT_TRUE(file);
  EXPECT_EQ(file->name, want["file"]);
  EXPECT_EQ(Json::parse(file->text), want.at("json"));
}

/// Order of agents and of overlays free.
Json sorted(Json state) {
  auto by = [](Json& list, auto key) {
    std::sort(list.begin(), list.end(), [&](auto& a, auto& b) { return key(a) < key(b); });
  };
  by(state["network"]["overlays"], [](auto& o) { return o.at("name").template get<std::string>(); });
  if (state.contains("agents")) {
    by(state["agents"], [](auto& a) { return a.at("ip").template get<std::string>(); });
    for (auto& a : state["agents"]) by(a["overlays"], [](auto& o) { return o.at("info").at("name").template get<std::string>(); });
  }
  return state;
}

void state_json(const Json& c) {
  World world(c.at("network"));
  for (auto& s : c.at("steps")) world.step(s);
  world.everybody_is_well();
  auto nodes = world.allocator().nodes();
  EXPECT_EQ(sorted(Json::parse(master_state_json(world.allocator().plan(), nodes))), sorted(c.at("expect")));
}

/// `map_mode` is a pure derivation of the allocations; `static_mode` lists kernel objects of the original.
void node_state(const Json& c) {
  World world(c.at("network"));
  std::vector<IpAddress> all;
  for (auto* list : {"agents", "deleted"}) {
    for (auto& a : c.at(list)) all.push_back(ip(a.get<std::string>()));
  }
  std::sort(all.begin(), all.end());
  for (auto& a : all) world.step({{"do", "register"}, {"agent", a.text()}});
  world.step({{"do", "delete"}, {"agents", c.at("deleted")}});
  std::vector<const Allocation*> allocations;
  for (auto* n : world.allocator().nodes()) allocations.push_back(&n->allocation);
  Json has = Json::array(), want = c.at("expect").at("map_mode");
  for (auto& b : peer_blocks(allocations, ip(c.at("local").get<std::string>()))) {
    has.push_back({{"prefix", b.prefix.text()}, {"agent", b.agent.text()}, {"mac", to_text(b.mac)}, {"vni", b.vni}});
  }
  std::sort(has.begin(), has.end());
  std::sort(want.begin(), want.end());
  EXPECT_EQ(has, want);
}

class OverlayCase : public testing::TestWithParam<fs::path> {};

TEST_P(OverlayCase, Holds) {
  auto c = content(GetParam());
  std::string kind = c.at("kind");
  if (kind == "allocation") return allocation(c);
  if (kind == "validation") return validation(c);
  if (kind == "capacity") return capacity(c);
  if (kind == "cni-file") return cni(c);
  if (kind == "state-json") return state_json(c);
  if (kind == "node-state") return node_state(c);
  FAIL() << "unknown kind " << kind;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OverlayCase);
INSTANTIATE_TEST_SUITE_P(Spec, OverlayCase, testing::ValuesIn(case_files()), [](auto& one) {
  auto name = one.param.stem().string();
  std::replace_if(name.begin(), name.end(), [](char c) { return !isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

TEST(OverlayCases, AreThere) {
  auto n = case_files().size();
  if (n == 0) GTEST_SKIP() << LS_SHARED_DIR << "/spec/cases/overlay is missing: 31 files not run";
  EXPECT_GE(n, 30u);
}

}  // namespace
}  // namespace ls::overlay
