#include "api/views.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace ls::api {
namespace {

std::string counted(uint64_t n, std::string_view one) { return fmt::format("{} {}{}", n, one, n == 1 ? "" : "s"); }

/// ", 2 warnings, 1 problem, 1 attachment failed": what is wrong although the daemon works.
std::string blemishes(const StatusView& s) {
  std::string out;
  if (!s.warnings.empty()) out += ", " + counted(s.warnings.size(), "warning");
  if (s.problem_count) out += ", " + counted(s.problem_count, "problem");
  auto bad = std::count_if(s.attachments.begin(), s.attachments.end(), [](auto& a) {
    return a.state == AttachState::kForeign || a.state == AttachState::kFailed;
  });
  if (bad) out += ", " + counted(bad, "attachment") + " failed";
  for (auto& r : s.reconcile) {
    if (!r.last_error.empty()) out += fmt::format(", reconciler {} fails: {}", r.driver, r.last_error);
  }
  return out;
}

std::string source_text(const SourceView& s) {
  auto name = s.endpoint.empty() ? s.kind : s.kind + " " + s.endpoint;
  if (s.connected) return "in sync, source " + name;
  auto text = fmt::format("source {} lost since {}, last known state is served", name, duration_text(s.since_s));
  return s.last_error.empty() ? text : text + ", last error " + s.last_error;
}

}  // namespace

std::string_view to_text(AttachState s) {
  switch (s) {
    case AttachState::kAttached: return "attached";
    case AttachState::kWaiting: return "waiting";
    case AttachState::kForeign: return "foreign";
    case AttachState::kFailed: return "failed";
    case AttachState::kDegraded: return "degraded";
  }
  return "unknown";
}

std::string_view to_text(BackendState s) {
  switch (s) {
    case BackendState::kActive: return "active";
    case BackendState::kDraining: return "draining";
    case BackendState::kDead: return "dead";
  }
  return "unknown";
}

std::string_view to_text(FlowState s) {
  switch (s) {
    case FlowState::kSyn: return "syn";
    case FlowState::kEstablished: return "established";
    case FlowState::kClosing: return "closing";
    case FlowState::kUdp: return "udp";
  }
  return "unknown";
}

std::optional<FlowState> parse_flow_state(std::string_view text) {
  for (auto s : kFlowStates) {
    if (to_text(s) == text) return s;
  }
  return std::nullopt;
}

std::string duration_text(double seconds) {
  if (!(seconds > 0)) return "0 s";
  if (seconds < 1) return fmt::format("{} ms", std::max(1l, std::lround(std::floor(seconds * 1000))));
  auto s = uint64_t(std::min(seconds, 1e15));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{} h {} min", s / 3600, s / 60 % 60);
  return fmt::format("{} d {} h", s / 86400, s / 3600 % 24);
}

std::string headline(const StatusView& s) {
  if (s.ready) {
    return fmt::format("READY: {}, {}, {}{}", counted(s.tables.vips, "VIP"),
                       counted(s.tables.active + s.tables.draining, "backend"), source_text(s.source), blemishes(s));
  }
  auto next = std::find_if(s.startup.begin(), s.startup.end(), [](auto& st) { return !st.reached; });
  if (next == s.startup.end()) return "NOT READY: every start-up state is reached, but the daemon says no" + blemishes(s);
  auto out = fmt::format("NOT READY: {} of {}: waiting for {}", next - s.startup.begin(), s.startup.size(), next->name);
  if (!s.source.last_error.empty()) out += ", last error " + s.source.last_error;
  return out + ", since " + duration_text(next->age_s) + blemishes(s);
}

}  // namespace ls::api
