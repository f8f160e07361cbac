#pragma once
/// Named fields of the maps of DNS answers in the kernel, for decode.cpp. Thread: pure.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string_view>

namespace ls::api {

/// Key or value of a map of abi/dns.h; nullopt: another map, or of another size than this build's. Secrets are left out.
std::optional<nlohmann::json> decode_dns_key(std::string_view map, std::span<const std::byte> key);
std::optional<nlohmann::json> decode_dns_value(std::string_view map, std::span<const std::byte> value);
/// Must never be shown in hexadecimal: what cannot be decoded is left out.
bool holds_dns_secrets(std::string_view map);

}  // namespace ls::api
