#pragma once
/// The routes of the API: a request in, a reply out, without sockets. docs/operate/api.md describes each.
/// Thread: the admin thread. Never throws.
#include <functional>
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

  /// Set: the reply comes later and this one is only its promise. Called once, on the admin thread; it hands `Finish` on to whoever
  /// has the answer, who calls it at most once, on any thread, perhaps before this returns. The function given to `Finish` makes
  /// the reply on the admin thread. Whoever waits too long gets 504.
  using Finish = std::function<void(std::function<Reply()>)>;
  std::function<void(Finish)> later{};
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
