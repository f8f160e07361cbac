#pragma once
/// What the overlay's routes need. `app` implements it; texts are the bodies as they are sent, so that the API knows nothing of pools.
/// Thread: the admin thread. Cost: a state is made on each call, about 0.8 kB a node with two overlays; a delete waits for the disk.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "api/overlay_node.h"
#include "util/address.h"

namespace ls::api {

struct OverlayFailure {
  enum class Kind : uint8_t {
    kAbsent,       ///< this node does not do that: 404
    kInvalid,      ///< the request is wrong: 400
    kUnavailable,  ///< not recovered: 503
    kRefused,      ///< a registration was refused: 409
    kFailed,       ///< could not be kept: 500
  };
  Kind kind = Kind::kFailed;
  std::string why;
  std::string reason{};  ///< of kRefused, a word: "vtep-exhausted"
  std::optional<std::string> leader{};  ///< Provider::other_leads(): 503
};
using OverlayBody = tl::expected<std::string, OverlayFailure>;

/// One pool: what the metrics and the status show of it. Counts above 2^53 lose their last digits, as all metrics do.
struct OverlayPoolView {
  std::string overlay;  ///< empty: VTEP addresses
  std::string pool;     ///< "9.0.0.0/8"
  double size = 0, used = 0, held = 0;
};
struct OverlayMasterView {
  std::string problem;   ///< why there is no allocator; empty: there is one
  std::string rejected;  ///< why the plan of the configuration is not in force; empty: it is
  uint64_t nodes = 0, registered = 0, refused = 0, exhausted = 0, conflicts = 0, adopted = 0, removed = 0, store_failures = 0;
  std::vector<OverlayPoolView> pools;
};

class OverlaySource {
 public:
  virtual ~OverlaySource() = default;
  /// Body of GET /overlay-master/state.
  virtual OverlayBody master_state() = 0;
  /// Body of the request to POST /overlay-master/agents/delete; gives the state that remains. `caller`: for the log.
  virtual OverlayBody delete_agents(std::string_view body, std::string_view caller) = 0;
  /// Body of POST /v1/overlay/adopt: /overlay-master/state of the original. Each of its nodes is registered with what it holds; gives how many,
  /// and whom not and why, as JSON.
  virtual OverlayBody adopt(std::string_view, std::string_view) {
    return tl::make_unexpected(OverlayFailure{OverlayFailure::Kind::kAbsent, "this node gives no addresses out"});
  }
  /// Capacities and what is used of them.
  virtual OverlayBody capacity() = 0;
  /// Body of POST /v1/overlay/nodes (overlay/node_wire.h); gives the answer. Registers the node and takes its reports. `from`: where a
  /// registration over TCP came from; a node that says another address is refused ("address").
  virtual OverlayBody register_node(std::string_view body, std::string_view caller, const std::optional<IpAddress>& from) = 0;
  /// All allocations, or what changed since a position; the text is shared by all who ask for the same.
  virtual tl::expected<std::shared_ptr<const std::string>, OverlayFailure> feed(const std::string& run, uint64_t version) = 0;
  /// Where the feed stands; an empty run: there is none.
  virtual std::pair<std::string, uint64_t> feed_position() const = 0;
  /// Body of GET /overlay-agent/overlay.
  virtual OverlayBody agent_overlay() = 0;
  /// Whether this node gives addresses out; master_view() is only asked then.
  virtual bool allocates() const = 0;
  virtual OverlayMasterView master_view() = 0;
  /// As OverlayNodeSource::nodes, of the allocator; `self` is never set. For a machine that gives addresses out and takes none.
  virtual std::vector<OverlayPeerView> nodes(const std::string& after, size_t most) { return (void)after, (void)most, std::vector<OverlayPeerView>{}; }
  /// Once a second.
  virtual void tick() {}
};

}  // namespace ls::api
