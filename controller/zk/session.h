#pragma once
/// zk::Session: a session with a ZooKeeper ensemble, kept up for as long as the object lives.
///
/// A session that expired, or could not be made, is followed by another one after a pause (`retry`, of which a random half is left out).
/// Ephemeral nodes and watches belong to one session; who owns some makes them again when on_state says kConnected with another
/// session's number.
///
/// What an error says of a write is as important as the error:
///   ENOTCONN      there is no connection now; nothing was sent.
///   ENOENT, EEXIST, ESTALE (another version), ENOTEMPTY, EACCES, EINVAL, EMSGSIZE   the servers refused; nothing has changed.
///   ECONNABORTED  the connection was lost before the answer came: it may have been done or not.
///   ETIMEDOUT     of wait() only: the same, not known.
///
/// Reads may be old: each server answers from its own copy. sync() before a read makes it as new as the moment of the sync.
///
/// Servers are tried in random order, each for a sixth of the session's time at first and longer in each round, so that a silent one does not
/// cost the session. A session without a connection for all its time goes on in another handle of the library, which has seen nothing:
/// servers turn away whoever has seen more than they have, which an ensemble that has begun anew would do for ever.
///
/// The servers are trusted: what does not greet as ZooKeeper is passed over, but one that greets and then answers what was not
/// asked makes the client library end the process by an assertion.
///
/// Threads: a thread of its own does everything (the client library resolves names, which waits) and calls every function given here;
/// these must not wait. Operations may be started on any thread; each is answered exactly once, at the latest when the session
/// ends; one begun after stop() is answered ENOTCONN within the call.
///
/// Cost: one connection, one thread that sleeps. Values are at most kMaxValue octets (jute.maxbuffer is 1 MB of which the servers keep a
/// part for themselves).
#include <cerrno>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "util/clock.h"
#include "util/result.h"
#include "zk/url.h"

namespace ls::zk {

inline constexpr size_t kMaxValue = 512 << 10;

struct SessionOptions {
  Url url;                 ///< its path is not used here: all paths below are whole ones
  Millis session{10'000};  ///< asked for; the servers may give another
  Millis retry{1'000};     ///< after a session that ended or could not be made
};

enum class SessionState : uint8_t {
  kConnecting,  ///< no server answers now; the session may live on
  kConnected,
  kExpired,  ///< the session and what belonged to it is gone; another one follows
};

struct SessionStatus {
  SessionState state = SessionState::kConnecting;
  Instant since{};         ///< when `state` took its value
  std::string server;      ///< of the ensemble, "10.0.0.1:2181"; empty: none
  std::string last_error;  ///< why it is not connected; empty while it is. Never holds the password
  int64_t id = 0;          ///< of the session; 0: none yet
  Millis negotiated{0};    ///< session time-out that the servers gave
  uint64_t sessions = 0, expired = 0, connects = 0;
};

struct Stat {
  int64_t created = 0, modified = 0;  ///< zxid: order of all changes of the ensemble
  int64_t children = 0;  ///< the last change of the list of its children, as such a number too
  int32_t version = 0;
  int64_t owner = 0;  ///< session of an ephemeral node; 0: none
};
struct Node {
  std::string value;
  Stat stat;
};

enum class Mode : uint8_t { kPersistent, kEphemeral, kEphemeralSequential };

/// One step of multi(): all are done, or none.
struct Op {
  enum class Kind : uint8_t { kCreate, kSet, kErase, kCheck };
  Kind kind = Kind::kCheck;
  std::string path;
  std::string value{};    ///< of kCreate and kSet
  int32_t version = -1;   ///< that must be there; -1: any. Of kSet, kErase, kCheck
};

class Session {
 public:
  template <class T>
  using Done = std::function<void(Result<T>)>;
  /// Called once when what was read changes, when its session is over, or when nobody can say (after a long time without a connection); not at
  /// all when the read failed. Empty: no watch. It stays until then, so whoever reads again meanwhile asks for no second one.
  using Watch = std::function<void()>;
  /// `id`: of the session. Told after each change of the state.
  using OnState = std::function<void(SessionState, int64_t id)>;

  Session(SessionOptions options, OnState on_state = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  /// Closes the session in good order: its ephemeral nodes are gone at once. Waits for the thread, at most as long as a look-up of names
  /// or an answer takes. No call of any function after it.
  void stop();
  SessionStatus status() const;  ///< any thread

  void get(std::string path, Watch watch, Done<Node> done);
  void children(std::string path, Watch watch, Done<std::vector<std::string>> done);
  /// nullopt: it is not there (which the watch then waits for).
  void exists(std::string path, Watch watch, Done<std::optional<Stat>> done);
  /// The path that was made: with kEphemeralSequential a number is added. With digest authentication the node belongs to that user alone.
  void create(std::string path, std::string value, Mode mode, Done<std::string> done);
  void set(std::string path, std::string value, int32_t version, Done<Stat> done);
  void erase(std::string path, int32_t version, Done<void> done);
  /// The new version of each kSet (0 of a kCreate; -1 of the others). The error's text names the step that was refused.
  void multi(std::vector<Op> steps, Done<std::vector<int32_t>> done);
  void sync(std::string path, Done<void> done);

  /// Runs on the session's thread, after what is queued already.
  void post(std::function<void()> work);
  void post_after(Millis pause, std::function<void()> work);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// For callers that may wait: starts an operation and waits for its answer. Never on the session's own thread.
///   auto node = wait<Node>(Millis(3000), [&](auto done) { session.get(path, {}, done); });
template <class T, class Start>
Result<T> wait(Millis limit, Start&& begin) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto answer = promise->get_future();
  begin(Session::Done<T>([promise](Result<T> r) { promise->set_value(std::move(r)); }));
  if (answer.wait_for(limit) != std::future_status::ready) return fail(ETIMEDOUT, "wait for ZooKeeper");
  return answer.get();
}

}  // namespace ls::zk
