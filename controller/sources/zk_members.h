#pragma once
/// How Mesos masters announce themselves in ZooKeeper: names and contents of the nodes in their directory. Plain functions, any thread.
/// Source: spec/mesos-state.md section 12, spec/mesos-dns.md 4.2.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sources/master_address.h"
#include "util/result.h"

namespace ls {

/// A master as its node says.
struct ZkMaster {
  int32_t sequence = 0;  ///< the least number leads
  std::string id;        ///< of the process: one that was restarted has another; may be empty
  MasterAddress address;
  bool operator==(const ZkMaster&) const = default;
};

/// The number of "json.info_0000000003"; nullopt: no master's node that can be read (log_replicas, another label, no number). The number
/// is a signed 32-bit value that overflows in very old directories.
std::optional<int32_t> master_node_number(std::string_view name);
/// "info_0000000003" and "0000000003": nodes of masters before 0.24, whose content is not JSON. They cannot be read here.
bool old_master_node(std::string_view name);

/// Content of a node: MasterInfo as JSON. `address` counts before the older `ip` and `port`, which cannot hold IPv6. The host of the result
/// is an address or a name as parse_host_port() takes it.
Result<ZkMaster> parse_master_info(int32_t sequence, std::string_view json);

/// The leader first, then the others by address, each address once: one that was restarted has two nodes until the older one's session
/// is over.
std::vector<MasterAddress> masters_in_order(std::vector<ZkMaster> all);

}  // namespace ls
