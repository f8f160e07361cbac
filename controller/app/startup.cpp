#include "app/startup.h"

#include <fmt/format.h>

namespace ls {
namespace {

struct Row {
  StartupState state;
  std::string_view name, missing;
};
#define LS_STARTUP_ROW(e, name, missing) Row{StartupState::e, name, missing},
constexpr std::array<Row, kStartupStates> kRows = {LS_STARTUP_STATES(LS_STARTUP_ROW)};
#undef LS_STARTUP_ROW

}  // namespace

std::string_view to_text(StartupState state) {
  return kRows[size_t(state)].name;
}

std::string StartupView::headline(Instant now) const {
  if (ready()) return "READY";
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - since).count();
  return fmt::format("NOT READY: {} of {}: {}{}{}, since {} s", entered, kStartupStates,
                     kRows[entered].missing, trouble.empty() ? "" : ": ", trouble, seconds);
}

Startup::Startup(const Clock& clock) : clock_(clock) {
  for (auto& row : kRows) view_.states[size_t(row.state)].state = row.state;
  view_.since = clock_.now();
}

void Startup::reach(StartupState state) {
  view_.states[size_t(state)].reached = true;
  while (view_.entered < kStartupStates && view_.states[view_.entered].reached) {
    auto& entry = view_.states[view_.entered++];
    entry.entered = view_.since = clock_.now();
    view_.trouble.clear();
    if (on_enter_) on_enter_(entry.state);
  }
}

}  // namespace ls
