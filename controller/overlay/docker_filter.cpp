#include "overlay/docker_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

namespace ls::overlay {
namespace {

constexpr char kOverlay[] = "LOADSTAR-OVERLAY", kInside[] = "LOADSTAR-INSIDE", kForward[] = "LOADSTAR-FORWARD";
constexpr const char* kOurs[] = {kOverlay, kInside, kForward};

/// Rules by chain, in order, without the leading "-A CHAIN "; a chain without rules is there with an empty list.
struct Filter {
  std::map<std::string, std::vector<std::string>, std::less<>> chains;
  bool forward_drop = false;
  const std::vector<std::string>* find(std::string_view chain) const {
    auto it = chains.find(chain);
    return it == chains.end() ? nullptr : &it->second;
  }
};

std::string_view word(std::string_view& line) {
  auto end = std::min(line.find(' '), line.size());
  auto out = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return out;
}

Filter parse(std::string_view text) {
  Filter out;
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    auto what = word(line), chain = word(line);
    if (chain.empty()) continue;
    if (what == "-P" && chain == "FORWARD" && line == "DROP") out.forward_drop = true;
    if (what == "-N" || what == "-P") out.chains[std::string(chain)];
    if (what == "-A") out.chains[std::string(chain)].emplace_back(line);
  }
  return out;
}

using Rules = std::vector<std::string>;
struct Wanted {
  Rules overlay, inside, forward;
};

Wanted wanted_rules(const DockerFilter& f, bool v6) {
  Wanted w;
  auto mine = [&](const IpNetwork& n) { return n.address.is_v4() != v6; };
  for (auto& s : f.shares)
    if (mine(s)) w.overlay.push_back(fmt::format("-d {} -i {} -j ACCEPT", s.text(), f.device));
  for (auto& s : f.shares) {
    if (!mine(s)) continue;
    w.overlay.push_back(fmt::format("-s {} -j {}", s.text(), kInside));
    w.forward.push_back(fmt::format("-s {} -j ACCEPT", s.text()));
    w.forward.push_back(fmt::format("-d {} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", s.text()));
  }
  for (auto& n : f.inside)
    if (mine(n)) w.inside.push_back(fmt::format("-d {} -j ACCEPT", n.text()));
  return w;
}

std::string jump_to(const char* chain) { return fmt::format("-j {}", chain); }

size_t count_of(const Rules& rules, const std::string& rule) { return size_t(std::count(rules.begin(), rules.end(), rule)); }

/// Where Docker lets others put rules; nullptr: it has no rules here.
const char* entry_of(const Filter& f) {
  for (auto* c : {"DOCKER-USER", "DOCKER-ISOLATION"})
    if (f.find(c)) return c;
  return nullptr;
}

/// Place of the first jump among `rules` without it, counted from 1.
size_t place_in(const std::string& chain, const Rules& rules) {
  if (chain == "DOCKER-ISOLATION") return 1;
  auto end = std::find(rules.begin(), rules.end(), "-j RETURN");
  return size_t(end - rules.begin()) + 1;
}

Rules without(Rules rules, const std::string& one) {
  std::erase(rules, one);
  return rules;
}

/// Whether the jump is there once and nothing that ends the chain for every packet is before it.
bool reached(const std::string& chain, const Rules& rules) {
  auto jump = jump_to(kOverlay);
  auto at = std::find(rules.begin(), rules.end(), jump);
  if (at == rules.end() || count_of(rules, jump) != 1) return false;
  return size_t(at - rules.begin()) + 1 <= place_in(chain, without(rules, jump));
}

void declare(std::string& out, const char* chain, const Rules& rules) {
  for (auto& r : rules) out += fmt::format("-A {} {}\n", chain, r);
}

std::string quoted(const std::string& command, const CommandResult& r) { return fmt::format("{}: {}", command, r.text()); }

/// What a command said; nullopt, with a warning, when it failed.
std::optional<std::string> ask(CommandRunner& runner, const std::vector<std::string>& argv, const std::string& input, Millis limit, DockerFilterReport& report,
                               bool missing_is_fine) {
  auto r = runner.run({argv, input, limit, true});
  if (r && r->good()) return std::move(r->out);
  if (r && r->end == CommandResult::End::kNotFound && missing_is_fine) return std::nullopt;
  report.failures++;
  auto said = r ? quoted(argv[0], *r) : r.error().text();
  report.warnings.push_back("Docker's packet filter was not adapted: " + said);
  return std::nullopt;
}

constexpr char kWait[] = "-w";  // for the lock that the legacy version has; ended by our own limit

bool write_rules(CommandRunner& runner, const std::string& binary, Millis limit, const std::string& rules, DockerFilterReport& report) {
  if (!ask(runner, {binary + "-restore", kWait, "--noflush"}, rules, limit, report, false)) return false;
  report.written++;
  return true;
}

/// Docker 28 and later drop, before everything else, what does not come from the bridge itself.
void look_at_raw(CommandRunner& runner, const std::string& binary, Millis limit, const DockerFilter& f, DockerFilterReport& report) {
  auto rules = ask(runner, {binary, kWait, "-t", "raw", "-S", "PREROUTING"}, {}, limit, report, true);
  if (!rules) return;
  for (auto& bridge : f.bridges) {
    auto sign = fmt::format("! -i {} ", bridge);
    std::string_view left = *rules;
    while (!left.empty()) {
      auto end = std::min(left.find('\n'), left.size());
      auto line = left.substr(0, end);
      left.remove_prefix(std::min(end + 1, left.size()));
      if (line.find(sign) == line.npos || !line.ends_with("-j DROP")) continue;
      report.warnings.push_back(fmt::format(
          "Docker drops packets of other nodes for containers behind {} ({} -t raw -S PREROUTING): run dockerd with --allow-direct-routing (Docker 28.2 "
          "and later)", bridge, binary));
      break;
    }
  }
}

}  // namespace

