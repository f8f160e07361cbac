#pragma once
/// What writer and reader of records share: how text that JSON cannot hold is carried, and the numbers of enumerators on the wire.
/// Internal to hub/. Thread: plain functions.
#include <cstddef>
#include <string>
#include <string_view>

#include "state/model.h"

namespace ls::hub {

/// U+F8FF in UTF-8: two hexadecimal digits of an octet that is no UTF-8 follow, or "--" for the character itself.
inline constexpr std::string_view kOctet = "\xef\xa3\xbf";

/// Length of the UTF-8 sequence at the front of `text` (RFC 3629 section 4), 0 when there is none.
size_t utf8_length(std::string_view text);
/// Appends `text` as a JSON string, quotes included.
void append_json_text(std::string& out, std::string_view text);
/// What append_json_text made of octets that are no UTF-8, back; nothing else is changed. False: a mark without its two digits.
bool restore_octets(std::string_view text, std::string& out);

// The wire has the enumerators' numbers: they may get more, never others.
static_assert(int(MesosState::kStaging) == 0 && int(MesosState::kRunning) == 2 && int(MesosState::kUnreachable) == 10 && int(MesosState::kOther) == 14);
static_assert(int(Health::kUnknown) == 0 && int(Health::kHealthy) == 1 && int(Health::kUnhealthy) == 2);
static_assert(int(Runtime::kUnknown) == 0 && int(Runtime::kMesos) == 1 && int(Runtime::kDocker) == 2);
static_assert(int(PortProtocol::kTcp) == 0 && int(PortProtocol::kUdp) == 1 && int(PortProtocol::kMissing) == 2 && int(PortProtocol::kOther) == 3);
static_assert(int(PortScope::kNone) == 0 && int(PortScope::kContainer) == 1 && int(PortScope::kHost) == 2 && int(PortScope::kInvalid) == 3);

}  // namespace ls::hub
