#pragma once
/// Route: what the routers of the API share: tables of paths, the list that a 404 shows, and replies. Internal to api/.
/// Thread: the admin thread; plain functions.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/router.h"

namespace ls::api {

/// One path. `Call` is what its router hands to every handler.
template <class Call>
struct Route {
  std::string_view path;  ///< ends in "/": the rest of the path is an argument
  Reply (*handle)(const Call&);
  std::vector<std::string_view> params;
  std::string_view shown;  ///< in the list of routes
  bool post = false;       ///< changes something; else it is read

  bool is_for(std::string_view asked) const { return path.ends_with('/') ? asked.starts_with(path) : asked == path; }
};

/// Null: `path` is somebody else's.
template <class Call>
const Route<Call>* route_of(const std::vector<Route<Call>>& routes, std::string_view path) {
  for (auto& r : routes) {
    if (r.is_for(path)) return &r;
  }
  return nullptr;
}

template <class Call>
std::vector<std::string_view> shown_paths(const std::vector<Route<Call>>& routes) {
  std::vector<std::string_view> out;
  for (auto& r : routes) out.push_back(r.shown);
  return out;
}

std::string_view path_of(const Request&);   ///< of the target, without the query
std::string_view query_of(const Request&);  ///< without the '?'
bool reads(const Request&);                 ///< GET or HEAD

/// 405; `allowed` as in the header: "GET, HEAD".
Reply method_reply(std::string_view allowed);
/// nullopt: the method is the one of the route.
template <class Call>
std::optional<Reply> wrong_method(const Route<Call>& route, const Request& q) {
  if (route.post ? q.method == "POST" : reads(q)) return std::nullopt;
  return method_reply(route.post ? "POST" : "GET, HEAD");
}

/// Names of tasks and frameworks are tenants' bytes: what is not UTF-8 is replaced, never an error.
std::string text_of(const nlohmann::json&);
Reply json_reply(const nlohmann::json&);  ///< 200, one line
/// For Reply::parts: a list in JSON, one element a line, made while it is sent. `next` gives the next elements; nullopt: there are no more.
std::function<std::optional<std::string>()> list_of(std::string head, std::function<std::optional<std::vector<nlohmann::json>>()> next, std::string tail);

}  // namespace ls::api
