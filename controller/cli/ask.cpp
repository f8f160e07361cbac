#include "cli/ask.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

namespace ls::cli {

using Json = nlohmann::json;

void put(std::string_view text) { fwrite(text.data(), 1, text.size(), stdout); }
void remark(const std::string& text) { fmt::print(stderr, "loadstar: {}\n", printable(text)); }

int unreachable(const Context& c, const Error& e) {
  if (e.code == std::errc::no_such_file_or_directory) {
    remark("loadstard does not run, or uses another socket: there is no " + c.socket + " (option -s chooses one)");
  } else if (e.code == std::errc::connection_refused) {
    remark("loadstard does not run: nobody listens on " + c.socket);
  } else if (e.code == std::errc::connection_reset) {
    remark("loadstard ended before it had answered");
  } else if (e.code == std::errc::permission_denied) {
    remark("you may not use " + c.socket + ": root may, and members of the socket's group");
  } else {
    remark("loadstard cannot be reached: " + e.text());
  }
  return kNoDaemon;
}

int refused(const api::HttpReply& r) {
  auto j = Json::parse(r.body, nullptr, false);
  remark(j.is_object() ? j.value("error", r.body) : r.body);
  return r.status == 400 ? kUsage : kNotGood;
}

std::string encoded(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
    out += plain && c ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string with_query(std::string path, std::initializer_list<std::pair<const char*, std::string>> params) {
  char sign = '?';
  for (auto& [name, value] : params) {
    if (value.empty()) continue;
    path += sign + std::string(name) + "=" + encoded(value);
    sign = '&';
  }
  return path;
}

int print(const Table& t) {
  put(t.text());
  return kGood;
}

int ask(const Context& c, const std::string& target, const std::function<int(const Json&)>& show) {
  auto reply = api::Client(c.socket).get(target);
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  auto json = Json::parse(reply->body);
  if (c.output != Output::kJson) return show(json);
  put(reply->body);
  return kGood;
}

std::string number(const Json& j, const char* name) {
  return j.contains(name) && j[name].is_number() ? std::to_string(j[name].get<uint64_t>()) : "";
}
std::string word(const Json& j, const char* name) { return j.contains(name) && j[name].is_string() ? j[name] : ""; }

}  // namespace ls::cli
