#pragma once
/// CopySaver: keeps a copy on the disk up to date. Writing is done by a thread of its own, for a disk may be slow, and at most every
/// `every`. A write that failed is tried again after that time or kRetry, whichever is shorter, and is a warning once.
///
/// Thread: control loop but for what `take` gives. Cost: `take` once a write.
#include <functional>
#include <memory>
#include <string>

#include "util/clock.h"
#include "util/result.h"

namespace boost::asio {
class io_context;
}

namespace ls {

class CopySaver {
 public:
  /// Writes the copy; called once, on the other thread.
  using Write = std::function<Result<>()>;
  static constexpr Millis kRetry{2'000};

  /// `event`: of the log, when a write failed. `take`: control loop; what there is at this moment, ready to be written.
  CopySaver(boost::asio::io_context& io, Millis every, std::string event, std::function<Write()> take);
  ~CopySaver();
  CopySaver(const CopySaver&) = delete;
  CopySaver& operator=(const CopySaver&) = delete;

  /// There is something new.
  void changed();
  /// Waits for a write that is under way, then writes what is new. No call after it.
  void stop();
  /// Why the last write failed; empty after a success.
  const std::string& error() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls
