#pragma once
/// DNS answers in the kernel as JSON and as warnings. Thread: pure. Cost: a few hundred numbers.
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "api/dns_kernel.h"

namespace ls::api {

/// Packets of clients, all hooks together; what `dns explain` and tests asked is not among them.
struct KernelDnsTotals {
  uint64_t answered = 0, dropped = 0, up = 0;  ///< dropped: by the rate limit
};
KernelDnsTotals kernel_totals(const KernelDnsView&);

/// Switches, totals and how full it is: the part of the status.
nlohmann::json kernel_summary_json(const KernelDnsView&);
/// GET /v1/dns/kernel: the summary and `counts`, without those that are 0 unless `zeros`.
nlohmann::json kernel_json(const KernelDnsView&, bool zeros);

/// What an operator should change: names that found no room.
std::vector<std::string> kernel_warnings(const KernelDnsView&);

/// The part `kernel` of GET /v1/dns/explain. `process`: what the process answered to the same question.
nlohmann::json kernel_try_json(const KernelDnsTry&, const std::vector<uint8_t>& process);

}  // namespace ls::api
