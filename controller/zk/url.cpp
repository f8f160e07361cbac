#include "zk/url.h"

#include <fmt/format.h>

#include <algorithm>

namespace ls::zk {
namespace {

constexpr size_t kMaxServers = 64;
constexpr size_t kMaxUrl = 8192;

}  // namespace

std::string Url::hosts() const {
  std::string out;
  for (auto& s : servers) out += (out.empty() ? "" : ",") + s.text();
  return out;
}

std::string Url::text() const { return fmt::format("zk://{}{}{}", user.empty() ? "" : user + ":***@", hosts(), path); }

Result<Url> parse_url(std::string_view text) {
  constexpr std::string_view kScheme = "zk://";
  if (!text.starts_with(kScheme)) return fail("a ZooKeeper address is wanted, written as zk://host:port,host:port/path");
  if (text.size() > kMaxUrl) return fail(fmt::format("the ZooKeeper address has {} characters, more than {}", text.size(), kMaxUrl));
  text.remove_prefix(kScheme.size());
  Url out;
  auto slash = text.find('/');
  if (auto at = text.rfind('@'); at != text.npos) {
    // Taking a part of the password for a path would show it.
    if (at > slash) return fail("an @ behind the first slash of the ZooKeeper address: a password may hold no slash, a path no @");
    auto login = text.substr(0, at);
    auto colon = login.find(':');
    if (colon == login.npos || colon == 0 || colon + 1 == login.size())
      return fail("user and password before the @ must both be there: zk://user:password@host/path");
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
    LS_ASSIGN(auto server, parse_host_port(hosts.substr(at, end - at), kPort, "ZooKeeper server"));
    if (std::find(out.servers.begin(), out.servers.end(), server) == out.servers.end()) out.servers.push_back(std::move(server));
    at = end + 1;
  }
  if (out.servers.size() > kMaxServers) return fail(fmt::format("{} ZooKeeper servers are more than {}", out.servers.size(), kMaxServers));
  return out;
}

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

std::string join(std::string_view path, std::string_view name) {
  return path == "/" ? fmt::format("/{}", name) : fmt::format("{}/{}", path, name);
}

}  // namespace ls::zk
