#pragma once
/// ClientWaker: clients of backends that died learn it soon: after a death the flow tables are looked through, again and again for some
/// seconds, each time later (a challenge ACK may be lost, or not sent: a socket sends one in 500 ms).
/// Thread: control loop. Cost: a look costs up to 20 ms at a million flows, so deaths in a row share one and 250 ms lie between two.
#include <boost/asio/steady_timer.hpp>
#include <functional>

#include "util/clock.h"
#include "util/result.h"

namespace ls {

class ClientWaker {
 public:
  /// Looks once; gives how many were woken, at most `limit` (datapath::FlowReset::wake).
  using Wake = std::function<Result<size_t>(size_t limit)>;
  ClientWaker(boost::asio::io_context& io, const Clock& clock, Wake wake) : clock_(clock), wake_(std::move(wake)), timer_(io) {}
  void backends_died();

 private:
  void look_at(std::chrono::steady_clock::time_point when);
  void look();

  const Clock& clock_;
  Wake wake_;
  boost::asio::steady_timer timer_;
  Instant until_{};
  Millis pause_{};
  std::chrono::steady_clock::time_point looked_{};
  bool armed_ = false;
};

}  // namespace ls
