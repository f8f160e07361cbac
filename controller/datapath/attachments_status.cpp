// What Attachments tells: the state of each place, and what the machine is missing.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "datapath/attachments.h"
#include "util/log.h"

namespace ls::datapath {
namespace {

std::optional<int> read_sysctl(const std::string& path) {
  std::ifstream in(path);
  int value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

}  // namespace

void Attachments::tell_addresses() {
  if (!own_) return;
  std::set<IpAddress> all;
  for (auto& [index, d] : devices_) all.insert(d.addresses.begin(), d.addresses.end());
  // One sentence while the same number is left out, not one at each look.
  size_t left_out = own_->sync(all);
  if (left_out != own_left_out_ && left_out) log::warn("own_addresses_left_out", {{"addresses", left_out}});
  own_left_out_ = left_out;
}

std::string_view to_text(AttachmentStatus::State s) {
  switch (s) {
    case AttachmentStatus::State::kAttached:
      return "attached";
    case AttachmentStatus::State::kDegraded:
      return "degraded";
    case AttachmentStatus::State::kForeign:
      return "foreign";
    case AttachmentStatus::State::kFailed:
      break;
  }
  return "failed";
}

std::vector<AttachmentStatus> Attachments::status() const {
  using State = AttachmentStatus::State;
  std::vector<AttachmentStatus> out;
  for (auto& [key, e] : entries_) {
    auto& spec = kHooks[key.hook];
    AttachmentStatus s;
    s.device = e.device;
    s.target = key.target;
    s.hook = spec.name;
    s.method = spec.is_cgroup() ? "cgroup" : spec.is_xdp() ? "xdp" : e.link || config_.tcx ? "tcx" : "clsact";
    bool process_answers = spec.is_dns() && programs_.program(spec.program) < 0;
    s.state = e.attached        ? (e.error.empty() ? State::kAttached : State::kDegraded)
              : e.foreign       ? State::kForeign
              : process_answers ? State::kDegraded
                                : State::kFailed;
    s.note = !held(key)         ? xdp_note(key)
             : spec.is_overlay() ? "runs the program of the daemon before until the overlay is known"
                                 : "runs the program of the daemon before until the zones are complete";
    s.program_id = e.program_id;
    s.link_id = e.link_id;
    s.error = e.error;
    s.since = e.since;
    out.push_back(std::move(s));
  }
  return out;
}

std::vector<std::string> Attachments::warnings() const {
  std::vector<std::string> out;
  if (!config_.packet && !config_.dns) return out;
  for (auto& name : config_.uplinks) {
    bool there =
        std::any_of(devices_.begin(), devices_.end(), [&](auto& d) { return d.second.name == name; });
    if (!there) {
      out.push_back(fmt::format("uplink {} does not exist", name));
      continue;
    }
    if (!config_.packet) continue;
    // The kernel takes the stricter of the two: the larger, where 2 (loose) beats 1 (strict).
    auto all = read_sysctl("/proc/sys/net/ipv4/conf/all/rp_filter");
    auto own = read_sysctl("/proc/sys/net/ipv4/conf/" + name + "/rp_filter");
    if (std::max(all.value_or(0), own.value_or(0)) == 1) {
      out.push_back(fmt::format(
          "rp_filter is strict on uplink {}: replies that come in another way than the route out are "
          "dropped; set net.ipv4.conf.{}.rp_filter to 2",
          name, name));
    }
  }
  return out;
}

}  // namespace ls::datapath
