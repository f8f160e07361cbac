#pragma once
/// The routes of the API: a request in, a reply out, without sockets. docs/operate/api.md describes each.
/// Thread: the admin thread. Never throws.
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/metrics.h"
#include "api/provider.h"

namespace ls::api {

struct Request {
  std::string method;  ///< "GET"
  std::string target;  ///< path and query as sent
  std::string if_none_match;
};

struct Reply {
  unsigned status = 200;
  std::string type = "application/json";
  std::string body{};
  std::vector<std::pair<std::string, std::string>> headers{};
  std::optional<EventFilter> monitor{};  ///< set: the body is a stream of events, one JSON object a line
};

/// `{"error": ..., "parameter": ...}`, the body of every status from 400 on; `parameter` may be empty.
Reply error_reply(unsigned status, std::string_view text, std::string_view parameter = {});

class Router {
 public:
  explicit Router(Provider& provider) : provider_(provider), metrics_(provider) {}

  /// `own_loops`: the event loops of the API itself, shown beside the Provider's.
  Reply handle(const Request&, const std::vector<LoopView>& own_loops);

 private:
  Provider& provider_;
  Metrics metrics_;
};

}  // namespace ls::api
