#include "cli/hub_commands.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/views.h"
#include "cli/ask.h"
#include "cli/table.h"

namespace ls::cli {
namespace {

using Json = nlohmann::json;
using Align = Table::Align;
using api::duration_text;

std::string line(std::string_view title, const std::string& text) { return text.empty() ? "" : fmt::format("{:<11}{}\n", title, printable(text)); }

std::string joined(const Json& list) {
  std::string out;
  for (auto& e : list) out += (out.empty() ? "" : ", ") + e.get<std::string>();
  return out;
}

uint64_t count(const Json& j, const char* name) { return j.value(name, uint64_t(0)); }

/// "connected since 3 min 2 s", with a trouble behind it.
std::string zookeeper_words(const Json& j) {
  auto since = duration_text(j.value("since_s", 0.0));
  auto out = j.value("connected", false) ? fmt::format("ZooKeeper {} since {}", j.value("server", ""), since) : "ZooKeeper not connected since " + since;
  if (auto n = count(j, "losses")) out += fmt::format(", lost {} times", n);
  if (auto n = count(j, "expired")) out += fmt::format(", {} sessions expired", n);
  if (auto error = j.value("last_error", ""); !error.empty()) out += ", last error: " + error;
  return out;
}

}  // namespace

std::string follow_text(const Json& source) {
  std::string out;
  if (auto f = source.value("hub", Json()); f.is_object()) {
    auto text = fmt::format("change {} of run {}, {} behind", count(f, "seq"), f.value("run", "").empty() ? "none" : f.value("run", ""), count(f, "behind"));
    text += fmt::format(", choice {} of {} masters", count(f, "place") + 1, count(f, "masters"));
    if (auto n = count(f, "reconnects")) text += fmt::format(", {} reconnects", n);
    text += fmt::format(", {} snapshots", count(f, "snapshots"));
    if (auto n = count(f, "faults")) text += fmt::format(", {} FAULTS", n);
    text += f.contains("clock_error_s") && f["clock_error_s"].is_number() ? fmt::format(", clocks compared to {:.2f} ms", f["clock_error_s"].get<double>() * 1000)
                                                                         : std::string(", clocks not compared yet");
    out += line("follows", text);
    if (source.value("connected", false) && !f.value("fed", false)) out += line("", "that hub has been without its own source for " + duration_text(f.value("starved_s", 0.0)));
  }
  if (source.contains("kept_s") && source["kept_s"].is_number()) out += line("", "served from this node's disk, saved " + duration_text(source["kept_s"].get<double>()) + " ago");
  return out;
}

std::string masters_text(const Json& source) {
  auto z = source.value("zookeeper", Json());
  if (!z.is_object()) return {};
  auto masters = z.value("masters", Json::array());
  auto out = masters.empty() ? std::string("none known") : fmt::format("{} (the first leads, since {})", joined(masters), duration_text(z.value("leads_s", 0.0)));
  return line("masters", out + ", " + zookeeper_words(z));
}

std::string turn_text(const Json& t) {
  if (!t.is_object()) return {};
  auto leader = t.value("leader", "");
  auto since = duration_text(t.value("leads_s", 0.0));
  auto out = t.value("leading", false) ? fmt::format("this master leads, term {}, since {}", count(t, "term"), since)
             : leader.empty()          ? std::string("nobody is known to lead")
                                       : fmt::format("{} leads since {}", leader, since);
  out += fmt::format(", {} in line, ", t.value("candidates", Json::array()).size());
  return line("turn", out + zookeeper_words(t));
}

std::string hub_text(const Json& h) {
  if (!h.is_object()) return {};
  auto listen = h.value("listen", Json::array());
  auto out = fmt::format("{} of at most {} followers, change {} of run {}, ", count(h, "followers"), count(h, "max_followers"), count(h, "seq"), h.value("run", ""));
  out += listen.empty() ? std::string("LISTENS NOWHERE") : "at " + joined(listen);
  if (h.value("tls", false)) out += h.value("client_certificates", false) ? ", TLS with certificates of followers" : ", TLS";
  if (h.value("token", false)) out += ", token";
  auto streams = fmt::format("{} streams: {} went on, {} snapshots; {} fell behind, {} refused, {} failed", count(h, "connects"), count(h, "resumed"), count(h, "snapshots"),
                             count(h, "dropped_behind"), count(h, "refused"), count(h, "failed"));
  auto history = h.value("history", Json::object());
  auto kept = fmt::format("history of {} changes in {} of {}, snapshot {}, sent {}", count(history, "changes"), bytes_text(count(history, "bytes")), bytes_text(count(history, "limit")),
                          bytes_text(count(h, "snapshot_bytes")), bytes_text(count(h, "sent_bytes")));
  return line("hub", out) + line("", streams) + line("", kept);
}

std::string agents_text(const Json& a) {
  if (!a.is_object()) return {};
  auto lost = count(a, "unreachable");
  auto addresses = a.value("addresses", Json::array());
  bool watches = a.contains("watched") && a["watched"].is_number();
  auto out = watches ? fmt::format("{} watched, {} cannot be reached", count(a, "watched"), lost) : fmt::format("{} cannot be reached, as the hub says", lost);
  if (!addresses.empty()) out += ": " + joined(addresses) + (lost > addresses.size() ? ", ..." : "");
  if (a.value("isolated", false)) out += "; MORE THAN HALF ARE SILENT, none is taken for lost";
  return line("agents", out);
}

int hub_ls(const Context& c) {
  return ask(c, "/v1/hub/followers", [](const Json& list) {
    Table table({{"NODE"}, {"ADDRESS"}, {"CHANGE", Align::kRight}, {"BEHIND", Align::kRight}, {"CONNECTED", Align::kRight}});
    for (auto& f : list) table.row({word(f, "node"), word(f, "address"), number(f, "seq"), number(f, "behind"), duration_text(f.value("connected_s", 0.0))});
    if (table.rows()) return print(table);
    put("no node follows this master\n");
    return int(kGood);
  });
}

}  // namespace ls::cli
