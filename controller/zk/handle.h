#pragma once
/// Handle: one session on the client library: its operations, open questions and watches. Inside of zk only; everything on the thread
/// of the session. The functions of callers run within calls of the library, so that they must not call a Handle: they post.
///
/// The library is told one server at a time (zk/addresses.h says why) and never waits: it connects, sends and receives in interest() and
/// process(). Its log is off: it is written through buffers that all sessions of a process share. It trusts the servers: a
/// server that answers what was not asked ends the process by an assertion, so what does not greet as ZooKeeper is kept from it.
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "util/host_port.h"
#include "zk/session.h"

struct _zhandle;

namespace ls::zk {

class Handle {
 public:
  enum class State { kIdle, kTrying, kGreeting, kConnected, kOver };
  struct Interest {
    int fd = -1;  ///< -1: wait only
    bool write = false;
    Millis most{0};
  };

  /// `login`: "user:password", empty for none. `former`: its session goes on in this handle.
  static Result<std::unique_ptr<Handle>> open(const HostPort& server, Millis session, const std::string& login, const Handle* former = nullptr);
  /// Closes the session where it is connected (waits for the answer, at most some seconds), then answers every open question and calls
  /// every watch.
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  State state() const;
  int64_t id() const;  ///< 0: there was none yet
  Millis negotiated() const;
  bool expired() const;  ///< why it is kOver; else the servers refused the login

  /// Of the next attempt; only while kIdle.
  Result<> set_server(const HostPort& server);
  /// Begins an attempt while kIdle. Errors: the connection or the attempt is over, and why.
  Result<Interest> interest();
  Result<> process(bool readable, bool writable);

  void get(const std::string& path, Session::Watch watch, Session::Done<Node> done);
  void children(const std::string& path, Session::Watch watch, Session::Done<std::vector<std::string>> done);
  void exists(const std::string& path, Session::Watch watch, Session::Done<std::optional<Stat>> done);
  void create(const std::string& path, const std::string& value, Mode mode, Session::Done<std::string> done);
  void set(const std::string& path, const std::string& value, int32_t version, Session::Done<Stat> done);
  void erase(const std::string& path, int32_t version, Session::Done<void> done);
  void multi(std::vector<Op> steps, Session::Done<std::vector<int32_t>> done);
  void sync(const std::string& path, Session::Done<void> done);

 private:
  template <class T>
  struct Question;
  struct Multi;
  explicit Handle(bool own_nodes) : own_nodes_(own_nodes) {}
  bool up() const;  ///< there is a connection, or an attempt at one
  uintptr_t keep(Session::Watch watch);
  void fire(uintptr_t number);
  static void on_watch(_zhandle*, int type, int state, const char* path, void* number);

  _zhandle* zh_ = nullptr;
  const bool own_nodes_;  ///< what is created belongs to the user
  std::unordered_map<uintptr_t, Session::Watch> watches_;
  uintptr_t last_watch_ = 0;
};

}  // namespace ls::zk
