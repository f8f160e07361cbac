#pragma once
/// The stream of a master's hub (hub/server.h) as a source.
///
/// Which master: every node orders the list by a hash of its own id and the master's address (rendezvous hashing), so that the nodes
/// spread evenly and a master that is lost spreads over all the others. The order is kept: when a better one answers again, a
/// follower moves back after a random part of `rebalance`, and only while its stream could be resumed or a snapshot is affordable; never
/// all at once. After a lost stream the next attempt waits a random part of `backoff_min`, doubled up to `backoff_max` when no master
/// answers. A master whose own source has been lost for longer than `stale`, while another one's is not, is left.
///
/// Resume: the sink tells by applied() what it has; the next stream to the same run goes on there.
///
/// Convergence: the hub's monotonic clock is compared with ours when the stream begins and every `clock_check` (shortest of some round trips), so
/// that delay() needs no common wall clock.
///
/// Thread: the control loop's (see source.h). Memory: one record.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hub/record.h"
#include "sources/source.h"

namespace boost::asio {
class io_context;
}

namespace ls {

inline constexpr uint16_t kHubPort = 62081;  // ours, beside that of the API

struct HubConfig {
  std::vector<std::string> masters;  ///< "10.0.0.1:62081"; port 62081 when left out
  std::string node;                  ///< id of this node: its place in the order, and its name at the hub
  bool tls = false;
  std::string ca_file, cert_file, key_file;
  std::string token_file;            ///< Authorization: Bearer
  Millis connect_timeout{5'000}, response_timeout{10'000};
  Millis backoff_min{500}, backoff_max{15'000};
  Millis rebalance{300'000}, stale{30'000}, clock_check{60'000};
  uint64_t record_limit = RecordIoReader::kDefaultLimit;
};

/// Besides what a Source is.
class HubSource : public Source {
 public:
  /// The sink has applied everything up to here.
  virtual void applied(const hub::Position& at) = 0;
  /// How old an instant of the hub's clock is now; nullopt while the clocks were not compared. May be off by half of `clock_error`.
  virtual std::optional<Millis> age_of(int64_t hub_clock_us) const = 0;
  virtual Millis clock_error() const = 0;
  /// What the hub last said of its own source.
  virtual const hub::SourceHealth& health() const = 0;
};

/// The order in which `node` asks; a pure function, for tests.
std::vector<size_t> hub_order(const std::string& node, const std::vector<MasterAddress>& masters);

/// Errors: no master, an address that cannot be read, files of certificates or the token that cannot be read.
Result<std::unique_ptr<HubSource>> make_hub_source(boost::asio::io_context& io, HubConfig config, SourceSink& sink);

}  // namespace ls
