#include "standin/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <set>

namespace ls::standin {
namespace {

namespace asio = boost::asio;

constexpr Millis kPoll{2};  // of wait; the stand-in is a test tool

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Result<uint32_t> number(std::string_view text, std::string_view what) {
  uint32_t v = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (ec != std::errc() || end != text.data() + text.size()) return fail(fmt::format("{}: \"{}\" is no number", what, text));
  return v;
}

/// Statuses are told apart by their time stamps, which have microseconds: no two are equal.
double stamp() {
  static double last = 0;
  last = std::max(now_s(), last + 2e-6);
  return last;
}

/// "key=value" split at the first '='; without one the value is empty.
std::pair<std::string, std::string> option(const std::string& word) {
  size_t eq = word.find('=');
  if (eq == std::string::npos) return {word, ""};
  return {word.substr(0, eq), word.substr(eq + 1)};
}

std::set<std::string> comma_list(const std::string& text) {
  std::set<std::string> out;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    if (end > at) out.insert(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

Result<bool> truth(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  return fail(fmt::format("\"{}\" is neither true nor false", text));
}

asio::awaitable<void> sleep_for(asio::io_context& io, Millis d) {
  asio::steady_timer timer(io, d);
  boost::system::error_code ec;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
}

}  // namespace

Result<Words> split(std::string_view line) {
  Words out;
  std::string word;
  bool in_word = false, quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (quoted && c == '\\' && i + 1 < line.size()) {
      word += line[++i];
    } else if (c == '"') {
      quoted = !quoted;
      in_word = true;
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\r')) {
      if (in_word) out.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else if (!quoted && !in_word && c == '#') {
      break;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quoted) return fail("a quote is not closed");
  if (in_word) out.push_back(std::move(word));
  return out;
}

Result<Millis> parse_duration(std::string_view text) {
  double v = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  double scale = unit == "ms" ? 1 : unit == "s" || unit.empty() ? 1000 : unit == "m" ? 60'000 : 0;
  if (ec != std::errc() || scale == 0 || !(v >= 0 && v < 1e9)) return fail(fmt::format("\"{}\" is no duration", text));
  return Millis(static_cast<int64_t>(v * scale));
}

Engine::Engine(asio::io_context& io, StandinOptions options)
    : io_(io), server_(io, std::move(options), *this), alive_(std::make_shared<bool>(true)) {}

std::string Engine::snapshot() {
  return event_subscribed(cluster_, std::chrono::duration<double>(server_.heartbeat()).count());
}

std::string Engine::get_state() {
  std::string out = R"({"type":"GET_STATE","get_state":)";
  write_get_state(out, cluster_);
  return out + "}";
}

Result<Agent*> Engine::find_agent(const std::string& id) {
  auto it = cluster_.agents.find(id);
  if (it == cluster_.agents.end()) return fail(fmt::format("no agent {}", id));
  return &it->second;
}

/// "t1", or "F1/t1" when several frameworks have a t1.
Result<Task*> Engine::find_task(const std::string& spec) {
  if (size_t slash = spec.find('/'); slash != std::string::npos) {
    auto it = cluster_.tasks.find({spec.substr(0, slash), spec.substr(slash + 1)});
    if (it != cluster_.tasks.end()) return &it->second;
  }
  Task* found = nullptr;
  for (const auto& [id, f] : cluster_.frameworks) {
    auto it = cluster_.tasks.find({id, spec});
    if (it == cluster_.tasks.end()) continue;
    if (found) return fail(fmt::format("several frameworks have a task {}: say FRAMEWORK/TASK", spec));
    found = &it->second;
  }
  if (!found) return fail(fmt::format("no task {}", spec));
  return found;
}

Result<size_t> Engine::master_number(const std::string& text, bool none_allowed) {
  if (none_allowed && text == "none") return 0;
  LS_ASSIGN(uint32_t n, number(text, "master"));
  if (n < 1 || n > server_.masters().size()) return fail(fmt::format("no master {}", n));
  return n;
}

Status Engine::make_status(const Task& t, std::string state) const {
  Status s;
  s.state = std::move(state);
  s.timestamp_s = stamp();
  s.healthy = t.healthy;
  s.with_address = true;
  s.ips = t.ips;
  return s;
}

void Engine::update(Task& t, Status s) {
  cluster_.add_status(t, s);
  if (heard() && cluster_.listed(t)) emit(event_task_updated(cluster_, t, s));
}

/// The scheduler acknowledged: no event, the task moves to the completed ones.
void Engine::complete(const TaskKey& key) {
  auto it = cluster_.tasks.find(key);
  if (it == cluster_.tasks.end()) return;
  cluster_.completed.push_back(std::move(it->second));
  cluster_.tasks.erase(it);
}

Result<> Engine::agent_add(const Args& a) {
  if (a.size() < 2) return fail("agent add ID IP [hostname=] [port=] [ip6=] [region=] [zone=] [attribute=KEY:VALUE]");
  Agent g;
  g.id = a[0];
  g.ip = g.hostname = a[1];
  for (size_t i = 2; i < a.size(); ++i) {
    auto [key, value] = option(a[i]);
    if (key == "hostname") {
      g.hostname = value;
    } else if (key == "port") {
      LS_ASSIGN(uint32_t p, number(value, "port"));
      g.port = static_cast<uint16_t>(p);
    } else if (key == "ip6") {
      g.ip6 = value;
    } else if (key == "region") {
      g.region = value;
    } else if (key == "zone") {
      g.zone = value;
    } else if (key == "attribute") {
      size_t colon = value.find(':');
      if (colon == std::string::npos) return fail("attribute=KEY:VALUE");
      g.attributes[value.substr(0, colon)] = value.substr(colon + 1);
    } else {
      return fail(fmt::format("agent add: unknown option {}", key));
    }
  }
  cluster_.agents[g.id] = g;
  if (heard()) emit(event_agent_added(g));
  return {};
}

/// unreachable, gone: no AGENT_REMOVED. remove: TASK_LOST for its tasks, then AGENT_REMOVED.
Result<> Engine::agent_lost(Agent& g, const std::string& how) {
  const char* state = how == "unreachable" ? "TASK_UNREACHABLE" : how == "gone" ? "TASK_GONE_BY_OPERATOR" : "TASK_LOST";
  std::vector<TaskKey> done;
  for (auto& [key, t] : cluster_.tasks) {
    if (t.agent != g.id || t.terminal()) continue;
    Status s;
    s.state = state;
    s.source = "SOURCE_MASTER";
    s.reason = how == "gone" ? "REASON_AGENT_REMOVED_BY_OPERATOR" : "REASON_AGENT_REMOVED";
    s.timestamp_s = stamp();
    update(t, s);
    if (how != "unreachable") done.push_back(key);
  }
  for (const auto& key : done) complete(key);
  if (how == "remove") {
    std::string id = g.id;
    cluster_.agents.erase(id);
    emit(event_agent_removed(id));
  } else {
    g.state = Agent::State::kAway;
  }
  return {};
}

/// TASK_ADDED for each of its tasks of known frameworks, then AGENT_ADDED; frameworks known only through it follow.
void Engine::agent_back(Agent& g) {
  g.state = Agent::State::kRegistered;
  g.reregistered = true;
  std::set<std::string> unknown;
  for (auto& [key, t] : cluster_.tasks) {
    if (t.agent != g.id) continue;
    while (!t.statuses.empty() && t.statuses.back().source == "SOURCE_MASTER") t.statuses.pop_back();
    t.state = t.statuses.empty() ? "TASK_STAGING" : t.statuses.back().state;
    if (cluster_.frameworks[t.framework].known) {
      emit(event_task_added(cluster_, t));
    } else {
      unknown.insert(t.framework);
    }
  }
  emit(event_agent_added(g));
  for (const auto& id : unknown) {
    Framework& f = cluster_.frameworks[id];
    f.known = f.recovered = true;
    f.connected = false;
    emit(event_framework(f, true));
    for (auto& [key, t] : cluster_.tasks) {
      if (t.agent == g.id && t.framework == id) emit(event_task_added(cluster_, t));
    }
  }
}

Result<> Engine::agent(const Args& a) {
  if (a.size() < 2) return fail("agent add|remove|unreachable|gone|back ID ...");
  if (a[0] == "add") return agent_add({a.begin() + 1, a.end()});
  LS_ASSIGN(Agent * g, find_agent(a[1]));
  if (a[0] == "remove" || a[0] == "unreachable" || a[0] == "gone") return agent_lost(*g, a[0]);
  if (a[0] == "back") {
    if (g->state == Agent::State::kRegistered) return fail(fmt::format("agent {} is there", g->id));
    agent_back(*g);
    return {};
  }
  return fail(fmt::format("unknown command agent {}", a[0]));
}

Result<> Engine::framework(const Args& a) {
  if (a.size() < 2) return fail("framework add ID NAME | update ID NAME | disconnect ID | connect ID | remove ID");
  const std::string& id = a[1];
  if (a[0] == "add") {
    Framework f;
    f.id = id;
    f.name = a.size() > 2 ? a[2] : id;
    cluster_.frameworks[id] = f;
    emit(event_framework(f, true));
    return {};
  }
  auto it = cluster_.frameworks.find(id);
  if (it == cluster_.frameworks.end()) return fail(fmt::format("no framework {}", id));
  Framework& f = it->second;
  if (a[0] == "update" && a.size() > 2) {
    f.name = a[2];
    emit(event_framework(f, false));
  } else if (a[0] == "disconnect") {
    f.connected = false;  // no event
  } else if (a[0] == "connect") {
    f.connected = true;
    f.recovered = false;
    emit(event_framework(f, false));
  } else if (a[0] == "remove") {
    std::vector<TaskKey> done;
    for (auto& [key, t] : cluster_.tasks) {
      if (t.framework != id) continue;
      Status s;
      s.state = "TASK_KILLED";
      s.source = "SOURCE_MASTER";
      s.reason = "REASON_FRAMEWORK_REMOVED";
      s.timestamp_s = stamp();
      update(t, s);
      done.push_back(key);
    }
    for (const auto& key : done) complete(key);
    Framework gone = f;
    cluster_.frameworks.erase(it);
    emit(event_framework_removed(gone));
  } else {
    return fail(fmt::format("unknown command framework {}", a[0]));
  }
  return {};
}

Result<> Engine::task_add(const Args& a) {
  if (a.size() < 3) return fail("task add ID FRAMEWORK AGENT [options]");
  Task t;
  t.id = a[0];
  t.framework = a[1];
  t.agent = a[2];
  t.name = a[0];
  std::string until = "TASK_RUNNING";
  for (size_t i = 3; i < a.size(); ++i) {
    auto [key, value] = option(a[i]);
    auto label = [&value = value](Labels& to) -> Result<> {
      size_t eq = value.find('=');
      if (eq == std::string::npos) return fail("a label is KEY=VALUE");
      to.emplace_back(value.substr(0, eq), value.substr(eq + 1));
      return {};
    };
    if (key == "name") {
      t.name = value;
    } else if (key == "port") {
      LS_ASSIGN(uint32_t n, number(value, "port"));
      t.ports.emplace_back();
      t.ports.back().number = n;
    } else if (key == "label") {
      LS_TRY(label(t.labels));
    } else if (key == "ip") {
      t.ips.push_back(value);
    } else if (key == "network") {
      t.network = value;
    } else if (key == "container") {
      t.container = value == "docker" ? "DOCKER" : value == "mesos" ? "MESOS" : "";
      if (t.container.empty()) return fail("container=mesos or container=docker");
    } else if (key == "docker_network") {
      t.docker_network = value;
    } else if (key == "health") {
      t.health_check = true;
      if (!value.empty()) {
        LS_ASSIGN(bool healthy, truth(value));
        t.healthy = healthy;
      }
    } else if (key == "state") {
      until = value;
    } else if (key == "nodiscovery") {
      t.discovery = false;
    } else if (key == "proto" || key == "vip" || key == "scope" || key == "port_name" || key == "port_label" ||
               key == "host_port" || key == "container_port") {
      if (t.ports.empty()) return fail(fmt::format("{} belongs to a port: say port= before it", key));
      Port& p = t.ports.back();
      if (key == "proto") {
        p.protocol = value;
      } else if (key == "vip") {
        auto vips = std::count_if(p.labels.begin(), p.labels.end(), [](auto& l) { return l.first.starts_with("VIP_"); });
        p.labels.emplace_back(fmt::format("VIP_{}", vips), value);
      } else if (key == "scope") {
        p.labels.emplace_back("network-scope", value);
      } else if (key == "port_name") {
        p.name = value;
      } else if (key == "port_label") {
        LS_TRY(label(p.labels));
      } else {
        LS_ASSIGN(uint32_t n, number(value, key));
        (key == "host_port" ? p.host_port : p.container_port) = n;
      }
    } else {
      return fail(fmt::format("task add: unknown option {}", key));
    }
  }
  if (!cluster_.frameworks.contains(t.framework)) return fail(fmt::format("no framework {}", t.framework));
  LS_TRY(find_agent(t.agent));
  TaskKey key{t.framework, t.id};
  cluster_.tasks.erase(key);
  Task& kept = cluster_.tasks.emplace(key, std::move(t)).first->second;
  if (heard() && cluster_.listed(kept)) emit(event_task_added(cluster_, kept));
  if (until == "TASK_STAGING") return {};
  std::optional<bool> result = std::exchange(kept.healthy, std::nullopt);
  update(kept, make_status(kept, "TASK_STARTING"));
  if (until == "TASK_STARTING") return {};
  update(kept, make_status(kept, "TASK_RUNNING"));
  if (result) {
    kept.healthy = result;
    Status s = make_status(kept, "TASK_RUNNING");
    s.reason = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED";
    update(kept, s);
  }
  if (until != "TASK_RUNNING") update(kept, make_status(kept, until));
  if (kept.terminal()) complete(key);
  return {};
}

Result<> Engine::task(const Args& a) {
  if (a.size() < 2) return fail("task add|state|health|ip|ack|remove ID ...");
  Args rest(a.begin() + 1, a.end());
  if (a[0] == "add") return task_add(rest);
  LS_ASSIGN(Task * t, find_task(a[1]));
  TaskKey key{t->framework, t->id};
  if (a[0] == "state" && a.size() > 2) {
    Status s = make_status(*t, a[2]);
    bool acknowledged = true;
    for (size_t i = 3; i < a.size(); ++i) {
      auto [name, value] = option(a[i]);
      if (name == "noack") {
        acknowledged = false;
      } else if (name == "noaddress") {
        s.with_address = false;
      } else if (name == "reason") {
        s.reason = value;
      } else {
        return fail(fmt::format("task state: unknown option {}", name));
      }
    }
    update(*t, s);
    if (t->terminal() && acknowledged) complete(key);
  } else if (a[0] == "health" && a.size() > 2) {
    LS_ASSIGN(bool healthy, truth(a[2]));
    t->health_check = true;
    t->healthy = healthy;
    Status s = make_status(*t, t->state);
    s.reason = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED";
    update(*t, s);
  } else if (a[0] == "ip" && a.size() > 2) {
    // A running status with nothing but another address makes no event: the next one carries it.
    t->ips.assign(a.begin() + 2, a.end());
    cluster_.add_status(*t, make_status(*t, t->state));
  } else if (a[0] == "ack") {
    complete(key);
  } else {
    return fail(fmt::format("unknown command task {}", a[0]));
  }
  return {};
}

/// TASKS running tasks spread over AGENTS agents, task n behind the VIP /svc<n mod VIPS>:80.
Result<> Engine::bulk(const Args& a) {
  if (a.size() != 3) return fail("bulk TASKS AGENTS VIPS");
  LS_ASSIGN(uint32_t tasks, number(a[0], "tasks"));
  LS_ASSIGN(uint32_t agents, number(a[1], "agents"));
  LS_ASSIGN(uint32_t vips, number(a[2], "vips"));
  if (agents == 0 || agents > 65536 || vips == 0) return fail("bulk: 1 to 65536 agents and at least 1 VIP");
  if (!cluster_.frameworks.contains("bulk")) LS_TRY(framework({"add", "bulk", "bulk"}));
  for (uint32_t i = 0; i < agents; ++i) {
    LS_TRY(agent_add({fmt::format("bulk-S{}", i), fmt::format("10.128.{}.{}", i / 256, i % 256)}));
  }
  for (uint32_t i = 0; i < tasks; ++i) {
    Task t;
    uint32_t service = i % vips;
    t.id = fmt::format("bulk_svc{}.instance-{:08x}-0000-4000-8000-{:012x}._app.1", service, i * 2654435761u, i);
    t.framework = "bulk";
    t.agent = fmt::format("bulk-S{}", i % agents);
    t.name = fmt::format("svc{}.bulk", service);
    t.ports.emplace_back();
    Port& p = t.ports.back();
    p.number = 1025 + (i / agents) % 64000;
    p.name = "http";
    p.labels.emplace_back("VIP_0", fmt::format("/svc{}:80", service));
    t.labels = {{"team", "bulk"}, {"tier", "load"}};
    t.state = "TASK_RUNNING";
    for (const char* state : {"TASK_STARTING", "TASK_RUNNING"}) {
      t.statuses.push_back(make_status(t, state));
    }
    auto [it, fresh] = cluster_.tasks.insert_or_assign({t.framework, t.id}, std::move(t));
    (void)fresh;
    if (heard()) emit(event_task_added(cluster_, it->second));
  }
  return {};
}

asio::awaitable<void> Engine::reregister(int run, int leader, Millis gap, Millis every, bool frameworks_late,
                                         Args except) {
  auto alive = alive_;
  auto over = [this, alive, run] { return !*alive || run != failovers_; };
  if (gap > Millis(0)) {
    co_await sleep_for(io_, gap);
    if (over()) co_return;
    server_.lead(leader);
  }
  auto frameworks_return = [this] {
    for (auto& [id, f] : cluster_.frameworks) {
      if (!f.known) {
        f.known = f.recovered = true;
        f.connected = false;
        emit(event_framework(f, true));
      }
      f.connected = true;
      f.recovered = false;
      emit(event_framework(f, false));
    }
  };
  if (!frameworks_late) {
    co_await sleep_for(io_, every);
    if (over()) co_return;
    frameworks_return();
  }
  std::vector<std::string> waiting;
  for (const auto& [id, g] : cluster_.agents) {
    bool left_out = std::find(except.begin(), except.end(), id) != except.end();
    if (g.state == Agent::State::kRecovered && !left_out) waiting.push_back(id);
  }
  for (const auto& id : waiting) {
    co_await sleep_for(io_, every);
    if (over()) co_return;
    auto it = cluster_.agents.find(id);
    if (it != cluster_.agents.end() && it->second.state == Agent::State::kRecovered) agent_back(it->second);
  }
  if (frameworks_late) {
    co_await sleep_for(io_, every);
    if (over()) co_return;
    frameworks_return();
  }
  settled_ = true;
}

Result<> Engine::failover(const Args& a) {
  if (a.empty()) return fail("failover MASTER [gap=0s] [every=100ms] [except=A1,A2] [frameworks=late]");
  LS_ASSIGN(size_t leader, master_number(a[0], false));
  Millis gap{0}, every{100};
  bool late = false;
  Args except;
  for (size_t i = 1; i < a.size(); ++i) {
    auto [key, value] = option(a[i]);
    if (key == "gap") {
      LS_ASSIGN(gap, parse_duration(value));
    } else if (key == "every") {
      LS_ASSIGN(every, parse_duration(value));
    } else if (key == "except") {
      auto ids = comma_list(value);
      except.assign(ids.begin(), ids.end());
    } else if (key == "frameworks" && value == "late") {
      late = true;
    } else {
      return fail(fmt::format("failover: unknown option {}", a[i]));
    }
  }
  server_.lead(0);
  for (auto& [id, g] : cluster_.agents) {
    if (g.state == Agent::State::kRegistered) g.state = Agent::State::kRecovered;
  }
  for (auto& [id, f] : cluster_.frameworks) f.known = false;
  cluster_.completed.clear();
  if (gap == Millis(0)) server_.lead(static_cast<int>(leader));
  settled_ = false;
  asio::co_spawn(io_, reregister(++failovers_, static_cast<int>(leader), gap, every, late, except), asio::detached);
  return {};
}

/// Commands about the masters and the streams.
Result<> Engine::steer(const std::string& what, const Args& a) {
  std::string first = a.empty() ? "" : a[0];
  if (what == "leader") {
    LS_ASSIGN(size_t n, master_number(first, true));
    server_.lead(static_cast<int>(n));
  } else if (what == "down" || what == "up") {
    LS_ASSIGN(size_t n, master_number(first, false));
    if (what == "down") {
      server_.down(n);
    } else {
      LS_TRY(server_.up(n));
    }
  } else if (what == "drop") {
    if (!first.empty() && first != "mid") return fail("drop, or drop mid");
    server_.drop(first == "mid");
  } else if (what == "silence") {
    server_.set_silent(true);
  } else if (what == "speak") {
    server_.set_silent(false);
  } else if (what == "heartbeat") {
    LS_ASSIGN(Millis d, parse_duration(first));
    if (d <= Millis(0)) return fail("heartbeat: above 0");
    server_.set_heartbeat(d);
  } else if (what == "event") {
    if (a.size() != 1) return fail("event 'JSON', in quotes");
    emit(first);
  } else if (what == "deny") {
    if (first.empty()) return fail("deny CALL, or deny none");
    server_.deny(first == "none" ? "" : first);
  } else if (what == "answer") {
    LS_ASSIGN(size_t n, master_number(first, false));
    auto& m = server_.masters()[n - 1];
    if (a.size() == 2 && a[1] == "normal") {
      m.canned.reset();
      m.redirect.clear();
    } else if (a.size() == 2 && a[1] == "hang") {
      m.canned = {0, ""};
    } else if (a.size() == 3 && a[1] == "redirect") {
      m.redirect = a[2];
    } else if (a.size() >= 2) {
      LS_ASSIGN(uint32_t status, number(a[1], "status"));
      if (status < 200 || status > 599) return fail("answer: a status from 200 to 599");
      m.canned = {status, a.size() > 2 ? a[2] : ""};
    } else {
      return fail("answer MASTER normal | hang | redirect HOST:PORT | STATUS [TEXT]");
    }
  } else {
    return fail(fmt::format("unknown command {}", what));
  }
  return {};
}

std::string Engine::status() const {
  std::string masters;
  for (const auto& m : server_.masters()) masters += (masters.empty() ? "\"" : ",\"") + m.address + "\"";
  return fmt::format(
      R"({{"leader":{},"masters":[{}],"subscribers":{},"subscribed":{},"agents":{},"frameworks":{},"tasks":{},"settled":{}}})",
      server_.leader(), masters, server_.subscribers(), server_.subscribed(), cluster_.agents.size(),
      cluster_.frameworks.size(), cluster_.tasks.size(), settled_);
}

Result<std::string> Engine::command(const Words& words) {
  if (words.empty()) return std::string();
  Args rest(words.begin() + 1, words.end());
  const std::string& what = words[0];
  Result<> r;
  if (what == "agent") {
    r = agent(rest);
  } else if (what == "framework") {
    r = framework(rest);
  } else if (what == "task") {
    r = task(rest);
  } else if (what == "bulk") {
    r = bulk(rest);
  } else if (what == "failover") {
    r = failover(rest);
  } else if (what == "status") {
    return status();
  } else if (what == "echo") {
    std::string out;
    for (const auto& w : rest) out += (out.empty() ? "" : " ") + w;
    return out;
  } else {
    r = steer(what, rest);
  }
  if (!r) return tl::make_unexpected(std::move(r.error()));
  return std::string();
}

asio::awaitable<Result<>> Engine::wait_for(const Args& a) {
  auto alive = alive_;
  bool settled = !a.empty() && a[0] == "settled";
  uint32_t wanted = 0;
  size_t used = 1;
  if (!settled) {
    if (a.size() < 2 || a[0] != "subscribers") {
      co_return fail("wait settled [TIMEOUT] | wait subscribers N [TIMEOUT]");
    }
    auto n = number(a[1], "subscribers");
    if (!n) co_return tl::make_unexpected(std::move(n.error()));
    wanted = *n;
    used = 2;
  }
  Millis limit{30'000};
  if (a.size() > used) {
    auto d = parse_duration(a[used]);
    if (!d) co_return tl::make_unexpected(std::move(d.error()));
    limit = *d;
  }
  Instant end = std::chrono::steady_clock::now() + limit;
  while (*alive && (settled ? !settled_ : server_.subscribers() != wanted)) {
    if (std::chrono::steady_clock::now() > end) co_return fail(ETIMEDOUT, settled ? "wait settled" : "wait subscribers");
    co_await sleep_for(io_, kPoll);
  }
  co_return Result<>{};
}

asio::awaitable<Result<std::string>> Engine::run_line(std::string line) {
  auto words = split(line);
  if (!words) co_return tl::make_unexpected(std::move(words.error()));
  if (!words->empty() && words->front() == "sleep") {
    auto d = parse_duration(words->size() == 2 ? (*words)[1] : "");
    if (!d) co_return tl::make_unexpected(std::move(d.error()));
    co_await sleep_for(io_, *d);
    co_return std::string();
  }
  if (!words->empty() && words->front() == "wait") {
    Args rest(words->begin() + 1, words->end());
    auto r = co_await wait_for(rest);
    if (!r) co_return tl::make_unexpected(std::move(r.error()));
    co_return std::string();
  }
  auto out = command(*words);
  co_return out;
}

}  // namespace ls::standin
