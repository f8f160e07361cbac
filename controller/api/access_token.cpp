#include "api/access_token.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "api/socket_file.h"

namespace ls::api {
namespace {

constexpr size_t kMaxToken = 4096;

Result<std::string> read_token(const std::string& file) {
  UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno, "open " + file);
  std::string text(kMaxToken + 2, '\0');
  auto n = read(fd.get(), text.data(), text.size());
  if (n < 0) return fail(errno, "read " + file);
  text.resize(size_t(n));
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.size() > kMaxToken) return fail(file + " is longer than a token");
  return text;
}

bool in_group(int fd, const ucred& peer, const std::string& group) {
  if (group.empty()) return peer.gid == getegid();
  auto number = group_number(group);
  if (!number) return false;
  if (peer.gid == *number) return true;
  std::vector<gid_t> groups(256);
  socklen_t size = socklen_t(groups.size() * sizeof(gid_t));
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) {
    if (errno != ERANGE) return false;
    groups.resize(size / sizeof(gid_t));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) return false;
  }
  groups.resize(size / sizeof(gid_t));
  return std::find(groups.begin(), groups.end(), *number) != groups.end();
}

}  // namespace

bool same_secret(std::string_view given, std::string_view secret) {
  if (secret.empty()) return false;
  // The loop's length depends on what the caller sent, which it knows.
  unsigned char differs = given.size() != secret.size();
  for (size_t i = 0; i < given.size(); i++) {
    differs = static_cast<unsigned char>(differs | (static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(secret[i % secret.size()])));
    asm volatile("" : "+r"(differs));  // no early end made by the compiler
  }
  return differs == 0;
}

Caller socket_caller(int fd, const std::string& group) {
  Caller out;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    out.may_change = false;
    out.refusal = "it is not known who asks, so nothing may be changed";
    return out;
  }
  out.text = fmt::format("uid {}, pid {}", peer.uid, peer.pid);
  if (peer.uid == 0 || peer.uid == geteuid() || in_group(fd, peer, group)) return out;
  out.may_change = false;
  out.refusal = fmt::format("uid {} is neither root nor a member of the API's group", peer.uid);
  return out;
}

Caller tcp_caller(const std::string& peer, std::string_view authorization, const std::string& token_file) {
  Caller out{.on_socket = false, .may_change = false, .refusal_status = 403, .refusal = {}, .text = peer};
  if (token_file.empty()) {
    out.refusal = "changes over TCP need a token, and none is set here (api.token_file); the unix socket takes changes of root and of its group";
    return out;
  }
  auto token = read_token(token_file);
  if (!token || token->empty()) {
    out.refusal = "changes over TCP need a token, and the file of api.token_file is empty or cannot be read";
    return out;
  }
  out.refusal_status = 401;
  constexpr std::string_view kScheme = "bearer ";
  bool bearer = authorization.size() > kScheme.size() &&
                std::equal(kScheme.begin(), kScheme.end(), authorization.begin(), [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); });
  if (!bearer) {
    out.refusal = "changes over TCP need the header \"Authorization: Bearer <token>\"";
  } else if (!same_secret(authorization.substr(kScheme.size()), *token)) {
    out.refusal = "the token is wrong";
  } else {
    out.may_change = true;
    out.text = peer + " with the token";
  }
  return out;
}

}  // namespace ls::api
