#pragma once
/// What an attachment has, and the documents in which CNI says so: one shape until 0.2.0, another from 0.3.0 on (spec/cni.md, 1.2).
/// Pure functions, thread: any.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cni/failure.h"
#include "cni/version.h"
#include "util/address.h"
#include "util/network.h"

namespace ls::cni {

struct Interface {
  std::string name, mac, sandbox;  ///< sandbox empty: on the host
  std::optional<uint32_t> mtu;     ///< said from 1.1.0 on
  bool operator==(const Interface&) const = default;
};

struct Ip {
  IpAddress address;
  uint8_t prefix = 128;  ///< of the 128 bits
  std::optional<IpAddress> gateway;
  std::optional<size_t> interface;  ///< index into interfaces
  bool operator==(const Ip&) const = default;
};

struct Route {
  IpNetwork dst;
  std::optional<IpAddress> gateway;
  std::optional<uint32_t> mtu, advmss, priority, table, scope;  ///< said from 1.1.0 on, always acted on
  bool operator==(const Route&) const = default;
};

struct Dns {
  std::vector<std::string> nameservers, search, options;
  std::string domain;
  bool operator==(const Dns&) const = default;
};

struct AddResult {
  std::vector<Interface> interfaces;
  std::vector<Ip> ips;
  std::vector<Route> routes;
  Dns dns;
  bool operator==(const AddResult&) const = default;
};

/// One line of JSON. Code 7 when the shape cannot say it: until 0.2.0 there must be an address.
Outcome<std::string> result_document(Version version, const AddResult& r);
/// A result of any version, told by its shape; what is not of CNI is left out. `what` names it in errors: code 6 for types, 7 for values.
Outcome<AddResult> parse_result(const nlohmann::json& j, std::string_view what);

Outcome<Dns> parse_dns(const nlohmann::json& j, std::string_view what);
/// [{dst, gw}] of a result or of "ipam"; code 7 with the place for a bad one. Another family for gw than for dst is one.
Outcome<std::vector<Route>> parse_routes(const nlohmann::json& j, std::string_view what);
/// "9.0.0.2/25": host bits are allowed, the length is required.
std::optional<Ip> parse_cidr(std::string_view text);

}  // namespace ls::cni
