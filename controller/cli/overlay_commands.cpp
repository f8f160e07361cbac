#include "cli/overlay_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "api/overlay_node.h"
#include "api/views.h"
#include "cli/ask.h"
#include "cli/status_text.h"
#include "cli/table.h"

namespace ls::cli {
namespace {

using Json = nlohmann::json;
using Align = Table::Align;

Json list_of(const Json& j, const char* name) {
  auto found = j.value(name, Json());
  return found.is_array() ? found : Json::array();
}

std::string line(std::string_view title, const std::string& text) {
  return text.empty() ? "" : fmt::format("{:<11}{}\n", title, printable(text));
}

/// Both families of one thing, "9.0.3.0/24 fd01:b::3:0/80".
std::string both(const Json& j, const char* v4, const char* v6) {
  auto a = word(j, v4), b = word(j, v6);
  return a.empty() ? b : b.empty() ? a : a + " " + b;
}

/// A count, which is text from 2^53 on.
std::string count(const Json& j, const char* name) {
  auto text = word(j, name);
  return text.empty() ? number(j, name) : text;
}

/// What the share is and what was made of it, the worse of the two.
std::string share_state(const Json& s) {
  auto state = word(s, "state"), detail = word(s, "detail");
  if (state == "ok") {
    if (auto status = word(s, "status"); !status.empty()) state = status;
    detail = word(s, "error");
  }
  return detail.empty() ? state : state + ": " + detail;
}

std::string node_lines(const Json& j) {
  auto out = overlay_node_text(j);
  out += line("node", fmt::format("{} {}", word(j, "node"), word(j, "id")));
  if (auto device = word(j, "device"); !device.empty()) {
    out += line("vtep", fmt::format("{} {} on {} (number {}), MTU {} over {}", both(j, "vtep4", "vtep6"), word(j, "mac"), device, number(j, "ifindex"), number(j, "mtu"),
                                    number(j, "underlay_mtu")));
  }
  out += line("kernel", fmt::format("{} entries of {} other nodes, {} repaired, {} commands to Docker failed", number(j, "entries"), number(j, "peers"),
                                    number(j, "repaired"), number(j, "docker_failures")));
  out += line("asked", fmt::format("{} registrations, {} failures, {} changes heard", number(j, "registrations"), number(j, "failures"), number(j, "updates")));
  for (auto& w : list_of(j, "warnings")) out += line("warning", w.is_string() ? w.get<std::string>() : "");
  return out;
}

std::string shares_text(const Json& shares) {
  Table table({{"OVERLAY"}, {"POOL"}, {"SHARE"}, {"MESOS"}, {"DOCKER"}, {"STATE"}, {"CNI FILE"}, {"DOCKER NETWORK"}});
  for (auto& s : shares) {
    table.row({word(s, "overlay"), both(s, "pool4", "pool6"), both(s, "v4", "v6"), both(s, "mesos4", "mesos6"), both(s, "docker4", "docker6"), share_state(s),
               word(s, "cni_file"), word(s, "docker_network")});
  }
  return table.rows() ? table.text() : "this node has no overlay yet\n";
}

std::string hooks_text(const Json& hooks) {
  Table table({{"HOOK"}, {"RESULT"}, {"PACKETS", Align::kRight}, {"BYTES", Align::kRight}});
  for (auto& h : hooks) table.row({word(h, "hook"), word(h, "result"), number(h, "packets"), number(h, "bytes")});
  return table.rows() ? "\n" + table.text() : "";
}

std::string capacity_text(const Json& j) {
  Table table({{"OVERLAY"}, {"POOL"}, {"SIZE", Align::kRight}, {"USED", Align::kRight}, {"HELD", Align::kRight}, {"FREE", Align::kRight}});
  for (auto& p : list_of(j, "pools")) {
    auto overlay = word(p, "overlay");
    table.row({overlay.empty() ? "(VTEP)" : overlay, word(p, "pool"), count(p, "size"), count(p, "used"), count(p, "held"), count(p, "free")});
  }
  return table.text();
}

std::vector<std::string> agent_cells(const Json& n, bool wide) {
  std::string shares, trouble;
  for (auto& s : list_of(n, "shares")) {
    auto add = [&](std::string& to, const std::string& text) { to += (to.empty() ? "" : ", ") + text; };
    auto networks = both(s, "v4", "v6");
    if (!networks.empty()) add(shares, word(s, "overlay") + " " + networks);
    if (word(s, "state") != "ok") add(trouble, word(s, "overlay") + " " + word(s, "state") + (wide && !word(s, "detail").empty() ? " (" + word(s, "detail") + ")" : ""));
  }
  std::vector<std::string> cells{word(n, "node"), both(n, "vtep4", "vtep6"), word(n, "mac"), shares, trouble.empty() ? "ok" : trouble};
  if (wide) {
    cells.push_back(word(n, "id"));
    cells.push_back(n.value("self", false) ? "yes" : "no");
  }
  return cells;
}

/// The element of a list that a line of the API holds; null: the line is none.
Json element(std::string_view text) {
  if (text.ends_with(',')) text.remove_suffix(1);
  return text.starts_with('{') ? Json::parse(text) : Json();
}

}  // namespace

int overlay_ls(const Context& c) {
  api::Client client(c.socket);
  auto node = client.get("/v1/overlay/node");
  if (!node) return unreachable(c, node.error());
  auto capacity = client.get("/v1/overlay/capacity");
  if (!capacity) return unreachable(c, capacity.error());
  bool takes_part = node->status == 200, gives = capacity->status == 200;
  // A master that cannot give addresses out says so; that a node is none goes without saying.
  if (capacity->status != 200 && capacity->status != 404) remark(word(Json::parse(capacity->body), "error"));
  if (!takes_part && (node->status != 404 || !gives)) return refused(*node);
  auto n = takes_part ? Json::parse(node->body) : Json(), p = gives ? Json::parse(capacity->body) : Json();
  if (c.output == Output::kJson) {
    put(Json{{"node", n}, {"capacity", p}}.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return kGood;
  }
  if (takes_part) {
    put(shares_text(list_of(n, "shares")) + "\n" + node_lines(n));
    if (c.output == Output::kWide) put(hooks_text(list_of(n, "hooks")));
  }
  if (gives) put((takes_part ? "\n" : "") + capacity_text(p));
  return kGood;
}

int overlay_agents(const Context& c, const OverlayAgentFilter& f) {
  bool wide = c.output == Output::kWide, json = c.output == Output::kJson;
  std::vector<Table::Column> columns{{"NODE"}, {"VTEP"}, {"MAC"}, {"SHARES"}, {"STATE"}};
  if (wide) columns.insert(columns.end(), {{"ID"}, {"THIS NODE"}});
  Table table(columns);
  size_t shown = 0;
  auto target = with_query("/v1/overlay/nodes", {{"node", f.node}, {"overlay", f.overlay}, {"state", f.state}});
  auto reply = api::Client(c.socket).lines(target, [&](std::string_view text) {
    shown += text.starts_with('{');
    if (json) put(std::string(text) + "\n");
    else if (auto n = element(text); n.is_object()) table.row(agent_cells(n, wide));
    return true;
  });
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  if (!json && (shown || f.node.empty())) print(table);
  if (shown || f.node.empty()) return kGood;
  remark("the overlay has no node " + f.node);
  return kNotGood;
}

int overlay_trace(const Context& c, const std::string& address) {
  auto reply = api::Client(c.socket).get(with_query("/v1/overlay/trace", {{"address", address}}));
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  auto j = Json::parse(reply->body);
  auto verdict = word(j, "verdict");
  if (c.output == Output::kJson) {
    put(reply->body);
  } else {
    put(line("address", word(j, "address") + ", " + word(j, "kind")));
    put(line("overlay", word(j, "overlay")));
    put(line("pool", word(j, "pool")));
    put(line("share", word(j, "share")));
    if (auto node = word(j, "node"); !node.empty()) put(line("node", node + (j.value("self", false) ? ", this node" : "")));
    put(line("mac", word(j, "mac")));
    for (auto& s : list_of(j, "steps")) put("  " + printable(s.is_string() ? s.get<std::string>() : "") + "\n");
    put(line("verdict", verdict));
  }
  return verdict.starts_with("dropped") ? kNotGood : kGood;
}

int overlay_check(const Context& c, const std::string& node) {
  // A little longer than the daemon takes, so that it is the one who says that the time is over.
  auto patience = std::chrono::duration_cast<Millis>(api::kOverlayCheckTime) + Millis(10'000);
  auto reply = api::Client(c.socket, patience).post(with_query("/v1/overlay/check", {{"node", node}}));
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  auto j = Json::parse(reply->body);
  auto results = list_of(j, "results");
  bool done = j.value("done", false), all = done && j.value("broken", size_t(1)) == 0 && (node.empty() || !results.empty());
  if (c.output == Output::kJson) {
    put(reply->body);
    return all ? kGood : kNotGood;
  }
  Table table({{"NODE"}, {"VTEP"}, {"STATE"}, {"ROUND TRIP", Align::kRight}, {"CAUSE"}});
  // The broken ones come first anyway; it must not depend on who sends them.
  for (bool good : {false, true}) {
    for (auto& r : results) {
      if (r.value("ok", false) != good) continue;
      table.row({word(r, "node"), word(r, "vtep"), good ? "ok" : "broken", good ? fmt::format("{:.2f} ms", r.value("rtt_ms", 0.0)) : "", word(r, "cause")});
    }
  }
  if (table.rows()) put(table.text() + "\n");
  put(results.empty() && done && node.empty() ? "there is no other node\n"
                                              : fmt::format("{} of {} nodes answer through the tunnel\n", number(j, "answered"), number(j, "asked")));
  if (!done) remark("the check was not done in time: what it had not asked is not shown");
  if (done && results.empty() && !node.empty()) remark("nothing is known of " + node);
  return all ? kGood : kNotGood;
}

int overlay_rm(const Context& c, const std::vector<std::string>& nodes) {
  std::set<std::string> named(nodes.begin(), nodes.end());
  auto body = Json{{"agents", named}}.dump(-1, ' ', false, Json::error_handler_t::replace);
  auto reply = api::Client(c.socket, Millis(60'000)).post("/overlay-master/agents/delete", body);
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  auto removed = reply->removed.value_or(0);
  if (c.output == Output::kJson) put(reply->body);
  else put(fmt::format("{} of {} nodes removed\n", removed, named.size()));
  if (removed >= named.size()) return kGood;
  remark(named.size() == 1 ? "the allocator has no node " + *named.begin() : "the allocator did not have the others");
  return kNotGood;
}

namespace {

/// Octets of a part, a little less than a body may have. A node has about 0.8 kB in that document.
constexpr size_t kPart = 60'000;

/// The nodes in parts that the API takes.
std::vector<std::string> parts_of(const Json& agents) {
  std::vector<std::string> out;
  for (auto& agent : agents) {
    auto text = agent.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (out.empty() || out.back().size() + text.size() > kPart) out.push_back(std::move(text));
    else out.back() += "," + text;
  }
  return out;
}

}  // namespace

int overlay_adopt(const Context& c, const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    remark(file + " cannot be read");
    return kUsage;
  }
  auto document = Json::parse(in, nullptr, false);
  if (document.is_discarded() || !document.is_object() || (!document.contains("network") && !document.contains("agents"))) {
    remark(file + " is no document of /overlay-master/state");
    return kUsage;
  }
  auto agents = list_of(document, "agents");
  Json all{{"adopted", 0}, {"there_already", 0}, {"problems", Json::array()}};
  for (auto& part : parts_of(agents)) {
    auto reply = api::Client(c.socket, Millis(60'000)).post("/v1/overlay/adopt", fmt::format(R"({{"agents":[{}]}})", part));
    if (!reply) return unreachable(c, reply.error());
    if (reply->status != 200) return refused(*reply);
    auto said = Json::parse(reply->body, nullptr, false);
    for (auto* key : {"adopted", "there_already"}) all[key] = all[key].get<uint64_t>() + (said.is_object() ? said.value(key, uint64_t(0)) : 0);
    for (auto& p : list_of(said, "problems")) all["problems"].push_back(p);
  }
  if (c.output == Output::kJson) {
    put(all.dump() + "\n");
  } else {
    put(fmt::format("{} of {} nodes adopted, {} were known already\n", number(all, "adopted"), agents.size(), number(all, "there_already")));
    for (auto& p : all["problems"]) remark(fmt::format("{}: {}", word(p, "node"), word(p, "why")));
  }
  return all["problems"].empty() ? kGood : kNotGood;
}

}  // namespace ls::cli
