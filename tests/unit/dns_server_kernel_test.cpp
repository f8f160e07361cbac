// Answers leave from the address that was asked, and addresses may come after the server. Needs root: in a
// namespace.
#include "dns_server_fixture.h"
#include "netns_fixture.h"

namespace ls::dns {
namespace {

class Addresses : public test::NetnsFixture {
 protected:
  /// A connected socket only takes what comes from the address that it asked. Asks again as resolvers do: the
  /// kernel makes a new IPv6 address usable a moment after the command that added it has returned.
  static int ask(const char* address, uint16_t port) {
    for (int i = 0; i < 20; i++) {
      UdpPeer peer({*IpAddress::parse(address), port});
      peer.send(make_query("web.test", 1));
      if (auto a = peer.receive(250); !a.empty()) return answers_of(a);
    }
    return -1;
  }
  std::unique_ptr<Server> serve(std::vector<Endpoint> listen) {
    ServerOptions options;
    options.workers = 1;
    ServiceOptions service;
    service.listen = std::move(listen);
    options.services = {service};
    auto server = std::make_unique<Server>(options, epoch, clock);
    ZoneView view;
    view.apex = *DnsName::parse("test.");
    auto table = std::make_shared<ZoneTable>(epoch);
    table->replace(*test::read_zone_text(kZoneText, view.apex));
    view.table = table;
    server->set_routes(service.kind,
                       std::make_shared<const Routes>(std::vector{view}, std::vector<ForwardGroup>{}));
    EXPECT_TRUE(server->start());
    return server;
  }
  Epoch epoch;
  SystemClock clock;
};

TEST_F(Addresses, WildcardAnswersFromTheAskedOne) {
  run("ip addr add 192.0.2.1/24 dev lo");
  run("ip addr add 198.51.100.1/32 dev lo");
  run("ip -6 addr add fd01::1/64 dev lo nodad");
  run("ip -6 addr add fd01::2/64 dev lo nodad");
  auto server = serve({{IpAddress::from_v4(0), 53}, {IpAddress(), 53}});
  for (const auto& l : server->view().listeners) EXPECT_EQ(l.error, "") << l.endpoint.text();
  for (const char* a : {"192.0.2.1", "198.51.100.1", "127.0.0.1", "127.9.9.9", "fd01::1", "fd01::2", "::1"})
    EXPECT_EQ(ask(a, 53), 2) << a;
}

TEST_F(Addresses, AnAddressMayComeLater) {
  auto server =
      serve({{*IpAddress::parse("198.51.100.1"), 53}, {*IpAddress::parse("fd01:d::c633:6401"), 53}});
  for (const auto& l : server->view().listeners) {
    EXPECT_TRUE(l.udp && l.tcp) << l.error;
    EXPECT_EQ(l.error, "");
  }
  run("ip addr add 198.51.100.1/32 dev lo");
  run("ip -6 addr add fd01:d::c633:6401/128 dev lo nodad");
  EXPECT_EQ(ask("198.51.100.1", 53), 2);
  EXPECT_EQ(ask("fd01:d::c633:6401", 53), 2);
  EXPECT_EQ(answers_of(TcpPeer({*IpAddress::parse("198.51.100.1"), 53}).ask(make_query("web.test", 1))), 2);
}

}  // namespace
}  // namespace ls::dns
