#pragma once
/// What the benchmark measures with: lags, CPU of one thread, memory. Any thread, but where it says otherwise.
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace ls::converge {

int64_t now_us();  ///< monotonic

/// Durations in buckets that are at most 1/32 wide; no memory is asked for while it counts.
class Lags {
 public:
  void add(int64_t us);
  void reset();
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  double ms(double share) const;  ///< of which `share` of all are not longer
  double max_ms() const { return double(max_.load(std::memory_order_relaxed)) / 1000; }
  std::string text() const;  ///< "p50 .. p90 .. p99 .. max .. ms of .."

 private:
  static constexpr size_t kParts = 32;
  std::array<std::atomic<uint64_t>, 40 * kParts> counts_{};
  std::atomic<uint64_t> count_{0};
  std::atomic<int64_t> max_{0};
};

/// When each change was received, by its number at the hub. The numbers begin after `base`.
class Stamps {
 public:
  explicit Stamps(size_t room) : room_(room), at_(new std::atomic<int64_t>[room]{}) {}
  void begin(uint64_t base) { base_ = base; }
  /// Before the change is given to the hub. False: there is no room left.
  bool put(uint64_t seq, int64_t at_us);
  /// Counts the lags of the changes first to last.
  void count(Lags& lags, uint64_t first, uint64_t last, int64_t now) const;

 private:
  const size_t room_;
  const std::unique_ptr<std::atomic<int64_t>[]> at_;
  uint64_t base_ = 0;
};

/// Thread of this process by its name; 0: there is none.
int thread_named(const std::string& name);
/// CPU seconds of a thread of this process.
double cpu_of(int thread);
double cpu_of_this_thread();

double resident_mib();
double kernel_slab_mib();     ///< of the machine: objects of all sockets among them
double socket_buffers_mib();  ///< of TCP, of this network namespace
double load_average();
std::string machine();

/// Octets that the calling thread asked for and has not given back. Follows operator new, malloc of OpenSSL, and nothing else.
std::atomic<int64_t>& heap_of_this_thread();
/// Before any use of OpenSSL.
void follow_heap_of_openssl();

/// A network namespace of its own with loopback up, where that is allowed; and as many descriptors as allowed.
void set_apart();

}  // namespace ls::converge