DockerFilterPlan plan_docker_filter(std::string_view rules, const DockerFilter& f, bool v6) {
  DockerFilterPlan out;
  auto have = parse(rules);
  out.forward_drop = have.forward_drop;
  auto* entry = entry_of(have);
  if (!entry) return out;
  out.docker = true;
  auto want = wanted_rules(f, v6);
  if (want.overlay.empty()) return out;
  auto same = [&](const char* chain, const Rules& r) {
    auto* there = have.find(chain);
    return there && *there == r;
  };
  auto& entry_rules = *have.find(entry);
  static const Rules kNone;
  auto* forward = have.find("FORWARD");
  auto& forward_rules = forward ? *forward : kNone;
  auto last = jump_to(kForward);
  bool forward_good = count_of(forward_rules, last) == 1 && forward_rules.back() == last;
  if (same(kOverlay, want.overlay) && same(kInside, want.inside) && same(kForward, want.forward) && reached(entry, entry_rules) && forward_good) return out;
  std::string text = "*filter\n";
  // Naming a chain so empties it, in the same transaction.
  for (auto* c : kOurs) text += fmt::format(":{} - [0:0]\n", c);
  declare(text, kInside, want.inside);
  declare(text, kOverlay, want.overlay);
  declare(text, kForward, want.forward);
  auto jump = jump_to(kOverlay);
  if (!reached(entry, entry_rules)) {
    for (size_t n = count_of(entry_rules, jump); n > 0; n--) text += fmt::format("-D {} {}\n", entry, jump);
    text += fmt::format("-I {} {} {}\n", entry, place_in(entry, without(entry_rules, jump)), jump);
  }
  if (!forward_good) {
    for (size_t n = count_of(forward_rules, last); n > 0; n--) text += fmt::format("-D FORWARD {}\n", last);
    text += fmt::format("-A FORWARD {}\n", last);
  }
  out.restore = text + "COMMIT\n";
  return out;
}

std::string plan_docker_filter_removal(std::string_view rules) {
  auto have = parse(rules);
  std::string text;
  for (auto& [chain, list] : have.chains)
    for (auto* ours : {kOverlay, kForward})
      for (size_t n = count_of(list, jump_to(ours)); n > 0; n--) text += fmt::format("-D {} {}\n", chain, jump_to(ours));
  for (auto* c : kOurs)
    if (have.find(c)) text += fmt::format("-F {}\n", c);
  for (auto* c : kOurs)
    if (have.find(c)) text += fmt::format("-X {}\n", c);
  return text.empty() ? text : "*filter\n" + text + "COMMIT\n";
}

DockerFilterReport ensure_docker_filter(CommandRunner& runner, const DockerFilterOptions& o, const DockerFilter& f) {
  DockerFilterReport report;
  for (bool v6 : {false, true}) {
    bool any = std::any_of(f.shares.begin(), f.shares.end(), [&](auto& s) { return s.address.is_v4() != v6; });
    if (!any) continue;
    auto& binary = v6 ? o.ip6tables : o.iptables;
    // A machine without iptables has none of Docker's rules.
    auto rules = ask(runner, {binary, kWait, "-S"}, {}, o.limit, report, true);
    if (!rules) continue;
    auto plan = plan_docker_filter(*rules, f, v6);
    if (!plan.docker && plan.forward_drop)
      report.warnings.push_back(fmt::format("{}: the policy of FORWARD is DROP and no chain of Docker's is there: containers need rules that accept their packets",
                                            binary));
    if (!plan.docker) continue;
    if (!plan.restore.empty()) write_rules(runner, binary, o.limit, plan.restore, report);
    look_at_raw(runner, binary, o.limit, f, report);
  }
  return report;
}

DockerFilterReport remove_docker_filter(CommandRunner& runner, const DockerFilterOptions& o) {
  DockerFilterReport report;
  for (auto& binary : {o.iptables, o.ip6tables}) {
    auto rules = ask(runner, {binary, kWait, "-S"}, {}, o.limit, report, true);
    if (!rules) continue;
    auto text = plan_docker_filter_removal(*rules);
    if (!text.empty()) write_rules(runner, binary, o.limit, text, report);
  }
  return report;
}

}  // namespace ls::overlay
