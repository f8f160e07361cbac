#pragma once
/// A Forwarder over scripted upstreams on 127.0.0.x, and questions to it.
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/forwarder.h"
#include "dns_upstream.h"
#include "dns_wire.h"

namespace ls::dns::test {

using ls::test::DnsUpstream;
using ls::test::UpstreamScript;

class ForwardLab {
 public:
  explicit ForwardLab(std::vector<UpstreamScript> scripts, ForwarderOptions o = quick(), CacheOptions c = {})
      : upstreams(Upstreams::Options{}), cache(c) {
    for (size_t i = 0; i < scripts.size(); i++) {
      servers.push_back(std::make_unique<DnsUpstream>("127.0.0." + std::to_string(11 + i), 0, scripts[i]));
      group.upstreams.push_back({*IpAddress::parse(servers[i]->address()), servers[i]->port()});
    }
    forwarder.emplace(io, upstreams, cache, clock, o);
  }
  static ForwarderOptions quick() {
    ForwarderOptions o;
    o.timeout = Millis{1'500};
    return o;
  }

  /// "At once" is shown by a time-out that ask() does not wait for.
  static ForwarderOptions patient() {
    ForwarderOptions o;
    o.timeout = Millis{60'000};
    return o;
  }

  struct Reply {
    Bytes message;
    Seen seen;
    Forwarder::Trace trace;
    int calls = 0;
  };
  /// Asks and runs until the reply is there (or `wait` is over: calls is 0).
  Reply ask(const std::string& name, uint16_t type = 1, Millis wait = Millis{8'000}) {
    Asked asked(name, type, next_id++);
    return ask(asked.query, wait);
  }
  Reply ask(const Query& query, Millis wait = Millis{8'000}) {
    auto r = std::make_shared<Reply>();
    forwarder->ask(query, group, [r](std::span<const uint8_t> m, const Forwarder::Trace* trace) {
      r->message.assign(m.begin(), m.end());
      if (trace) r->trace = *trace;
      r->calls++;
    }, true);
    const auto end = std::chrono::steady_clock::now() + wait;
    while (!r->calls && std::chrono::steady_clock::now() < end) run(Millis{5});
    r->seen = see(r->message);
    return *r;
  }
  void run(Millis time) {
    io.restart();
    io.run_for(time);
  }

  boost::asio::io_context io;
  SystemClock clock;
  Upstreams upstreams;
  Cache cache;
  std::vector<std::unique_ptr<DnsUpstream>> servers;
  ForwardGroup group;
  std::optional<Forwarder> forwarder;
  uint16_t next_id = 100;
};

}  // namespace ls::dns::test
