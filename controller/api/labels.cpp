#include "api/labels.h"

#include <array>

#include "loadstar/abi/dns.h"
#include "loadstar/abi/drop.h"
#include "loadstar/abi/event.h"

namespace ls::api {
namespace {

// Indexed by the number itself, so a hole in a list would give an empty name and not a wrong one.
template <size_t N>
using Names = std::array<std::string_view, N>;

constexpr auto kHooks = [] {
  Names<LS_HOOK_MAX> a{};
#define LS_X(name, num, label, text) a[num] = label;
  LS_HOOKS(LS_X)
#undef LS_X
  return a;
}();

constexpr auto kVerdicts = [] {
  Names<LS_VERDICT_MAX> a{};
#define LS_X(name, num, label, text) a[num] = label;
  LS_VERDICTS(LS_X)
#undef LS_X
  return a;
}();

constexpr auto kReasons = [] {
  Names<LS_DROP_MAX> a{};
#define LS_X(name, num, label, text) a[num] = label;
  LS_DROP_REASONS(LS_X)
#undef LS_X
  return a;
}();

constexpr auto kReasonTexts = [] {
  Names<LS_DROP_MAX> a{};
#define LS_X(name, num, label, text) a[num] = text;
  LS_DROP_REASONS(LS_X)
#undef LS_X
  return a;
}();

constexpr auto kEvents = [] {
  Names<LS_EVENT_MAX> a{};
#define LS_X(name, num, label) a[num] = label;
  LS_EVENTS(LS_X)
#undef LS_X
  return a;
}();

constexpr auto kDnsHooks = [] {
  Names<LS_DNS_HOOK_MAX> a{};
#define LS_X(name, num, label, text) a[num] = label;
  LS_DNS_HOOKS(LS_X)
#undef LS_X
  return a;
}();

constexpr auto kDnsHookTexts = [] {
  Names<LS_DNS_HOOK_MAX> a{};
#define LS_X(name, num, label, text) a[num] = text;
  LS_DNS_HOOKS(LS_X)
#undef LS_X
  return a;
}();

constexpr auto kDnsResults = [] {
  Names<LS_DNS_RESULT_MAX> a{};
#define LS_X(name, num, label, text) a[num] = label;
  LS_DNS_RESULTS(LS_X)
#undef LS_X
  return a;
}();

constexpr auto kDnsResultTexts = [] {
  Names<LS_DNS_RESULT_MAX> a{};
#define LS_X(name, num, label, text) a[num] = text;
  LS_DNS_RESULTS(LS_X)
#undef LS_X
  return a;
}();

// The lists of known names as one text; the leading ", " is cut off.
#define LS_X(name, num, label, text) ", " label
constexpr std::string_view kAllHooks = LS_HOOKS(LS_X);
constexpr std::string_view kAllDnsHooks = LS_DNS_HOOKS(LS_X);
constexpr std::string_view kAllDnsResults = LS_DNS_RESULTS(LS_X);
#undef LS_X
#define LS_X(name, num, label) ", " label
constexpr std::string_view kAllEvents = LS_EVENTS(LS_X);
#undef LS_X

template <size_t N>
std::string_view name_of(const Names<N>& names, uint32_t i) {
  return i < N && !names[i].empty() ? names[i] : "unknown";
}

template <size_t N>
std::optional<uint8_t> number_of(const Names<N>& names, std::string_view label) {
  for (size_t i = 0; i < N; i++) {
    if (!label.empty() && names[i] == label) return uint8_t(i);
  }
  return std::nullopt;
}

}  // namespace

std::string_view hook_label(uint32_t hook) { return name_of(kHooks, hook); }
std::string_view verdict_label(uint32_t verdict) { return name_of(kVerdicts, verdict); }
std::string_view reason_label(uint32_t reason) { return name_of(kReasons, reason); }
std::string_view reason_text(uint32_t reason) { return name_of(kReasonTexts, reason); }
std::string_view event_label(uint32_t type) { return name_of(kEvents, type); }
std::optional<uint8_t> parse_hook(std::string_view label) { return number_of(kHooks, label); }
std::optional<uint8_t> parse_event(std::string_view label) { return number_of(kEvents, label); }
std::string_view all_hooks() { return kAllHooks.substr(2); }
std::string_view all_events() { return kAllEvents.substr(2); }

std::string_view dns_hook_label(uint32_t hook) { return name_of(kDnsHooks, hook); }
std::string_view dns_hook_text(uint32_t hook) { return name_of(kDnsHookTexts, hook); }
std::string_view dns_result_label(uint32_t result) { return name_of(kDnsResults, result); }
std::string_view dns_result_text(uint32_t result) { return name_of(kDnsResultTexts, result); }
std::optional<uint8_t> parse_dns_hook(std::string_view label) { return number_of(kDnsHooks, label); }
std::optional<uint8_t> parse_dns_result(std::string_view label) { return number_of(kDnsResults, label); }
std::string_view all_dns_hooks() { return kAllDnsHooks.substr(2); }
std::string_view all_dns_results() { return kAllDnsResults.substr(2); }
bool dns_result_is_final(uint32_t result) { return result <= LS_DNS_RATE_DROP; }

}  // namespace ls::api
