#pragma once
/// Asks DNS servers on this machine whether they answer: `ready.spartan` A, over UDP and TCP, all at the same time.
///
/// Thread: any; blocks for at most the time-out. Ports are host order. What counts as an answer: from the address and port that was
/// asked, the same id and question, no error, at least one record. Anything else (another id, an empty answer, junk) is not an
/// answer, and the wait goes on.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/address.h"
#include "util/clock.h"

namespace ls::watchdog {

/// Up: UDP and TCP answer. Degraded: only UDP does; used, but after those that are up, because long answers fail there. Down: UDP
/// does not answer, which is what every client asks first.
enum class Health { kUp, kDegraded, kDown };
std::string_view to_text(Health health);  ///< "up", "degraded", "down"

struct ProbeResult {
  Endpoint server;
  bool udp = false, tcp = false;
  std::string udp_error, tcp_error;  ///< empty where it answered
  Health health() const { return !udp ? Health::kDown : tcp ? Health::kUp : Health::kDegraded; }
};

/// In the order of `servers`. Takes as long as the slowest answer, at most `timeout`.
std::vector<ProbeResult> probe(std::span<const Endpoint> servers, Millis timeout);

/// The question as a message without the length of TCP.
std::string probe_question(uint16_t id);
/// Why `reply` is no answer to the question; empty when it is one.
std::string_view answer_fault(std::string_view question, std::string_view reply);

}  // namespace ls::watchdog
