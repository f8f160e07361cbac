#pragma once
/// Guarded<T>: data that can only be touched while its lock is held. For what changes in small steps and is too large to be
/// published anew for each (Published<T> is for the rest). Thread: any. Keep the function short: others wait.
#include <mutex>
#include <utility>

namespace ls {

template <class T>
class Guarded {
 public:
  template <class F>
  decltype(auto) with(F&& f) {
    std::lock_guard lock(mutex_);
    return std::forward<F>(f)(value_);
  }

 private:
  std::mutex mutex_;
  T value_;
};

}  // namespace ls
