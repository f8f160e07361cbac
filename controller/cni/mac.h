#pragma once
/// Hardware addresses of the devices that loadstar-cni makes. Plain values, thread: any.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ls::cni {

using Mac = std::array<uint8_t, 6>;

/// "0a:58:09:00:00:01"
std::string to_text(const Mac& m);
std::optional<Mac> parse_mac(std::string_view text);

}  // namespace ls::cni
