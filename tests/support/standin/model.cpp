#include "standin/model.h"

#include <fmt/format.h>

#include <iterator>

namespace ls::standin {
namespace {

constexpr size_t kCompletedKept = 1000;  // as a master keeps for each framework

template <class... A>
void put(std::string& out, fmt::format_string<A...> f, A&&... a) {
  fmt::format_to(std::back_inserter(out), f, std::forward<A>(a)...);
}

void value(std::string& out, std::string_view key, std::string_view text) {
  put(out, "\"{}\":{{\"value\":", key);
  quote(out, text);
  out += '}';
}

void member(std::string& out, std::string_view key, std::string_view text) {
  put(out, "\"{}\":", key);
  quote(out, text);
}

void labels(std::string& out, const Labels& all) {
  out += "\"labels\":{\"labels\":[";
  const char* sep = "";
  for (const auto& [k, v] : all) {
    out += sep;
    out += "{";
    member(out, "key", k);
    out += ',';
    member(out, "value", v);
    out += '}';
    sep = ",";
  }
  out += "]}";
}

void mappings(std::string& out, const Task& t) {
  const char* sep = "";
  for (const auto& p : t.ports) {
    if (!p.container_port) continue;
    put(out, "{}{{\"host_port\":{},\"container_port\":{},", sep, p.host_port.value_or(p.number), *p.container_port);
    member(out, "protocol", p.protocol);
    out += '}';
    sep = ",";
  }
}

bool mapped(const Task& t) {
  for (const auto& p : t.ports) {
    if (p.container_port) return true;
  }
  return false;
}

void network_infos(std::string& out, const Cluster& c, const Task& t, const std::vector<std::string>& ips) {
  out += "\"network_infos\":[{";
  out += "\"ip_addresses\":[";
  std::vector<std::string> shown = ips;
  if (shown.empty()) {
    if (auto a = c.agents.find(t.agent); a != c.agents.end()) {
      shown.push_back(a->second.ip);
      if (!a->second.ip6.empty()) shown.push_back(a->second.ip6);
    }
  }
  const char* sep = "";
  for (const auto& ip : shown) {
    put(out, "{}{{\"protocol\":\"{}\",", sep, ip.find(':') == std::string::npos ? "IPv4" : "IPv6");
    member(out, "ip_address", ip);
    out += '}';
    sep = ",";
  }
  out += ']';
  if (!t.network.empty()) {
    out += ',';
    member(out, "name", t.network);
  }
  if (mapped(t)) {
    out += ",\"port_mappings\":[";
    mappings(out, t);
    out += ']';
  }
  out += "}]";
}

void container(std::string& out, const Task& t) {
  put(out, "\"container\":{{\"type\":\"{}\"", t.container);
  if (t.container == "DOCKER") {
    put(out, ",\"docker\":{{\"image\":\"none\",\"network\":\"{}\"", t.docker_network.empty() ? "HOST" : t.docker_network);
    if (mapped(t)) {
      out += ",\"port_mappings\":[";
      mappings(out, t);
      out += ']';
    }
    out += '}';
  }
  if (!t.network.empty() || (t.container == "MESOS" && mapped(t))) {
    out += ",\"network_infos\":[{";
    const char* sep = "";
    if (!t.network.empty()) {
      member(out, "name", t.network);
      sep = ",";
    }
    if (t.container == "MESOS" && mapped(t)) {
      put(out, "{}\"port_mappings\":[", sep);
      mappings(out, t);
      out += ']';
    }
    out += "}]";
  }
  out += '}';
}

void resources(std::string& out, const Task& t) {
  out += R"("resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"allocation_info":{"role":"*"}},)"
         R"({"name":"mem","type":"SCALAR","scalar":{"value":32.0},"allocation_info":{"role":"*"}})";
  const char* sep = R"(,{"name":"ports","type":"RANGES","ranges":{"range":[)";
  bool any = false;
  for (const auto& p : t.ports) {
    // A container-scope port without a mapping is the container's own and takes nothing on the agent.
    if (!t.network.empty() && !p.host_port && !p.container_port) continue;
    uint32_t n = p.host_port.value_or(p.number);
    put(out, "{}{{\"begin\":{},\"end\":{}}}", sep, n, n);
    sep = ",";
    any = true;
  }
  if (any) out += R"(]},"allocation_info":{"role":"*"}})";
  out += ']';
}

uint64_t mix(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (unsigned char ch : text) h = (h ^ ch) * 0x100000001b3ull;
  return h;
}

}  // namespace

void quote(std::string& out, std::string_view text) {
  out += '"';
  for (char ch : text) {
    auto u = static_cast<unsigned char>(ch);
    if (ch == '"' || ch == '\\') {
      out += '\\';
      out += ch;
    } else if (u < 0x20) {
      put(out, "\\u{:04x}", u);
    } else {
      out += ch;
    }
  }
  out += '"';
}

