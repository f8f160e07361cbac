// From a /master/state document of 50,000 tasks to the tables that DNS answers from: CPU seconds and memory by phase; and what one
// task's change costs through all of it at 100, 10,000 and 100,000 tasks, which must not depend on how many others there are.
//   plain: four names a task (Mesos-DNS was measured at about three); hard: every task with a dotted discovery name, a VIP, two
//   ports and two statuses, 16 names and 20 records.
// Usage: zone_bench [--quick | --write plain|hard tasks file | --state plain|hard tasks | --change tasks rounds]. Only the quick
// run is a test; it asserts no times, but that a change asks for memory as often in a large cluster as in a small one.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <string>

#include "sources/mesos_state.h"
#include "zone_cluster.h"

namespace {
/// How often memory was asked for: a measure of work that does not depend on the machine. One thread.
size_t allocations = 0;
}  // namespace

// Not inlined: the compiler would take malloc and free in them for a mismatch of the caller's.
[[gnu::noinline]] void* operator new(size_t bytes) {
  allocations++;
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace ls {
namespace {

double cpu_s() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

double status_mib(const char* field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(field)) return double(std::stoul(line.substr(std::strlen(field) + 1))) / 1024;
  return 0;
}

// What Mesos-DNS took for a state of 50,000 tasks, as the order for the DNS work gives it. Its document is not recorded.
constexpr double kMesosDnsCpu_s = 4.4, kMesosDnsMemory_mib = 429;

void forget_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

bool from_state(size_t tasks, Shape shape) {
  std::string text = state_text(tasks, shape);
  malloc_trim(0);
  forget_peak();
  std::printf("%s, %zu tasks: document of %.1f MB, resident before %.1f MiB (document and program)\n",
              shape == Shape::kPlain ? "plain" : "hard", tasks, double(text.size()) / 1e6, status_mib("VmRSS"));
  Cluster c;
  double at = cpu_s(), begun = at;
  auto phase = [&](const char* name) {
    double now = cpu_s();
    std::printf("  %-14s %.3f s CPU, resident %.1f MiB, peak %.1f MiB\n", name, now - at, status_mib("VmRSS"), status_mib("VmHWM"));
    at = cpu_s();
  };
  auto decoded = decode_mesos_state(text);
  phase("decode");
  if (!decoded) return std::fprintf(stderr, "%s\n", decoded.error().text().c_str()), false;
  std::string().swap(text);
  StateDelta delta = c.state.apply(std::move(decoded->event), c.clock.now());
  phase("state");
  c.load(delta);
  phase("Mesos domain");
  double authority = cpu_s() - begun;
  c.load_dcos(delta);
  phase("dcos");
  c.name(c.vips.apply(delta));
  phase("VIPs, l4lb");
  double all = cpu_s() - begun, peak = status_mib("VmHWM");
  delta = {};
  decoded = fail("taken");
  malloc_trim(0);
  double steady = status_mib("VmRSS");
  std::printf("  names          %zu, records %zu in the Mesos domain; %.2f names a task\n", c.mesos.names(), c.mesos.records(),
              double(c.mesos.names()) / double(tasks));
  auto times = [](double theirs, double ours) { return theirs / ours; };
  std::printf("  authority      %.3f s CPU (Mesos-DNS %.1f s, %.1f times as much), all zones %.3f s (%.1f)\n", authority, kMesosDnsCpu_s,
              times(kMesosDnsCpu_s, authority), all, times(kMesosDnsCpu_s, all));
  std::printf("  memory         peak %.1f MiB (Mesos-DNS %.0f MiB, %.1f times as much), steady %.1f MiB (%.1f)\n", peak, kMesosDnsMemory_mib,
              times(kMesosDnsMemory_mib, peak), steady, times(kMesosDnsMemory_mib, steady));
  at = cpu_s();
  auto listed = c.zone.enumerate("mesos", true);
  phase("enumerate");
  return c.mesos.names() > tasks && c.mesos.faults() == 0 && !listed.empty();
}

/// Allocations a change; nullopt: it went wrong.
std::optional<double> one_change(size_t tasks, int rounds) {
  std::string text = state_text(tasks, Shape::kHard);
  auto decoded = decode_mesos_state(text);
  if (!decoded) return std::nullopt;
  std::string().swap(text);
  Cluster c;
  StateDelta delta = c.state.apply(std::move(decoded->event), c.clock.now());
  c.load(delta);
  c.load_dcos(delta);
  c.name(c.vips.apply(delta));
  std::vector<TaskPtr> some;
  c.state.for_each_task([&](const TaskPtr& t) {
    if (some.size() < 64) some.push_back(t);
  });
  size_t made = 0, asked = allocations;
  double begun = cpu_s();
  for (int i = 0; i < rounds; i++) {
    const Task& t = *some[size_t(i) % some.size()];
    TaskUpdated u;
    u.framework_id = t.framework_id;
    u.task_id = t.id;
    u.state = i / int(some.size()) % 2 ? MesosState::kRunning : MesosState::kKilling;
    made += c.change(std::move(u));
  }
  const double took_us = (cpu_s() - begun) / rounds * 1e6, each = double(allocations - asked) / rounds;
  std::printf("one task's change at %6zu tasks, all zones and tables: %.2f us CPU, %.1f allocations, %zu records\n", tasks, took_us, each,
              made / size_t(rounds));
  if (made == 0 || c.mesos.faults() || c.dcos.faults() || c.l4lb.faults()) return std::nullopt;
  return each;
}

Shape shape_of(const char* text) { return std::strcmp(text, "plain") == 0 ? Shape::kPlain : Shape::kHard; }

int write(const char* shape, const char* tasks, const char* file) {
  std::ofstream out(file);
  out << state_text(std::stoul(tasks), shape_of(shape));
  return out.flush() ? 0 : 1;
}

}  // namespace
}  // namespace ls

int main(int argc, char** argv) {
  if (argc == 5 && std::strcmp(argv[1], "--write") == 0) return ls::write(argv[2], argv[3], argv[4]);
  if (argc == 4 && std::strcmp(argv[1], "--state") == 0) return ls::from_state(std::stoul(argv[3]), ls::shape_of(argv[2])) ? 0 : 1;
  if (argc == 4 && std::strcmp(argv[1], "--change") == 0) return ls::one_change(std::stoul(argv[2]), std::stoi(argv[3])).has_value() ? 0 : 1;
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  bool ok = true;
  for (auto shape : {ls::Shape::kPlain, ls::Shape::kHard}) ok = ls::from_state(quick ? 500 : 50000, shape) && ok;
  std::optional<double> few;
  for (size_t tasks : quick ? std::vector<size_t>{100, 5000} : std::vector<size_t>{100, 10000, 100000}) {
    const auto each = ls::one_change(tasks, quick ? 1000 : 50000);
    if (!few) few = each;
    // A change must not do more in a larger cluster; a few longer names no longer fit into a string itself.
    ok = ok && each && *each <= 1.15 * *few;
  }
  return ok ? 0 : 1;
}
