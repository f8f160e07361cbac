/// What a container runtime sends: variables, the configuration on standard input, a result of another plugin in it, and the file with
/// the node's overlays. Whatever comes is taken or refused with a code of CNI in one JSON document; what is taken keeps the limits; a
/// result that can be read can be written and read again.
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "cni/config.h"
#include "cni/overlay_state.h"
#include "cni/request.h"
#include "cni/result.h"

using namespace ls::cni;
using Json = nlohmann::json;

namespace {

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

void check_error(const Failure& f, std::string_view input) {
  int code = int(f.code);
  require((code >= 1 && code <= 8) || code == 11 || code == 100 || code == 103, "a code that is not of this step");
  auto j = Json::parse(error_document(version_of(input), f), nullptr, false);
  require(j.is_object() && j["code"] == code && j["msg"].is_string() && !j["msg"].get<std::string>().empty(), "an error that says nothing");
  require(parse_version(j["cniVersion"].get<std::string>()).has_value(), "an error of no version");
}

void check_result(const AddResult& r) {
  for (auto v : {Version::k020, Version::k040, Version::k110}) {
    auto text = result_document(v, r);
    if (!text) {
      require(v == Version::k020 && r.ips.empty(), "a result that cannot be said");
      continue;
    }
    auto j = Json::parse(*text, nullptr, false);
    require(j.is_object(), "a result that is no JSON");
    auto again = parse_result(j, "result");
    require(again.has_value(), "a result that cannot be read again");
    if (v == Version::k110) require(*again == r, "another result");
  }
}

void check_config(const Request& q, const Config& c) {
  require(valid_identifier(c.network, kMaxNetworkName), "name of the network");
  require(c.mappings.size() <= kMaxMappings && c.ranges.size() <= 2 && c.requested.size() <= 2, "more than can be kept");
  for (auto& m : c.mappings) require(m.host_port && m.container_port, "port 0");
  for (auto& r : c.ranges) {
    require(r.network.contains(r.first) && r.network.contains(r.last) && r.network.contains(r.gateway), "a range outside its network");
    require(r.first <= r.last, "a range that ends before it begins");
  }
  require(!c.mtu || (*c.mtu >= kMinMtu && *c.mtu <= kMaxMtu), "mtu");
  if (c.delegate) {
    require(c.delegate->type.find('/') == std::string::npos, "a delegate somewhere else");
    require(Json::parse(c.delegate->config, nullptr, false).is_object(), "a delegate's configuration");
  } else if (c.mode != Mode::kChained && q.command != Command::kDel) {
    require(!c.ranges.empty() || !c.overlay.empty(), "addresses from nowhere");
  }
  require(c.mode != Mode::kChained || q.command != Command::kAdd || !c.delegate, "a delegate behind another plugin");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  static const char* const kCommands[] = {"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "add", ""};
  static const char* const kPrograms[] = {"loadstar-cni", "mesos-cni-port-mapper", "dcos-l4lb", "bridge"};
  const uint8_t kind = data[0];
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  auto line = [&] {
    auto end = rest.find('\n');
    std::string out(rest.substr(0, end));
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
    return out;
  };
  Environment e{kCommands[kind & 7], "c1", "/run/netns/x", "eth0", "/opt/cni/bin", ""};
  // Variables are as rarely strange as they are in life; else nothing would be found behind them.
  if (kind & 0x20) e.args = line();
  if ((kind & 0xc0) == 0xc0) {
    e.container = line();
    e.ifname = line();
    e.netns = line();
  }
  auto q = parse_request(e, rest);
  if (!q) {
    check_error(q.error(), rest);
  } else if (q->command != Command::kVersion) {
    auto c = parse_config(*q, kPrograms[kind >> 3 & 3]);
    require(c.has_value() || q->command != Command::kDel, "a DEL that cannot be");
    if (c) check_config(*q, *c);
    else check_error(c.error(), rest);
    if (auto it = q->config->find("prevResult"); it != q->config->end()) {
      auto r = parse_result(*it, "prevResult");
      if (r) check_result(*r);
      else check_error(r.error(), rest);
    }
  }
  auto half = parse_overlay_half(rest, "state", "dcos");
  if (half) require(!half->ranges.empty() && half->ranges.size() <= 2 && valid_interface_name(half->bridge), "a half that is none");
  else check_error(half.error(), rest);
  return 0;
}
