#include "api/router_overlay.h"

#include <algorithm>
#include <array>

#include "api/params.h"
#include "util/log.h"

namespace ls::api {
namespace {

constexpr std::string_view kMasterState = "/overlay-master/state", kDelete = "/overlay-master/agents/delete", kAgent = "/overlay-agent/overlay",
                           kCapacity = "/v1/overlay/capacity";
constexpr size_t kMaxCallback = 128;

Reply method_reply(std::string_view allowed) {
  auto r = error_reply(405, std::string("only ") + std::string(allowed) + (allowed == "POST" ? " is" : " are") + " allowed here");
  r.headers.push_back({"Allow", std::string(allowed)});
  return r;
}

Reply reply_of(OverlayBody body) {
  if (body) return {.body = std::move(*body)};
  unsigned status = 500;
  switch (body.error().kind) {
    case OverlayFailure::Kind::kAbsent: status = 404; break;
    case OverlayFailure::Kind::kInvalid: status = 400; break;
    case OverlayFailure::Kind::kUnavailable: status = 503; break;
    case OverlayFailure::Kind::kFailed: break;
  }
  return error_reply(status, body.error().why);
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

}  // namespace

std::optional<Reply> overlay_route(Provider& provider, const Request& q) {
  std::string_view target = q.target;
  auto path = target.substr(0, target.find('?'));
  if (path != kMasterState && path != kDelete && path != kAgent && path != kCapacity) return std::nullopt;
  Params params(path.size() < target.size() ? target.substr(path.size() + 1) : "");
  constexpr std::array<std::string_view, 1> kJsonp{"jsonp"};
  if (path == kMasterState || path == kAgent) params.only(kJsonp);
  else params.only({});
  if (path == kDelete && q.method != "POST") return method_reply("POST");
  if (path != kDelete && q.method != "GET" && q.method != "HEAD") return method_reply("GET, HEAD");
  auto* callback = params.find("jsonp");
  if (callback && !callback_name(*callback)) params.bad("jsonp", "is the name of a function");
  if (auto bad = params.refused()) return bad;
  auto* source = provider.overlay();
  if (!source) return error_reply(404, "this node has no overlay");
  if (path == kAgent) return shown(source->agent_overlay(), callback);
  if (path == kMasterState) return shown(source->master_state(), callback);
  if (path == kCapacity) return shown(source->capacity(), nullptr);
  if (!q.caller.may_change) {
    log::warn("overlay_delete_denied", {{"caller", q.caller.text}, {"why", q.caller.refusal}});
    auto r = error_reply(q.caller.refusal_status, q.caller.refusal);
    if (r.status == 401) r.headers.push_back({"WWW-Authenticate", "Bearer"});
    return r;
  }
  return reply_of(source->delete_agents(q.body, q.caller.text));
}

std::vector<std::string_view> overlay_route_list() {
  return {"/overlay-master/state?jsonp=", "/overlay-master/agents/delete", "/overlay-agent/overlay?jsonp=", "/v1/overlay/capacity"};
}

}  // namespace ls::api
