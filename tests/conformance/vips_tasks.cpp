// Suites that go from Mesos records to tasks and VIPs.
#include "cluster.h"
#include "derive/fold.h"

namespace ls::conformance {
namespace {

VipOptions options_of(const Json& input) {
  VipOptions o;
  if (input.contains("config")) o.ipv6 = input["config"].value("enable_ipv6", true);
  return o;
}

/// Reads text as a whole number from 1 to 65535, one plus sign allowed.
bool good_port(std::string text) {
  if (text.starts_with("+")) text = text.substr(1);
  if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != text.npos) return false;
  int n = std::stoi(text);
  return n > 0 && n <= 65535;
}

/// What the rules of spec/minuteman-vips.md 1.2 and 1.3 want of a running task's own discovery ports, worked out
/// without the product: {name or address, port, protocol} of each VIP. Task labels (form 2) are looked at for their own port only.
std::set<std::string> wanted_vips(const Json& state) {
  std::set<std::string> out;
  std::map<std::string, std::string> frameworks;
  for (auto& f : state["get_state"]["get_frameworks"]["frameworks"])
    frameworks[f["framework_info"]["id"]["value"]] = f["framework_info"]["name"];
  auto add = [&](const std::string& value, const std::string& protocol, const std::string& framework) {
    size_t colon = value.rfind(':');
    if (colon == value.npos || !good_port(value.substr(colon + 1))) return;
    std::string port = std::to_string(std::stoi(value.substr(colon + 1)));
    std::string left = value.substr(0, colon), bare = left;
    if (bare.size() > 2 && bare.front() == '[' && bare.back() == ']') bare = bare.substr(1, bare.size() - 2);
    if (auto a = IpAddress::parse(bare)) {
      out.insert(a->text() + " " + port + " " + protocol);
    } else if (std::string folded = fold_name(left); !folded.empty() && folded.back() != '.') {
      out.insert(folded + "." + fold_name(framework) + " " + port + " " + protocol);
    }
  };
  auto& tasks = state["get_state"]["get_tasks"];
  for (auto& t : tasks.value("tasks", tasks.value("launched_tasks", Json::array()))) {
    if (t.value("state", "") != "TASK_RUNNING" && t.value("state", "") != "TASK_KILLING") continue;
    std::string framework = frameworks[t["framework_id"]["value"]];
    for (auto& p : t.value("/discovery/ports/ports"_json_pointer, Json::array())) {
      std::string protocol = p.value("protocol", "");
      for (auto& c : protocol) c = char(std::tolower(c));
      int64_t number = p.value("number", int64_t(0));
      Json labels = p.value("/labels/labels"_json_pointer, Json::array());
      int scopes = 0;
      bool scope_ok = true;
      for (auto& l : labels)
        if (l["key"] == "network-scope")
          scope_ok = ++scopes == 1 && (l.value("value", "") == "host" || l.value("value", "") == "container");
      if ((protocol != "tcp" && protocol != "udp") || number < 1 || number > 65535 || !scope_ok) continue;
      for (auto& l : labels) {
        std::string key = l["key"];
        if ((key.starts_with("VIP") || key.starts_with("vip")) && l.contains("value"))
          add(l["value"], protocol, framework);
      }
    }
    std::vector<int64_t> ports;
    for (auto& r : t.value("resources", Json::array())) {
      if (r.value("name", "") != "ports") continue;
      for (auto& range : r.value("/ranges/range"_json_pointer, Json::array()))
        for (int64_t n = range["begin"]; n <= range["end"] && ports.size() < 100000; n++) ports.push_back(n);
      if (r.contains("scalar")) ports.push_back(int64_t(r["scalar"]["value"].get<double>()));
    }
    for (auto& l : t.value("/labels/labels"_json_pointer, Json::array())) {
      std::string key = l["key"], value = l.value("value", "");
      for (auto& c : key) c = char(std::tolower(c));
      if (!key.starts_with("vip_port") || key.size() == 8 || key.size() > 14 ||
          key.find_first_not_of("0123456789", 8) != key.npos)
        continue;
      size_t n = std::stoul(key.substr(8));
      if (n >= ports.size() || ports[n] < 1 || ports[n] > 65535) continue;
      if (value.starts_with("tcp://") || value.starts_with("udp://")) add(value.substr(6), value.substr(0, 3), framework);
    }
  }
  return out;
}

/// Holds a case that the reference got wrong against what must be true of any answer: every VIP that the rules want is
/// there and no other, no name is empty or twice, no backend has port 0 or another family than its address VIP.
std::string judge_vips(const Json& state, const std::vector<VipView>& vips) {
  std::string wrong;
  std::set<std::string> got;
  for (auto& v : vips) {
    std::string title = (v.key.name.empty() ? v.key.address.text() : v.key.name) + " " + std::to_string(v.key.port) +
                        " " + std::string(to_text(v.key.protocol));
    if (!got.insert(title).second) wrong += title + ": one name must be one VIP\n";
    if (v.key.name.starts_with(".") || v.key.name.find("..") != v.key.name.npos)
      wrong += title + ": a label with no usable character must be refused\n";
    for (auto& b : v.backends) {
      if (b.port == 0) wrong += title + ": port 0 must never become a backend\n";
      if (v.key.name.empty() && b.address.is_v4() != v.key.address.is_v4())
        wrong += title + ": backend " + b.endpoint().text() + " is of the other family\n";
    }
  }
  for (auto& w : wanted_vips(state))
    if (!got.contains(w)) wrong += w + ": must not be lost\n";
  for (auto& g : got)
    if (!wanted_vips(state).contains(g)) wrong += g + ": must not be there\n";
  return wrong;
}

struct Run {
  Cluster cluster;
  std::string wrong;
  std::vector<TaskPtr> tasks;  ///< in the order of the snapshot
  explicit Run(const Json& input) : cluster(options_of(input)) {
    wrong = cluster.feed(input.at("state").dump());
    wrong += cluster.check();
    for (auto& c : cluster.delta.tasks)
      if (!c.removed) tasks.push_back(c.after);
  }
};

}  // namespace

