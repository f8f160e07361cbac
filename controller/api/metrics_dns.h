#pragma once
/// The DNS part of the metrics, from one ServerView a scrape. Thread: the admin thread. Every label has a bounded set of values: own
/// zones and configured upstreams only, at most kMaxZones and kMaxUpstreams of them, never a name that a client asked for.
#include <string>

#include "api/dns_source.h"
#include "api/metrics_family.h"

namespace ls::api {

inline constexpr size_t kMaxZones = 256, kMaxUpstreams = 256;  ///< what is above is left out; counted in loadstar_dns_zones
void dns_families(Families& out, DnsSource& source);

/// The metrics of dcos-net's registry `dns` under their names (spec/spartan-dns.md section 10), as far as loadstar has them, in text
/// format 0.0.4: for GET /v1/metrics/dns. docs/operate/metrics.md says what is what.
std::string dcos_net_dns_metrics(DnsSource& source);

}  // namespace ls::api