bool Task::terminal() const {
  for (const char* s : {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED",
                        "TASK_GONE", "TASK_GONE_BY_OPERATOR"}) {
    if (state == s) return true;
  }
  return false;
}

void Cluster::add_status(Task& t, Status s) {
  t.state = s.state;
  if (!t.statuses.empty() && t.statuses.back().state == s.state) {
    t.statuses.back() = std::move(s);
  } else {
    t.statuses.push_back(std::move(s));
  }
  if (completed.size() > 2 * kCompletedKept) completed.erase(completed.begin(), completed.end() - kCompletedKept);
}

bool Cluster::listed(const Task& t) const {
  auto a = agents.find(t.agent);
  auto f = frameworks.find(t.framework);
  return a != agents.end() && a->second.state == Agent::State::kRegistered && f != frameworks.end() && f->second.known;
}

void write_status(std::string& out, const Cluster& c, const Task& t, const Status& s) {
  out += '{';
  value(out, "task_id", t.id);
  put(out, ",\"state\":\"{}\",\"source\":\"{}\"", s.state, s.source);
  if (!s.reason.empty()) put(out, ",\"reason\":\"{}\"", s.reason);
  out += ',';
  value(out, "agent_id", t.agent);
  if (s.source == "SOURCE_EXECUTOR") {
    out += ',';
    value(out, "executor_id", t.id);
  }
  uint64_t h = mix(t.id + s.state);
  put(out, ",\"timestamp\":{:.6f},\"uuid\":\"{:016x}{:06x}==\"", s.timestamp_s, h, h & 0xffffff);
  if (s.healthy) put(out, ",\"healthy\":{}", *s.healthy);
  if (s.with_address) {
    out += ",\"container_status\":{";
    value(out, "container_id", fmt::format("{:016x}", mix(t.framework + t.id)));
    out += ',';
    network_infos(out, c, t, s.ips);
    put(out, ",\"executor_pid\":{}}}", 1000 + h % 60000);
  }
  out += '}';
}

void write_task(std::string& out, const Cluster& c, const Task& t) {
  out += '{';
  member(out, "name", t.name);
  out += ',';
  value(out, "task_id", t.id);
  out += ',';
  value(out, "framework_id", t.framework);
  out += ',';
  value(out, "agent_id", t.agent);
  put(out, ",\"state\":\"{}\",", t.state);
  resources(out, t);
  if (!t.statuses.empty()) {
    out += ",\"statuses\":[";
    const char* sep = "";
    for (const auto& s : t.statuses) {
      out += sep;
      write_status(out, c, t, s);
      sep = ",";
    }
    put(out, "],\"status_update_state\":\"{}\"", t.statuses.back().state);
  }
  if (!t.labels.empty()) {
    out += ',';
    labels(out, t.labels);
  }
  if (t.discovery) {
    out += ",\"discovery\":{\"visibility\":\"FRAMEWORK\",";
    member(out, "name", t.name);
    out += ",\"ports\":{\"ports\":[";
    const char* sep = "";
    for (const auto& p : t.ports) {
      put(out, "{}{{\"number\":{}", sep, p.number);
      if (!p.name.empty()) {
        out += ',';
        member(out, "name", p.name);
      }
      out += ',';
      member(out, "protocol", p.protocol);
      if (!p.labels.empty()) {
        out += ',';
        labels(out, p.labels);
      }
      out += '}';
      sep = ",";
    }
    out += "]}}";
  }
  if (!t.container.empty()) {
    out += ',';
    container(out, t);
  }
  if (t.health_check) {
    out += R"(,"health_check":{"delay_seconds":0.0,"interval_seconds":2.0,"timeout_seconds":5.0,)"
           R"("consecutive_failures":3,"grace_period_seconds":10.0,"type":"COMMAND",)"
           R"("command":{"shell":true,"value":"true"}})";
  }
  out += '}';
}

void write_agent_info(std::string& out, const Agent& a) {
  out += '{';
  member(out, "hostname", a.hostname);
  put(out, ",\"port\":{},", a.port);
  out += R"("resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0}},)"
         R"({"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":32000}]}}])";
  if (!a.attributes.empty()) {
    out += ",\"attributes\":[";
    const char* sep = "";
    for (const auto& [k, v] : a.attributes) {
      put(out, "{}{{", sep);
      member(out, "name", k);
      out += ",\"type\":\"TEXT\",";
      value(out, "text", v);
      out += '}';
      sep = ",";
    }
    out += ']';
  }
  out += ',';
  value(out, "id", a.id);
  if (!a.region.empty()) {
    out += ",\"domain\":{\"fault_domain\":{\"region\":{";
    member(out, "name", a.region);
    out += "},\"zone\":{";
    member(out, "name", a.zone);
    out += "}}}";
  }
  out += '}';
}

