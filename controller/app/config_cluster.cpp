#include "app/config_cluster.h"

#include <fmt/format.h>

namespace ls {
namespace {

bool loopback(const IpAddress& a) { return a.is_v4() ? a.v4() >> 24 == 127 : a == *IpAddress::parse("::1"); }

void check_mesos(const Config::Mesos& m, const AddProblem& bad) {
  if (!m.cert_file.empty() && m.key_file.empty()) bad("mesos.cert_file", "needs mesos.key_file");
  if (m.cert_file.empty() && !m.key_file.empty()) bad("mesos.key_file", "needs mesos.cert_file");
  if (!m.tls) {
    if (!m.ca_file.empty()) bad("mesos.ca_file", "has no effect without mesos.tls = true");
    if (!m.cert_file.empty()) bad("mesos.cert_file", "has no effect without mesos.tls = true");
  }
  if (!m.principal.empty() && m.secret_file.empty()) bad("mesos.principal", "needs mesos.secret_file");
  if (m.principal.empty() && !m.secret_file.empty()) bad("mesos.secret_file", "needs mesos.principal");
  if (!m.principal.empty() && !m.token_file.empty())
    bad("mesos.token_file", "either this or mesos.principal with mesos.secret_file, not both");
  if (m.backoff_min > m.backoff_max)
    bad("mesos.backoff_min", fmt::format("{} is above mesos.backoff_max = {}", print_duration(m.backoff_min), print_duration(m.backoff_max)));
  if (!m.zk_login_file.empty() && m.zk.empty()) bad("mesos.zk_login_file", "has no effect without mesos.zk");
}

void check_hub(const Config& c, const AddProblem& bad) {
  auto& h = c.hub;
  if (c.source.kind == SourceKind::kHub && h.masters.empty()) bad("hub.masters", "source.kind = \"hub\" needs at least one master here");
  if (!h.cert_file.empty() && h.key_file.empty()) bad("hub.cert_file", "needs hub.key_file");
  if (h.cert_file.empty() && !h.key_file.empty()) bad("hub.key_file", "needs hub.cert_file");
  if (!h.tls) {
    if (!h.ca_file.empty()) bad("hub.ca_file", "has no effect without hub.tls = true");
    if (!h.cert_file.empty()) bad("hub.cert_file", "has no effect without hub.tls = true");
  }
  if (h.backoff_min > h.backoff_max)
    bad("hub.backoff_min", fmt::format("{} is above hub.backoff_max = {}", print_duration(h.backoff_min), print_duration(h.backoff_max)));

  auto& s = c.hub_server;
  if (!s.cert_file.empty() && s.key_file.empty()) bad("hub_server.cert_file", "needs hub_server.key_file");
  if (s.cert_file.empty() && !s.key_file.empty()) bad("hub_server.key_file", "needs hub_server.cert_file");
  if (!s.client_ca_file.empty() && s.cert_file.empty()) bad("hub_server.client_ca_file", "needs hub_server.cert_file");
  if (s.listen.empty()) return;
  if (!c.node.has_role(Role::kMaster)) bad("hub_server.listen", "a hub needs node.roles with \"master\"");
  bool outside = false;
  for (auto& e : s.listen) outside = outside || !loopback(e.address);
  if (outside && !s.anyone && s.token_file.empty() && s.client_ca_file.empty())
    bad("hub_server.listen", "needs hub_server.token_file or hub_server.client_ca_file, or hub_server.anyone = true");
  if (s.anyone && (!s.token_file.empty() || !s.client_ca_file.empty()))
    bad("hub_server.anyone", "either this or hub_server.token_file and hub_server.client_ca_file, not both");
}

void check_store(const Config& c, const AddProblem& bad) {
  auto& s = c.store;
  if (!s.zookeeper_login_file.empty() && s.zookeeper.empty()) bad("store.zookeeper_login_file", "has no effect without store.zookeeper");
  if (s.kind != StoreKind::kZookeeper) return;
  if (s.zookeeper.empty()) bad("store.zookeeper", "store.kind = \"zookeeper\" needs the servers and a path here");
  if (s.zookeeper == c.mesos.zk && !s.zookeeper.empty()) bad("store.zookeeper", "is mesos.zk: the masters' own nodes are there");
  if (!c.node.has_role(Role::kMaster)) bad("store.kind", "\"zookeeper\" needs node.roles with \"master\": other nodes follow (registration.follow, overlay.follow)");
  if (!c.registration.follow.empty()) bad("registration.follow", "has no effect on a master with store.kind = \"zookeeper\": it follows whoever leads");
  if (!c.overlay.follow.empty()) bad("overlay.follow", "has no effect on a master with store.kind = \"zookeeper\": it follows whoever leads");
  if (!s.advertise.empty()) return;
  if (c.node.all_addresses().empty()) bad("store.advertise", "store.kind = \"zookeeper\" needs this, or node.address");
  bool reachable = false;
  for (auto& e : c.api.listen) reachable = reachable || !loopback(e.address);
  if (!reachable) bad("api.listen", "store.kind = \"zookeeper\" needs an address here that the other masters reach, or store.advertise");
}

}  // namespace

void check_cluster_settings(const Config& c, const AddProblem& bad) {
  if (c.source.kind == SourceKind::kMesos && c.mesos.masters.empty() && c.mesos.zk.empty())
    bad("mesos.masters", "source.kind = \"mesos\" needs at least one master here, or mesos.zk");
  check_mesos(c.mesos, bad);
  check_hub(c, bad);
  check_store(c, bad);
}

}  // namespace ls
