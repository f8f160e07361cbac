#include "app/service_manager.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <algorithm>

namespace ls {
namespace {

/// One line of the protocol holds no newline; a status text may come from an error of anywhere.
std::string one_line(std::string_view text) {
  std::string out(text);
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

void send(const std::string& state) {
  sd_notify(0, state.c_str());
}

}  // namespace

void ServiceManager::ready(std::string_view status) {
  last_status_ = one_line(status);
  send("READY=1\nSTATUS=" + last_status_);
}

void ServiceManager::status(std::string_view text) {
  auto line = one_line(text);
  if (line == last_status_) return;
  last_status_ = std::move(line);
  send("STATUS=" + last_status_);
}

void ServiceManager::reloading() {
  // systemd 253 and later ask for the time on the monotonic clock, so that an old READY=1 is not taken for
  // the new one.
  auto now =
      std::chrono::duration_cast<std::chrono::microseconds>(SystemClock().now().time_since_epoch()).count();
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now));
}

void ServiceManager::stopping(std::string_view why) {
  last_status_ = one_line(why);
  send("STOPPING=1\nSTATUS=" + last_status_);
}

std::optional<Millis> ServiceManager::watchdog_interval() const {
  uint64_t usec = 0;
  if (sd_watchdog_enabled(0, &usec) <= 0) return std::nullopt;
  return std::max(Millis(1), std::chrono::duration_cast<Millis>(std::chrono::microseconds(usec / 2)));
}

ServiceManager::Loop& ServiceManager::add_loop(std::string name) {
  auto& loop = loops_.emplace_back();
  loop.name = std::move(name);
  return loop;
}

std::vector<std::string> ServiceManager::pet() {
  std::vector<std::string> silent;
  for (auto& loop : loops_) {
    if (!loop.beaten.load(std::memory_order_relaxed)) silent.push_back(loop.name);
  }
  if (!silent.empty()) return silent;
  for (auto& loop : loops_) loop.beaten.store(false, std::memory_order_relaxed);
  send("WATCHDOG=1");
  return silent;
}

}  // namespace ls
