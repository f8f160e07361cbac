/// A /master/state document as a broken or bribed master would send it: decoded, taken into the state, and made into the records of
/// the Mesos domain. The records that the changes add up to must be those that the whole state gives, and what the walk reads must
/// not depend on what lies behind the text.
#include <algorithm>
#include <cstring>
#include <map>
#include <string>

#include "derive/mesos_zone.h"
#include "fuzz_input.h"
#include "sources/mesos_state.h"
#include "state/cluster_state.h"

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const uint8_t mode = data[0];
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
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
