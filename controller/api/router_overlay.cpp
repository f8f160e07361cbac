#include "api/router_overlay.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "api/params.h"
#include "api/routes.h"
#include "util/log.h"

namespace ls::api {
namespace {

constexpr std::string_view kMasterState = "/overlay-master/state", kDelete = "/overlay-master/agents/delete", kAgent = "/overlay-agent/overlay",
                           kCapacity = "/v1/overlay/capacity", kNodes = "/v1/overlay/nodes", kFeed = "/v1/overlay/allocations", kAdopt = "/v1/overlay/adopt";
constexpr size_t kMaxCallback = 128;
constexpr Millis kMaxWait{30'000};

Reply failure_reply(const OverlayFailure& f) {
  if (f.leader) return not_leading_reply(*f.leader);
  unsigned status = 500;
  switch (f.kind) {
    case OverlayFailure::Kind::kAbsent: status = 404; break;
    case OverlayFailure::Kind::kInvalid: status = 400; break;
    case OverlayFailure::Kind::kUnavailable: status = 503; break;
    case OverlayFailure::Kind::kRefused: {
      auto r = json_reply({{"error", f.why}, {"reason", f.reason}});
      r.status = 409;
      return r;
    }
    case OverlayFailure::Kind::kFailed: break;
  }
  return error_reply(status, f.why);
}

Reply reply_of(OverlayBody body) {
  if (body) return {.body = std::move(*body)};
  return failure_reply(body.error());
}

/// The name of a function and nothing that could be more: the reply is run as a script.
bool callback_name(std::string_view s) {
  return !s.empty() && s.size() <= kMaxCallback && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '$';
  });
}

Reply shown(OverlayBody body, const std::string* callback) {
  auto reply = reply_of(std::move(body));
  if (!callback || reply.status != 200) return reply;
  while (reply.body.ends_with('\n')) reply.body.pop_back();
  reply.type = "text/javascript";
  reply.body = *callback + "(" + reply.body + ");";
  return reply;
}

std::optional<uint64_t> number_of(const std::string* text) {
  uint64_t n = 0;
  if (!text) return n;
  auto [end, err] = std::from_chars(text->data(), text->data() + text->size(), n);
  if (text->empty() || err != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return n;
}

/// The original spoke protobuf too and answered 415 to everything else.
bool takes_json(std::string_view accept) {
  return accept.empty() || accept.find("application/json") != accept.npos || accept.find("*/*") != accept.npos || accept.find("application/*") != accept.npos;
}

/// Everything at once to who says nothing, else what changed; with `wait` as soon as there is something.
Reply feed(OverlaySource& source, Params& params) {
  auto* run = params.find("run");
  auto version = number_of(params.find("version")), wait = number_of(params.find("wait"));
  if (!version) params.bad("version", "is a number, as the answer before named it");
  if (!wait || *wait > 3600) params.bad("wait", "is a number of seconds");
  if (auto bad = params.refused()) return *bad;
  auto text = source.feed(run ? *run : "", *version);
  if (!text) return failure_reply(text.error());
  Reply r;
  r.shared = std::move(*text);
  if (run && *wait > 0 && source.feed_position() == std::pair(*run, *version)) r.wait = std::min(Millis(*wait * 1000), kMaxWait);
  return r;
}

}  // namespace

std::optional<Reply> overlay_route(Provider& provider, const Request& q) {
  auto path = path_of(q);
  constexpr std::array kPaths{kMasterState, kDelete, kAgent, kCapacity, kNodes, kFeed, kAdopt};
  if (std::find(kPaths.begin(), kPaths.end(), path) == kPaths.end()) return std::nullopt;
  Params params(query_of(q));
  constexpr std::array<std::string_view, 1> kJsonp{"jsonp"};
  constexpr std::array<std::string_view, 3> kFollow{"run", "version", "wait"};
  if (path == kMasterState || path == kAgent) params.only(kJsonp);
  else if (path == kFeed) params.only(kFollow);
  else params.only({});
  bool changes = path == kDelete || path == kNodes || path == kAdopt;
  if (changes && q.method != "POST") return method_reply(path == kNodes ? "GET, HEAD, POST" : "POST");
  if (!changes && !reads(q)) return method_reply("GET, HEAD");
  auto* callback = params.find("jsonp");
  if (callback && !callback_name(*callback)) params.bad("jsonp", "is the name of a function");
  if (auto bad = params.refused()) return bad;
  auto* source = provider.overlay();
  if (!source) return error_reply(404, "this node has no overlay");
  if (path == kAgent && !takes_json(q.accept)) return error_reply(415, "only application/json is spoken here", "Accept");
  if (path == kAgent) return shown(source->agent_overlay(), callback);
  if (path == kMasterState) return shown(source->master_state(), callback);
  if (path == kCapacity) return shown(source->capacity(), nullptr);
  if (path == kFeed) return feed(*source, params);
  if (!q.caller.may_change) {
    log::warn(path == kDelete ? "overlay_delete_denied" : path == kAdopt ? "overlay_adopt_denied" : "overlay_registration_denied", {{"caller", q.caller.text}, {"why", q.caller.refusal}});
    auto r = error_reply(q.caller.refusal_status, q.caller.refusal);
    if (r.status == 401) r.headers.push_back({"WWW-Authenticate", "Bearer"});
    return r;
  }
  if (path == kNodes) return reply_of(source->register_node(q.body, q.caller.text, q.caller.address));
  if (path == kAdopt) return reply_of(source->adopt(q.body, q.caller.text));
  auto nodes_before = source->allocates() ? source->master_view().nodes : 0;
  auto r = reply_of(source->delete_agents(q.body, q.caller.text));
  // The body is the original's and says what remains.
  if (r.status == 200) r.headers.push_back({"X-Loadstar-Removed", std::to_string(nodes_before - std::min(nodes_before, source->master_view().nodes))});
  return r;
}

std::vector<std::string_view> overlay_route_list() {
  return {"/overlay-master/state?jsonp=", "/overlay-master/agents/delete", "/overlay-agent/overlay?jsonp=", "/v1/overlay/capacity", "POST /v1/overlay/nodes", "/v1/overlay/adopt",
          "/v1/overlay/allocations?run=&version=&wait="};
}

}  // namespace ls::api
