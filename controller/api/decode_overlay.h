#pragma once
/// Named fields of the maps of the overlay (abi/overlay.h), for decode.cpp. Thread: pure.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string_view>

namespace ls::api {

/// Key or value of one of them; nullopt: another map, or of another size than this build's.
std::optional<nlohmann::json> decode_overlay_key(std::string_view map, std::span<const std::byte> key);
std::optional<nlohmann::json> decode_overlay_value(std::string_view map, std::span<const std::byte> value);

}  // namespace ls::api
