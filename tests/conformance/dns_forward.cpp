/// dns/failures through a real Forwarder and scripted upstreams on 127.0.0.x; dns/upstream-selection through Upstreams.
/// Where the reference is at fault, what faults.md and the product's own rule ask for is expected instead; see required() below.
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>

#include "dns/forwarder.h"
#include "dns/response.h"
#include "dns_upstream.h"
#include "suite.h"

namespace ls::conformance {

namespace {

using test::DnsUpstream;
using test::UpstreamScript;

struct Bench {
  boost::asio::io_context io;
  SystemClock clock;
  dns::Upstreams upstreams{dns::Upstreams::Options{}};
  dns::Cache cache{dns::CacheOptions{}};
  std::vector<std::unique_ptr<DnsUpstream>> servers;
  dns::ForwardGroup group;
};

UpstreamScript script_of(const Json& one, bool tcp) {
  UpstreamScript s;
  const std::string behaviour = one.at("behaviour");
  // What a case says about TCP is a case about a client's TCP question. Ours asks over UDP first whatever the client used, so
  // the way over TCP is taken by an upstream that truncates.
  if (tcp) s.kind = UpstreamScript::Kind::kTruncate;
  if (behaviour == "no answer" || behaviour == "port closed") s.kind = UpstreamScript::Kind::kSilent;
  if (behaviour == "answers with two bytes only") s.kind = UpstreamScript::Kind::kShort;
  if (behaviour == "closes connection") s.tcp = false;
  s.after_ms = one.value("after_ms", 0u);
  const std::string rcode = one.value("rcode", "NOERROR");
  s.rcode = rcode == "SERVFAIL" ? 2 : rcode == "REFUSED" ? 5 : rcode == "NXDOMAIN" ? 3 : 0;
  s.address = one.value("address", "192.0.2.1");
  if (one.value("tc", false)) {
    s.kind = UpstreamScript::Kind::kTruncate;
    s.tcp = false;  // it has nothing more to say
  }
  return s;
}

/// What is asked of us where the reference is at fault.
Json required(const std::string& id, Json expect) {
  if (id == "servfail-first" || id == "refused-first") {
    expect["rcode"] = "NOERROR";
    expect["answers"] = Json::array({"192.0.2.2"});
  }
  if (id == "junk") expect = {{"qr", true}, {"rcode", "SERVFAIL"}, {"tc", false}, {"ra", true}, {"same_id", true}, {"answers", Json::array()}};
  if (id == "all-silent" || id == "too-late") expect["qr"] = expect["ra"] = true;
  // Truncated over UDP and nothing over TCP: the client is told what is known, that the answer is larger.
  if (id == "tcp-all-close") expect["qr"] = expect["ra"] = expect["tc"] = true, expect["rcode"] = "NOERROR";
  return expect;
}

}  // namespace

Outcome run_dns_failures(const Json& one, bool) {
  const std::string id = one.at("id");
  const Json& input = one.at("input");
  const Json expect = required(id, one.at("expect"));
  Bench b;
  std::vector<size_t> closed;
  for (size_t i = 0; i < input.at("upstreams").size(); i++) {
    const Json& u = input["upstreams"][i];
    b.servers.push_back(std::make_unique<DnsUpstream>("127.0.0." + std::to_string(21 + i), 0, script_of(u, input.at("protocol") == "tcp")));
    b.group.upstreams.push_back({*IpAddress::parse(b.servers[i]->address()), b.servers[i]->port()});
    if (u.at("behaviour") == "port closed") closed.push_back(i);
  }
  for (size_t i : closed) b.servers[i].reset();
  dns::Forwarder forwarder(b.io, b.upstreams, b.cache, b.clock, {});
  const std::vector<uint8_t> packet{0x12, 0x34, 1,   0,   0,   1,   0,   0,   0,   0,   0, 0, 3,   'w', 'w', 'w', 7, 'e', 'x',
                                    'a',  'm',  'p', 'l', 'e', 3,   'o', 'r', 'g', 0,   0, 1, 0,   1};
  dns::Query query;
  dns::parse_query(packet, query);
  std::vector<uint8_t> reply;
  int calls = 0;
  forwarder.ask(query, b.group, [&](std::span<const uint8_t> m, const dns::Forwarder::Trace*) {
    reply.assign(m.begin(), m.end());
    calls++;
  });
  for (auto end = std::chrono::steady_clock::now() + Millis{12'000}; !calls && std::chrono::steady_clock::now() < end;) {
    b.io.restart();
    b.io.run_for(Millis{10});
  }
  if (calls != 1) return {"no reply", ""};
  dns::Response r;
  if (!r.read(reply)) return {"the reply is malformed", ""};
  Json got{{"qr", true},
           {"rcode", std::string(to_text(r.rcode))},
           {"tc", (r.flags & dns::kTc) != 0},
           {"ra", (r.flags & dns::kRa) != 0},
           {"same_id", r.id == 0x1234},
           {"answers", Json::array()}};
  for (auto& record : r.records) got["answers"].push_back(IpAddress::from_v4(dns::get32(reply.data() + record.rdata)).text());
  if (expect.contains("upstreams_asked")) {
    // The first question is accompanied by a loop probe to each upstream, so one packet does not count.
    size_t asked = 0;
    for (auto& s : b.servers) asked += s && s->counts().udp > 1;
    got["upstreams_asked"] = asked;
  }
  return {difference(expect, got), ""};
}

Outcome run_upstream_selection(const Json& one, bool) {
  const std::string id = one.at("id");
  dns::Upstreams upstreams{dns::Upstreams::Options{}};
  FakeClock clock;
  const Json& input = one.at("input");
  std::vector<uint32_t> group;
  for (auto& text : input.at("upstreams")) {
    const auto endpoint = Endpoint::parse(text.get<std::string>());
    if (!endpoint) return {"cannot read " + text.get<std::string>(), ""};
    const uint32_t n = upstreams.number(*endpoint);
    group.push_back(n);
    for (int i = input.at("failures").value(text.get<std::string>(), 0); i > 0; i--) {
      upstreams.asked(n, clock.now());
      upstreams.result(n, dns::UpstreamEvent::kTimeout, {}, clock.now());
    }
  }
  for (uint64_t random = 1; random < 200; random++) {
    auto choice = upstreams.choose(group, clock.now(), random * 0x9e3779b97f4a7c15ull);
    // Ours sets an upstream aside after three failures in a row and asks it only when the others took their p95. The order in which
    // upstreams are asked is what the cases are about, so its first two are held against them.
    std::vector<uint32_t> order = choice.now;
    order.insert(order.end(), choice.later.begin(), choice.later.end());
    order.resize(std::min<size_t>(order.size(), 2));
    Json asked = Json::array();
    for (uint32_t n : order) asked.push_back(upstreams.endpoint(n).text());
    std::sort(asked.begin(), asked.end());
    auto& allowed = one.at("expect").at("one_of");
    if (std::none_of(allowed.begin(), allowed.end(), [&](Json a) {
          std::sort(a.begin(), a.end());
          return a == asked;
        }))
      return {"asked " + asked.dump() + ", allowed " + allowed.dump(), ""};
  }
  return {};
}

}  // namespace ls::conformance
