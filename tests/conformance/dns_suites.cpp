// Suites of the resolver's own zones, at the level of the engine: answers, rename, loadbalance, truncation-edns, routing.
#include <algorithm>

#include "dns_cluster.h"

namespace ls::conformance {
namespace {

using test::LdnsMessage;

std::string dotted(const std::string& name) { return name.ends_with('.') ? name : name + "."; }

std::string line_of(const Json& r) {
  const std::string type = r.at("type");
  const Json& data = r.at("data");
  std::string out = dotted(r.at("name")) + " " + std::to_string(r.at("ttl").get<int>()) + " " + type + " ";
  const auto number = [&](const char* key) { return std::to_string(data.at(key).get<int64_t>()); };
  if (type == "SOA")
    return out + dotted(data.at("mname")) + " " + dotted(data.at("rname")) + " " + number("serial") + " " + number("refresh") + " " +
           number("retry") + " " + number("expire") + " " + number("minimum");
  if (type == "SRV") return out + number("priority") + " " + number("weight") + " " + number("port") + " " + dotted(data.at("target"));
  if (type == "CNAME" || type == "NS" || type == "PTR") return out + dotted(data);
  return out + data.get<std::string>();
}

bool is_alias(const std::string& line) { return line.find(" CNAME ") != std::string::npos; }

/// Aliases in order and first, then everything else as a set.
Json section(std::vector<std::string> lines) {
  const auto rest = std::stable_partition(lines.begin(), lines.end(), is_alias);
  std::sort(rest, lines.end());
  std::string text;
  for (auto& line : lines) text += line + "\n";
  return text;
}
Json section(const Json& records) {
  std::vector<std::string> lines;
  for (const auto& r : records) lines.push_back(line_of(r));
  return section(lines);
}

std::string rcode_text(const LdnsMessage& m) { return std::string(dns::to_text(static_cast<dns::Rcode>(m.rcode))); }

Json json_of(const LdnsMessage& m) {
  return {{"qr", m.qr}, {"rcode", rcode_text(m)}, {"aa", m.aa}, {"tc", m.tc}, {"ra", m.ra}, {"rd", m.rd},
          {"answers", section(m.answer)}, {"authority", section(m.authority)}, {"additional", section(m.additional)}};
}

std::vector<uint8_t> question_of(const Json& question) {
  auto wire = test::write_query({dotted(question.at("name")), question.at("type")});
  for (const auto& more : question.value("more_names", Json::array())) {
    const auto second = test::write_query({dotted(more), question.at("type")});
    wire.insert(wire.end(), second.begin() + static_cast<long>(dns::kHeader), second.end());
    ++wire[5];
  }
  return wire;
}

std::string judge_answer(const std::string& id, const Json& one, const LdnsMessage& m) {
  const std::string name = dotted(one.at("input").at("question").at("name"));
  if (id == "two-questions-mixed") return m.rcode == 1 ? "" : "two questions: expected FORMERR, got " + rcode_text(m) + "\n";
  if (id == "cluster-id-upper") {
    std::string wrong = m.answer.size() == one.at("expect").at("answers").size() ? "" : "wrong number of answers\n";
    for (auto& line : m.answer)
      if (!line.starts_with(name + " ")) wrong += line + ": owner is not as asked\n";
    return wrong;
  }
  if (id == "no-upstream") return m.qr && m.question.size() == 1 ? "" : "no response with the question\n";
  return "no rule for this marked case\n";
}

}  // namespace

Outcome run_dns_answers(const Json& one, bool judge) {
  DnsCluster cluster(zones_in(one.at("about")));
  const Json& question = one.at("input").at("question");
  cluster.world.limits.tcp = question.value("protocol", "udp") == "tcp";
  const auto m = test::read_message(cluster.world.ask(question_of(question)));
  if (!m) return {"no answer, or one that ldns cannot read\n", ""};
  if (judge) return {judge_answer(one.at("id"), one, *m), ""};
  Json expect = one.at("expect");
  for (const char* key : {"answers", "authority", "additional"}) expect[key] = section(expect.at(key));
  return {difference(expect, json_of(*m)), ""};
}

Outcome run_dns_loadbalance(const Json& one, bool judge) {
  if (judge) return {"", "no rule for this marked case"};
  DnsCluster cluster(Json{{"lb.thisdcos.directory", Json::array()}});
  const Json& input = one.at("input");
  const std::string policy = input.at("policy");
  auto& rules = cluster.world.view("lb.thisdcos.directory").rules;
  rules.rotation = policy == "round_robin" ? dns::Rotation::kRoundRobin : policy == "random" ? dns::Rotation::kRandom : dns::Rotation::kNone;
  for (int i = 1; i <= input.at("addresses").get<int>(); ++i)
    cluster.world.add("lb.thisdcos.directory", "x.lb.thisdcos.directory", "A", "10.0.0." + std::to_string(i));
  const auto m = test::read_message(cluster.world.ask(test::write_query({"x.lb.thisdcos.directory.", "A", -1, false, input.at("message_id")})));
  if (!m) return {"no answer\n", ""};
  Json order = Json::array();
  for (auto& line : m->answer) order.push_back(std::stoi(line.substr(line.rfind('.') + 1)));
  Order compare;
  if (policy != "random") compare.ordered.insert("order");
  return {difference(Json{{"order", one.at("expect").at("order")}}, Json{{"order", order}}, compare), ""};
}

Outcome run_dns_truncation(const Json& one, bool judge) {
  const Json& input = one.at("input");
  const std::string id = one.at("id"), zone = "dcos.thisdcos.directory";
  const std::string name = id.substr(0, id.find('-')) + ".fw.autoip." + zone;
  const int records = input.at("records");
  const bool tcp = input.at("protocol") == "tcp";
  const int edns = input.at("edns_payload").is_null() ? -1 : input.at("edns_payload").get<int>();
  DnsCluster cluster(Json{{zone, Json::array()}});
  RecordDelta delta;
  for (int i = 0; i < records; ++i)
    delta.add.push_back(test::record_of(name, "A", "10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256), test::name_of(zone)));
  cluster.world.table(zone).apply(delta);
  cluster.world.limits.tcp = tcp;
  cluster.world.limits.udp_max = 65535;  // as the reference, which has no cap of its own
  const auto wire = cluster.world.ask(test::write_query({name, "A", edns}));
  const auto m = test::read_message(wire);
  if (!m) return {"no answer\n", ""};
  // What RFC 6891 7 asks for and the reference does not do: a truncated answer keeps its OPT, which takes the place of a record where
  // less than 11 octets would be left.
  const int limit = tcp ? 65535 : std::max(edns, 512);
  const int base = static_cast<int>(dns::kHeader + test::name_of(name).wire().size() + 4), opt = edns >= 0 ? 11 : 0;
  const int fit = (limit - base - opt) / 16;
  const bool truncated = records > fit;
  Json want{{"tc", truncated}, {"answers", truncated ? fit : records}, {"rcode", "NOERROR"}};
  Json got{{"tc", m->tc}, {"answers", m->answer.size()}, {"rcode", rcode_text(*m)}};
  std::string wrong = difference(want, got);
  if (static_cast<int>(wire.size()) > limit) wrong += "larger than the limit\n";
  if (m->edns != (edns >= 0)) wrong += "OPT is not as in the question\n";
  if (judge) return {wrong, ""};
  // The case itself, but for that one record.
  const Json& expect = one.at("expect");
  const int expected = expect.at("answers"), count = static_cast<int>(m->answer.size());
  if (expect.at("tc") != m->tc) wrong += "TC is not as in the case\n";
  if (count != expected && !(m->tc && edns >= 0 && count + 1 == expected)) wrong += "answers: case " + std::to_string(expected) + ", got " + std::to_string(count) + "\n";
  return {wrong, ""};
}

Outcome run_dns_routing(const Json& one, bool judge) {
  Json zones = Json::object();
  for (const char* label : {"l4lb", "mesos", "dcos", "foo", "component", "thisnode"}) zones[label + std::string(".thisdcos.directory")] = Json::array();
  DnsCluster cluster(zones);
  const auto group = [&](const char* zone, std::initializer_list<const char*> upstreams) {
    dns::ForwardGroup g{test::name_of(zone), {}};
    for (const char* u : upstreams) g.upstreams.push_back(*Endpoint::parse(u));
    cluster.world.groups.push_back(g);
  };
  group(".", {"8.8.8.8:53", "8.8.4.4:5353"});
  group("mesos", {"10.10.0.1:61053", "10.10.0.2:61053"});
  group("example.com", {"10.1.1.1:53", "10.1.1.2:5300"});
  group("sub.example.com", {"10.1.1.3:53"});
  group("corp", {"10.1.1.4:53"});
  const std::string name = one.at("input").at("name");
  const dns::Route route = cluster.world.routes().find(test::name_of(name.empty() ? "." : name).folded().wire());
  if (judge) return {route.zone ? "" : "an internal name is not answered here\n", ""};
  Json got = Json::object();
  if (route.zone && route.zone->is_alias) {
    std::string main;
    for (const auto& v : cluster.world.routes().views())
      if (v.table == route.zone->table && !v.is_alias) main = v.apex.text();
    got = {{"decision", "rename"}, {"from", route.zone->apex.text()}, {"to", main}};
  } else if (route.zone) {
    got = {{"decision", "internal"}, {"zone", route.zone->apex.text()}};
  } else if (route.forward) {
    got = {{"decision", "forward"}, {"zone", route.forward->zone.text()}, {"upstreams", Json::array()}};
    for (const auto& u : route.forward->upstreams) got["upstreams"].push_back(u.text());
  }
  return {difference(one.at("expect"), got), ""};
}

}  // namespace ls::conformance
