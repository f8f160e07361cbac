#pragma once
/// The records of `dcos.thisdcos.directory` (agentip, containerip, autoip, leader, master), of `l4lb`, `zk` and `thisnode`
/// (spec/spartan-dns.md section 5). Pure. Thread: control loop. Cost: what changed.
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "derive/vip_table.h"
#include "state/cluster_state.h"

namespace ls {

/// Section 5.2. Differences to the reference: an address change of a running task is followed.
RecordDelta dcos_records(const StateDelta& delta);
/// The same in pieces of some thousand records: first what is to be added, then, in the last piece, what is to be removed.
void dcos_records(const StateDelta& delta, const std::function<void(RecordDelta&&)>& take);
/// The task's own records: none unless it runs and does not wait.
std::vector<Record> dcos_task_records(const Task& task);

/// Section 5.4: a record a named service; services of one name are counted.
std::vector<Record> l4lb_records(const Service& service);

/// Sections 5.2, 5.6, 5.1.
std::vector<Record> dcos_master_records(const std::vector<IpAddress>& leader, std::span<const IpAddress> masters);
std::vector<Record> zk_records(std::span<const IpAddress> masters);
std::vector<Record> thisnode_records(const IpAddress& own, std::span<const IpAddress> public_addresses);

/// z-base-32 (section 5.7): most significant bit first, no padding.
std::string zbase32(std::span<const uint8_t> bytes);
std::optional<std::vector<uint8_t>> zbase32_decode(std::string_view text);

}  // namespace ls
