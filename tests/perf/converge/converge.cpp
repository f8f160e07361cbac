// A simulated cluster in one process: a real hub (controller/hub) on TCP of loopback, thousands of streams that read and decode every
// record, some whole agents with a state of their own, and tasks that change at random moments. Measured is the time from a change's receipt at the
// master until each stream has it; what that costs the hub; what the hub's memory is; and what happens when all come at once.
//
// Usage: converge [--agents 2000] [--tasks 1000,10000,100000] [--rate 50] [--seconds 30] [--whole 2] [--stopped 50] [--tls]
//                 [--plain] [--no-reference] [--no-storm] [--quick]
//        converge --serve ADDRESS:PORT --tasks 10000 [--agents 100] [--plain]
// The second form is the hub and its feed alone, for agents elsewhere (idle.py): each number on a line of the standard input is the rate from
// then on, in changes a second, and the end of the input is the end.
// The last number of tasks is measured in full, those before it only by the cost of a change. No time is asserted: it fails when a stream misses a
// change. The streams run on one thread, the hub and the feed on one each; a write to loopback does the receiver's part of TCP as well, on
// the hub's thread.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <string>

#include "scene.h"
#include "util/log.h"

namespace ls::converge {
namespace {

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? std::optional(value) : std::nullopt;
}

bool read_sizes(std::string_view text, std::vector<size_t>& out) {
  out.clear();
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    const auto n = number(text.substr(0, end));
    if (!n || *n < 10) return false;
    out.push_back(size_t(*n));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return !out.empty();
}

bool read(int argc, char** argv, Options& o, std::optional<Endpoint>& serve) {
  for (int i = 1; i < argc; i++) {
    const std::string_view name = argv[i];
    if (name == "--tls") {
      o.tls = true;
    } else if (name == "--no-reference") {
      o.reference = false;
    } else if (name == "--plain") {
      o.plain = true;
    } else if (name == "--no-storm") {
      o.storm = false;
    } else if (name == "--quick") {
      o.agents = 50;
      o.tasks = {100, 5000};
      o.seconds = 1;
      o.stopped = 5;
    } else if (name == "--serve" && i + 1 < argc) {
      serve = Endpoint::parse(argv[++i]);
      if (!serve) return false;
    } else if (name == "--tasks" && i + 1 < argc) {
      if (!read_sizes(argv[++i], o.tasks)) return false;
    } else if (auto value = i + 1 < argc ? number(argv[i + 1]) : std::nullopt; value) {
      i++;
      if (name == "--agents") o.agents = size_t(*value);
      else if (name == "--rate") o.rate = *value;
      else if (name == "--seconds") o.seconds = *value;
      else if (name == "--whole") o.whole = size_t(*value);
      else if (name == "--stopped") o.stopped = size_t(*value);
      else return false;
    } else {
      return false;
    }
  }
  return o.agents > 0 && o.rate > 0 && o.seconds > 0;
}

int all(const Options& options) {
  std::optional<TlsFiles> tls;
  if (options.tls) tls.emplace();
  const auto now = std::time(nullptr);
  char date[32];
  std::strftime(date, sizeof date, "%F %H:%M UTC", std::gmtime(&now));
  fmt::print("{}; {}; build {}; load {:.2f}\n{} streams, {} changes/s, {} tasks, {}\n", date, machine(), LS_BUILD_TYPE, load_average(), options.agents, options.rate,
             options.plain ? "plain" : "hard", options.tls ? "TLS with certificates on both sides" : "no TLS");
  bool good = true;
  std::vector<Found> found;
  for (auto tasks : options.tasks) {
    const bool full = &tasks == &options.tasks.back() || tasks == options.tasks.back();
    fmt::print("{} tasks\n", tasks);
    auto some = options;
    if (!full) some.whole = 0;
    Scene scene(some, tasks, tls ? &*tls : nullptr);
    scene.load();
    found.push_back(scene.changes("changes", options.seconds));
    if (options.reference) scene.reference(found.back());
    if (full && options.stopped) scene.with_stopped_readers();
    if (full && options.storm) {
      scene.storm(true);
      scene.storm(false);
    }
    good = scene.whole_at_the_end() && good;
    std::fflush(stdout);
  }
  fmt::print("hub's CPU of a change, by tasks:");
  for (size_t i = 0; i < found.size(); i++)
    fmt::print("{} {}: {:.0f} us ({:.2f} times)", i ? "," : "", options.tasks[i], found[i].change_us, found[i].change_us / found[0].change_us);
  fmt::print("; load {:.2f}\n", load_average());
  return good ? 0 : 1;
}

int serve(const Options& options, const Endpoint& at) {
  Stamps stamps(1 << 22);
  Feed feed(options.tasks.back(), options.agents, stamps, options.plain);
  hub::ServerOptions o;
  o.listen = {at};
  auto hub = hub::Server::start(std::move(o));
  if (!hub) return fmt::print(stderr, "converge: {}\n", hub.error().text()), 1;
  feed.open(**hub);
  fmt::print("serving {}\n", at.text());
  std::fflush(stdout);
  std::string line;
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1;) {
    if (c != '\n') {
      line += c;
      continue;
    }
    const auto rate = number(line);
    line.clear();
    if (!rate) return fmt::print(stderr, "converge: a rate is a number\n"), 2;
    if (*rate > 0) feed.run(**hub, *rate, [&] { return poll(&input, 1, 0) > 0; });
  }
  return 0;
}

}  // namespace
}  // namespace ls::converge

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  ls::converge::follow_heap_of_openssl();
  ls::log::set_level(ls::log::Level::kError);
  ls::converge::Options options;
  std::optional<ls::Endpoint> serve;
  if (!ls::converge::read(argc, argv, options, serve)) {
    fmt::print(stderr,
               "usage: converge [--agents N] [--tasks N,N,..] [--rate N] [--seconds N] [--whole N] [--stopped N] [--tls] [--no-reference] "
               "[--no-storm] [--plain] [--quick]\n       converge --serve ADDRESS:PORT --tasks N [--agents N] [--plain]\n");
    return 2;
  }
  if (serve) return ls::converge::serve(options, *serve);
  ls::converge::set_apart();
  try {
    return ls::converge::all(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "converge: {}\n", e.what());
    return 1;
  }
}
