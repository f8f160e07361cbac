#include "cli/dns_commands.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/views.h"
#include "cli/ask.h"
#include "cli/status_text.h"
#include "cli/table.h"

namespace ls::cli {
namespace {

using api::duration_text;
using Json = nlohmann::json;
using Align = Table::Align;

std::string millis(double ms) { return ms > 0 ? fmt::format("{:.1f} ms", ms) : ""; }
std::string yes(const Json& j, const char* name) { return j.value(name, false) ? "yes" : "no"; }
/// Answers of our own zones take microseconds.
std::string took(double ms) { return ms < 0.1 ? fmt::format("{:.0f} us", ms * 1000) : fmt::format("{:.1f} ms", ms); }

/// Answers in zone text's order of words, aligned.
std::string records(const Json& list, std::string_view indent) {
  size_t name = 0, ttl = 0, type = 0;
  for (auto& r : list) {
    name = std::max(name, word(r, "name").size());
    ttl = std::max(ttl, number(r, "ttl").size());
    type = std::max(type, word(r, "type").size());
  }
  std::string out;
  for (auto& r : list) {
    out += printable(fmt::format("{}{:<{}}  {:>{}}  {:<{}}  {}", indent, word(r, "name"), name, number(r, "ttl"), ttl, word(r, "type"),
                                 type, word(r, "data"))) + "\n";
  }
  return out;
}

std::string joined(const Json& list, const char* between) {
  std::string out;
  for (auto& e : list) out += (out.empty() ? "" : between) + e.get<std::string>();
  return out;
}

Json list_of(const Json& j, const char* name) {
  auto found = j.value(name, Json());
  return found.is_array() ? found : Json::array();
}

std::string line(std::string_view title, const std::string& text) {
  return text.empty() ? "" : fmt::format("{:<11}{}\n", title, printable(text));
}

std::string target(const char* path, const DnsQuestion& q) {
  return with_query(path, {{"name", q.name}, {"type", q.type}, {"service", q.service}});
}

std::string answer_line(const Json& j) {
  if (auto error = word(j, "error"); !error.empty()) return error;
  return fmt::format("{}, {} records, {} octets, flags {}, from {} in {}", word(j, "rcode"), list_of(j, "answer").size(),
                     j.value("size", 0ull), joined(list_of(j, "flags"), " "), word(j, "path"), took(j.value("took_ms", 0.0)));
}

std::string section(std::string_view title, const std::string& text) { return text.empty() ? "" : fmt::format("\n{}\n{}", title, text); }

std::string zone_line(const Json& z) {
  if (!z.is_object()) return {};
  return fmt::format("{}{}, serial {}, {} records, {}, TTL {} s", word(z, "zone"), z.value("alias", false) ? " (further name)" : "",
                     number(z, "serial"), number(z, "records"), z.value("loaded", false) ? "loaded" : "NOT LOADED", number(z, "ttl"));
}

/// What a program in the kernel would do with the question.
std::string kernel_line(const Json& k) {
  if (!k.is_object()) return {};
  if (!k.value("answers", false)) return fmt::format("goes up, because {} ({})", word(k, "text"), word(k, "result"));
  auto agrees = k.value("agrees", Json());
  return fmt::format("would answer ({}), {}", word(k, "result"),
                     !agrees.is_boolean() ? "perhaps not as the process does: one answer cannot be read"
                     : agrees.get<bool>() ? "as the process does"
                                          : "NOT as the process does");
}

}  // namespace

int dns_lookup(const Context& c, const DnsQuestion& q) {
  auto reply = api::Client(c.socket, Millis(20000)).get(target("/v1/dns/lookup", q));
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  auto j = Json::parse(reply->body);
  auto answer = list_of(j, "answer");
  auto rcode = word(j, "rcode");
  if (c.output == Output::kJson) {
    put(reply->body);
  } else {
    if (c.output == Output::kWide) put(line("answer", answer_line(j)));
    put(records(answer, ""));
    if (c.output == Output::kWide) {
      put(section("authority", records(list_of(j, "authority"), "  ")));
      put(section("additional", records(list_of(j, "additional"), "  ")));
    }
  }
  if (rcode == "NOERROR" && !answer.empty()) return kGood;
  if (auto error = word(j, "error"); !error.empty()) remark(error);
  else if (rcode == "NOERROR") remark(word(j, "name") + " has no record of type " + word(j, "type"));
  else if (rcode == "NXDOMAIN") remark("there is no name " + word(j, "name") + " (NXDOMAIN)");
  else remark(word(j, "name") + ": " + rcode + " (`loadstar dns explain` says why)");
  return kNotGood;
}

int dns_explain(const Context& c, const DnsQuestion& q) {
  auto reply = api::Client(c.socket, Millis(20000)).get(target("/v1/dns/explain", q));
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  if (c.output == Output::kJson) {
    put(reply->body);
    return kGood;
  }
  auto j = Json::parse(reply->body);
  auto forward = j.value("forward", Json::object());
  auto zone = j.value("zone", Json());
  put(line("question", word(j, "name") + " " + word(j, "type") + " of the " + word(j, "service")));
  put(line("answer", answer_line(j)));
  put(line("rule", word(j, "rule")));
  put(line("zone", zone_line(zone)));
  put(line("kernel", kernel_line(j.value("kernel", Json()))));
  if (auto group = word(forward, "group"); !group.empty()) put(line("forward", group));
  if (auto source = word(forward, "source"); source != word(j, "path")) put(line("source", source));
  if (j.contains("cache_left_s") && j["cache_left_s"].is_number()) {
    auto left = j["cache_left_s"].get<double>();
    put(line("cache", left >= 0 ? duration_text(left) + " of the TTL left" : duration_text(-left) + " past its TTL"));
  }
  put(section("records", records(list_of(j, "answer"), "  ")));
  put(section("authority", records(list_of(j, "authority"), "  ")));
  std::string origins;
  if (zone.is_object()) {
    for (auto& o : list_of(zone, "origins")) origins += "  " + printable(o.get<std::string>()) + "\n";
  }
  put(section("made by", origins));
  Table asked({{"UPSTREAM"}, {"PROTO"}, {"ASKED AT", Align::kRight}, {"TOOK", Align::kRight}, {"OUTCOME"}});
  for (auto& a : list_of(forward, "asked")) {
    asked.row({word(a, "upstream"), a.value("tcp", false) ? "tcp" : "udp", fmt::format("{:.1f} ms", a.value("at_ms", 0.0)),
               fmt::format("{:.1f} ms", a.value("took_ms", 0.0)), word(a, "outcome")});
  }
  put(section("upstreams asked", asked.rows() ? asked.text("  ") : ""));
  return kGood;
}

int dns_kernel(const Context& c, bool all) {
  return ask(c, with_query("/v1/dns/kernel", {{"all", all ? "1" : ""}}), [&](const Json& j) {
    Table counts({{"HOOK"}, {"RESULT"}, {"COUNT", Align::kRight}, {"MEANING"}});
    for (auto& n : list_of(j, "counts")) counts.row({word(n, "hook"), word(n, "result"), number(n, "count"), word(n, "text")});
    put(counts.rows() ? counts.text() : "the kernel saw no question\n");
    put("\n" + kernel_text(j));
    put(line("has", fmt::format("{} names, {} zones and upstreams by suffix, {} ready answers, {} forwarded answers", number(j, "names"),
                                number(j, "views"), number(j, "ready_answers"), number(j, "cached_answers"))));
    put(line("room", fmt::format("{} of {} places, {} of {}", number(j, "slots_used"), number(j, "slots"),
                                 bytes_text(j.value("bytes_used", 0ull)), bytes_text(j.value("bytes", 0ull)))));
    if (auto left_out = j.value("names_without_room", 0ull)) {
      put(line("no room", fmt::format("{} names; raise dns.kernel_names or dns.kernel_megabytes (`loadstar status` says which)", left_out)));
    }
    if (auto zones = j.value("incomplete_zones", 0ull)) {
      put(line("incomplete", fmt::format("{} zones: names that are not in the kernel go up", zones)));
    }
    return int(kGood);
  });
}

int dns_zone_ls(const Context& c) {
  return ask(c, "/v1/dns/zones", [&](const Json& list) {
    bool wide = c.output == Output::kWide;
    std::vector<Table::Column> columns{{"ZONE"}, {"SERVICE"}, {"LOADED"}, {"NAMES", Align::kRight}, {"RECORDS", Align::kRight},
                                       {"SERIAL", Align::kRight}};
    if (wide) columns.insert(columns.end(), {{"TTL", Align::kRight}, {"MEMORY", Align::kRight}, {"ALSO AS"}});
    Table table(columns);
    for (auto& z : list) {
      std::vector<std::string> cells{word(z, "zone"), word(z, "service"), yes(z, "loaded"), number(z, "names"), number(z, "records"),
                                     number(z, "serial")};
      if (wide) {
        cells.push_back(number(z, "ttl"));
        cells.push_back(bytes_text(z.value("bytes", 0ull)));
        cells.push_back(joined(list_of(z, "aliases"), " "));
      }
      table.row(std::move(cells));
    }
    return print(table);
  });
}

int dns_zone_dump(const Context& c, const std::string& zone, const std::string& service) {
  auto reply = api::Client(c.socket, Millis(60000)).get(with_query("/v1/dns/zones/" + encoded(zone), {{"service", service}}));
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  put(reply->body);
  return kGood;
}

int dns_upstreams(const Context& c) {
  return ask(c, "/v1/dns", [&](const Json& j) {
    bool wide = c.output == Output::kWide;
    std::vector<Table::Column> columns{{"UPSTREAM"}, {"STATE"}, {"ROUND TRIP", Align::kRight}, {"P95", Align::kRight},
                                       {"LOST", Align::kRight}, {"QUERIES", Align::kRight}, {"GOOD", Align::kRight}};
    if (wide) columns.insert(columns.end(), {{"IN FLIGHT", Align::kRight}, {"EVENTS"}, {"WHY"}});
    Table table(columns);
    for (auto& u : list_of(j, "upstreams")) {
      auto queries = u.value("queries", 0ull);
      std::vector<std::string> cells{word(u, "upstream"),
                                     u.value("loop", false) ? "loop" : u.value("aside", false) ? "failing" : !queries ? "not asked" : u.value("good", 0ull) ? "good" : "silent",
                                     millis(u.value("rtt_ms", 0.0)),
                                     millis(u.value("p95_ms", 0.0)),
                                     fmt::format("{:.1f} %", u.value("failure_share", 0.0) * 100),
                                     std::to_string(queries),
                                     number(u, "good")};
      if (wide) {
        std::string events;
        auto by_name = u.value("events", Json::object());
        for (auto& [name, count] : by_name.items()) {
          if (count.get<uint64_t>()) events += (events.empty() ? "" : " ") + name + "=" + std::to_string(count.get<uint64_t>());
        }
        cells.push_back(number(u, "in_flight"));
        cells.push_back(events);
        cells.push_back(word(u, "reason"));
      }
      table.row(std::move(cells));
    }
    print(table);
    Table forwards({{"ZONE"}, {"SERVICE"}, {"UPSTREAMS"}});
    for (auto& f : list_of(j, "forwards")) forwards.row({word(f, "zone"), word(f, "service"), joined(list_of(f, "upstreams"), " ")});
    if (forwards.rows()) put("\n" + forwards.text());
    return int(kGood);
  });
}

int dns_flush(const Context& c, const std::string& name) {
  auto reply = api::Client(c.socket).post(with_query("/v1/dns/flush", {{"name", name}}));
  if (!reply) return unreachable(c, reply.error());
  if (reply->status != 200) return refused(*reply);
  if (c.output == Output::kJson) {
    put(reply->body);
    return kGood;
  }
  auto j = Json::parse(reply->body);
  put(fmt::format("{} answers at and below {} dropped\n", number(j, "flushed"), printable(word(j, "name"))));
  return kGood;
}

int dns_ls(const Context& c) {
  return ask(c, "/v1/dns", [&](const Json& j) {
    Table listeners({{"SERVICE"}, {"ADDRESS"}, {"UDP"}, {"TCP"}, {"ERROR"}});
    for (auto& l : list_of(j, "listeners")) {
      listeners.row({word(l, "service"), word(l, "endpoint"), l.contains("udp") && l["udp"].is_null() ? "-" : yes(l, "udp"), yes(l, "tcp"), word(l, "error")});
    }
    print(listeners);
    Table services({{"SERVICE"}, {"UDP", Align::kRight}, {"TCP", Align::kRight}, {"REFUSED", Align::kRight}, {"TRUNCATED", Align::kRight},
                    {"RATE LIMITED", Align::kRight}, {"ANSWERS"}});
    for (auto& s : list_of(j, "services")) {
      std::string answers;
      auto responses = s.value("responses", Json::object());
      for (auto& [path, by_rcode] : responses.items()) {
        for (auto& [rcode, count] : by_rcode.items()) {
          answers += (answers.empty() ? "" : ", ") + fmt::format("{} {} {}", path, rcode, count.get<uint64_t>());
        }
      }
      services.row({word(s, "service"), number(s, "udp_queries"), number(s, "tcp_queries"), number(s, "denied"), number(s, "truncated"),
                    std::to_string(s.value("rate_slipped", 0ull) + s.value("rate_dropped", 0ull)), answers});
    }
    put("\n" + services.text());
    auto cache = j.value("cache", Json::object()), forward = j.value("forwarder", Json::object());
    put("\n" + line("cache", fmt::format("{} answers, {}, {} hits, {} misses, {} stale", number(cache, "entries"),
                                         bytes_text(cache.value("bytes", 0ull)), number(cache, "hits"), number(cache, "misses"),
                                         number(cache, "stale"))));
    put(line("forwarder", fmt::format("{} questions, {} answered, {} shared, {} failed, {} in flight, {} wrong answers",
                                      number(forward, "questions"), number(forward, "answered"), number(forward, "shared"),
                                      number(forward, "servfail"), number(forward, "in_flight"), number(forward, "mismatches"))));
    put(line("zones", std::to_string(list_of(j, "zones").size())));
    return int(kGood);
  });
}

}  // namespace ls::cli