Outcome run_task_model(const Json& one, bool judge) {
  Run run(one.at("input"));
  if (judge) return {run.wrong + judge_vips(one["input"]["state"], run.cluster.vips.vips()), ""};
  Json expect = one.at("expect"), got = Json::object();
  if (expect.contains("tasks")) {
    got["tasks"] = Json::array();
    for (auto& t : run.tasks) got["tasks"].push_back(task_json(*t));
  }
  if (expect.contains("port_mappings")) {
    // The cases are what one agent sees: all its tasks are local.
    got["port_mappings"] = Json::array();
    LocalPortTable table;
    for (auto& t : run.tasks)
      for (auto& p : local_ports(*t, task_ports(*t, nullptr)))
        table.add(p, t->framework_id.str() + "/" + t->id, t->phase() == TaskPhase::kRunning);
    for (auto& p : table.all())
      got["port_mappings"].push_back({{"protocol", to_text(p.protocol)},
                                      {"host_port", p.host_port},
                                      {"container_ip", p.container.address.text()},
                                      {"container_port", p.container.port}});
  }
  if (expect.contains("vips")) {
    expect["vips"] = without_slashes(expect["vips"]);
    got["vips"] = vips_json(run.cluster.vips.vips());
  }
  return {run.wrong + difference(expect, got), ""};
}

Outcome run_label_grammar(const Json& one, bool judge) {
  Run run(one.at("input"));
  if (judge) return {run.wrong + judge_vips(one["input"]["state"], run.cluster.vips.vips()), ""};
  Json expect = one.at("expect"), got = Json::object();
  if (expect.contains("vips")) {
    expect["vips"] = without_slashes(expect["vips"]);
    got["vips"] = vips_json(run.cluster.vips.vips());
  }
  if (expect.contains("ports")) {
    got["ports"] = Json::array();
    for (auto& t : run.tasks) got["ports"].push_back(ports_json(*t));
  }
  return {run.wrong + difference(expect, got), ""};
}

Outcome run_weights(const Json& one, bool judge) { return run_label_grammar(one, judge); }

Outcome run_event_stream(const Json& one, bool judge) {
  if (judge) return {"", "no rule for this marked case"};
  Cluster cluster;
  std::string wrong;
  Json got{{"published", Json::array()}, {"tasks", Json::array()}, {"waiting", Json::array()}};
  Millis heartbeat = kDefaultHeartbeat;
  for (auto& event : one.at("input").at("events")) {
    wrong += cluster.feed(event.dump());
    wrong += cluster.check();
    if (auto seconds = event.value("/subscribed/heartbeat_interval_seconds"_json_pointer, 0.0); seconds > 0)
      heartbeat = Millis(int64_t(seconds * 1000));
    for (auto& c : cluster.delta.tasks)
      if (c.removed || !c.after->waiting()) got["published"].push_back(task_json(*c.after));
  }
  cluster.state.for_each_task([&](const TaskPtr& t) { got["tasks"].push_back(task_json(*t)); });
  for (auto& t : cluster.state.waiting()) got["waiting"].push_back(t->id);
  got["agents"] = Json::object();
  for (auto& [id, address] : cluster.state.agents()) got["agents"][id] = address.text();
  got["frameworks"] = cluster.state.frameworks();
  if (auto recovered = cluster.state.recovered_agents(); !recovered.empty()) got["recovered_agents"] = recovered;
  got["liveness_timeout_ms"] = liveness_timeout(heartbeat).count();
  return {wrong + difference(one.at("expect"), got), ""};
}

}  // namespace ls::conformance
