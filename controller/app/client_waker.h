#pragma once
/// ClientWaker: clients of backends that died learn it soon: after a death the flow tables are looked through, again and again for some
/// seconds, each time later (a challenge ACK may be lost, or not sent: a socket sends one in 500 ms).
/// Thread: control loop. Cost: a look costs up to 20 ms at a million flows, so deaths in a row share one.
#include <boost/asio/steady_timer.hpp>

#include "datapath/flow_reset.h"
#include "util/clock.h"

namespace ls {

class ClientWaker {
 public:
  ClientWaker(boost::asio::io_context& io, const Clock& clock, datapath::FlowReset reset)
      : clock_(clock), reset_(std::move(reset)), timer_(io) {}
  void backends_died();

 private:
  void look_after(Millis pause);
  void look();

  const Clock& clock_;
  datapath::FlowReset reset_;
  boost::asio::steady_timer timer_;
  Instant until_{};
  Millis pause_{};
  bool armed_ = false;
};

}  // namespace ls
