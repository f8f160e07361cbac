#pragma once
/// AgentWatch: which machines of the cluster cannot be reached, as this master sees it. What follows from it is derive/reachability.h's: their
/// backends are left out while another one is there.
///
/// Mesos needs more than a minute to find out that a machine is gone (agent_ping_timeout x max_agent_ping_timeouts). Here:
///   * whoever follows our hub lives;
///   * everybody else that Mesos knows is asked by a TCP connection to its agent's own address and port, which masters of Mesos reach too. An
///     answer of any kind, a refusal too, is life: a stopped agent, or a stopped loadstard, is no lost machine;
///   * whose stream ended is asked at once, the others every `every`. Three questions in a row without an answer, and it is lost.
///   * Only who was heard of once in this run is judged. When more than half of all are silent, this master is likely cut off itself, and
///     the rest could not carry the load anyway: then all count as reachable, and isolated() says so. Once fewer are silent, each is judged
///     anew.
///
/// Thread: control loop. Cost: a connection attempt a machine and `every`, at most kAtOnce open.
#include <deque>
#include <functional>
#include <map>
#include <set>

#include "state/cluster_state.h"
#include "util/clock.h"

namespace ls {

struct AgentWatchOptions {
  Millis every{10'000};
  Millis again{2'000};    ///< after a question without an answer
  unsigned failures = 3;  ///< in a row
};

class AgentWatch {
 public:
  static constexpr size_t kAtOnce = 64;

  /// Asks; calls back once, later, on the control loop: whether anything answered.
  using Ask = std::function<void(const Endpoint& agent, std::function<void(bool alive)> answer)>;
  using OnChange = std::function<void(const IpAddress& agent, bool reachable)>;
  AgentWatch(const Clock& clock, AgentWatchOptions options, Ask ask, OnChange on_change);
  ~AgentWatch();

  /// Machines that Mesos knows, or no longer.
  void apply(const StateDelta& delta);
  /// A stream of our hub from this address began or ended.
  void follower(const IpAddress& address, bool there);
  /// Once a second.
  void tick();

  const std::set<IpAddress>& unreachable() const { return unreachable_; }
  bool isolated() const { return isolated_; }
  size_t watched() const { return machines_.size(); }

 private:
  struct Machine {
    uint16_t port = 0;
    std::set<std::string> agents;  ///< ids of Mesos; a machine may have several
    bool heard = false;            ///< once in this run
    bool asking = false;
    unsigned failures = 0;
    Instant due{};
  };
  void answered(const IpAddress& address, bool alive);
  void found_alive(const IpAddress& address, Machine& machine);
  void judge();

  const Clock& clock_;
  const AgentWatchOptions options_;
  const Ask ask_;
  const OnChange on_change_;
  std::map<IpAddress, Machine> machines_;
  std::map<IpAddress, unsigned> followers_;  ///< streams of an address
  std::set<IpAddress> silent_;               ///< failed often enough
  std::set<IpAddress> unreachable_;          ///< told so
  size_t open_ = 0;
  bool isolated_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< ends with this object; answers look at it
};

}  // namespace ls
