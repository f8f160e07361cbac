#pragma once
/// What the Mesos-DNS HTTP API needs from the daemon. Thread: the API's own; nothing here waits for the control loop.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "derive/mesos_zone.h"
#include "dns/routes.h"
#include "util/epoch.h"

namespace ls::api {

/// The effective configuration in Mesos-DNS's words, with its defaults (spec/mesos-dns.md section 2). Shown by /v1/config.
struct MesosDnsConfig {
  int64_t refresh_seconds = 60, port = 53, timeout = 5, state_timeout_seconds = 300, zk_detection_timeout = 30, http_port = 8123;
  int64_t ttl = 60, srv_weight = 1, soa_serial = 0, soa_refresh = 60, soa_retry = 600, soa_expire = 86400, soa_minttl = 60;
  std::string soa_mname = "ns1.mesos.", soa_rname = "root.ns1.mesos.";
  std::optional<std::vector<std::string>> masters;  ///< as configured; nullopt is null
  std::map<std::string, std::vector<std::string>> zone_resolvers;
  std::vector<std::string> resolvers{"8.8.8.8"}, ip_sources{"netinfo", "mesos", "host"};
  std::string zk, domain = "mesos", file, listener = "0.0.0.0", http_listener = "0.0.0.0";
  bool recurse_on = true, dns_on = true, http_on = true, external_on = true, enforce_rfc952 = false, set_truncate_bit = true;
  bool enumeration_on = true, mesos_https_on = false;
  std::string ca_cert_file, cert_file, key_file, principal;
  bool has_secret = false;  ///< the secret itself never gets here (B17)
  std::string iam_config_file, mesos_authentication;
};

class MesosDnsProvider {
 public:
  virtual ~MesosDnsProvider() = default;
  virtual MesosDnsConfig config() = 0;
  /// The authority's; null or without the domain: every name is unknown.
  virtual std::shared_ptr<const dns::Routes> routes() = 0;
  virtual Epoch& epoch() = 0;
  /// MesosZone::enumerate for the configured domain.
  virtual std::vector<MesosZone::FrameworkRecords> enumerate(bool raw_names) = 0;
  /// Whether names that DNS cannot serve are listed and looked up (B4).
  virtual bool raw_names() = 0;
};

}  // namespace ls::api
