#include "sources/zk_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <tuple>

#include "util/address.h"

namespace ls {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxServers = 64;
constexpr size_t kMaxUrl = 8192;

/// Fault of a path as ZooKeeper takes it (its PathUtils); empty: good.
std::string path_fault(std::string_view path) {
  if (path.empty() || path[0] != '/') return "the path must begin with a slash";
  if (path.size() > 1 && path.back() == '/') return "the path must not end with a slash";
  for (size_t at = 1; at < path.size();) {
    auto end = std::min(path.find('/', at), path.size());
    auto part = path.substr(at, end - at);
    if (part.empty()) return "the path has an empty part";
    if (part == "." || part == "..") return fmt::format("the path has the part \"{}\"", part);
    at = end + 1;
  }
  if (std::any_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return "the path holds a control character";
  return {};
}

std::optional<uint16_t> port_of(const Json& j) {
  if (!j.is_number_unsigned()) return std::nullopt;
  auto n = j.get<uint64_t>();
  if (n == 0 || n > 65535) return std::nullopt;
  return uint16_t(n);
}

const Json* member(const Json& object, const char* key) {
  auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

}  // namespace

std::string ZkUrl::hosts() const {
  std::string out;
  for (auto& s : servers) out += (out.empty() ? "" : ",") + s.text();
  return out;
}

std::string ZkUrl::text() const { return fmt::format("zk://{}{}{}", user.empty() ? "" : user + ":***@", hosts(), path); }

Result<ZkUrl> parse_zk_url(std::string_view text) {
  constexpr std::string_view kScheme = "zk://";
  if (!text.starts_with(kScheme)) return fail("a ZooKeeper address is wanted, written as zk://host:port,host:port/path");
  if (text.size() > kMaxUrl) return fail(fmt::format("the ZooKeeper address has {} characters, more than {}", text.size(), kMaxUrl));
  text.remove_prefix(kScheme.size());
  ZkUrl out;
  auto slash = text.find('/');
  if (auto at = text.substr(0, slash).rfind('@'); at != text.npos) {
    auto login = text.substr(0, at);
    auto colon = login.find(':');
    if (colon == login.npos || colon == 0 || colon + 1 == login.size()) return fail("user and password before the @ must both be there: zk://user:password@host/path");
    out.user = login.substr(0, colon);
    out.password = login.substr(colon + 1);
    text.remove_prefix(at + 1);
    slash = text.find('/');
  }
  if (slash == text.npos) return fail("the ZooKeeper address has no path, such as /mesos");
  out.path = text.substr(slash);
  if (auto why = path_fault(out.path); !why.empty()) return fail(fmt::format("ZooKeeper path \"{}\": {}", out.path, why));
  auto hosts = text.substr(0, slash);
  for (size_t at = 0; at <= hosts.size();) {
    auto end = std::min(hosts.find(',', at), hosts.size());
    LS_ASSIGN(auto server, parse_master_address(hosts.substr(at, end - at), kZookeeperPort));
    if (std::find(out.servers.begin(), out.servers.end(), server) == out.servers.end()) out.servers.push_back(std::move(server));
    at = end + 1;
  }
  if (out.servers.size() > kMaxServers) return fail(fmt::format("{} ZooKeeper servers are more than {}", out.servers.size(), kMaxServers));
  return out;
}

std::optional<int32_t> master_node_number(std::string_view name) {
  constexpr std::string_view kLabel = "json.info_";
  if (!name.starts_with(kLabel)) return std::nullopt;
  name.remove_prefix(kLabel.size());
  int32_t n = 0;
  auto [end, err] = std::from_chars(name.data(), name.data() + name.size(), n);
  if (name.empty() || err != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return n;
}

Result<ZkMaster> parse_master_info(int32_t sequence, std::string_view text) {
  auto json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded() || !json.is_object()) return fail(fmt::format("it is no JSON object: {}", quote_answer(text)));
  ZkMaster out;
  out.sequence = sequence;
  if (auto* id = member(json, "id"); id && id->is_string()) out.id = id->get<std::string>();
  if (auto* address = member(json, "address"); address && address->is_object()) {
    auto* port = member(*address, "port");
    auto number = port ? port_of(*port) : std::nullopt;
    if (!number) return fail("address.port is no port");
    out.address.port = *number;
    auto* ip = member(*address, "ip");
    if (!ip) ip = member(*address, "hostname");
    if (!ip || !ip->is_string() || ip->get_ref<const std::string&>().empty()) return fail("address has neither ip nor hostname");
    out.address.host = ip->get<std::string>();
    return out;
  }
  auto *ip = member(json, "ip"), *port = member(json, "port");
  auto number = port ? port_of(*port) : std::nullopt;
  if (!ip || !ip->is_number_unsigned() || ip->get<uint64_t>() > UINT32_MAX || !number) return fail("it has neither an address nor ip and port");
  // Four octets in network order, read as a little-endian number: 127.0.0.1 is 16777343.
  uint32_t n = ip->get<uint32_t>();
  out.address.host = IpAddress::from_v4(n << 24 | (n & 0xff00) << 8 | (n >> 8 & 0xff00) | n >> 24).text();
  out.address.port = *number;
  return out;
}

std::vector<MasterAddress> masters_in_order(std::vector<ZkMaster> all) {
  std::vector<MasterAddress> out;
  if (all.empty()) return out;
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.sequence < b.sequence; });
  out.push_back(all.front().address);
  std::sort(all.begin() + 1, all.end(), [](auto& a, auto& b) { return std::tie(a.address.host, a.address.port) < std::tie(b.address.host, b.address.port); });
  for (auto& m : all) {
    if (std::find(out.begin(), out.end(), m.address) == out.end()) out.push_back(m.address);
  }
  return out;
}

}  // namespace ls
