#pragma once
/// MasterFollow: keeps asking one of several masters by HTTP for what is new. Internal to sources/; what is asked and what an answer
/// means is its user's.
///
/// Masters are asked in the order of the list; the first is preferred: while a later one is followed, it is tried again every
/// `retry_first`. A master that cannot be reached, is silent for longer than `wait` and `slack`, or whose answer the user refuses, is
/// left for the next one. The first question of a master does not wait for news: its answer says that the master is there. After all have
/// failed there is a pause, `backoff_min`, doubled up to `backoff_max`, of which a random half is left out; kTurnPause at most when one of
/// them said that another one leads or will soon (503), for then it does not take long.
///
/// Thread: the io_context's. No function of the user is called before start() has returned or after stop(). Cost: one connection, one
/// question at a time.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sources/master_address.h"
#include "sources/master_times.h"
#include "util/result.h"

namespace boost::asio {
class io_context;
}

namespace ls {

inline constexpr Millis kTurnPause{2'000};  // with 2,000 nodes and three masters some 450 short answers a second from each, while nobody leads
inline constexpr uint16_t kApiPort = 62080;  // of the reference, and the default of api.listen

struct MasterFollowOptions {
  std::string event;   ///< beginning of the names of log events: "registrations" for registrations_followed and registrations_not_followed
  std::string doing;   ///< beginning of errors, before the master's address: "follow registrations of"
  size_t most = 0;     ///< octets of a body; one more is read, so that the user sees that it is too large
  MasterTimes times;
};

struct MasterFollowStatus {
  bool connected = false;
  std::string endpoint;    ///< of the current or the last master
  std::string last_error;  ///< empty after a success
  uint64_t failures = 0;
};

class MasterFollow {
 public:
  struct User {
    /// Of the next question. `first`: this master has not answered yet, and must do so without waiting for news.
    std::function<std::string(bool first)> path;
    std::function<Result<>(size_t which, std::string&& body)> take;  ///< an error: this master is left for the next
    std::function<void(size_t which)> answered;                      ///< after a good answer, when the status has it; may be empty
  };
  MasterFollow(boost::asio::io_context& io, std::vector<MasterAddress> masters, MasterFollowOptions options, User user);
  ~MasterFollow();
  MasterFollow(const MasterFollow&) = delete;
  MasterFollow& operator=(const MasterFollow&) = delete;

  void start();
  void stop();
  /// Leaves this master, if it is the current one: somebody else found out that it does not answer.
  void leave(size_t which, const std::string& why);
  const MasterFollowStatus& status() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// `what` begins the error of an empty list.
Result<std::vector<MasterAddress>> parse_masters(const std::vector<std::string>& texts, const std::string& what);
/// At most `most`, at least half of it, so that many do not come together.
Millis jittered(Millis most);
/// For a query: all but letters and digits written as %XX (RFC 3986 2.3).
std::string query_text(std::string_view text);

}  // namespace ls
