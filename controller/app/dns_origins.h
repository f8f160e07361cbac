#pragma once
/// DnsOrigins: what made the records of a name of ours, in words, for `dns explain`. Cost: O(cluster), on the caller's thread.
/// Thread: admin for of(); set_static on the control loop; set_sources before the API starts.
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "derive/mesos_zone.h"
#include "dns/zone_table.h"
#include "util/dns_name.h"
#include "util/published.h"

namespace ls {

class DnsOrigins {
 public:
  /// Compared by identity; only the Mesos zone is asked. All must outlive this.
  struct Zones {
    const MesosZone& cluster;
    const dns::ZoneTable &mesos, &dcos, &l4lb, &spartan, &localhost, &zk, &thisnode, &empty;
  };
  struct Sources {
    /// Services of a name such as "web.marathon", and what stands behind each.
    std::function<std::vector<std::string>(const std::string& name)> services;
    /// Registrations of a name ("@": the zone's own) of a zone, both without trailing dot.
    std::function<std::vector<std::string>(const std::string& zone, const std::string& name)> registrations;
  };
  using StaticNames = std::map<std::string, std::set<std::string>>;  ///< zone without trailing dot, relative owners

  explicit DnsOrigins(const Zones& zones) : zones_(zones) {}
  void set_sources(Sources sources) { sources_ = std::move(sources); }
  void set_static(StaticNames names) { static_.publish(std::move(names)); }

  /// `apex`: one of the table's names. `relative`: folded, below it.
  std::vector<std::string> of(const dns::ZoneTable& table, const DnsName& apex, std::string_view relative) const;

 private:
  const Zones zones_;
  Sources sources_;
  Published<StaticNames> static_;
};

}  // namespace ls
