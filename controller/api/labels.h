#pragma once
/// Names of the numbers that BPF programs count and report, all made from the X-macro lists of loadstar/abi, so that the
/// API, the metrics and the CLI can never disagree with the kernel side. Thread: any, constant data.
#include <cstdint>
#include <optional>
#include <string_view>

namespace ls::api {

/// An unknown number (a newer program's) gives "unknown".
std::string_view hook_label(uint8_t hook);
std::string_view verdict_label(uint8_t verdict);
std::string_view reason_label(uint8_t reason);
std::string_view reason_text(uint8_t reason);  ///< a sentence for people
std::string_view event_label(uint8_t type);

std::optional<uint8_t> parse_hook(std::string_view label);
std::optional<uint8_t> parse_event(std::string_view label);

/// "drop, new, reply": for messages about a wrong name.
std::string_view all_hooks();
std::string_view all_events();

}  // namespace ls::api
