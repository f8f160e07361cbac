#pragma once
/// What the load generator and its server share.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace perf {

constexpr size_t kMessage = 64;  ///< bytes of a request and of an answer
/// First byte of a request: what the server does after its answer.
constexpr char kClose = 'C', kKeep = 'K', kSwallow = 'S';  ///< kSwallow: no answer, reads and discards to the end

inline void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

inline void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(size_t(cpu), &set);
  must(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

inline double seconds_of(clockid_t clock) {
  timespec t{};
  return clock_gettime(clock, &t) == 0 ? double(t.tv_sec) + double(t.tv_nsec) / 1e9 : 0;
}
inline double wall_s() { return seconds_of(CLOCK_MONOTONIC); }

inline std::vector<int> numbers(const std::string& list) {
  std::vector<int> out;
  for (size_t at = 0; at < list.size();) {
    size_t end = std::min(list.find(',', at), list.size());
    out.push_back(std::atoi(list.substr(at, end - at).c_str()));
    at = end + 1;
  }
  return out;
}

/// Scheduler run time of this process and of `pids`, in seconds. The kernel brings a process's CPU clock up to date when it
/// is read, unlike /proc/<pid>/schedstat, which may be a tick old. Softirq work done inside a process is in its run time.
inline double cpu_s(const std::vector<int>& pids) {
  double sum = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  for (int pid : pids) {
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) == 0) sum += seconds_of(clock);
  }
  return sum;
}

/// Busy time of all CPUs in seconds, whoever used them: the cross-check. Resolution 10 ms.
inline double machine_s() {
  std::FILE* f = std::fopen("/proc/stat", "r");
  double v[8] = {};
  int n = f ? std::fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) : 0;
  if (f) std::fclose(f);
  return n == 8 ? (v[0] + v[1] + v[2] + v[5] + v[6]) / 100 : 0;  // neither idle, nor iowait, nor steal
}

int serve(const std::vector<int>& ports, int cpu);

}  // namespace perf
