#pragma once
/// The routes of the API: a request in, a reply out, without sockets. docs/operate/api.md describes each.
/// Thread: the admin thread. Never throws.
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/metrics.h"
#include "api/overlay_check_turn.h"
#include "api/provider.h"
#include "dns/registration_feed.h"
#include "util/clock.h"

namespace ls::api {

/// Who asks, as the listener that took the connection found out.
struct Caller {
  bool on_socket = true;  ///< the unix socket; else TCP, where only some paths are shown
  bool may_change = true;
  unsigned refusal_status = 403;
  std::string refusal{};    ///< why it may not
  std::string text = "?";   ///< for the log: "uid 0, pid 17", "10.0.0.1:40000 with the token"
  std::optional<IpAddress> address{};  ///< over TCP, when something is to be changed
};

struct Request {
  std::string method;  ///< "GET"
  std::string target;  ///< path and query as sent
  std::string if_none_match;
  std::string if_match{}, content_type{}, body{};
  Caller caller{};
  std::string accept{};  ///< empty: none was sent
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
  /// How long `later` may take; nullopt: what the server was told.
  std::optional<Millis> patience{};

  /// Set: nothing is new yet. The request is to be handled again when Router::position() changes; after this time the reply goes
  /// out as it is.
  std::optional<Millis> wait{};
  /// Set: the body, shared by many replies; `body` is empty then.
  std::shared_ptr<const std::string> shared{};
  /// Set: the body, made piece by piece as it is sent, on the admin thread; nullopt is its end. An empty piece lets others go first.
  std::function<std::optional<std::string>()> parts{};
};

/// `{"error": ..., "parameter": ...}`, the body of every status from 400 on; `parameter` may be empty.
/// 503 of a master whose turn it is not; `leader`: Provider::other_leads(), in the body and in X-Loadstar-Leader.
Reply not_leading_reply(const std::string& leader);
Reply error_reply(unsigned status, std::string_view text, std::string_view parameter = {});

/// Texts of feeds, made once for all followers that ask for the same.
struct FeedTexts {
  dns::RegistrationPosition at;
  std::map<std::string, std::shared_ptr<const std::string>> by_position;
};

/// What replies that wait are waiting for.
struct RouterPosition {
  dns::RegistrationPosition registrations;
  std::pair<std::string, uint64_t> overlay;  ///< run and version of the allocations
  std::optional<std::string> other_leads;    ///< whoever waits at this master goes on to another when its turn is over
  bool operator==(const RouterPosition&) const = default;
};

class Router {
 public:
  explicit Router(Provider& provider) : provider_(provider), metrics_(provider) {}

  /// `own_loops`: the event loops of the API itself, shown beside the Provider's.
  Reply handle(const Request&, const std::vector<LoopView>& own_loops);

  /// Ends leases that are over. Call once a second.
  void tick();
  /// Of what this node shows to followers.
  RouterPosition position() const;
  /// Shown in the status beside those of the Provider, such as an address that could not be bound.
  std::vector<std::string> warnings;

 private:
  Provider& provider_;
  Metrics metrics_;
  FeedTexts feeds_;
  OverlayCheckTurn check_turn_;
};

}  // namespace ls::api
