#include "cli/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "api/views.h"
#include "cli/ask.h"
#include "cli/status_text.h"
#include "cli/table.h"

namespace ls::cli {
namespace {

using api::duration_text;
using Json = nlohmann::json;
using Align = Table::Align;

/// A number that means "none" when it is 0.
std::string number_or_none(const Json& j, const char* name) {
  auto n = number(j, name);
  return n == "0" ? "" : n;
}
uint64_t flows_of(const Json& backend) { return backend.value("flows_tc", 0ull) + backend.value("flows_sock", 0ull); }
std::string endpoint(const Json& b) {
  auto ip = word(b, "ip");
  return (ip.find(':') == ip.npos ? ip : "[" + ip + "]") + ":" + number(b, "port");
}

/// "TIME dns   xdp        10.1.0.2:40000 -> 10.0.0.7:53 web.marathon.mesos. A  hit: answered with records, NOERROR"
std::string dns_event_text(const Json& e) {
  auto name = word(e, "name"), rcode = word(e, "rcode"), type = word(e, "qtype");
  return fmt::format("{} {:<5} {:<10} {} -> {} {}{}{}  {}: {}{}{}", word(e, "time"), word(e, "type"), word(e, "hook"), word(e, "client"),
                     word(e, "server"), name.empty() ? "-" : name, type.empty() ? "" : " ", type, word(e, "result"), word(e, "text"),
                     rcode.empty() ? "" : ", ", rcode);
}

/// Empty: there is no watchdog, or its file is not its own.
std::string watchdog_of(const Context& c) {
  constexpr size_t kMost = 65536;
  std::ifstream in(c.watchdog, std::ios::binary);
  std::string text(kMost, '\0');
  in.read(text.data(), std::streamsize(text.size()));
  text.resize(size_t(in.gcount()));
  auto json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return {};
  using namespace std::chrono;
  try {
    return watchdog_text(json, duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
  } catch (const Json::exception&) {
    return {};
  }
}

}  // namespace

int status(const Context& c) {
  auto reply = api::Client(c.socket).get("/v1/status");
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  auto json = Json::parse(reply->body);
  put(c.output == Output::kJson ? reply->body : status_text(json, c.output == Output::kWide, watchdog_of(c)));
  return json.value("ready", false) ? kGood : kNotGood;
}

int vip_ls(const Context& c) {
  return ask(c, "/v1/services", [&](const Json& list) {
    bool wide = c.output == Output::kWide;
    std::vector<Table::Column> columns{{"NAME"}, {"SERVICE"}, {"ACTIVE", Align::kRight}, {"DRAINING", Align::kRight},
                                       {"FLOWS", Align::kRight}};
    if (wide) columns.insert(columns.end(), {{"NUMBER", Align::kRight}, {"RING", Align::kRight}, {"LABEL"}, {"FRAMEWORK"}, {"DNS NAME"}});
    Table table(columns);
    for (auto& v : list) {
      uint64_t active = 0, draining = 0, flows = 0;
      for (auto& b : v.at("backends")) {
        active += word(b, "state") == "active";
        draining += word(b, "state") == "draining";
        flows += flows_of(b);
      }
      std::vector<std::string> cells{word(v, "name"), word(v, "key"), std::to_string(active), std::to_string(draining),
                                     std::to_string(flows)};
      if (wide) {
        for (auto* name : {"number", "ring_slots"}) cells.push_back(number(v, name));
        for (auto* name : {"label", "framework", "dns_name"}) cells.push_back(word(v, name));
      }
      table.row(std::move(cells));
    }
    return print(table);
  });
}

int vip_show(const Context& c, const std::string& vip) {
  auto reply = api::Client(c.socket).get(with_query("/v1/services", {{"vip", vip}}));
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  auto list = Json::parse(reply->body);
  if (list.empty()) {
    remark("there is no VIP '" + vip + "'");
    return kNotGood;
  }
  if (c.output == Output::kJson) {
    put(reply->body);
    return kGood;
  }
  for (auto& v : list) {
    if (&v != &list.front()) put("\n");
    put(printable(word(v, "key") + "  " + word(v, "name")) + "\n");
    auto line = [&](const char* title, const std::string& text) {
      if (!text.empty()) put(fmt::format("  {:<10}{}\n", title, printable(text)));
    };
    line("dns name", word(v, "dns_name"));
    line("label", word(v, "label"));
    line("framework", word(v, "framework"));
    line("kernel", fmt::format("service {}, ring of {} slots", number(v, "number"), number(v, "ring_slots")));
    Table table({{"BACKEND"}, {"AGENT"}, {"WEIGHT", Align::kRight}, {"STATE"}, {"NUMBER", Align::kRight},
                 {"FLOWS TC", Align::kRight}, {"FLOWS SOCK", Align::kRight}, {"TASK"}});
    for (auto& b : v.at("backends")) {
      table.row({endpoint(b), word(b, "agent"), number(b, "weight"), word(b, "state"), number_or_none(b, "number"),
                 number(b, "flows_tc"), number(b, "flows_sock"), word(b, "task")});
    }
    put(table.text("  "));
  }
  return kGood;
}

int backend_ls(const Context& c, const std::string& vip) {
  return ask(c, with_query("/v1/backends", {{"vip", vip}}), [&](const Json& list) {
    bool wide = c.output == Output::kWide;
    std::vector<Table::Column> columns{{"BACKEND"}, {"SERVICE"}, {"VIP"}, {"WEIGHT", Align::kRight}, {"STATE"},
                                       {"FLOWS", Align::kRight}};
    if (wide) columns.insert(columns.end(), {{"NUMBER", Align::kRight}, {"AGENT"}, {"TASK"}, {"FRAMEWORK"}});
    Table table(columns);
    for (auto& b : list) {
      std::vector<std::string> cells{endpoint(b), word(b, "service"), word(b, "vip"), number(b, "weight"),
                                     word(b, "state"), std::to_string(flows_of(b))};
      if (wide) {
        cells.push_back(number_or_none(b, "number"));
        for (auto* name : {"agent", "task", "framework"}) cells.push_back(word(b, name));
      }
      table.row(std::move(cells));
    }
    return print(table);
  });
}

int flow_ls(const Context& c, const FlowOptions& o) {
  auto target = with_query("/v1/flows", {{"vip", o.vip}, {"backend", o.backend}, {"state", o.state}, {"limit", o.limit}});
  return ask(c, target, [&](const Json& reply) {
    bool wide = c.output == Output::kWide;
    std::vector<Table::Column> columns{{"CLIENT"}, {"SERVICE"}, {"BACKEND"}, {"STATE"}, {"IDLE", Align::kRight}};
    if (wide) columns.insert(columns.end(), {{"NUMBER", Align::kRight}, {"HAIRPIN"}, {"VIP"}});
    Table table(columns);
    for (auto& f : reply.at("flows")) {
      std::vector<std::string> cells{word(f, "client"), word(f, "service"), word(f, "backend"), word(f, "state"),
                                     duration_text(f.value("idle_s", 0.0))};
      if (wide) {
        cells.push_back(number_or_none(f, "backend_number"));
        cells.push_back(f.value("hairpin", false) ? "yes" : "no");
        cells.push_back(word(f, "vip"));
      }
      table.row(std::move(cells));
    }
    print(table);
    if (reply.value("truncated", false)) {
      remark(fmt::format("only {} flows are shown, there are more (option --limit)", table.rows()));
    }
    return int(kGood);
  });
}

int map_ls(const Context& c) {
  return ask(c, "/v1/maps", [&](const Json& list) {
    bool wide = c.output == Output::kWide;
    std::vector<Table::Column> columns{{"NAME"}, {"TYPE"}, {"ENTRIES", Align::kRight}, {"CAPACITY", Align::kRight},
                                       {"MEMORY", Align::kRight}};
    if (wide) columns.insert(columns.end(), {{"KEY BYTES", Align::kRight}, {"VALUE BYTES", Align::kRight}});
    Table table(columns);
    for (auto& m : list) {
      std::vector<std::string> cells{word(m, "name"), word(m, "type"), number(m, "entries"), number(m, "capacity"),
                                     bytes_text(m.value("bytes", 0ull))};
      if (wide) {
        for (auto* name : {"key_size", "value_size"}) cells.push_back(number(m, name));
      }
      table.row(std::move(cells));
    }
    return print(table);
  });
}

int map_usage(const Context& c) {
  return ask(c, "/v1/maps", [&](const Json& list) {
    struct Row {
      double used;
      std::vector<std::string> cells;
    };
    std::vector<Row> rows;
    for (auto& m : list) {
      if (!m.contains("entries") || !m["entries"].is_number()) continue;
      auto capacity = m.value("capacity", 0.0);
      double used = capacity > 0 ? m["entries"].get<double>() * 100 / capacity : 0;
      rows.push_back({used, {word(m, "name"), number(m, "entries"), number(m, "capacity"), fmt::format("{:.1f} %", used),
                             used >= 80 ? "nearly full" : "ok"}});
    }
    std::stable_sort(rows.begin(), rows.end(), [](auto& a, auto& b) { return a.used > b.used; });
    Table table({{"NAME"}, {"ENTRIES", Align::kRight}, {"CAPACITY", Align::kRight}, {"USED", Align::kRight}, {"STATE"}});
    for (auto& r : rows) table.row(std::move(r.cells));
    return print(table);
  });
}

int map_dump(const Context& c, const std::string& name, const std::string& limit, bool all) {
  auto target = with_query("/v1/maps/" + encoded(name), {{"limit", limit}, {"all", all ? "1" : ""}});
  auto reply = api::Client(c.socket).get(target);
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  put(reply->body);
  if (reply->truncated) remark("the map has more entries (option --limit)");
  return kGood;
}

int drops(const Context& c, bool all) {
  return ask(c, "/v1/drops", [&](const Json& list) {
    Table table({{"HOOK"}, {"REASON"}, {"COUNT", Align::kRight}, {"MEANING"}});
    for (auto& d : list) {
      if (all || d.value("count", 0ull)) table.row({word(d, "hook"), word(d, "reason"), number(d, "count"), word(d, "text")});
    }
    if (table.rows()) return print(table);
    put("nothing was dropped\n");
    return int(kGood);
  });
}

int stats(const Context& c, bool all) {
  return ask(c, "/v1/stats", [&](const Json& list) {
    Table table({{"HOOK"}, {"VERDICT"}, {"PACKETS", Align::kRight}, {"BYTES", Align::kRight}});
    for (auto& s : list) {
      if (all || s.value("packets", 0ull)) table.row({word(s, "hook"), word(s, "verdict"), number(s, "packets"), number(s, "bytes")});
    }
    if (table.rows()) return print(table);
    put("no packet was seen\n");
    return int(kGood);
  });
}

int monitor(const Context& c, const MonitorOptions& o) {
  auto types = o.types;
  bool of_dns = o.dns || !o.name.empty() || !o.result.empty();
  // What `loadstar drops` counts: also what was refused with an answer of ours.
  for (auto& [wanted, name] : {std::pair{o.drops, "drop,reply,dead"}, std::pair{o.fresh, "new"}, std::pair{of_dns, "dns"}}) {
    if (wanted) types += (types.empty() ? "" : ",") + std::string(name);
  }
  auto target = with_query("/v1/monitor", {{"type", types}, {"vip", o.vip}, {"backend", o.backend}, {"hook", o.hook},
                                             {"name", o.name}, {"result", o.result}});
  bool json = o.json || c.output == Output::kJson;
  uint64_t seen = 0;
  auto reply = api::Client(c.socket).lines(target, [&](std::string_view line) {
    auto e = Json::parse(line);
    bool lost = word(e, "type") == "lost";
    if (json) {
      put(std::string(line) + "\n");
    } else if (lost) {
      put(fmt::format("... {} events lost, this reader is too slow\n", number(e, "count")));
    } else if (word(e, "type") == "dns") {
      put(printable(dns_event_text(e)) + "\n");
    } else {
      auto text = fmt::format("{} {:<5} {:<10} {} {} -> {}", word(e, "time"), word(e, "type"), word(e, "hook"),
                              word(e, "protocol"), word(e, "src"), word(e, "dst"));
      if (auto v = word(e, "vip"); !v.empty()) text += " (" + v + ")";
      if (auto b = word(e, "backend"); !b.empty()) text += " => " + b;
      if (auto r = word(e, "reason"); !r.empty()) text += "  " + r + ": " + word(e, "text");
      put(printable(text) + "\n");
    }
    fflush(stdout);
    seen += !lost;
    return o.count == 0 || seen < o.count;
  });
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  if (o.count == 0 || seen < o.count) remark("loadstard ended the stream");
  return kGood;
}

int metrics(const Context& c) {
  auto reply = api::Client(c.socket).get("/metrics");
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  put(reply->body);
  return kGood;
}

int health(const Context& c) {
  api::Client client(c.socket);
  auto live = client.get("/livez");
  if (!live) return unreachable(c, live.error());
  auto ready = client.get("/readyz?verbose");
  if (!ready) return unreachable(c, ready.error());
  bool good = live->status == 200 && ready->status == 200;
  if (c.output == Output::kJson) {
    put(Json{{"live", live->status == 200}, {"ready", ready->status == 200}}.dump() + "\n");
  } else {
    put("live: " + live->body + ready->body);
  }
  return good ? kGood : kNotGood;
}

int version(const Context& c) {
  std::string daemon;
  if (auto reply = api::Client(c.socket, Millis(2000)).get("/v1/status"); reply && reply->status == 200) {
    daemon = word(Json::parse(reply->body), "version");
  }
  if (c.output == Output::kJson) {
    put(Json{{"loadstar", LS_VERSION}, {"loadstard", daemon.empty() ? Json(nullptr) : Json(daemon)}}.dump() + "\n");
  } else {
    put("loadstar " LS_VERSION "\nloadstard " + (daemon.empty() ? "is not reachable" : printable(daemon)) + "\n");
  }
  return kGood;
}

}  // namespace ls::cli
