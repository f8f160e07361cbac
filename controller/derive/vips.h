#pragma once
/// The VIP table of a cluster, kept up to date by deltas.
///
/// VipDeriver holds what every task offers and gives, for each change of state, the services that became different.
/// It is a function of the tasks alone: any history that leads to the same tasks gives the same table, and so does
/// derive_all(), which knows no history.
/// Threading: one thread (the control loop). No I/O, no clock.
/// Cost: a task's change costs O(its ports) plus the services it stands behind (an upsert carries a service whole), not
/// more in a large cluster. A name that collides with another moves at most the names of its run (vip_addresses.h).
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "derive/local_ports.h"
#include "derive/task_vips.h"
#include "derive/vip_addresses.h"
#include "derive/vip_table.h"
#include "state/cluster_state.h"

namespace ls {

struct VipTable {
  std::vector<Service> services;     ///< sorted by key
  std::vector<VipProblem> problems;  ///< sorted
  bool operator==(const VipTable&) const = default;
};

/// A VIP before it has addresses: what labels and tasks say. The backends are of both families.
struct VipView {
  VipKey key;
  std::string label;
  std::string framework;          ///< empty for an address VIP
  std::vector<Backend> backends;  ///< sorted by (address, port); may be empty
};

/// Work done since the start; a test shows that one change costs the same in small and large clusters.
struct VipWork {
  uint64_t tasks = 0, ports = 0, vips = 0, backends = 0, probes = 0;
};

class VipDeriver {
 public:
  explicit VipDeriver(VipOptions options = {});
  ~VipDeriver();
  VipDeriver(const VipDeriver&) = delete;
  VipDeriver& operator=(const VipDeriver&) = delete;

  VipDelta apply(const StateDelta& delta);
  /// Something outside Mesos found that an agent cannot be reached, or can again (reachability.h says what follows).
  /// What Mesos itself says needs no call: tasks of an unreachable agent change their state.
  VipDelta set_reachable(const IpAddress& agent, bool reachable);

  VipTable full() const;
  std::vector<VipView> vips() const;
  size_t service_count() const { return services_.size(); }
  const Service* find(const ServiceKey& key) const;
  std::vector<VipProblem> problems() const;
  VipWork work() const;

 private:
  struct Record;
  struct Vip;
  using Vips = std::map<VipKey, Vip>;
  struct Family {
    explicit Family(const IpAddress& min, const IpAddress& max) : addresses(min, max) {}
    VipAddresses addresses;
    std::unordered_map<std::string, unsigned> vips_of_name;  ///< those with a backend of the family
  };

  void change(const TaskChange& change);
  void offer(Record& record);
  void retract(Record& record);
  void mark(Vips::iterator vip);
  void mark_name(const std::string& name);
  void mark_users(Protocol protocol, uint16_t host_port);
  void place_names();
  VipView view(const VipKey& key, const Vip& vip, std::vector<Standing>* standings) const;
  std::vector<Service> render(const VipKey& key, const Vip& vip);
  VipDelta finish();
  bool own(const IpAddress& address) const;

  VipOptions options_;
  std::unordered_map<std::string, std::unique_ptr<Record>> records_;  ///< by framework id, NUL, task id
  std::map<IpAddress, std::set<Record*>> by_agent_;
  Vips vips_;
  Family v4_, v6_;
  std::unordered_map<IpAddress, unsigned> address_vips_;  ///< how many VIPs an address has
  std::unordered_set<IpAddress> unreachable_;
  LocalPortTable local_;
  std::map<std::pair<Protocol, Endpoint>, std::set<VipKey>> users_of_own_;  ///< VIPs with a backend at an own address
  std::vector<Vips::iterator> dirty_;
  std::map<ServiceKey, Service> services_;
  VipWork work_;
};

/// The same table from scratch.
VipTable derive_all(const ClusterState& state, const VipOptions& options = {});
std::vector<VipView> derive_vips(const ClusterState& state, const VipOptions& options = {});

/// Gives the named VIPs of `views` their addresses and splits all by family, without tasks: what derive_all does in its
/// second half. Views with the same key must have been merged.
VipTable place_vips(const std::vector<VipView>& views, const VipOptions& options);

/// The problem of a name for which the range has no address left.
VipProblem no_address(const std::string& name, const VipAddresses& addresses);

/// Makes weights final: `standings` goes with `backends`. See VipOptions::fail_open_unhealthy.
void set_weights(std::vector<Backend>& backends, const std::vector<Standing>& standings, const VipOptions& options);

}  // namespace ls
