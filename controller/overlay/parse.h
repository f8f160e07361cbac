#pragma once
/// Texts of blocks and addresses with a length, as they stand in records, requests and the original's JSON.
/// Thread: any; pure. Strict: both have a prefix length, a block has no bits behind it.
#include <optional>
#include <string_view>

#include "overlay/model.h"

namespace ls::overlay {

std::optional<IpNetwork> parse_block(std::string_view);                      ///< "9.0.1.0/24"
std::optional<InterfaceAddress> parse_interface_address(std::string_view);  ///< "44.128.0.1/20"

}  // namespace ls::overlay
