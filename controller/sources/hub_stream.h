#pragma once
/// One stream of one hub, and the comparison of its clock with ours, as coroutines. Internal to sources/. Thread: the io_context's.
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "hub/record.h"
#include "sources/http_link.h"
#include "sources/recordio.h"

namespace ls {

/// How a hub is asked; loaded anew for each attempt, so that files can be replaced.
struct HubAccess {
  std::shared_ptr<TlsClient> tls;
  std::string token;
  Millis connect_timeout{}, response_timeout{};
  uint64_t record_limit = 0;
  std::string node;
};

/// Why open() failed, in terms of what to do next.
struct HubRefusal {
  bool silent = false;        ///< it did not answer in time
  Millis retry_after{0};      ///< it asked for so much patience
};

class HubStream {
 public:
  HubStream(boost::asio::any_io_executor executor, MasterAddress master);

  /// Connects, asks for what follows `have`, and reads the hello. `refusal` is filled in when it fails.
  boost::asio::awaitable<Result<>> open(const HubAccess& access, const hub::Position& have, HubRefusal& refusal);
  /// The next record of a type that is known. Errors: ETIMEDOUT after three heartbeats of silence; EBADMSG, what came is no record; others, the
  /// connection.
  boost::asio::awaitable<Result<hub::Record>> next();
  void close() { link_.close(); }

  const MasterAddress& master() const { return master_; }
  const hub::Hello& hello() const { return hello_; }
  uint64_t bytes() const { return bytes_; }
  std::optional<Instant> last_byte() const { return last_byte_; }

 private:
  boost::asio::awaitable<Result<HttpHead>> ask(const HubAccess& access, const hub::Position& have);
  boost::asio::awaitable<Result<PaddedRecord>> read_record(Millis silence);

  const MasterAddress master_;
  HttpLink link_;
  RecordIoReader reader_;
  std::string_view rest_;  ///< of what the link read last
  hub::Hello hello_;
  uint64_t bytes_ = 0;
  std::optional<Instant> last_byte_;
};

/// hub's clock minus ours, both monotonic.
struct ClockOffset {
  int64_t us = 0;
  int64_t error_us = 0;  ///< at most so much off: half of the round trip
};

/// Asks the time over `link`, which is not connected yet, some times, and takes the shortest round trip.
boost::asio::awaitable<Result<ClockOffset>> compare_clocks(HttpLink& link, const MasterAddress& master, const HubAccess& access);

/// Microseconds of our monotonic clock.
int64_t monotonic_us();

}  // namespace ls
