#pragma once
/// The same zones twice: in the maps of the BPF programs, and behind the server's Responder. What one answers is compared with what the
/// other does. Thread: one, unless said otherwise.
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "../support/dns_world.h"
#include "dns/kernel_form.h"
#include "dns/kernel_mirror.h"
#include "dns/responder.h"
#include "dns_bench.h"

namespace ls::test {

/// The server's side: one worker's Responder without sockets. Forwarding ends in "would ask an upstream".
class DnsProcess {
 public:
  explicit DnsProcess(Epoch& epoch);
  void set_routes(std::shared_ptr<const dns::Routes> routes);
  /// Takes effect at once. `words`: those of the programs, or empty.
  void set_options(dns::ServiceOptions options);

  struct Said {
    dns::Reply reply;
    Bytes message;  ///< kSend: the answer
  };
  Said answer(const Bytes& packet, const IpAddress& client, Instant now);
  Said answer(const Bytes& packet, const IpAddress& client) { return answer(packet, client, clock.now()); }

  SystemClock clock;
  dns::CookieSecret secret{};
  std::vector<dns::HotAnswer> hot;  ///< what the cache handed on
  dns::Cache cache;

 private:
  boost::asio::io_context io_;
  dns::Upstreams upstreams_;
  dns::Forwarder forwarder_;
  std::unique_ptr<dns::Service> service_;
  std::unique_ptr<dns::Responder> responder_;
  Epoch::Reader reader_;
  Bytes room_;
};

/// A question in wire form.
struct Question {
  std::string name;
  uint16_t type = 1;
  uint16_t id = 0x1234, flags = 0x0100, qclass = 1;
  int edns = -1;  ///< UDP size offered; -1: no OPT
  bool dnssec_ok = false;
  Bytes options = {};  ///< of the OPT
  Bytes bytes() const;
};
Bytes wire_name(const std::string& text);
Bytes cookie_option(std::span<const uint8_t> cookies);

/// Equal answers have equal bytes once records of a run with equal owner, type, class, TTL and length are sorted, and SRV answers put in
/// the order of their data with the owners of the additional records following their SRV record. Malformed: as it is.
Bytes normal_form(const Bytes& message);
std::string hex(const Bytes& b);

class DnsLab {
 public:
  /// `b`: as newly loaded. `zones`: somebody else's, or its own.
  explicit DnsLab(DnsBench& b, DnsWorld* zones = nullptr);

 private:
  std::unique_ptr<DnsWorld> own_;

 public:
  DnsWorld& world;
  DnsBench& bench;
  DnsProcess process;
  IpAddress client = *IpAddress::parse("10.1.2.3");

  /// Puts all views and names of `world` into the maps and before the process, as the service `kind`. Zones whose apex is in `incomplete` are
  /// not complete.
  void fill(dns::ServiceKind kind = dns::ServiceKind::kResolver, const std::vector<std::string>& incomplete = {});
  /// The same as the product does it: a KernelMirror keeps the maps equal to the zones from now on.
  void mirror(dns::ServiceKind kind = dns::ServiceKind::kResolver);
  /// After mirror(): an upstream's answer, in the process's cache since `stored`, asked for often.
  void keep(const Bytes& message, Instant stored);
  /// The answer of `program` and that of the process are the same, byte for byte but for rotation. Gives what is different, or nothing;
  /// `up`: the kernel did not answer.
  std::string differs(const Bytes& packet, bool* up = nullptr, std::string_view program = "ls_dns_try");
  /// What the program says; fails the test when it goes up.
  Bytes kernel(const Question& q, std::string_view program = "ls_dns_try");
  DnsFrame how;
  uint64_t asked = 0;  ///< questions to a program by differs()

 private:
  static void wait_for_middle_of_second();
  std::unique_ptr<dns::KernelMirror> mirror_;
  std::shared_ptr<const dns::Routes> routes_;
};

}  // namespace ls::test
