/// A /master/state document as a broken or bribed master would send it: decoded, taken into the state, and made into the records of
/// the Mesos domain. The records that the changes add up to must be those that the whole state gives, and what the walk reads must
/// not depend on what lies behind the text. With the highest bit of the first octet set, it is what is met on the way to a master
/// instead: contents of nodes in ZooKeeper, and an address, a path and a greeting of ZooKeeper.
#include <algorithm>
#include <cstring>
#include <map>
#include <string>

#include "derive/mesos_zone.h"
#include "fuzz_input.h"
#include "sources/mesos_state.h"
#include "sources/zk_members.h"
#include "state/cluster_state.h"
#include "zk/addresses.h"
#include "zk/url.h"

using namespace ls;

namespace {

using ls::fuzz::require;

/// Decodes a copy whose padding is filled with `fill`.
Result<Decoded> decode(std::string_view text, char fill) {
  std::string buffer(text.size() + kJsonPadding, fill);
  std::memcpy(buffer.data(), text.data(), text.size());
  return decode_mesos_state(buffer.data(), text.size(), buffer.size());
}

using Counts = std::map<Record, long>;

void add_up(Counts& have, const RecordDelta& delta) {
  for (auto& r : delta.add) have[r]++;
  for (auto& r : delta.remove) {
    auto it = have.find(r);
    require(it != have.end(), "a record is removed that is not there");
    if (--it->second == 0) have.erase(it);
  }
}

/// Contents of nodes, divided by form feeds: whoever is taken has a host and a port that can be dialled and written into a request.
void masters(std::string_view rest) {
  std::vector<ZkMaster> all;
  for (int32_t i = 0; !rest.empty() && i < 8; i++) {
    auto end = rest.find('\f');
    // Among the least and the largest number there are, for the order of very old directories.
    auto number = i % 2 ? INT32_MIN + i : INT32_MAX - i;
    if (auto m = parse_master_info(number, rest.substr(0, end))) {
      auto again = parse_host_port(m->address.text(), std::nullopt, "master");
      require(again && *again == m->address && m->address.port != 0, "a master that cannot be dialled");
      all.push_back(std::move(*m));
    }
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  }
  auto list = masters_in_order(all);
  require(list.empty() == all.empty(), "masters are lost");
  for (size_t i = 0; i < list.size(); i++) require(std::find(list.begin() + long(i) + 1, list.end(), list[i]) == list.end(), "a master twice");
  for (auto& m : all) require(std::find(list.begin(), list.end(), m.address) != list.end(), "a master is lost");
  auto least = std::min_element(all.begin(), all.end(), [](auto& a, auto& b) { return a.sequence < b.sequence; });
  if (!all.empty()) require(list.front() == least->address, "the first one does not lead");
}

void zookeeper(std::string_view text) {
  masters(text);
  if (auto number = master_node_number(text)) require(!old_master_node(text), "a node of two kinds");
  if (auto url = zk::parse_url(text)) {
    require(!url->servers.empty() && zk::path_fault(url->path).empty() && url->user.empty() == url->password.empty(), "an address that is none");
    auto plain = *url;
    plain.user.clear();
    plain.password.clear();
    auto again = zk::parse_url(plain.text());
    require(again && *again == plain, "an address reads differently once written");
  }
  auto* octets = reinterpret_cast<const unsigned char*>(text.data());
  for (bool known : {false, true}) {
    auto before = zk::Greeting::kIncomplete;
    for (size_t n = 0; n <= std::min<size_t>(text.size(), 48); n++) {
      auto now = zk::check_greeting(octets, n, known);
      require(n < zk::kGreetingSize ? now != zk::Greeting::kGood : now != zk::Greeting::kIncomplete, "a greeting of another length");
      require(before != zk::Greeting::kBad || now == zk::Greeting::kBad, "a bad greeting becomes good");
      before = now;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const uint8_t mode = data[0];
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  if (mode & 128) {
    zookeeper(rest);
    return 0;
  }
  MesosZoneOptions options;
  options.rfc952 = mode & 1;
  options.healthy_only = mode & 2;
  options.protect_reserved = mode & 4;
  options.split_protocols = mode & 8;
  ClusterState state;
  MesosZone zone(options);
  Counts have;
  Instant now{};
  // One document after the other; a form feed divides them.
  for (int i = 0; i < 3 && !rest.empty(); i++) {
    auto end = rest.find('\f');
    auto text = rest.substr(0, end);
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
    auto decoded = decode(text, '\0');
    auto other = decode(text, '"');
    require(decoded.has_value() == other.has_value(), "what follows the text makes a difference");
    if (!decoded) continue;
    require(decoded->problem_count == other->problem_count && decoded->problems == other->problems, "what follows the text makes a difference");
    require(decoded->problems.size() == std::min(decoded->problem_count, RecordDecoder::kMaxProblems), "the problems are not counted");
    require(std::holds_alternative<Subscribed>(decoded->event), "no snapshot");
    auto& subscribed = std::get<Subscribed>(decoded->event);
    require(!subscribed.leader.empty(), "no leader");
    now += Millis(1'000);
    add_up(have, zone.apply(state.apply(std::move(decoded->event), now, {.leader_changed = (mode & 16) != 0})));
  }
  if (mode & 32) add_up(have, zone.apply(state.expire(now + std::chrono::minutes(20))));
  Counts whole;
  for (auto& r : zone.full()) whole[r]++;
  require(have == whole, "the changes add up to something else");
  for (auto& framework : zone.enumerate("mesos", mode & 64)) {
    for (auto& task : framework.tasks) require(task.added_any || task.records.empty(), "records of a task that added none");
  }
  return 0;
}
