#include "derive/dcos_zone.h"

#include <algorithm>
#include <iterator>

#include "derive/fold.h"
#include "derive/ports.h"

namespace ls {
namespace {

constexpr uint32_t kTtl_s = 5;  // spec/spartan-dns.md section 4
constexpr size_t kZkNames = 5;  // section 5.6

/// One label, so none of these can fail but by being empty.
std::string owner_of(std::string_view dotted) { return relative_name(dotted).value_or(std::string()); }

void add_addresses(std::vector<Record>& out, const std::string& owner, std::span<const IpAddress> addresses) {
  for (size_t i = 0; i < addresses.size(); i++) {
    if (addresses[i].is_zero() || std::find(addresses.begin(), addresses.begin() + long(i), addresses[i]) != addresses.begin() + long(i))
      continue;
    out.push_back(address_record(owner, addresses[i], kTtl_s));
  }
}

}  // namespace

std::vector<Record> dcos_task_records(const Task& t) {
  std::vector<Record> out;
  if (t.phase() != TaskPhase::kRunning || t.waiting()) return out;
  const std::string task = fold_label(t.spec->name), framework = fold_label(t.framework_name.view());
  if (task.empty() || framework.empty()) return out;
  const std::string base = task + "." + framework;
  const std::vector<IpAddress> agent{t.agent_address};
  const auto ports = task_ports(t, nullptr);
  const bool mapped = std::any_of(ports.begin(), ports.end(), [](const TaskPort& p) { return p.host_port != 0; });
  add_addresses(out, owner_of(base + ".agentip"), agent);
  add_addresses(out, owner_of(base + ".containerip"), t.addresses);
  add_addresses(out, owner_of(base + ".autoip"), mapped || t.addresses.empty() ? agent : t.addresses);
  return out;
}

void dcos_records(const StateDelta& delta, const std::function<void(RecordDelta&&)>& take) {
  constexpr size_t kPiece = 4096;
  RecordDelta out;
  for (auto& c : delta.tasks) {
    std::vector<Record> before, after;
    if (c.before) before = dcos_task_records(*c.before);
    if (!c.removed) after = dcos_task_records(*c.after);
    if (before.empty()) {
      std::move(after.begin(), after.end(), std::back_inserter(out.add));
    } else {
      RecordDelta d = difference(std::move(before), std::move(after));
      std::move(d.add.begin(), d.add.end(), std::back_inserter(out.add));
      std::move(d.remove.begin(), d.remove.end(), std::back_inserter(out.remove));
    }
    if (out.add.size() < kPiece) continue;
    take({std::move(out.add), {}});
    out.add.clear();
  }
  if (!out.empty()) take(std::move(out));
}

RecordDelta dcos_records(const StateDelta& delta) {
  RecordDelta out;
  dcos_records(delta, [&](RecordDelta&& piece) {
    std::move(piece.add.begin(), piece.add.end(), std::back_inserter(out.add));
    out.remove = std::move(piece.remove);  // only the last piece has any
  });
  return out;
}

std::vector<Record> l4lb_records(const Service& service) {
  if (service.name.empty() || !usable_name(service.name)) return {};
  auto owner = relative_name(service.name);
  if (!owner || owner->empty()) return {};
  return {address_record(std::move(*owner), service.key.address, kTtl_s)};
}

std::vector<Record> dcos_master_records(const std::vector<IpAddress>& leader, std::span<const IpAddress> masters) {
  std::vector<Record> out;
  add_addresses(out, owner_of("leader"), leader);
  add_addresses(out, owner_of("master"), masters);
  return out;
}

std::vector<Record> zk_records(std::span<const IpAddress> masters) {
  std::vector<Record> out;
  for (size_t i = 0; i < kZkNames && !masters.empty(); i++)
    out.push_back(address_record(owner_of("zk-" + std::to_string(i + 1)), masters[i % masters.size()], kTtl_s));
  return out;
}

std::vector<Record> thisnode_records(const IpAddress& own, std::span<const IpAddress> public_addresses) {
  std::vector<Record> out;
  if (!own.is_zero()) out.push_back(address_record("", own, kTtl_s));
  add_addresses(out, owner_of("public"), public_addresses);
  return out;
}

}  // namespace ls
