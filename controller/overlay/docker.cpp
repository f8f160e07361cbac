#include "overlay/docker.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace ls::overlay {
namespace {

using End = CommandResult::End;
using nlohmann::json;

constexpr char kBridge[] = "com.docker.network.bridge.name";
constexpr char kMasquerade[] = "com.docker.network.bridge.enable_ip_masquerade";
constexpr char kMtu[] = "com.docker.network.driver.mtu";
constexpr uint32_t kLeastMtu = 68;  // of IPv4, RFC 791; 0 would mean Docker's own choice
constexpr size_t kMaxDifferences = 1000;  // octets of a conflict's text

std::string bridge_of(const DockerNetwork& n) { return "d-" + n.name; }

const json* member(const json& object, const char* key) {
  auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

/// A text value for showing and comparing; none when it is missing.
std::optional<std::string> text_member(const json& object, const char* key) {
  auto* v = member(object, key);
  if (!v) return std::nullopt;
  return v->is_string() ? v->get<std::string>() : v->dump(-1, ' ', true, json::error_handler_t::replace);
}

class Differences {
 public:
  void add(std::string_view what, std::string_view wanted, std::string_view found) {
    if (text_.size() > kMaxDifferences) return;
    text_ += fmt::format("{}{}: wanted {}, found {}", text_.empty() ? "" : "; ", what, wanted, printable(found, 120));
  }
  void compare(std::string_view what, const std::string& wanted, const std::optional<std::string>& found, const char* absent) {
    if (!found || *found != wanted) add(what, wanted, found ? found->empty() ? "\"\"" : *found : absent);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// What Docker's parser of booleans takes (Go's strconv.ParseBool).
std::optional<bool> bool_of(std::string_view t) {
  for (auto yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (t == yes) return true;
  for (auto no : {"0", "f", "F", "false", "FALSE", "False"})
    if (t == no) return false;
  return std::nullopt;
}

const char* on_off(bool on) { return on ? "on" : "off"; }

/// Subnets as the file has them; equal networks have equal texts. IPv6 ones hold a colon.
Result<std::set<std::string>> subnets_of(const json& network) {
  std::set<std::string> out;
  auto* ipam = member(network, "IPAM");
  if (!ipam) return out;
  if (!ipam->is_object()) return fail("IPAM is no object");
  auto* list = member(*ipam, "Config");
  if (!list) return out;
  if (!list->is_array()) return fail("IPAM.Config is no list");
  for (auto& entry : *list) {
    if (!entry.is_object()) return fail("an entry of IPAM.Config is no object");
    auto text = text_member(entry, "Subnet");
    if (!text) continue;
    auto parsed = IpNetwork::parse(*text);
    out.insert(parsed ? parsed->text() : *text);
  }
  return out;
}

std::string joined(const std::set<std::string>& list) {
  std::string out;
  for (auto& s : list) {
    if (out.size() > 100) return out + " and more";
    out += (out.empty() ? "" : ", ") + s;
  }
  return out.empty() ? "none" : out;
}

void compare_subnets(const DockerNetwork& wanted, const std::set<std::string>& found, Differences& d) {
  std::set<std::string> want4, want6, found4, found6;
  if (wanted.v4) want4.insert(wanted.v4->text());
  if (wanted.v6) want6.insert(wanted.v6->text());
  for (auto& s : found) (s.find(':') == s.npos ? found4 : found6).insert(s);
  // Without an IPv4 pool Docker has chosen that subnet itself.
  if (wanted.v4 && want4 != found4) d.add("subnet", joined(want4), joined(found4));
  if (want6 != found6) d.add("IPv6 subnet", joined(want6), joined(found6));
}

bool contains(std::string_view text, std::string_view what) { return text.find(what) != text.npos; }

/// "Error: No such network: dcos" of older, "Error response from daemon: network dcos not found" of newer versions.
bool not_there(const CommandResult& r, const std::string& name) {
  return r.end == End::kExited && r.status != 0 &&
         (contains(r.error, "No such network") || contains(r.error, "network " + name + " not found"));
}

bool no_answer(const CommandResult& r) {
  if (r.end == End::kTimeout || r.end == End::kStopped) return true;
  for (auto* sign : {"Cannot connect to the Docker daemon", "docker daemon running", "error during connect", "failed to connect to the docker API",
                     "permission denied while trying to connect", "connection refused", "dial unix", "context deadline exceeded"})
    if (contains(r.error, sign)) return true;
  return false;
}

DockerResult gone_wrong(DockerResult out, std::string_view doing, const Result<CommandResult>& r) {
  out.failures++;
  if (!r) {
    out.state = DockerState::kFailed;
    out.text = r.error().text();
    return out;
  }
  if (r->end == End::kNotFound) {
    out.state = DockerState::kNoDocker;
    out.failures--;  // nothing was run
    return out;
  }
  out.state = no_answer(*r) ? DockerState::kNoAnswer : DockerState::kFailed;
  out.text = fmt::format("{}: {}", doing, r->text());
  if (contains(r->error, "permission denied")) out.text += " (the daemon's user needs to be in the group of Docker's socket)";
  return out;
}

/// One look at the network; `there` says whether the result means anything.
struct Look {
  bool there = false;
  DockerResult result;
};
Look look(CommandRunner& runner, const DockerOptions& o, const DockerNetwork& wanted, DockerResult out) {
  auto r = runner.run({docker_inspect_command(o, wanted), {}, o.limit});
  if (!r) return {true, gone_wrong(std::move(out), "docker network inspect", r)};
  if (not_there(*r, wanted.name)) return {false, std::move(out)};
  if (!r->good()) return {true, gone_wrong(std::move(out), "docker network inspect", r)};
  auto compared = compare_docker_network(wanted, r->out);
  if (!compared) {
    out.failures++;
    out.state = DockerState::kFailed;
    out.text = "docker network inspect: " + compared.error().text();
    return {true, std::move(out)};
  }
  if (compared->other_name) return {false, std::move(out)};
  out.state = compared->differences.empty() ? DockerState::kThere : DockerState::kConflict;
  out.text = std::move(compared->differences);
  return {true, std::move(out)};
}

}  // namespace

std::string_view name_of(DockerState s) {
  switch (s) {
    case DockerState::kMade: return "made";
    case DockerState::kThere: return "there already";
    case DockerState::kConflict: return "conflict";
    case DockerState::kNoDocker: return "no Docker here";
    case DockerState::kNoAnswer: return "Docker does not answer";
    case DockerState::kFailed: return "failed";
    case DockerState::kNothing: return "nothing to do";
  }
  return "?";
}

bool wants_retry(DockerState s) { return s == DockerState::kNoDocker || s == DockerState::kNoAnswer || s == DockerState::kFailed; }

std::string DockerResult::line() const {
  auto out = fmt::format("{}: {}", name, name_of(state));
  if (!text.empty()) out += ": " + text;
  return out;
}

bool good_docker_name(std::string_view name) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > 13 || !letter(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || c == '-' || c == '_' || c == '.'; });
}

std::vector<std::string> docker_inspect_command(const DockerOptions& o, const DockerNetwork& n) { return {o.binary, "network", "inspect", n.name}; }

std::vector<std::string> docker_create_command(const DockerOptions& o, const DockerNetwork& n) {
  std::vector<std::string> out{o.binary, "network", "create", "--driver=bridge"};
  out.push_back(fmt::format("--opt={}={}", kBridge, bridge_of(n)));
  out.push_back(fmt::format("--opt={}=false", kMasquerade));
  out.push_back(fmt::format("--opt={}={}", kMtu, n.mtu));
  if (n.v4) out.push_back("--subnet=" + n.v4->text());
  if (n.v6) {
    out.push_back("--ipv6");
    out.push_back("--subnet=" + n.v6->text());
  }
  out.push_back(n.name);
  return out;
}

Result<DockerCompared> compare_docker_network(const DockerNetwork& wanted, std::string_view text) {
  auto parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return fail("the answer is no JSON: " + printable(text, 80));
  if (!parsed.is_array() || parsed.size() != 1 || !parsed[0].is_object()) return fail("the answer is no list of one network");
  auto& network = parsed[0];
  DockerCompared out;
  auto name = text_member(network, "Name");
  if (!name) return fail("the answer has no Name");
  if (*name != wanted.name) {
    out.other_name = true;
    return out;
  }
  Differences d;
  d.compare("driver", "bridge", text_member(network, "Driver"), "none");
  LS_ASSIGN(auto subnets, subnets_of(network));
  compare_subnets(wanted, subnets, d);
  auto flag = [&](const char* key) {
    auto* v = member(network, key);
    return v && v->is_boolean() && v->get<bool>();
  };
  if (flag("EnableIPv6") != wanted.v6.has_value()) d.add("IPv6", on_off(wanted.v6.has_value()), on_off(flag("EnableIPv6")));
  if (flag("Internal")) d.add("internal", "off", "on");
  static const json kNone = json::object();
  auto* given = member(network, "Options");
  if (given && !given->is_object()) return fail("Options is no object");
  auto& options = given ? *given : kNone;
  d.compare("bridge", bridge_of(wanted), text_member(options, kBridge), "one named by Docker");
  // Docker's own default is to masquerade.
  auto masquerade = text_member(options, kMasquerade);
  if (!masquerade || bool_of(*masquerade) != false) d.add("masquerade", "off", masquerade ? *masquerade : "on");
  d.compare("mtu", fmt::to_string(wanted.mtu), text_member(options, kMtu), "Docker's default");
  out.differences = d.take();
  return out;
}

DockerResult ensure_docker_network(CommandRunner& runner, const DockerOptions& o, const DockerNetwork& wanted) {
  DockerResult out;
  out.name = wanted.name;
  if (!good_docker_name(wanted.name)) {
    out.name = printable(wanted.name, 20);
    out.text = "the overlay's name cannot be a Docker network's";
    return out;
  }
  if (!wanted.v4 && !wanted.v6) {
    out.state = DockerState::kNothing;
    return out;
  }
  if ((wanted.v4 && !wanted.v4->address.is_v4()) || (wanted.v6 && wanted.v6->address.is_v4())) {
    out.text = "a subnet is of the wrong family";
    return out;
  }
  if (wanted.mtu < kLeastMtu) {
    out.text = fmt::format("an MTU of {} is too small", wanted.mtu);
    return out;
  }
  auto before = look(runner, o, wanted, out);
  if (before.there) return before.result;
  auto r = runner.run({docker_create_command(o, wanted), {}, o.limit});
  if (r && r->good()) {
    out.state = DockerState::kMade;
    return out;
  }
  // Somebody else was faster.
  if (r && contains(r->error, "already exists")) {
    auto after = look(runner, o, wanted, out);
    if (after.there) return after.result;
  }
  return gone_wrong(std::move(out), "docker network create", r);
}

}  // namespace ls::overlay
