#pragma once
/// Names of the numbers that BPF programs count and report, all made from the X-macro lists of loadstar/abi, so that
/// API, metrics and CLI can never disagree with the kernel side. Thread: any, constant data.
#include <cstdint>
#include <optional>
#include <string_view>

namespace ls::api {

// An unknown number (a newer program's) gives "unknown".
std::string_view hook_label(uint32_t hook);        ///< "port_in"
std::string_view verdict_label(uint32_t verdict);  ///< "forward"
std::string_view reason_label(uint32_t reason);    ///< "no_backend"
std::string_view reason_text(uint32_t reason);     ///< a sentence for people
std::string_view event_label(uint32_t type);       ///< "drop"

std::optional<uint8_t> parse_hook(std::string_view label);
std::optional<uint8_t> parse_event(std::string_view label);

/// "drop, new, reply": for messages about a wrong name.
std::string_view all_hooks();
std::string_view all_events();

// DNS answers in the kernel (abi/dns.h). Its hooks are a list of their own.
std::string_view dns_hook_label(uint32_t hook);      ///< enum ls_dns_hook: "xdp"
std::string_view dns_hook_text(uint32_t hook);       ///< "XDP, from the network"
std::string_view dns_result_label(uint32_t result);  ///< enum ls_dns_result: "nxdomain"
std::string_view dns_result_text(uint32_t result);   ///< "answered: no such name"
std::optional<uint8_t> parse_dns_hook(std::string_view label);
std::optional<uint8_t> parse_dns_result(std::string_view label);
std::string_view all_dns_hooks();
std::string_view all_dns_results();
/// The question ended in the kernel, answered or dropped by the rate limit; else the process got it.
bool dns_result_is_final(uint32_t result);

}  // namespace ls::api
