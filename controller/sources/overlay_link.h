#pragma once
/// OverlayLink: what a node says to the allocator of the overlay, and what it hears of it.
///
/// say() registers: at once, again whenever what is said differs, when another master is followed, and every `reregister` without a
/// change (the allocator must hear of a node that lives). Between these the allocations of all nodes are followed: everything at first,
/// then what changes, in order. Nothing is taken back because a master is silent.
///
/// Thread: control loop, all calls and all events. No event comes before start() has returned or after stop().
/// Remote masters are asked in the order of the list, as registrations are (sources/registrations.h): the first is preferred, a later one
/// is followed while the first does not answer. An answer that cannot be read, of another plan's format or larger than
/// overlay/node_wire.h allows is an error of that master, and nothing of it is taken over.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "overlay/node_wire.h"
#include "util/clock.h"
#include "util/result.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct OverlayLinkEvents {
  /// The answer to a registration: what this node has.
  std::function<void(overlay::RegistrationAnswer&&)> allocated;
  /// All allocations (`full`), or what changed; this node's own among them.
  std::function<void(overlay::AllocationFeed&&)> fed;
  /// The allocator refused the registration: a word ("vtep-exhausted") and a sentence. What the node has stays.
  std::function<void(const std::string& reason, const std::string& detail)> refused;
};

struct OverlayLinkStatus {
  bool connected = false;    ///< the last question was answered
  bool registered = false;   ///< the last registration was answered with an allocation
  std::string endpoint;      ///< of the current or the last master; "this node" for the own allocator
  std::string last_error;    ///< empty after a success
  std::string refused;       ///< reason and detail of the last refusal; empty after an allocation
  overlay::FeedPosition at;
  uint64_t registrations = 0, failures = 0, updates = 0;
  Instant heard{};           ///< of the last good answer
};

class OverlayLink {
 public:
  virtual ~OverlayLink() = default;
  virtual void start() = 0;
  virtual void stop() = 0;
  virtual void say(overlay::NodeRegistration) = 0;
  virtual OverlayLinkStatus status() const = 0;
};

struct OverlayLinkOptions {
  std::vector<std::string> masters;      ///< "10.0.0.1:62080", "master1"; port 62080 when left out
  std::filesystem::path token_file;      ///< bearer token of registrations, read anew for each; empty: none is sent
  Millis connect_timeout{5'000};
  Millis wait{30'000};                   ///< how long a master may hold a question without news
  Millis slack{10'000};                  ///< more than that is silence
  Millis backoff_min{500}, backoff_max{15'000};  ///< after all masters failed; a random half of it is left out
  Millis retry_first{30'000};
  Millis reregister{30'000};             ///< with a random half of it left out, so that nodes do not come together
};

/// By HTTP: POST /v1/overlay/nodes and GET /v1/overlay/allocations of the masters, on two connections.
/// Errors: no master, or one that cannot be read.
Result<std::unique_ptr<OverlayLink>> make_overlay_link(boost::asio::io_context& io, const Clock& clock, OverlayLinkOptions options,
                                                       OverlayLinkEvents events);

}  // namespace ls
