#pragma once
/// Text forms of ZooKeeper: where an ensemble is, and how Mesos masters announce themselves in it. Plain functions, any thread.
/// Sources: spec/mesos-state.md section 12, spec/mesos-dns.md 4.2.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sources/master_address.h"
#include "util/result.h"

namespace ls {

inline constexpr uint16_t kZookeeperPort = 2181;  // clientPort of ZooKeeper's sample configuration

struct ZkUrl {
  std::vector<MasterAddress> servers;
  std::string path;      ///< "/mesos"; "/" alone is the root
  std::string user, password;  ///< digest authentication; both or none
  /// As the client library wants it: "h1:2181,[fd01::1]:2181".
  std::string hosts() const;
  /// Without the password, for logs and the status.
  std::string text() const;
  bool operator==(const ZkUrl&) const = default;
};

/// "zk://[user:password@]host[:port],.../path". Errors name what is wrong and never hold the password.
Result<ZkUrl> parse_zk_url(std::string_view text);

/// A master as its node in the directory says.
struct ZkMaster {
  int32_t sequence = 0;
  std::string id;
  MasterAddress address;
  bool operator==(const ZkMaster&) const = default;
};

/// The number of "json.info_0000000003"; nullopt: no master's node that can be read (log_replicas, another label, no number). The number is a
/// signed 32-bit value that overflows in very old directories.
std::optional<int32_t> master_node_number(std::string_view name);

/// Content of such a node: MasterInfo as JSON. `address` counts before the older `ip` and `port`, which cannot hold IPv6.
Result<ZkMaster> parse_master_info(int32_t sequence, std::string_view json);

/// The leader first (the least number), then the others by address, each address once: one that was restarted has two nodes until the
/// older one's session is over, and its id tells them apart.
std::vector<MasterAddress> masters_in_order(std::vector<ZkMaster> all);

}  // namespace ls
