/// ls-overlay-selftest: OverlayProbe of one node without the daemon, with no more rights than the daemon has. Commands are JSON lines on the
/// standard input, one JSON line answers each.
///
///   {"do": "start", "port": 64001, "connect_ms": 1200, ...}   {"do": "self", "node": ..., "vtep": ..., "vtep6": ..., "device": ..., "mtu": ...}
///   {"do": "peers", "peers": [{"node": ..., "vtep": ..., "vtep6": ...}]}   {"do": "put", ...}   {"do": "remove", "node": ...}
///   {"do": "status"}   {"do": "check", "node": ""}   {"do": "stop"}
#include <net/if.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "app/overlay_probe.h"
#include "app/privileges.h"

namespace ls {
namespace {

using nlohmann::json;
namespace asio = boost::asio;

IpAddress addr(const json& j) { return IpAddress::parse(j.get<std::string>()).value(); }

OverlayProbePeer peer_of(const json& c) {
  OverlayProbePeer p{addr(c.at("node")), addr(c.at("vtep")), std::nullopt};
  if (c.contains("vtep6")) p.vtep6 = addr(c["vtep6"]);
  return p;
}

void say(const json& answer) { std::cout << answer.dump() << std::endl; }

class Node {
 public:
  explicit Node(asio::io_context& io) : io_(io) {}

  void handle(const json& c) {
    auto what = c.at("do").get<std::string>();
    if (what == "start") {
      start(c);
    } else if (what == "self") {
      auto me = peer_of(c);
      probe_->set_self({me.node, me.vtep4, me.vtep6, int(if_nametoindex(c.at("device").get<std::string>().c_str())), c.at("mtu").get<uint32_t>()});
    } else if (what == "peers") {
      std::vector<OverlayProbePeer> all;
      for (auto& p : c.at("peers")) all.push_back(peer_of(p));
      probe_->set_peers(std::move(all));
    } else if (what == "put") {
      probe_->put_peer(peer_of(c));
    } else if (what == "remove") {
      probe_->remove_peer(addr(c.at("node")));
    } else if (what == "unknown") {  // nodes that the tables do not have
      unknown_.clear();
      for (auto& n : c.at("nodes")) unknown_.insert(addr(n));
    } else if (what == "check") {
      return check(c.value("node", ""));
    } else if (what == "stop") {
      probe_->stop();
    } else if (what != "status") {
      throw std::runtime_error("unknown command " + what);
    }
    status();
  }

 private:
  void start(const json& c) {
    OverlayProbeOptions o;
    o.port = uint16_t(c.value("port", 64001));
    auto ms = [&](const char* key, Millis& into) { into = Millis(c.value(key, into.count())); };
    ms("first_ms", o.first), ms("interval_ms", o.interval), ms("retry_ms", o.retry), ms("again_ms", o.again), ms("witness_ms", o.witness);
    ms("connect_ms", o.connect), ms("data_ms", o.data), ms("ping_ms", o.ping), ms("check_ms", o.check);
    o.known = [this](const OverlayProbePeer& p) { return !unknown_.contains(p.node); };
    probe_ = std::make_unique<OverlayProbe>(io_, o);
  }

  void check(const std::string& node) {
    auto started = probe_->check(node, [](api::OverlayCheckView v) {
      json results = json::array();
      for (auto& r : v.results) results.push_back({{"node", r.node}, {"vtep", r.vtep}, {"ok", r.ok}, {"rtt_ms", r.rtt_ms}, {"cause", r.cause}});
      say({{"done", v.done}, {"asked", v.asked}, {"answered", v.answered}, {"results", results}});
    });
    if (!started) throw std::runtime_error(started.error().text());
  }

  void status() {
    auto s = probe_->status();
    say({{"offload", probe_->offload_text()}, {"state", to_text(s.offload)}, {"warnings", probe_->warnings()}, {"rounds", s.rounds}, {"good", s.good},
         {"ours", s.ours}, {"theirs", s.theirs}, {"unclear", s.unclear}, {"mended", s.mended}, {"trials", s.trials}});
  }

  asio::io_context& io_;
  std::unique_ptr<OverlayProbe> probe_;
  std::set<IpAddress> unknown_;
};

void listen(asio::posix::stream_descriptor& in, asio::streambuf& buffer, Node& node) {
  asio::async_read_until(in, buffer, '\n', [&](const boost::system::error_code& ec, size_t) {
    if (ec) return in.get_executor().target<asio::io_context::executor_type>()->context().stop();
    std::istream lines(&buffer);
    std::string line;
    std::getline(lines, line);
    try {
      node.handle(json::parse(line));
    } catch (const std::exception& e) {
      say({{"error", e.what()}});
    }
    listen(in, buffer, node);
  });
}

}  // namespace
}  // namespace ls

int main() {
  if (auto r = ls::reduce_privileges(""); !r) {
    std::cerr << r.error().text() << "\n";
    return 1;
  }
  boost::asio::io_context io(1);
  boost::asio::posix::stream_descriptor in(io, dup(0));
  boost::asio::streambuf buffer;
  ls::Node node(io);
  ls::listen(in, buffer, node);
  io.run();
}
