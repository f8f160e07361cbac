#pragma once
/// Turns command lines into changes of the cluster and the events a master would send for them
/// (spec/mesos-state.md section 9.3: when an event comes, and when none does). One thread: the io_context's.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "standin/model.h"
#include "standin/server.h"

namespace ls::standin {

using Words = std::vector<std::string>;

/// Splits at blanks; "double quotes" keep them, a backslash inside takes the next character; # begins a comment.
Result<Words> split(std::string_view line);
/// 250ms, 1.5s, 2m; a bare number is seconds.
Result<Millis> parse_duration(std::string_view text);

class Engine final : public Backend {
 public:
  Engine(boost::asio::io_context& io, StandinOptions options);

  Server& server() { return server_; }
  Result<std::string> command(const Words& words);
  /// Also sleep and wait.
  boost::asio::awaitable<Result<std::string>> run_line(std::string line);

  std::string snapshot() override;
  std::string get_state() override;

 private:
  using Args = std::vector<std::string>;
  Result<> agent(const Args& a);
  Result<> agent_add(const Args& a);
  Result<> agent_lost(Agent& g, const std::string& how);
  void agent_back(Agent& g);
  Result<> framework(const Args& a);
  Result<> task(const Args& a);
  Result<> task_add(const Args& a);
  Result<> bulk(const Args& a);
  Result<> failover(const Args& a);
  Result<> steer(const std::string& what, const Args& a);
  std::string status() const;
  boost::asio::awaitable<Result<>> wait_for(const Args& a);
  boost::asio::awaitable<void> reregister(int run, int leader, Millis gap, Millis every, bool frameworks_late,
                                          Args except);

  Result<Agent*> find_agent(const std::string& id);
  Result<Task*> find_task(const std::string& spec);
  Result<size_t> master_number(const std::string& text, bool none_allowed);
  Status make_status(const Task& t, std::string state) const;
  /// Gives the task a state and says so, as far as the master would.
  void update(Task& t, Status s);
  void complete(const TaskKey& key);
  void emit(std::string event) { server_.broadcast(std::move(event)); }
  bool heard() const { return server_.subscribers() > 0; }

  boost::asio::io_context& io_;
  Cluster cluster_;
  Server server_;
  std::shared_ptr<bool> alive_;
  int failovers_ = 0;   // the newest one; an older one that still runs gives up
  bool settled_ = true;  // no re-registration is under way

 public:
  ~Engine() override { *alive_ = false; }
};

}  // namespace ls::standin
