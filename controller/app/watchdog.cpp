#include "app/watchdog.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "app/upstream_address.h"
#include "util/log.h"

namespace ls::watchdog {
namespace {

std::string quote(std::string_view s) {
  std::string out = "\"";
  for (unsigned char c : s) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += char(c);
    } else if (c < 0x20) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += char(c);
    }
  }
  return out + '"';
}

int64_t unix_ms() {
  return std::chrono::duration_cast<Millis>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string_view to_text(UnitState state) {
  switch (state) {
    case UnitState::kActive: return "active";
    case UnitState::kChanging: return "changing";
    case UnitState::kFailed: return "failed";
    case UnitState::kStopped: return "stopped";
  }
  return "";
}

std::optional<UnitState> parse_unit_state(std::string_view s) {
  // ActiveState of org.freedesktop.systemd1(5).
  if (s == "active") return UnitState::kActive;
  if (s == "failed") return UnitState::kFailed;
  if (s == "inactive") return UnitState::kStopped;
  if (s == "activating" || s == "deactivating" || s == "reloading" || s == "maintenance" || s == "refreshing") {
    return UnitState::kChanging;
  }
  return std::nullopt;
}

Options options_from(const Config& c) {
  Options o;
  auto& listen = c.resolver.listen;
  bool v4 = std::any_of(listen.begin(), listen.end(), [](auto& e) { return e.address.is_v4(); });
  for (auto e : listen) {
    if (v4 && !e.address.is_v4()) continue;
    if (e.address.is_zero()) e.address = *IpAddress::parse(e.address.is_v4() ? "127.0.0.1" : "::1");
    if (std::find(o.servers.begin(), o.servers.end(), e) == o.servers.end()) o.servers.push_back(e);
  }
  for (auto& text : c.resolver.upstreams) {
    if (auto e = parse_upstream(text, 53)) o.upstreams.push_back(*e);
  }
  auto& w = c.watchdog;
  o.search = w.search;
  o.write_file = w.write_resolv_conf;
  o.restart = w.restart;
  o.unit = w.unit;
  o.interval = w.interval;
  o.timeout = w.timeout;
  o.failures = w.failures;
  o.backoff_max = w.backoff_max;
  return o;
}

bool wanted(const Config& config) { return config.node.has_role(Role::kAgent) && config.resolver.enabled; }

bool usable(const std::vector<Problem>& problems) {
  return std::all_of(problems.begin(), problems.end(), [](auto& p) {
    auto* setting = find_setting(p.what.substr(0, p.what.find(':')));
    return setting != nullptr && setting->section() != "watchdog" && setting->section() != "resolver" &&
           setting->name != "node.roles";
  });
}

std::string Status::json() const {
  std::string out = "{\"addresses\":[";
  for (auto& s : servers) {
    if (out.back() == '}') out += ',';
    out += fmt::format("{{\"address\":{},\"health\":{},\"udp\":{},\"tcp\":{},\"udp_error\":{},\"tcp_error\":{}}}", quote(s.server.text()),
                       quote(to_text(s.health())), s.udp, s.tcp, quote(s.udp_error), quote(s.tcp_error));
  }
  out += fmt::format(
      "],\"rounds\":{},\"failed_rounds\":{},\"restarts\":{},\"writes\":{},\"errors\":{},\"unit_state\":{},\"last_error\":{},"
      "\"last_round_unix_ms\":{},\"took_ms\":{}}}\n",
      rounds, failed_rounds, restarts, writes, errors, quote(unit_state), quote(last_error), last_round_unix_ms, took_ms);
  return out;
}

Watchdog::Watchdog(Options options, ResolvConf file, Clock& clock, Units& units, Probe probe, Shuffle shuffle)
    : options_(std::move(options)),
      file_(std::move(file)),
      clock_(clock),
      units_(units),
      probe_(std::move(probe)),
      shuffle_(std::move(shuffle)),
      next_(clock.now()) {}

void Watchdog::set_options(Options options) {
  options_ = std::move(options);
  fallback_.clear();
}

void Watchdog::round() {
  auto start = clock_.now();
  next_ = start + options_.interval;
  auto now = probe_(options_.servers, options_.timeout);
  report_changes(now);
  status_.servers = std::move(now);
  status_.rounds++;
  status_.last_error.clear();
  bool any = std::any_of(status_.servers.begin(), status_.servers.end(), [](auto& r) { return r.udp || r.tcp; });
  if (options_.write_file) write_file(any);
  look_after_unit(any);
  status_.last_round_unix_ms = unix_ms();
  status_.took_ms = std::chrono::duration_cast<Millis>(clock_.now() - start).count();
}

void Watchdog::report_changes(const std::vector<ProbeResult>& now) {
  for (auto& r : now) {
    auto before = std::find_if(status_.servers.begin(), status_.servers.end(), [&](auto& b) { return b.server == r.server; });
    if (before != status_.servers.end() && before->health() == r.health()) continue;
    auto level = r.health() == Health::kUp ? log::Level::kInfo : log::Level::kWarn;
    log::write(level, "dns_address", {{"address", r.server.text()}, {"health", to_text(r.health())}, {"udp", r.udp_error}, {"tcp", r.tcp_error}});
  }
}

/// An error that stays the same is said once, and counted each time.
void Watchdog::trouble(std::string_view event, const Error& error) {
  auto text = error.text();
  auto& last = event == "resolv_conf_failed" ? last_file_error_ : last_unit_error_;
  if (last != text) log::error(event, {{"error", text}});
  last = text;
  status_.errors++;
  status_.last_error = std::move(text);
}

void Watchdog::write_file(bool any) {
  std::vector<Endpoint> local;
  for (auto wanted_health : {Health::kUp, Health::kDegraded}) {
    for (auto& r : status_.servers) {
      if (r.health() == wanted_health) local.push_back(r.server);
    }
  }
  if (!local.empty()) fallback_.clear();
  if (local.empty() && fallback_.empty()) {
    fallback_ = options_.upstreams;
    // The rest cannot stand in the file and must not take the place of one that can.
    std::erase_if(fallback_, [](auto& e) { return e.port != 53; });
    shuffle_(fallback_);
  }
  auto text = resolv_conf_text(local, fallback_, options_.search);
  if (!text) return;  // nothing usable: what is there stays
  auto done = file_.write(*text);
  if (!done) return trouble("resolv_conf_failed", done.error());
  last_file_error_.clear();
  if (!done->changed) return;
  status_.writes++;
  log::info("resolv_conf_written",
            {{"removed", done->removed}, {"added", done->added}, {"in_place", done->in_place}, {"answering", any}});
}

void Watchdog::look_after_unit(bool any) {
  auto now = clock_.now();
  if (any) {
    status_.failed_rounds = 0;
    status_.unit_state.clear();
    last_unit_error_.clear();
    if (!answering_since_) answering_since_ = now;
    if (now - *answering_since_ >= pause_) {
      pause_ = Millis(0);
      restarted_.reset();
    }
    return;
  }
  answering_since_.reset();
  if (!options_.restart || options_.unit.empty()) {
    status_.failed_rounds++;
    return;
  }
  auto state = units_.state(options_.unit);
  if (!state) return trouble("unit_state_unknown", state.error());
  status_.unit_state = to_text(*state);
  // Starting is a state and not a failure (lessons 43); who stopped it wants it stopped.
  if (*state == UnitState::kChanging || *state == UnitState::kStopped) {
    status_.failed_rounds = 0;
    return;
  }
  status_.failed_rounds++;
  if (status_.failed_rounds < options_.failures) return;
  if (restarted_ && now - *restarted_ < pause_) return;
  auto done = units_.restart(options_.unit);
  auto first = options_.interval * options_.failures;
  pause_ = std::min(pause_.count() == 0 ? first : pause_ * 2, options_.backoff_max);
  restarted_ = now;
  if (!done) return trouble("restart_failed", done.error());
  last_unit_error_.clear();
  status_.restarts++;
  log::warn("daemon_restarted",
            {{"unit", options_.unit}, {"rounds_without_answer", status_.failed_rounds}, {"next_not_before_ms", pause_.count()}});
  status_.failed_rounds = 0;
}

}  // namespace ls::watchdog
