#pragma once
/// RingBuffer: reads records that programs leave in a BPF ring buffer.
/// Thread: one reader; give `epoll_fd` to an event loop, call `consume` when it is readable. Cost: no copy,
/// the span is in the shared pages and only valid inside the callback. Errors: errno of the mapping.
#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "util/result.h"

namespace ls::bpf {

class RingBuffer {
 public:
  using Callback = std::function<void(std::span<const std::byte>)>;
  static Result<RingBuffer> open(int map_fd, Callback callback);
  RingBuffer(RingBuffer&&) noexcept;
  RingBuffer& operator=(RingBuffer&&) noexcept;
  ~RingBuffer();

  int epoll_fd() const;
  /// Hands at most `max` records to the callback and returns how many it did; the rest waits for the next
  /// call, so that a flood of events cannot hold the event loop.
  Result<size_t> consume(size_t max = 4096);

 private:
  struct Impl;
  explicit RingBuffer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::bpf
