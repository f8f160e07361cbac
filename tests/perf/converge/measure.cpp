#include "measure.h"

#include <fmt/format.h>
#include <malloc.h>
#include <net/if.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>

namespace {
thread_local std::atomic<int64_t> heap_octets{0};

void* taken(void* p) {
  if (p) heap_octets.fetch_add(int64_t(malloc_usable_size(p)) + 8, std::memory_order_relaxed);
  return p;
}
void given_back(void* p) {
  if (p) heap_octets.fetch_sub(int64_t(malloc_usable_size(p)) + 8, std::memory_order_relaxed);
}
}  // namespace

// Not inlined: the compiler would take malloc and free in them for a mismatch of the caller's.
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (void* p = taken(std::malloc(bytes))) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  given_back(p);
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept {
  given_back(p);
  std::free(p);
}

namespace ls::converge {

std::atomic<int64_t>& heap_of_this_thread() { return heap_octets; }

void follow_heap_of_openssl() {
  CRYPTO_set_mem_functions([](size_t n, const char*, int) { return taken(std::malloc(n)); },
                           [](void* p, size_t n, const char*, int) {
                             given_back(p);
                             return taken(std::realloc(p, n));
                           },
                           [](void* p, const char*, int) {
                             given_back(p);
                             std::free(p);
                           });
}

int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// ---- lags ----

void Lags::add(int64_t us) {
  us = std::max<int64_t>(us, 0);
  const auto v = uint64_t(us);
  const int width = std::bit_width(v);  // below 64 us each microsecond has its bucket
  const size_t at = width <= 6 ? size_t(v) : size_t(width - 6) * kParts + size_t(v >> (width - 6));
  counts_[std::min(at, counts_.size() - 1)].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  if (us > max_.load(std::memory_order_relaxed)) max_.store(us, std::memory_order_relaxed);
}

void Lags::reset() {
  for (auto& c : counts_) c.store(0, std::memory_order_relaxed);
  count_ = 0;
  max_ = 0;
}

double Lags::ms(double share) const {
  const auto all = count();
  if (!all) return std::nan("");
  auto left = int64_t(std::ceil(share * double(all)));
  for (size_t i = 0; i < counts_.size(); i++) {
    left -= int64_t(counts_[i].load(std::memory_order_relaxed));
    if (left > 0) continue;
    // The upper end of the bucket, so that no share is said to be shorter than it is.
    const uint64_t end = i < 2 * kParts ? i + 1 : (i % kParts + kParts + 1) << (i / kParts - 1);
    return std::min(double(end) / 1000, max_ms());
  }
  return max_ms();
}

std::string Lags::text() const {
  return fmt::format("p50 {:.1f}  p90 {:.1f}  p99 {:.1f}  max {:.1f} ms  of {} pairs", ms(0.5), ms(0.9), ms(0.99), max_ms(), count());
}

bool Stamps::put(uint64_t seq, int64_t at_us) {
  if (seq <= base_ || seq - base_ > room_) return false;
  at_[seq - base_ - 1].store(at_us, std::memory_order_relaxed);
  return true;
}

void Stamps::count(Lags& lags, uint64_t first, uint64_t last, int64_t now) const {
  for (auto seq = std::max(first, base_ + 1); seq <= last && seq - base_ <= room_; seq++)
    lags.add(now - at_[seq - base_ - 1].load(std::memory_order_relaxed));
}

// ---- the process and the machine ----

int thread_named(const std::string& name) {
  for (auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string found;
    std::getline(std::ifstream(entry.path() / "comm"), found);
    if (found == name) return std::stoi(entry.path().filename());
  }
  return 0;
}

namespace {
double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

/// The number behind `field` of a file of /proc, in its own unit; 0: not there.
double field_of(const char* file, const std::string& field) {
  std::ifstream in(file);
  for (std::string word; in >> word;)
    if (double value = 0; word == field && in >> value) return value;
  return 0;
}
}  // namespace

// The kernel's coding of a thread's own clock (include/linux/posix-timers.h): the complement of the thread, 4 for a thread, 2 for CPU.
double cpu_of(int thread) { return seconds_of(clockid_t((~unsigned(thread) << 3) | 6)); }
double cpu_of_this_thread() { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

double resident_mib() { return field_of("/proc/self/status", "VmRSS:") / 1024; }
double kernel_slab_mib() { return field_of("/proc/meminfo", "Slab:") / 1024; }

double socket_buffers_mib() {
  std::ifstream in("/proc/self/net/sockstat");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("TCP:")) return std::stod(line.substr(line.find("mem ") + 4)) * double(sysconf(_SC_PAGESIZE)) / (1 << 20);
  return 0;
}

double load_average() {
  double l[1] = {0};
  getloadavg(l, 1);
  return l[0];
}

std::string machine() {
  std::ifstream in("/proc/cpuinfo");
  std::string model = "unknown CPU";
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) {
      model = line.substr(line.find(": ") + 2);
      break;
    }
  std::string kernel;
  std::getline(std::ifstream("/proc/sys/kernel/osrelease"), kernel);
  return fmt::format("{}, {} cores, Linux {}", model, sysconf(_SC_NPROCESSORS_ONLN), kernel);
}

void set_apart() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (unshare(CLONE_NEWNET) != 0) return;
  ifreq lo{};
  lo.ifr_name[0] = 'l';
  lo.ifr_name[1] = 'o';
  lo.ifr_flags = IFF_UP | IFF_RUNNING;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) != 0) fmt::print(stderr, "loopback of the own namespace does not come up\n");
  if (fd >= 0) close(fd);
}

}  // namespace ls::converge
