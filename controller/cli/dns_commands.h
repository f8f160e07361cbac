#pragma once
/// `loadstar dns ...`: each asks the API once and prints. Thread: the program's only one. Exit codes as in commands.h.
#include <string>

#include "cli/commands.h"

namespace ls::cli {

struct DnsQuestion {
  std::string name, type, service;  ///< empty: not given
};

int dns_ls(const Context&);
int dns_lookup(const Context&, const DnsQuestion&);   ///< kNotGood when there is no such record
int dns_explain(const Context&, const DnsQuestion&);
int dns_kernel(const Context&, bool all);  ///< `all`: counts that are 0 too
int dns_zone_ls(const Context&);
int dns_zone_dump(const Context&, const std::string& zone, const std::string& service);
int dns_upstreams(const Context&);
int dns_flush(const Context&, const std::string& name);

}  // namespace ls::cli
