#pragma once
/// AgentWatch: which machines of the cluster cannot be reached, as this master sees it. What follows from it is derive/reachability.h's: their
/// backends get no new connections while another one is there.
///
/// Mesos needs more than a minute to find out that a machine is gone (agent_ping_timeout x max_agent_ping_timeouts). Here:
///   * whoever follows our hub and acknowledges what it is sent lives;
///   * everybody else that Mesos knows is asked by a TCP connection to its agent's own address and port, which masters of Mesos reach too. An
///     answer of any kind, a refusal too, is life: a stopped agent, or a stopped loadstard, is no lost machine;
///   * whose stream ended or went quiet is asked at once, the others every `every`. Three questions in a row without an answer, and it is lost.
///     A question that could not be asked (no descriptor, no memory) says nothing.
///   * Only who was heard of once in this run is judged. When more than half of those are silent, this master is likely cut off itself, and
///     the rest could not carry the load anyway: then all count as reachable, and isolated() says so. Once fewer are silent, each is judged
///     anew. While more than half have left one question without an answer, nobody is declared lost yet.
///   * Mesos removes no machine that it gave up. Who is silent for `given_up` stays what it is, reachable or not, but counts on neither side
///     of that half any more and is asked every `rarely` only. While the master may be cut off, others must have answered for as long.
///
/// Thread: control loop. Cost: a connection attempt a machine and `every`, asked in turn; at_once() are open at most.
#include <deque>
#include <functional>
#include <map>
#include <set>

#include "app/agent_ask.h"
#include "state/cluster_state.h"
#include "util/clock.h"

namespace ls {

struct AgentWatchOptions {
  Millis every{10'000};
  Millis again{2'000};    ///< after a question that got no answer was asked
  unsigned failures = 3;  ///< in a row
  Millis given_up{300'000}, rarely{60'000};
};

class AgentWatch {
 public:
  static constexpr size_t kAtOnce = 64, kMostAtOnce = 2048;

  /// Asks; calls back once, later, on the control loop: what was heard.
  using Ask = std::function<void(const Endpoint& agent, std::function<void(Heard)> answer)>;
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
  /// Questions that may be open: enough that all can be asked within `every`, even if nobody answers; kAtOnce to kMostAtOnce.
  size_t at_once() const;

 private:
  struct Machine {
    uint16_t port = 0;
    std::set<std::string> agents;  ///< ids of Mesos; a machine may have several
    bool heard = false;            ///< once in this run
    bool asking = false;
    unsigned failures = 0;
    Instant due{}, asked_at{};
    Instant silent_since{};        ///< while it is in silent_
  };
  void answered(const IpAddress& address, Heard heard);
  void found_alive(const IpAddress& address, Machine& machine);
  void forget(const IpAddress& address, const Machine& machine);
  void give_up(const IpAddress& address);
  void judge();

  const Clock& clock_;
  const AgentWatchOptions options_;
  const Ask ask_;
  const OnChange on_change_;
  std::map<IpAddress, Machine> machines_;
  std::map<IpAddress, unsigned> followers_;  ///< streams of an address
  size_t heard_ = 0;                         ///< machines that were heard of in this run
  std::set<IpAddress> suspects_;             ///< heard of, not gone, and the last question got no answer
  std::set<IpAddress> silent_;               ///< of these, who failed often enough
  std::set<IpAddress> gone_;                 ///< silent for so long that they count no more
  std::set<IpAddress> unreachable_;          ///< told so
  size_t open_ = 0;
  IpAddress last_asked_;
  bool isolated_ = false;
  Instant others_since_{};  ///< while isolated: since when somebody answers all the same
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< ends with this object; answers look at it
};

}  // namespace ls
