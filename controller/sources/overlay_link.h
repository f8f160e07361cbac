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
/// overlay/node_wire.h allows is an error of that master, and nothing of it is taken over. Which allocator is believed when several
/// masters have stores of their own: sources/overlay_take.h.
///
/// Registrations go to the master whose allocations are followed, each on a connection of its own. What becomes of one:
/// * 200: `allocated`, unless it is of another allocator than the one followed (its feed comes first, then the node registers anew).
/// * 409 with a reason: `refused`; said again after `reregister`.
/// * 400, 401, 403, 404, 413, 5xx, or what is no answer: an error, tried again after a pause that doubles up to `backoff_max`.
/// * No connection or no answer: the same, and the master is left for the next one.
/// None of these takes anything away from the node.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "overlay/node_wire.h"
#include "sources/master_times.h"
#include "util/clock.h"
#include "util/result.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct OverlayLinkEvents {
  /// The answer to a registration: what this node has.
  std::function<void(overlay::RegistrationAnswer&&)> allocated;
  /// All allocations (`full`), or what changed; this node's own among them. With an empty run the copy may have more than there is, and
  /// is to be kept with that position.
  std::function<void(overlay::AllocationFeed&&)> fed;
  /// The allocator refused the registration: a word ("vtep-exhausted") and a sentence. What the node has stays. May be empty: the link
  /// logs it, and its status has it.
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
  /// What was said last once more, now: the allocator has forgotten this node.
  virtual void say_again() = 0;
  virtual OverlayLinkStatus status() const = 0;
};

/// What is there from an earlier run of this node, so that it asks for the changes since then.
struct OverlayHeld {
  overlay::FeedPosition at;
  overlay::Plan plan;
};

struct OverlayLinkOptions {
  std::vector<std::string> masters;      ///< "10.0.0.1:62080", "master1"; port 62080 when left out
  std::filesystem::path token_file;      ///< bearer token of registrations, read anew for each; empty: none is sent
  MasterTimes times;
  Millis reregister{30'000};             ///< with a random half of it left out, so that nodes do not come together
  /// The first master has a new store: nobody is removed in this time. Above `reregister` and `times.backoff_max` together.
  Millis settle{60'000};
  std::optional<OverlayHeld> held{};     ///< of the last known copy
};

/// By HTTP: POST /v1/overlay/nodes and GET /v1/overlay/allocations of the masters, on two connections.
/// Errors: no master, or one that cannot be read.
Result<std::unique_ptr<OverlayLink>> make_overlay_link(boost::asio::io_context& io, const Clock& clock, OverlayLinkOptions options,
                                                       OverlayLinkEvents events);

}  // namespace ls
