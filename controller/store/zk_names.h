#pragma once
/// Names and values of a ZkStore's nodes (zk_store.h has the layout). Plain functions, any thread. Internal to store/.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ls {

/// "a/b" gives "a%2Fb", "" gives "%", ".x" gives "%2Ex".
std::string zk_name(std::string_view text);
/// nullopt: zk_name() gives no such name.
std::optional<std::string> zk_text(std::string_view name);

struct ZkRecord {
  std::string value;
  uint64_t version = 0;
};
std::string zk_record(std::string_view area, std::string_view key, std::string_view value, uint64_t version);
/// nullopt: damaged, or of another place.
std::optional<ZkRecord> read_zk_record(std::string_view area, std::string_view key, std::string_view text);

/// Of the topmost node.
std::string zk_counter(uint64_t last);
std::optional<uint64_t> read_zk_counter(std::string_view text);

}  // namespace ls
