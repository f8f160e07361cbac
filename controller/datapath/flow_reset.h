#pragma once
/// FlowReset: ends TCP connections that wait for a backend that is gone.
///
/// A client that sends meets the reset in the packet path. One that only waits sends nothing, so it is woken: a SYN seemingly from
/// the service is handed to the stack (program ls_inject). An established socket answers any SYN with a challenge ACK
/// (RFC 9293 3.10.7.4), which the packet path answers with the reset that fits its sequence numbers. No raw socket,
/// no knowledge of the connection is needed; a stranger's socket would only be asked for an ACK.
/// Thread: control loop. Cost: one pass over the flow tables (20 ms for 1 M entries), one system call a flow.
#include <cstdint>

#include "datapath/flow_table.h"
#include "util/result.h"

namespace ls::datapath {

class FlowReset {
 public:
  /// `inject_program` stays the caller's.
  static Result<FlowReset> open(const MapOpener& opener, int inject_program);
  /// Wakes up to `limit` clients whose backend is dead and who were not reset yet; returns how many.
  Result<size_t> wake(size_t limit);

 private:
  explicit FlowReset(FlowReader reader, int program) : reader_(std::move(reader)), program_(program) {}
  FlowReader reader_;
  int program_;
};

}  // namespace ls::datapath
