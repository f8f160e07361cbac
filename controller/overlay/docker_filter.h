#pragma once
/// Docker's packet filter, and what the overlay needs of it on the plain path (the shortcut passes no filter).
///
/// Docker sets the policy of FORWARD to DROP, drops what goes from one of its networks to another, and since version 28 what comes
/// from elsewhere for a port that is not published. All of that also hits packets of the overlay: from the tunnel to a container, between the
/// containers of two overlays of this node, and Mesos containers' own way out. An "accept" in another table cannot overrule a drop, so
/// the rules have to be in Docker's. DOCKER-USER is the place that Docker documents for rules of others: it comes before all of
/// Docker's own and Docker never touches what is in it. The original put a RETURN at the head of DOCKER-ISOLATION(-STAGE-2) instead, which switches the
/// isolation off for every Docker network of the node; here the others stay isolated.
///
///   DOCKER-USER         -j LOADSTAR-OVERLAY     behind the operator's own rules, before a last RETURN
///   LOADSTAR-OVERLAY    -d <own share> -i vtep1024 -j ACCEPT       its sender was checked by overlay_in
///                       -s <own share> -j LOADSTAR-INSIDE
///   LOADSTAR-INSIDE     -d <pool> -j ACCEPT                        each pool, and the pools of VTEP addresses
///   FORWARD             -j LOADSTAR-FORWARD     last, behind everything of Docker's: only what the policy would drop
///   LOADSTAR-FORWARD    -s <own share> -j ACCEPT
///                       -d <own share> -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
///
/// Where there is no DOCKER-USER but a DOCKER-ISOLATION (Docker before 17.06), the first jump is at the head of that. Where there is neither,
/// Docker has no iptables rules here: nothing is done. IPv4 with iptables, IPv6 with ip6tables.
///
/// Thread and cost: as docker.h; one `iptables -S` a family, one `iptables-restore` (one transaction) if something is wrong, and one look
/// at the raw table. The commands need CAP_NET_ADMIN (Command::net_admin); iptables-legacy needs root and CAP_NET_RAW besides and fails here without.
#include <string>
#include <string_view>
#include <vector>

#include "overlay/command.h"
#include "util/network.h"

namespace ls::overlay {

struct DockerFilter {
  std::vector<IpNetwork> shares;   ///< of this node, whole: both halves
  std::vector<IpNetwork> inside;   ///< pools of all overlays and of VTEP addresses
  std::vector<std::string> bridges;  ///< "d-dcos": looked for in Docker's raw table
  std::string device = "vtep1024";
  auto operator<=>(const DockerFilter&) const = default;
};

struct DockerFilterOptions {
  std::string iptables = "iptables", ip6tables = "ip6tables";  ///< "-restore" is put behind them
  Millis limit{15'000};
};

struct DockerFilterReport {
  uint32_t written = 0;   ///< families whose rules were not as they should be and were written
  uint32_t failures = 0;  ///< commands that failed
  /// Sentences for the operator: what could not be looked at, FORWARD dropping without Docker's chains, Docker 28's rules of the raw table.
  std::vector<std::string> warnings;
};

DockerFilterReport ensure_docker_filter(CommandRunner&, const DockerFilterOptions&, const DockerFilter&);
/// Takes the rules away again, in both families. Without them nothing is done.
DockerFilterReport remove_docker_filter(CommandRunner&, const DockerFilterOptions&);

/// What one family's `iptables -S` (table filter) says, as input for `iptables-restore --noflush`; empty: nothing is to be done.
struct DockerFilterPlan {
  bool docker = false;       ///< a chain of Docker is there
  bool forward_drop = false;  ///< the policy of FORWARD
  std::string restore;
};
DockerFilterPlan plan_docker_filter(std::string_view rules, const DockerFilter&, bool v6);
std::string plan_docker_filter_removal(std::string_view rules);

}  // namespace ls::overlay
