#pragma once
/// A DNS message in words, for `dns lookup` and `dns explain`; written with ldns, which knows how each type's data is spelled.
/// Thread: pure. Source: RFC 1035 4.1, RFC 6891.
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "derive/records.h"
#include "util/result.h"

namespace ls::api {

/// A question as a stub resolver sends it: RD set, EDNS with 1232 octets.
std::vector<uint8_t> make_question(const DnsName& name, RrType type, uint16_t id);

struct ShownRecord {
  std::string name, type, data;
  uint32_t ttl = 0;
};
struct ShownMessage {
  std::string rcode;               ///< "NXDOMAIN"
  std::vector<std::string> flags;  ///< "aa", "tc", "rd", "ra", "ad", "cd"
  std::vector<ShownRecord> answer, authority, additional;  ///< without OPT
  size_t size = 0;                 ///< octets
};

/// Bad input: the error says what ldns found wrong.
Result<ShownMessage> show_message(std::span<const uint8_t> wire);

/// Whether two answers say the same: equal but for the order of records and for `ttl_slack` seconds of each TTL, and equally long.
/// The id counts, OPT as well. Nullopt: one of them cannot be read.
std::optional<bool> same_message(std::span<const uint8_t> a, std::span<const uint8_t> b, uint32_t ttl_slack);

void to_json(nlohmann::json&, const ShownRecord&);
void to_json(nlohmann::json&, const ShownMessage&);

}  // namespace ls::api