void write_agent(std::string& out, const Agent& a) {
  out += "{\"agent_info\":";
  write_agent_info(out, a);
  bool v6 = a.ip.find(':') != std::string::npos;
  put(out, ",\"active\":true,\"deactivated\":false,\"version\":\"1.12.0\",\"pid\":\"slave(1)@{}{}{}:{}\"",
      v6 ? "[" : "", a.ip, v6 ? "]" : "", a.port);
  out += ",\"registered_time\":{\"nanoseconds\":1700000000000000000}";
  if (a.reregistered) out += ",\"reregistered_time\":{\"nanoseconds\":1700000001000000000}";
  out += R"(,"capabilities":[{"type":"MULTI_ROLE"}]})";
}

void write_framework(std::string& out, const Framework& f) {
  out += R"({"framework_info":{"user":"root",)";
  member(out, "name", f.name);
  out += ',';
  value(out, "id", f.id);
  put(out,
      R"(,"failover_timeout":600.0,"checkpoint":true,"roles":["*"],"capabilities":[{{"type":"PARTITION_AWARE"}}]}},)"
      R"("active":{0},"connected":{0},"recovered":{1}}})",
      f.connected, f.recovered);
}

void write_get_state(std::string& out, const Cluster& c) {
  out += "{\"get_tasks\":{\"tasks\":[";
  const char* sep = "";
  for (const auto& [key, t] : c.tasks) {
    if (!c.listed(t)) continue;
    out += sep;
    write_task(out, c, t);
    sep = ",";
  }
  out += "],\"unreachable_tasks\":[";
  sep = "";
  for (const auto& [key, t] : c.tasks) {
    auto a = c.agents.find(t.agent);
    if (a == c.agents.end() || a->second.state != Agent::State::kAway) continue;
    out += sep;
    write_task(out, c, t);
    sep = ",";
  }
  out += "],\"completed_tasks\":[";
  sep = "";
  for (const auto& t : c.completed) {
    out += sep;
    write_task(out, c, t);
    sep = ",";
  }
  out += "]},\"get_executors\":{\"executors\":[]},\"get_frameworks\":{\"frameworks\":[";
  sep = "";
  for (const auto& [id, f] : c.frameworks) {
    if (!f.known) continue;
    out += sep;
    write_framework(out, f);
    sep = ",";
  }
  out += "],\"completed_frameworks\":[]},\"get_agents\":{\"agents\":[";
  sep = "";
  for (const auto& [id, a] : c.agents) {
    if (a.state != Agent::State::kRegistered) continue;
    out += sep;
    write_agent(out, a);
    sep = ",";
  }
  out += "],\"recovered_agents\":[";
  sep = "";
  for (const auto& [id, a] : c.agents) {
    if (a.state != Agent::State::kRecovered) continue;
    out += sep;
    write_agent_info(out, a);
    sep = ",";
  }
  out += "]}}";
}

std::string event_subscribed(const Cluster& c, double heartbeat_s) {
  std::string out = R"({"type":"SUBSCRIBED","subscribed":{"get_state":)";
  write_get_state(out, c);
  put(out, ",\"heartbeat_interval_seconds\":{:.3f}}}}}", heartbeat_s);
  return out;
}

std::string event_task_added(const Cluster& c, const Task& t) {
  std::string out = R"({"type":"TASK_ADDED","task_added":{"task":)";
  write_task(out, c, t);
  return out + "}}";
}

std::string event_task_updated(const Cluster& c, const Task& t, const Status& s) {
  std::string out = R"({"type":"TASK_UPDATED","task_updated":{)";
  value(out, "framework_id", t.framework);
  out += ",\"status\":";
  write_status(out, c, t, s);
  put(out, ",\"state\":\"{}\"}}}}", t.state);
  return out;
}

std::string event_agent_added(const Agent& a) {
  std::string out = R"({"type":"AGENT_ADDED","agent_added":{"agent":)";
  write_agent(out, a);
  return out + "}}";
}

std::string event_agent_removed(const std::string& id) {
  std::string out = R"({"type":"AGENT_REMOVED","agent_removed":{)";
  value(out, "agent_id", id);
  return out + "}}";
}

std::string event_framework(const Framework& f, bool added) {
  std::string_view word = added ? "added" : "updated";
  std::string out = fmt::format("{{\"type\":\"FRAMEWORK_{}\",\"framework_{}\":{{\"framework\":",
                                added ? "ADDED" : "UPDATED", word);
  write_framework(out, f);
  return out + "}}";
}

std::string event_framework_removed(const Framework& f) {
  std::string out = R"({"type":"FRAMEWORK_REMOVED","framework_removed":{"framework_info":{"user":"root",)";
  member(out, "name", f.name);
  out += ',';
  value(out, "id", f.id);
  return out + "}}}";
}

}  // namespace ls::standin
