#include "cli/status_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "api/views.h"
#include "cli/hub_commands.h"
#include "cli/table.h"

namespace ls::cli {
namespace {

using Json = nlohmann::json;
using api::duration_text;

std::string joined(const Json& list, const char* between) {
  std::string out;
  for (auto& e : list) out += (out.empty() ? "" : between) + e.get<std::string>();
  return out;
}

std::string line(std::string_view name, const std::string& text) {
  return text.empty() ? "" : fmt::format("{:<11}{}\n", name, printable(text));
}

std::string source_line(const Json& s) {
  auto kind = s.value("kind", "");
  if (kind.empty()) return {};
  auto out = kind + " " + s.value("endpoint", "");
  out += s.value("connected", false) ? ", connected since " : ", not connected since ";
  out += duration_text(s.value("since_s", 0.0));
  uint64_t events = 0;
  auto by_kind = s.value("events", Json::object());
  for (auto& count : by_kind) events += count.get<uint64_t>();
  out += fmt::format(", last message {} ago, {} events", duration_text(s.value("age_s", 0.0)), events);
  if (auto error = s.value("last_error", ""); !error.empty()) out += ", last error: " + error;
  return out;
}

std::string reconcile_line(const Json& r) {
  auto out = fmt::format("{}: {} runs, {} errors, last took {:.1f} ms, {} drift repaired", r.value("driver", ""),
                         r.value("runs", 0ull), r.value("errors", 0ull), r.value("last_ms", 0.0),
                         r.value("drift_repaired", 0ull));
  if (r.contains("last_full_age_s") && r["last_full_age_s"].is_number()) {
    out += ", full read-back " + duration_text(r["last_full_age_s"].get<double>()) + " ago";
  }
  if (auto error = r.value("last_error", ""); !error.empty()) out += ", failing: " + error;
  return out;
}

/// One line of what there is, then one a trouble.
std::string dns_lines(const Json& d) {
  auto list = [&](const char* name) { return d.value(name, Json::array()); };
  auto unbound = list("unbound"), not_loaded = list("not_loaded"), aside = list("aside");
  auto listeners = d.value("listeners", size_t(0)), zones = d.value("zones", size_t(0)), upstreams = d.value("upstreams", size_t(0));
  // Upstreams are known once they were asked.
  auto asked = upstreams == 0 ? std::string("no upstream asked") : fmt::format("{} of {} upstreams answer", upstreams - std::min(aside.size(), upstreams), upstreams);
  auto out = line("dns", fmt::format("{} of {} listeners bound, {} of {} zones loaded, {}",
                                     listeners - std::min(unbound.size(), listeners), listeners,
                                     zones - std::min(not_loaded.size(), zones), zones, asked));
  for (auto& l : unbound) out += line("", "listener " + l.get<std::string>());
  if (!not_loaded.empty()) out += line("", "not loaded: " + joined(not_loaded, ", "));
  if (!aside.empty()) {
    out += line("", (aside.size() >= upstreams ? "no upstream answers: " : "upstreams that fail: ") + joined(aside, ", "));
  }
  return out;
}

/// Which hook meets questions where: hooks of DNS are those whose name says so. Devices are named while they are few; a node may have
/// hundreds of ports.
std::string dns_hook_lines(const Json& attachments) {
  constexpr size_t kNamed = 4;
  std::map<std::string, std::vector<std::string>> devices;
  for (auto& a : attachments) {
    auto hook = a.value("hook", ""), state = a.value("state", "");
    if (hook.starts_with("dns_")) devices[hook + " (" + (state == "attached" ? a.value("method", "") : state) + ")"].push_back(a.value("device", ""));
  }
  std::string out;
  for (auto& [how, on] : devices) {
    out += (out.empty() ? "" : ", ") + how + (on.size() > kNamed ? fmt::format(" on {} devices", on.size()) : fmt::format(" on {}", fmt::join(on, " ")));
  }
  return line("", out);
}

/// "3 nodes; VTEP 3 of 65534; dcos 3 of 65536 (9.0.0.0/8), 1 held"
std::string overlay_line(const Json& o) {
  if (!o.value("problem", "").empty()) return line("allocator", "gives nothing out, see the warnings");
  auto text = fmt::format("{} nodes", o.value("nodes", 0ull));
  auto pools = o.value("pools", Json::array());
  for (auto& p : pools) {
    auto overlay = p.value("overlay", "");
    text += fmt::format("; {} {:.0f} of {:.0f} ({})", overlay.empty() ? "VTEP" : overlay, p.value("used", 0.0), p.value("size", 0.0), p.value("pool", ""));
    if (auto held = p.value("held", 0.0); held > 0) text += fmt::format(", {:.0f} held", held);
  }
  if (!o.value("rejected", "").empty()) text += "; AN OLDER PLAN IS IN FORCE";
  return line("allocator", text);
}

std::string section(std::string_view title, const Table& table) {
  return table.rows() ? fmt::format("\n{}\n{}", title, table.text("  ")) : "";
}

}  // namespace

std::string kernel_text(const Json& k) {
  auto answered = k.value("answered", 0ull), dropped = k.value("dropped", 0ull), up = k.value("up", 0ull);
  auto all = answered + dropped + up;
  std::string text = "switched off (dns.kernel)";
  if (k.value("enabled", false)) {
    text = all ? fmt::format("{:.1f} % of {} questions answered in the kernel, {} went up", double(answered) * 100 / double(all), all, up)
               : std::string("on, no question yet");
    if (dropped) text += fmt::format(", {} dropped by the rate limit", dropped);
    text += fmt::format("; {} names", k.value("names", 0ull));
  }
  auto out = line("dns kernel", text);
  if (auto problem = k.value("problem", ""); !problem.empty()) out += line("", "problem: " + problem);
  return out;
}

std::string overlay_node_text(const Json& o) {
  auto text = o.value("state", "");
  auto lacking = o.value("lacking", Json::array());
  if (!lacking.empty()) text += ", WITHOUT " + joined(lacking, ", ");
  if (auto vtep = o.value("vtep4", ""); !vtep.empty()) text += ", VTEP " + vtep;
  text += fmt::format(", {} other nodes", o.value("peers", 0ull));
  if (auto mtu = o.value("mtu", 0ull)) text += fmt::format(", MTU {}", mtu);
  if (auto offload = o.value("offload", ""); !offload.empty()) text += ", checksum offload " + offload;
  if (auto n = o.value("conflicts", 0ull)) text += fmt::format(", {} CONFLICTS", n);
  auto out = line("overlay", text);
  if (auto problem = o.value("problem", ""); !problem.empty()) out += line("", "problem: " + problem);
  auto master = o.value("master", "");
  if (master.empty()) master = "none";
  bool heard = o.contains("heard_s") && o["heard_s"].is_number();
  master += heard ? ", heard " + duration_text(o["heard_s"].get<double>()) + " ago" : ", never heard";
  if (auto error = o.value("last_error", ""); !error.empty()) master += ", last error: " + error;
  return out + line("", "master " + master);
}

std::string watchdog_text(const Json& w, int64_t now_unix_ms) {
  constexpr double kSilent_s = 120;
  size_t up = 0;
  std::string troubles;
  auto addresses = w.value("addresses", Json::array());
  for (auto& a : addresses) {
    auto health = a.value("health", "");
    if (health == "up") {
      up++;
      continue;
    }
    auto why = [&](const char* name) { return a.value(name, "").empty() ? "" : std::string(", ") + a.value(name, ""); };
    troubles += line("", "address " + a.value("address", "") + ": " + health + why("udp_error") + why("tcp_error"));
  }
  auto age_s = double(std::max<int64_t>(0, now_unix_ms - w.value("last_round_unix_ms", int64_t(0)))) / 1000;
  auto out = line("watchdog", fmt::format("{}{} of {} addresses answer, last round {} ago, {} restarts", age_s > kSilent_s ? "NOT RUNNING: " : "", up,
                                          addresses.size(), duration_text(age_s), w.value("restarts", 0ull)));
  out += troubles;
  if (auto error = w.value("last_error", ""); !error.empty()) out += line("", "trouble: " + error);
  return out;
}

std::string status_text(const Json& s, bool wide, const std::string& watchdog) {
  auto list = [&](const char* name) { return s.value(name, Json::array()); };
  std::string out = printable(s.value("headline", "")) + "\n\n";
  out += line("version", s.value("version", "") + ", up " + duration_text(s.value("uptime_s", 0.0)));
  out += line("node", joined(list("addresses"), ", ") + " (" + joined(list("roles"), ", ") + ")");
  auto source = s.value("source", Json::object());
  out += line("source", source_line(source));
  out += follow_text(source);
  out += masters_text(source);
  out += turn_text(s.value("turns", Json()));
  out += hub_text(s.value("hub", Json()));
  out += agents_text(s.value("agents", Json()));

  std::string startup;
  for (auto& st : list("startup")) {
    startup += fmt::format("{}{}{}", startup.empty() ? "" : " ", st.value("reached", false) ? "+" : "-", st.value("name", ""));
  }
  out += line("start-up", startup);
  auto tables = s.value("tables", Json::object());
  auto backends = tables.value("backends", Json::object());
  out += line("tables", fmt::format("{} VIPs; backends: {} active, {} draining, {} dead", tables.value("vips", 0ull),
                                    backends.value("active", 0ull), backends.value("draining", 0ull),
                                    backends.value("dead", 0ull)));
  for (auto& r : list("reconcile")) out += line("reconcile", reconcile_line(r));
  for (auto& l : list("loops")) {
    if (!wide) break;
    out += line("loop", fmt::format("{}: last timer {:.1f} ms late", l.value("name", ""), l.value("lag_s", 0.0) * 1000));
  }

  if (auto dns = s.value("dns", Json::object()); !dns.empty()) {
    out += dns_lines(dns);
    if (dns.contains("kernel")) out += kernel_text(dns["kernel"]) + dns_hook_lines(list("attachments"));
  }
  if (auto node = s.value("overlay_node", Json::object()); !node.empty()) out += overlay_node_text(node);
  if (auto overlay = s.value("overlay", Json::object()); !overlay.empty()) out += overlay_line(overlay);
  out += watchdog;

  auto warnings = list("warnings");
  if (!warnings.empty()) out += "\nwarnings\n";
  for (auto& w : warnings) out += "  " + printable(w.get<std::string>()) + "\n";

  Table problems({{"TASK"}, {"FIELD"}, {"WHY"}});
  for (auto& p : list("problems")) problems.row({p.value("task", ""), p.value("field", ""), p.value("why", "")});
  auto count = s.value("problem_count", 0ull);
  out += section(count > problems.rows() ? fmt::format("left out ({} of {} shown)", problems.rows(), count)
                                         : std::string("left out"),
                 problems);

  Table attachments({{"DEVICE"}, {"HOOK"}, {"METHOD"}, {"PROGRAM", Table::Align::kRight}, {"STATE"}, {"WHY"}});
  for (auto& a : list("attachments")) {
    auto state = a.value("state", "");
    auto error = a.value("error", "");
    if (!wide && state == "attached" && error.empty()) continue;
    auto id = a.value("program_id", 0u);
    attachments.row({a.value("device", ""), a.value("hook", ""), a.value("method", ""), id ? std::to_string(id) : "",
                     state, error.empty() ? a.value("note", "") : error});
  }
  out += section(wide ? "attachments" : "attachments in trouble", attachments);

  Table probes({{"FEATURE"}, {"OK"}, {"DETAIL"}});
  for (auto& p : list("probes")) {
    bool ok = p.value("ok", false);
    if (wide || !ok) probes.row({p.value("name", ""), ok ? "yes" : "no", p.value("detail", "")});
  }
  out += section(wide ? "kernel" : "missing in this kernel", probes);

  Table maps({{"MAP"}, {"ENTRIES", Table::Align::kRight}, {"CAPACITY", Table::Align::kRight}});
  for (auto& m : list("maps")) {
    bool known = m.contains("entries") && m["entries"].is_number();
    auto entries = known ? m["entries"].get<uint64_t>() : 0, capacity = m.value("capacity", uint64_t(0));
    // From 80 % on a map is shown unasked: the alarm of lessons.md item 15.
    if (wide || (capacity && entries * 10 >= capacity * 8)) {
      maps.row({m.value("name", ""), known ? std::to_string(entries) : "", std::to_string(capacity)});
    }
  }
  return out + section(wide ? "maps" : "maps over 80 %", maps);
}

}  // namespace ls::cli
