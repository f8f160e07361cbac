#pragma once
/// A small HTTP client for the API's unix socket: one connection a call. Thread: any, each call blocks its caller.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "util/clock.h"
#include "util/result.h"

namespace ls::api {

struct HttpReply {
  unsigned status = 0;
  std::string body;
  std::string etag;
  bool truncated = false;  ///< a map dump that its limit ended
  std::optional<uint64_t> removed{};  ///< nodes that a delete removed
};

class Client {
 public:
  /// `timeout`: for the whole of a get, and for the header of a stream.
  explicit Client(std::string socket, Millis timeout = Millis(10000));

  /// Errors are about the connection (ENOENT, ECONNREFUSED, EACCES, ETIMEDOUT, ...); a status of 400 is a reply.
  Result<HttpReply> get(std::string_view target, std::string_view if_none_match = {}) const;

  /// As get, with POST and a body of JSON, or none. `timeout` as for get.
  Result<HttpReply> post(std::string_view target, std::string body = {}) const;

  /// Gives each line to `on_line` until the server ends the stream or `on_line` says false. A status other than 200
  /// comes back as the reply with its body.
  Result<HttpReply> lines(std::string_view target, const std::function<bool(std::string_view)>& on_line) const;

 private:
  const std::string socket_;
  const Millis timeout_;
};

}  // namespace ls::api
