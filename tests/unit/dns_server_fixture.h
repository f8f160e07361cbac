#pragma once
/// A running Server with the zone "test." on 127.0.0.1, and plain sockets that ask it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "dns/server.h"
#include "dns/sockets.h"
#include "dns/wire_bytes.h"
#include "util/unique_fd.h"
#include "zone_text.h"

namespace ls::dns {

using Bytes = std::vector<uint8_t>;

inline constexpr int kPatience = 5000;  ///< ms until a test gives up

inline Bytes make_query(const std::string& name, uint16_t type, uint16_t id = 1, uint16_t flags = kRd,
                        const Bytes& opt = {}) {
  auto wire = std::string(DnsName::parse(name)->wire());
  Bytes q(kHeader + wire.size() + 4);
  store16(q.data(), id);
  store16(q.data() + 2, flags);
  q[5] = 1;
  std::copy(wire.begin(), wire.end(), q.begin() + kHeader);
  store16(q.data() + kHeader + wire.size(), type);
  store16(q.data() + kHeader + wire.size() + 2, 1);
  if (!opt.empty()) {
    q[11] = 1;
    q.insert(q.end(), opt.begin(), opt.end());
  }
  return q;
}
inline Bytes make_opt(const Bytes& options = {}) {
  Bytes opt{0, 0, 41, 4, 0xd0, 0, 0, 0, 0, uint8_t(options.size() >> 8), uint8_t(options.size())};
  opt.insert(opt.end(), options.begin(), options.end());
  return opt;
}
inline uint16_t id_of(const Bytes& m) {
  return load16(m.data());
}
inline uint16_t flags_of(const Bytes& m) {
  return load16(m.data() + 2);
}
inline int rcode_of(const Bytes& m) {
  return m.size() < 4 ? -1 : m[3] & 0xf;
}
inline int answers_of(const Bytes& m) {
  return m.size() < kHeader ? -1 : load16(m.data() + 6);
}

/// Of a socket that is connected, with time-outs.
class Peer {
 public:
  Peer(int type, const Endpoint& to)
      : fd_(socket(to.address.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0)) {
    sockaddr_storage a;
    socklen_t size = to_sockaddr(to, a);
    timeval patience{kPatience / 1000, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    connected_ = connect(fd_.get(), reinterpret_cast<sockaddr*>(&a), size) == 0;
  }
  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }
  bool send(const Bytes& b) {
    return ::send(fd_.get(), b.data(), b.size(), MSG_NOSIGNAL) == ssize_t(b.size());
  }
  void close() { fd_.reset(); }

 protected:
  UniqueFd fd_;
  bool connected_ = false;
};

class UdpPeer : public Peer {
 public:
  explicit UdpPeer(const Endpoint& to) : Peer(SOCK_DGRAM, to) {}
  /// Empty: nothing came in `ms`.
  Bytes receive(int ms = kPatience) {
    pollfd p{fd_.get(), POLLIN, 0};
    if (poll(&p, 1, ms) != 1) return {};
    Bytes b(65536);
    ssize_t n = recv(fd_.get(), b.data(), b.size(), 0);
    b.resize(n > 0 ? size_t(n) : 0);
    return b;
  }
  Bytes ask(const Bytes& q) { return send(q) ? receive() : Bytes(); }
};

class TcpPeer : public Peer {
 public:
  explicit TcpPeer(const Endpoint& to) : Peer(SOCK_STREAM, to) {}
  static Bytes framed(const Bytes& q) {
    Bytes f{uint8_t(q.size() >> 8), uint8_t(q.size())};
    f.insert(f.end(), q.begin(), q.end());
    return f;
  }
  /// Empty: the connection ended, or nothing came.
  Bytes receive() {
    uint8_t length[2];
    if (recv(fd_.get(), length, 2, MSG_WAITALL) != 2) return {};
    Bytes b(load16(length));
    return recv(fd_.get(), b.data(), b.size(), MSG_WAITALL) == ssize_t(b.size()) ? b : Bytes();
  }
  Bytes ask(const Bytes& q) { return send(framed(q)) ? receive() : Bytes(); }
  /// True when the other side ended it.
  bool ended() {
    uint8_t octet;
    ssize_t n = recv(fd_.get(), &octet, 1, 0);
    return n == 0 || (n < 0 && errno != EAGAIN);
  }
};

inline constexpr const char* kZoneText = R"(
@ 60 TXT "apex"
ns 60 A 127.0.0.1
web 60 A 10.0.0.1
web 60 A 10.0.0.2
inside 60 CNAME web
outside 60 CNAME www.example.org.
_web._tcp 60 SRV 0 1 80 web
)";

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    options.workers = 2;
    service.kind = ServiceKind::kResolver;
    service.listen = {{IpAddress::from_v4(0x7f000001), 0}};
  }
  void start(std::vector<ForwardGroup> groups = {}) {
    options.services = {service};
    // The kernel chooses a port that is free for UDP. For TCP another process may have it, then another one is chosen.
    bool chosen = service.listen.at(0).port == 0;
    for (int tries = 0; tries < 20; tries++) {
      server = std::make_unique<Server>(options, epoch, clock);
      set_zone(kZoneText, groups);
      auto started = server->start();
      ASSERT_TRUE(started) << started.error().text();
      auto first = server->view().listeners.at(0);
      at = first.endpoint;
      if (!chosen || first.tcp) return;
    }
  }
  void set_zone(std::string_view text, std::vector<ForwardGroup> groups = {}) {
    auto apex = *DnsName::parse("test.");
    auto table = std::make_shared<ZoneTable>(epoch);
    auto records = test::read_zone_text(text, apex);
    ASSERT_TRUE(records) << records.error().text();
    table->replace(*records);
    ZoneView view;
    view.apex = apex;
    view.table = table;
    view.soa.mname = *DnsName::parse("ns.test.");
    view.name_servers = {view.soa.mname};
    view.transferable = true;
    server->set_routes(service.kind, std::make_shared<const Routes>(std::vector{view}, std::move(groups)));
  }
  ServiceCounters counters() { return server->view().services[size_t(service.kind)]; }
  template <class F>
  bool eventually(F f) {
    for (int i = 0; i < kPatience / 10; i++) {
      if (f()) return true;
      std::this_thread::sleep_for(Millis(10));
    }
    return false;
  }

  Epoch epoch;
  SystemClock clock;
  ServerOptions options;
  ServiceOptions service;
  std::unique_ptr<Server> server;
  Endpoint at;
};

}  // namespace ls::dns
