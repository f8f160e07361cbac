#pragma once
/// Turns the bytes of the ls_* maps into named fields, with the structs of loadstar/abi: what `loadstar map dump` prints.
/// Thread: pure. A map that is not known here, or whose sizes are not those of this build, is shown in hexadecimal.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "api/provider.h"

namespace ls::api {

/// {"key": ..., "value": ...}; a per-CPU map has the sum as "value" and each CPU's own under "per_cpu".
nlohmann::json decode_entry(std::string_view map, const RawEntry&);

/// Every byte of every value is zero: a free place of an array.
bool is_empty(const RawEntry&);

}  // namespace ls::api
