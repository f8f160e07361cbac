#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/routes.h"

namespace ls::api {

Reply error_reply(unsigned status, std::string_view text, std::string_view parameter) {
  nlohmann::json j{{"error", text}};
  if (!parameter.empty()) j["parameter"] = parameter;
  return {.status = status, .body = text_of(j) + "\n"};
}

std::string text_of(const nlohmann::json& j) { return j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

Reply json_reply(const nlohmann::json& j) { return {.body = text_of(j) + "\n"}; }

std::string_view path_of(const Request& q) { return std::string_view(q.target).substr(0, q.target.find('?')); }

std::string_view query_of(const Request& q) {
  auto path = path_of(q);
  return path.size() < q.target.size() ? std::string_view(q.target).substr(path.size() + 1) : "";
}

bool reads(const Request& q) { return q.method == "GET" || q.method == "HEAD"; }

Reply method_reply(std::string_view allowed) {
  auto shown = std::string(allowed);
  if (auto last = shown.rfind(", "); last != shown.npos) shown.replace(last, 2, " and ");
  auto r = error_reply(405, fmt::format("only {} {} allowed here", shown, shown == allowed ? "is" : "are"));
  r.headers.push_back({"Allow", std::string(allowed)});
  return r;
}

Reply not_leading_reply(const std::string& leader) {
  auto why = leader.empty() ? std::string("this master does not lead, and no other one is known to: try again") : "this master does not lead; send this to " + leader;
  nlohmann::json j{{"error", why}, {"leader", leader}};
  Reply r{.status = 503};
  r.body = j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (!leader.empty()) r.headers.push_back({"X-Loadstar-Leader", leader});
  return r;
}

std::function<std::optional<std::string>()> list_of(std::string head, std::function<std::optional<std::vector<nlohmann::json>>()> next, std::string tail) {
  struct State {
    std::string before;
    std::function<std::optional<std::vector<nlohmann::json>>()> next;
    std::string tail;
    bool ended = false, first = true;
  };
  auto s = std::make_shared<State>(State{std::move(head), std::move(next), std::move(tail)});
  return [s]() -> std::optional<std::string> {
    if (s->ended) return std::nullopt;
    auto out = std::exchange(s->before, {});
    auto more = s->next();
    if (!more) {
      s->ended = true;
      return out + (s->first ? "" : "\n") + s->tail;
    }
    for (auto& e : *more) {
      out += (s->first ? "" : ",\n") + text_of(e);
      s->first = false;
    }
    return out;
  };
}

}  // namespace ls::api
