#pragma once
/// Where a ZooKeeper ensemble is: "zk://[user:password@]host[:port],.../path", and paths of its nodes. Plain functions, any thread.
/// Source: spec/mesos-state.md section 12, spec/mesos-dns.md 4.2.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "util/host_port.h"
#include "util/result.h"

namespace ls::zk {

inline constexpr uint16_t kPort = 2181;  // clientPort of ZooKeeper's sample configuration

struct Url {
  std::vector<HostPort> servers;  ///< each once, in the order written
  std::string path;               ///< "/mesos"; "/" alone is the root
  std::string user, password;     ///< digest authentication; both or none
  std::string hosts() const;      ///< "h1:2181,[fd01::1]:2181"
  std::string text() const;       ///< without the password, for logs and the status
  bool operator==(const Url&) const = default;
};

/// Errors name what is wrong and never hold the password.
Result<Url> parse_url(std::string_view text);

/// What is wrong with the path of a node as ZooKeeper takes it; empty: nothing.
std::string path_fault(std::string_view path);

/// "/mesos" and "leader" give "/mesos/leader"; "/" and "a" give "/a".
std::string join(std::string_view path, std::string_view name);

}  // namespace ls::zk
