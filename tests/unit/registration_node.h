#pragma once
/// A node with registrations and an API on a unix socket and on TCP of the loopback device, for tests.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <string>

#include "api/server.h"
#include "api_fake.h"
#include "store/store.h"
#include "util/guarded.h"
#include "util/unique_fd.h"

namespace ls::api {

struct RawReply {
  unsigned status = 0;
  std::string head, body;
  std::string header(std::string name) const {
    auto at = head.find("\r\n" + name + ": ");
    if (at == head.npos) return {};
    at += name.size() + 4;
    return head.substr(at, head.find("\r\n", at) - at);
  }
};

/// One connection; says exactly what it is told.
class Wire {
 public:
  explicit Wire(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    path.copy(a.sun_path, sizeof a.sun_path - 1);
    connected = connect(fd_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
  }
  explicit Wire(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected = connect(fd_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
  }
  void send(std::string_view text) {
    while (!text.empty()) {
      auto n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(size_t(n));
    }
  }
  /// Everything until the server closes, or nothing came for so long.
  std::string read_all(int quiet_ms = 10'000) {
    std::string out;
    char buf[65536];
    pollfd p{fd_.get(), POLLIN, 0};
    while (poll(&p, 1, quiet_ms) > 0) {
      auto n = recv(fd_.get(), buf, sizeof buf, 0);
      if (n <= 0) break;
      out.append(buf, size_t(n));
    }
    return out;
  }
  bool readable(int ms) {
    pollfd p{fd_.get(), POLLIN, 0};
    return poll(&p, 1, ms) > 0;
  }
  bool connected = false;

 private:
  UniqueFd fd_;
};

inline std::string request_text(std::string_view method, std::string_view target, std::string_view body = {}, std::string_view headers = {}) {
  std::string out = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + std::string(headers);
  if (!body.empty()) out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return out + "\r\n" + std::string(body);
}

inline RawReply parse_reply(const std::string& text) {
  RawReply r;
  auto end = text.find("\r\n\r\n");
  if (end == text.npos || text.size() < 12) return r;
  r.status = unsigned(std::stoul(text.substr(9, 3)));
  r.head = text.substr(0, end + 2);
  r.body = text.substr(end + 4);
  return r;
}

template <class Where>
RawReply call(const Where& where, std::string_view method, std::string_view target, std::string_view body = {}, std::string_view headers = {}) {
  Wire w(where);
  if (!w.connected) return {};
  w.send(request_text(method, target, body, headers));
  return parse_reply(w.read_all());
}

constexpr std::string_view kJson = "Content-Type: application/json\r\n";

/// A port of the loopback device that nobody uses at this moment.
inline uint16_t free_port() {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return 0;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size);
  return ntohs(a.sin_port);
}

class NodeProvider : public FakeProvider {
 public:
  dns::Registry* registry() override { return registry_.get(); }
  std::shared_ptr<const dns::RegistrationFeed> followed() override {
    return followed_.with([](auto& f) { return f; });
  }
  std::vector<NodeView> nodes() override { return {{ip("10.0.0.7"), {ip("192.0.2.7"), ip("2001:db8::7")}, "agent7", 1'700'000'000'007}}; }
  std::vector<std::pair<std::string, std::string>> settings() override { return {{"api.group", "\"loadstar\""}, {"lb.flows", "262144"}}; }
  std::string cluster_key() override { return key; }
  DnsSource* dns() override { return source; }
  OverlaySource* overlay() override { return overlay_source; }

  std::unique_ptr<dns::Registry> registry_;
  Guarded<std::shared_ptr<const dns::RegistrationFeed>> followed_;
  std::string key;
  DnsSource* source = nullptr;
  OverlaySource* overlay_source = nullptr;
};

class Node {
 public:
  explicit Node(bool keeps, uint16_t on_port = free_port()) : port(on_port), keeps_(keeps) { settings.max_wait = Millis(3000); }
  void start() {
    server.reset();
    settings.socket = path;
    settings.token_file = token_file;
    settings.listen = {{IpAddress::from_v4(INADDR_LOOPBACK), port}};
    if (keeps_ && !provider.registry_) {
      provider.registry_ = std::make_unique<dns::Registry>(*store, dns::RegistryOptions{}, nullptr);
      if (!provider.registry_->load(dns::RegistryTime::now())) abort();
    }
    auto r = Server::start(settings, provider);
    if (!r) abort();
    server = std::move(*r);
    for (int i = 0; i < 400 && !Wire(port).connected; i++) usleep(5000);
  }
  void stop() { server.reset(); }
  RawReply put(std::string name, std::string address, std::string headers = std::string(kJson)) {
    return call(path, "PUT", "/v1/zones/reg.thisdcos.directory/records/" + name + "/A", "{\"data\":[\"" + address + "\"]}", headers);
  }

  TempDir dir;
  std::string path = dir / "api.sock", token_file;
  uint16_t port;
  Server::Settings settings{};
  std::unique_ptr<Store> store = make_memory_store();
  NodeProvider provider;
  std::unique_ptr<Server> server;

 private:
  bool keeps_;
};

}  // namespace ls::api
