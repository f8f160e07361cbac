#pragma once
/// A bounded queue between threads that never blocks a producer: when it is full the newest value is refused and
/// counted, so that a slow reader costs memory up to the bound and nothing else.
/// Thread: any number of producers, one consumer. Cost: one uncontended lock a call.
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace ls {

template <class T>
class BoundedQueue {
 public:
  enum class Pushed { kRefused, kFirst, kMore };  ///< kFirst: the queue was empty, wake the consumer

  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  Pushed push(T value) {
    std::lock_guard lock(mutex_);
    if (values_.size() >= capacity_) {
      refused_++;
      return Pushed::kRefused;
    }
    values_.push_back(std::move(value));
    return values_.size() == 1 ? Pushed::kFirst : Pushed::kMore;
  }

  struct Taken {
    std::vector<T> values;  ///< oldest first
    uint64_t refused = 0;   ///< values refused since the last take; they came after `values`
  };
  Taken take() {
    std::lock_guard lock(mutex_);
    return {std::exchange(values_, {}), std::exchange(refused_, 0)};
  }

 private:
  const size_t capacity_;
  std::mutex mutex_;
  std::vector<T> values_;
  uint64_t refused_ = 0;
};

}  // namespace ls
