#pragma once
/// The keys of a Mesos-DNS configuration, read as Mesos-DNS reads them: names without case, the last of several wins, null leaves a
/// plain value and empties a list. Part of import_mesos_dns.cpp. Thread: any. Errors: "KEY: why".
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"

namespace ls {

/// With the defaults of Mesos-DNS. Times are seconds.
struct MesosDnsConfig {
  std::string zk;
  std::vector<std::string> masters;
  int64_t zk_detection_timeout = 30, refresh = 60, state_timeout = 300;
  std::string domain = "mesos";
  int64_t port = 53, http_port = 8123;
  std::string listener = "0.0.0.0", http_listener = "0.0.0.0";
  bool dns_on = true, http_on = true, external_on = true;
  std::vector<std::string> resolvers{"8.8.8.8"};
  std::map<std::string, std::vector<std::string>> zone_resolvers;
  int64_t timeout = 5;
  bool recurse_on = true;
  int64_t ttl = 60, srv_weight = 1;
  std::string soa_mname = "ns1.mesos", soa_rname = "root.ns1.mesos";
  int64_t soa_refresh = 60, soa_retry = 600, soa_expire = 86400, soa_minttl = 60, soa_serial = 0;
  std::vector<std::string> ip_sources{"netinfo", "mesos", "host"};
  bool rfc952 = false, truncate_bit = true, enumeration = true, https = false;
  std::string ca_file, cert_file, key_file;
  std::string authentication, principal, iam_file;
  bool has_secret = false;  ///< the secret itself is never kept
  std::vector<std::string> unknown;  ///< keys that Mesos-DNS ignores, each once
  std::vector<std::string> seen;     ///< known keys that are given, in lower case
};

Result<MesosDnsConfig> read_mesos_dns(std::string_view json);

}  // namespace ls
