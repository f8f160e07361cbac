// loadstar-watchdog(8).
#include <fcntl.h>
#include <fmt/format.h>
#include <getopt.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "app/config.h"
#include "app/service_manager.h"
#include "app/watchdog.h"
#include "util/unique_fd.h"

namespace {

using namespace ls;

struct Arguments {
  std::string config = "/etc/loadstar/loadstar.toml";
  // Folders of its own: those of the daemon belong to its user and go when it stops.
  std::string before = "/var/lib/loadstar-watchdog/resolv.conf.before";
  std::string state = "/run/loadstar-watchdog/state.json";
  std::string systemctl = "systemctl";
  bool restore = false, once = false;
};

constexpr const char* kUsage =
    "usage: loadstar-watchdog [--config FILE] [--before FILE] [--state FILE] [--systemctl PROGRAM] [--once | --restore]\n"
    "Asks the DNS addresses of this machine, writes resolv.conf and restarts a dead loadstard.\n"
    "  --once     one round, then end: 0 when an address answers, 3 when none does\n"
    "  --restore  bring back the resolver file that was there before, and end; stop the service first\n";

/// nullopt: end with `status`.
std::optional<Arguments> arguments(int argc, char** argv, int& status) {
  Arguments out;
  static const option kOptions[] = {{"config", 1, nullptr, 'c'},  {"before", 1, nullptr, 'b'}, {"state", 1, nullptr, 's'},
                                    {"systemctl", 1, nullptr, 'y'}, {"restore", 0, nullptr, 'r'}, {"once", 0, nullptr, 'o'},
                                    {"help", 0, nullptr, 'h'},    {"version", 0, nullptr, 'v'}, {nullptr, 0, nullptr, 0}};
  for (int c; (c = ::getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'c': out.config = optarg; break;
      case 'b': out.before = optarg; break;
      case 's': out.state = optarg; break;
      case 'y': out.systemctl = optarg; break;
      case 'r': out.restore = true; break;
      case 'o': out.once = true; break;
      case 'h': std::fputs(kUsage, stdout); status = 0; return std::nullopt;
      case 'v': std::puts("loadstar-watchdog " LS_VERSION); status = 0; return std::nullopt;
      default: std::fputs(kUsage, stderr); status = 2; return std::nullopt;
    }
  }
  if (optind == argc) return out;
  std::fputs(kUsage, stderr);
  status = 2;
  return std::nullopt;
}

/// Written beside and renamed: `loadstar status` never reads half a file. A folder that is not there is no fault: nobody asked.
void write_state(const std::string& path, const std::string& text) {
  auto beside = path + ".new";
  UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != ssize_t(text.size())) return;
  ::rename(beside.c_str(), path.c_str());
}

void shuffle(std::vector<Endpoint>& servers) {
  std::random_device seed;
  std::shuffle(servers.begin(), servers.end(), std::mt19937(seed()));
}

/// Waits for a signal until `until`; 0 when none came.
int wait_until(const sigset_t& signals, Instant until) {
  for (;;) {
    auto left = until - SystemClock().now();
    if (left.count() <= 0) return 0;
    timespec t{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    int got = ::sigtimedwait(&signals, nullptr, &t);
    if (got > 0) return got;
    if (errno == EAGAIN) return 0;
  }
}

/// nullopt: the file says nothing that may be used; everything wrong with it is logged.
std::optional<Config> read_config(const std::string& file) {
  auto loaded = load_config(file);
  bool go_on = watchdog::usable(loaded.problems);
  for (auto& p : loaded.problems) {
    log::write(go_on ? log::Level::kWarn : log::Level::kError, "configuration", {{"problem", p.text()}});
  }
  if (!go_on) return std::nullopt;
  return std::move(loaded.config);
}

int restore(const watchdog::ResolvConf& file, const Config& config) {
  auto done = file.restore();
  if (!done) {
    std::fprintf(stderr, "loadstar-watchdog: %s\n", done.error().text().c_str());
    return 1;
  }
  auto name = config.watchdog.resolv_conf.native();
  std::puts((*done ? "restored " + name : name + " is left as it is: nothing was kept, or somebody else wrote it since").c_str());
  return 0;
}

int run(const Arguments& args, Config config) {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (int s : {SIGHUP, SIGTERM, SIGINT}) ::sigaddset(&signals, s);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  SystemClock clock;
  watchdog::SystemctlUnits units(args.systemctl);
  watchdog::Watchdog dog(watchdog::options_from(config), {config.watchdog.resolv_conf, args.before}, clock, units, watchdog::probe, shuffle);
  ServiceManager manager;
  auto& loop = manager.add_loop("watchdog");
  bool ready = false;
  for (;;) {
    dog.round();
    write_state(args.state, dog.status().json());
    size_t up = 0;
    for (auto& s : dog.status().servers) up += s.udp;
    if (args.once) return up > 0 ? 0 : 3;
    ServiceManager::beat(loop);
    manager.pet();
    auto line = fmt::format("{} of {} addresses answer, {} restarts", up, dog.status().servers.size(), dog.status().restarts);
    ready ? manager.status(line) : manager.ready(line);
    ready = true;
    int got = 0;
    // The interval may be longer than the service manager's patience.
    for (auto due = dog.next(); got == 0;) {
      auto piece = manager.watchdog_interval();
      auto until = piece ? std::min(due, clock.now() + *piece) : due;
      got = wait_until(signals, until);
      if (until == due) break;
      ServiceManager::beat(loop);
      manager.pet();
    }
    if (got == SIGTERM || got == SIGINT) {
      manager.stopping("asked to end");
      return 0;
    }
    if (got == SIGHUP) {
      manager.reloading();
      if (auto again = read_config(args.config)) {
        if (again->watchdog.resolv_conf != config.watchdog.resolv_conf) log::warn("reload", {{"ignored", "watchdog.resolv_conf takes a restart"}});
        log::set_level(again->log.level);
        dog.set_options(watchdog::options_from(*again));
      }
      manager.ready(line);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  int status = 0;
  auto args = arguments(argc, argv, status);
  if (!args) return status;
  auto config = read_config(args->config);
  if (!config) return EX_CONFIG;  // the unit does not start it again
  watchdog::ResolvConf file(config->watchdog.resolv_conf, args->before);
  if (args->restore) return restore(file, *config);
  log::setup(config->log.level, config->log.format);
  if (!watchdog::wanted(*config)) {
    log::info("nothing_to_watch", {{"why", "this node runs no resolver (node.roles, resolver.enabled)"}});
    return 0;
  }
  return run(*args, std::move(*config));
}
