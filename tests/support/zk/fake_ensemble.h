#pragma once
/// FakeEnsemble: zk::Session over a tree in memory, for what a real ensemble does not do on command: an answer that is lost at a chosen
/// operation, before or after it was done, one that never comes, a session that ends at a chosen moment.
///
/// A program that links fake_session.cpp gets this zk::Session in place of the real one. A session finds its ensemble by the first host of its
/// address. What the servers say (errors, versions, sequence numbers, watches that fire once) is as in ZooKeeper; tests/unit/zk_* with a
/// real one keep it honest.
///
/// Threads: every session has one of its own, as the real one has. All functions here: any thread.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "zk/session.h"

namespace ls::zk {

class FakeEnsemble {
 public:
  enum class Fault : uint8_t {
    kNone,
    kLostBefore,  ///< the connection is lost, the operation was not done; the session lives and is back soon
    kLostAfter,   ///< the same, but it was done
    kUnanswered,  ///< done, and no answer comes (until the session ends); the connection stands
    kExpired,     ///< done, then the session ends
    kDenied,      ///< not done: no permission
  };
  /// `what`: "create", "set", "erase", "multi", "get", "children", "exists", "sync". Called in order of the operations, under a lock.
  using Decide = std::function<Fault(int64_t session, const std::string& what, const std::string& path)>;

  explicit FakeEnsemble(std::string host);
  ~FakeEnsemble();
  Url url() const;

  void on_operation(Decide decide);
  void expire(int64_t session);
  /// No server answers; sessions live on.
  void stop();
  void start();

  // What is there.
  std::vector<std::string> children(const std::string& path) const;
  std::optional<Node> node(const std::string& path) const;
  /// Somebody else writes; makes it if it is not there.
  void write(const std::string& path, const std::string& value);
  void erase(const std::string& path);

  struct State;
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  std::string host_;
  std::shared_ptr<State> state_;
};

}  // namespace ls::zk
