// The suite of the resolver file: which servers stand in it, for each state of the local ones.
#include <algorithm>
#include <sstream>

#include "app/upstream_address.h"
#include "app/watchdog_file.h"
#include "app/watchdog_probe.h"
#include "suite.h"

namespace ls::conformance {
namespace {

/// Whether a local server in that state counts as one that answers, judged on the message it would send.
bool answers(const std::string& state) {
  auto question = watchdog::probe_question(7);
  auto reply = question;
  reply[2] = char(0x85);
  if (state == "no answer") return false;
  if (state == "answers") {
    reply[7] = 1;
    reply += std::string("\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f\0\0\1", 16);
  }
  return watchdog::answer_fault(question, reply).empty();
}

/// Lines without comments; "nameserver" lines apart.
void split(const std::string& text, Json& head, std::vector<std::string>& servers) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with("nameserver ")) {
      servers.push_back(line.substr(11));
    } else {
      head.push_back(line);
    }
  }
}

}  // namespace

Outcome run_resolvconf(const Json& one, bool judge) {
  auto& input = one.at("input");
  std::vector<Endpoint> local, upstreams;
  for (auto& [address, state] : input.at("local_servers").items()) {
    if (answers(state)) local.push_back(*parse_upstream(address, 53));
  }
  std::istringstream list(std::string(input.at("resolvers")));
  for (std::string item; std::getline(list, item, ',');) {
    auto e = parse_upstream(item, 53);
    if (!e) return {e.error().text(), ""};
    upstreams.push_back(*e);
  }
  auto search = input.value("search", "");
  auto text = watchdog::resolv_conf_text(local, upstreams, search);
  auto& expect = one.at("expect");
  std::string id = one.at("id");
  if (judge && id == "fallback-only-ports") return {text ? "the old file must stay" : "", ""};
  if (!text) return {"nothing would be written", ""};
  Json head = Json::array();
  std::vector<std::string> servers;
  split(*text, head, servers);
  if (judge && id == "search-empty") return {text->find("\nsearch") == text->npos ? "" : "a search line without a name", ""};
  if (judge && id == "fallback-v6") {
    bool both = std::find(servers.begin(), servers.end(), "fd01::5") != servers.end() && servers.size() == 2;
    return {both ? "" : "the IPv6 server is missing", ""};
  }
  if (judge) return {"", "no rule for this marked case"};
  if (expect.contains("lines")) {
    Json all = head;
    for (auto& s : servers) all.push_back("nameserver " + s);
    return {all == expect["lines"] ? "" : "expected " + expect["lines"].dump() + ", got " + all.dump(), ""};
  }
  std::sort(servers.begin(), servers.end());
  Json want = expect.at("nameservers_drawn_from");
  std::sort(want.begin(), want.end());
  bool good = head == expect.at("lines_before_nameservers") && Json(servers) == want && servers.size() == expect.at("nameserver_count");
  return {good ? "" : "got " + *text, ""};
}

}  // namespace ls::conformance
