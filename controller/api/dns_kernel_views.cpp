#include "api/dns_kernel_views.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/dns_message.h"
#include "api/labels.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

constexpr double kNearlyFull = 0.9;  // the table of names refuses some from there on, for want of a place among those a name may have
constexpr uint32_t kClockSlack = 1;  // seconds: TTLs of kept answers are counted down by two clocks

double share(uint64_t used, uint64_t all) { return all ? double(used) / double(all) : 0; }

}  // namespace

KernelDnsTotals kernel_totals(const KernelDnsView& v) {
  KernelDnsTotals t;
  for (size_t hook = 0; hook < v.counts.size(); hook++) {
    if (hook == LS_DNS_HOOK_TRY) continue;
    for (size_t result = 0; result < v.counts[hook].size(); result++) {
      auto n = v.counts[hook][result];
      (!dns_result_is_final(uint32_t(result)) ? t.up : result == LS_DNS_RATE_DROP ? t.dropped : t.answered) += n;
    }
  }
  return t;
}

Json kernel_summary_json(const KernelDnsView& v) {
  auto t = kernel_totals(v);
  return {{"enabled", v.enabled},
          {"problem", v.problem},
          {"answered", t.answered},
          {"dropped", t.dropped},
          {"up", t.up},
          {"names", v.names},
          {"views", v.views},
          {"ready_answers", v.ready},
          {"cached_answers", v.cached},
          {"names_without_room", v.no_room},
          {"incomplete_zones", v.incomplete_zones},
          {"slots_used", v.slots_used},
          {"slots", v.slots},
          {"bytes_used", v.bytes_used},
          {"bytes", v.bytes}};
}

Json kernel_json(const KernelDnsView& v, bool zeros) {
  auto out = kernel_summary_json(v);
  out["counts"] = Json::array();
  for (size_t hook = 0; hook < v.counts.size(); hook++) {
    for (size_t result = 0; result < v.counts[hook].size(); result++) {
      auto n = v.counts[hook][result];
      if (!n && !zeros) continue;
      out["counts"].push_back({{"hook", dns_hook_label(uint32_t(hook))},
                               {"result", dns_result_label(uint32_t(result))},
                               {"text", dns_result_text(uint32_t(result))},
                               {"up", !dns_result_is_final(uint32_t(result))},
                               {"count", n}});
    }
  }
  return out;
}

std::vector<std::string> kernel_warnings(const KernelDnsView& v) {
  if (!v.enabled || !v.no_room) return {};
  bool places = share(v.slots_used, v.slots) >= kNearlyFull, bytes = share(v.bytes_used, v.bytes) >= kNearlyFull;
  auto raise = places == bytes ? "dns.kernel_names and dns.kernel_megabytes" : places ? "dns.kernel_names" : "dns.kernel_megabytes";
  return {fmt::format("{} DNS names found no room in the kernel and are answered by the process: raise {} ({} of {} places, {} of {} MiB used)",
                      v.no_room, raise, v.slots_used, v.slots, v.bytes_used >> 20, v.bytes >> 20)};
}

Json kernel_try_json(const KernelDnsTry& t, const std::vector<uint8_t>& process) {
  bool answers = !t.answer.empty();
  auto agrees = answers ? same_message(t.answer, process, kClockSlack) : std::nullopt;
  return {{"answers", answers},
          {"result", t.result},
          {"text", t.text},
          {"size", t.answer.size()},
          {"agrees", agrees ? Json(*agrees) : Json(nullptr)}};
}

}  // namespace ls::api
