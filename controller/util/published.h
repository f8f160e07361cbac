#pragma once
/// Published<T>: one writer swaps in a new immutable value, any thread reads the newest. Readers keep what they hold.
/// This, BoundedQueue and log.cpp hold the only mutexes of the controller. Cost: one uncontended lock a read.
#include <memory>
#include <mutex>

namespace ls {

template <class T>
class Published {
 public:
  Published() : value_(std::make_shared<const T>()) {}
  void publish(std::shared_ptr<const T> next) {
    std::lock_guard lock(mutex_);
    value_.swap(next);
  }
  void publish(T next) { publish(std::make_shared<const T>(std::move(next))); }
  std::shared_ptr<const T> get() const {
    std::lock_guard lock(mutex_);
    return value_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;
};

}  // namespace ls
