#include "sources/zk_members.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <tuple>

#include "util/address.h"

namespace ls {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxInfo = 64 << 10;  // a MasterInfo has some 300 octets

std::optional<int32_t> number_behind(std::string_view name, std::string_view label) {
  if (!name.starts_with(label)) return std::nullopt;
  name.remove_prefix(label.size());
  int32_t n = 0;
  auto [end, err] = std::from_chars(name.data(), name.data() + name.size(), n);
  if (name.empty() || err != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return n;
}

const Json* member(const Json& object, const char* key) {
  auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

std::optional<uint16_t> port_in(const Json& object) {
  auto* j = member(object, "port");
  if (!j || !j->is_number_unsigned()) return std::nullopt;
  auto n = j->get<uint64_t>();
  if (n == 0 || n > 65535) return std::nullopt;
  return uint16_t(n);
}

std::string text_in(const Json& object, const char* key) {
  auto* j = member(object, key);
  return j && j->is_string() ? j->get<std::string>() : std::string();
}

/// What is dialled and put into a request must be a host.
Result<MasterAddress> checked(const std::string& host, uint16_t port) {
  return parse_host_port(HostPort{host, port}.text(), std::nullopt, "master");
}

Result<MasterAddress> from_address(const Json& address) {
  auto port = port_in(address);
  if (!port) return fail("address.port is no port");
  auto ip = text_in(address, "ip");
  if (!ip.empty()) return checked(ip, *port);
  auto name = text_in(address, "hostname");
  if (name.empty()) return fail("address has neither ip nor hostname");
  return checked(name, *port);
}

Result<MasterAddress> from_ip(const Json& info) {
  auto* ip = member(info, "ip");
  auto port = port_in(info);
  if (!ip || !ip->is_number_unsigned() || ip->get<uint64_t>() > UINT32_MAX || !port) return fail("it has neither an address nor ip and port");
  // Four octets in network order, read as a little-endian number: 127.0.0.1 is 16777343.
  uint32_t n = ip->get<uint32_t>();
  return MasterAddress{IpAddress::from_v4(n << 24 | (n & 0xff00) << 8 | (n >> 8 & 0xff00) | n >> 24).text(), *port};
}

}  // namespace

std::optional<int32_t> master_node_number(std::string_view name) { return number_behind(name, "json.info_"); }

bool old_master_node(std::string_view name) { return number_behind(name, "info_") || number_behind(name, ""); }

Result<ZkMaster> parse_master_info(int32_t sequence, std::string_view text) {
  if (text.size() > kMaxInfo) return fail(fmt::format("it has {} octets, more than {}", text.size(), kMaxInfo));
  auto json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded() || !json.is_object()) return fail(fmt::format("it is no JSON object: {}", quote_answer(text)));
  ZkMaster out;
  out.sequence = sequence;
  out.id = text_in(json, "id");
  auto* address = member(json, "address");
  auto where = address && address->is_object() ? from_address(*address) : from_ip(json);
  if (!where) {
    if (auto old = from_ip(json)) where = std::move(old);
  }
  LS_ASSIGN(out.address, where);
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
