#pragma once
/// A follower of a hub for tests: a blocking socket, with or without TLS, and the state that the records make.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

#include "hub/server.h"
#include "sources/recordio.h"
#include "state_builders.h"
#include "util/unique_fd.h"

namespace ls::hub::test {

using namespace std::chrono_literals;

/// Waits for what happens on another thread; generous, since only a failure needs it all.
template <class F>
bool comes(F&& f) {
  for (int i = 0; i < 4000; i++) {
    if (f()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

struct TlsFiles {
  std::string ca, cert, key;
};

class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0) {
    fd_ = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer) setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    timeval limit{20, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected = connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  ~Client() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  bool tls(const TlsFiles& files) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_locations(context_, files.ca.c_str(), nullptr);
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    if (!files.cert.empty()) {
      SSL_CTX_use_certificate_chain_file(context_, files.cert.c_str());
      SSL_CTX_use_PrivateKey_file(context_, files.key.c_str(), SSL_FILETYPE_PEM);
    }
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_.get());
    return SSL_connect(ssl_) == 1;
  }

  /// False: every packet for this socket is dropped before TCP sees it.
  void hear(bool anything) {
    sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    sock_fprog all{1, &drop};
    int unused = 0;
    int done = anything ? setsockopt(fd_.get(), SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused)
                        : setsockopt(fd_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof all);
    EXPECT_EQ(done, 0) << strerror(errno);
  }

  void send(std::string_view text) {
    if (ssl_) SSL_write(ssl_, text.data(), int(text.size()));
    else (void)!::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  /// Empty: the end.
  std::string read(size_t most = 65536) {
    std::string out(most, '\0');
    ssize_t n = ssl_ ? SSL_read(ssl_, out.data(), int(most)) : recv(fd_.get(), out.data(), most, 0);
    out.resize(n > 0 ? size_t(n) : 0);
    return out;
  }
  std::string read_all() {
    std::string all;
    for (auto part = read(); !part.empty(); part = read()) all += part;
    return all;
  }
  /// One answer that is not a stream, on a connection that may go on.
  std::string ask(const std::string& request) {
    send(request);
    std::string all;
    while (all.find("\r\n\r\n") == all.npos || all.back() != '}') {
      auto part = read();
      if (part.empty()) break;
      all += part;
    }
    return all;
  }

  void get(const std::string& target, const std::string& headers = "") { send("GET " + target + " HTTP/1.1\r\nHost: hub\r\n" + headers + "\r\n"); }
  /// The stream's head; false when it is another answer, which is in `said`.
  bool follow(const Position& from = {}, const std::string& headers = "", const std::string& node = "n1") {
    get("/v1/hub?node=" + node + (from.run.empty() ? "" : fmt::format("&run={}&after={}", from.run, from.seq)), headers);
    while (said.find("\r\n\r\n") == said.npos) {
      auto part = read();
      if (part.empty()) return false;
      said += part;
    }
    auto end = said.find("\r\n\r\n") + 4;
    rest_ = said.substr(end);
    said.resize(end);
    return said.starts_with("HTTP/1.1 200");
  }
  std::optional<Record> record() {
    for (;;) {
      std::string_view bytes = rest_;
      auto done = reader_.next(bytes);
      rest_ = std::string(bytes);
      if (!done) {
        ADD_FAILURE() << done.error().text();
        return std::nullopt;
      }
      if (*done) {
        auto& r = **done;
        auto decoded = decode(r.text(), r.allocated());
        if (!decoded) {
          ADD_FAILURE() << decoded.error().text();
          return std::nullopt;
        }
        return std::move(*decoded);
      }
      rest_ = read();
      if (rest_.empty()) return std::nullopt;
    }
  }
  /// Takes records until it has everything up to `seq`. False: the stream ended.
  bool until(uint64_t seq) {
    while (at.seq < seq || !begun) {
      auto r = record();
      if (!r) return false;
      take(std::move(*r));
    }
    return true;
  }
  void take(Record&& r) {
    if (auto* h = std::get_if<Hello>(&r)) {
      hellos++;
      at.run = h->at.run;
      if (!h->snapshot) {
        EXPECT_EQ(h->at.seq, at.seq);
        begun = true;
      }
    } else if (auto* i = std::get_if<Image>(&r)) {
      images++;
      at.seq = i->seq;
      begun = true;
      apply(events_of(std::move(*i), kDefaultHeartbeat));
    } else if (auto* c = std::get_if<Changes>(&r)) {
      EXPECT_EQ(c->first, at.seq + 1);
      records++;
      at.seq = c->last;
      apply(events_of(std::move(*c)));
    } else if (auto* b = std::get_if<Beat>(&r)) {
      EXPECT_EQ(b->seq, at.seq);
      beats++;
      source = b->source;
    }
  }

  int fd() const { return fd_.get(); }

  bool connected = false, begun = false;
  std::string said;
  Position at;
  int hellos = 0, images = 0, records = 0, beats = 0;
  SourceHealth source;
  ClusterState state;

 private:
  void apply(std::vector<Event>&& events) {
    for (auto& e : events) state.apply(std::move(e), Instant{});
  }
  UniqueFd fd_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  std::string rest_;
  RecordIoReader reader_;
};

/// A hub and the state it is fed from.
class Hub {
 public:
  explicit Hub(ServerOptions o = {}, bool synced = true) {
    if (o.listen.empty()) o.listen = {*Endpoint::parse("127.0.0.1:0")};
    auto made = Server::start(std::move(o));
    if (!made) throw std::runtime_error(made.error().text());
    server = std::move(*made);
    Subscribed s;
    s.snapshot.agents = {ls::test::agent("A", "10.0.0.1")};
    s.snapshot.frameworks = {ls::test::framework("F", "marathon")};
    say(std::move(s));
    if (synced) sync();
  }
  void sync() {
    SourceHealth h;
    h.connected = h.synced = true;
    server->health(h);
  }
  void say(Event e) {
    auto d = state.apply(std::move(e), Instant{});
    seq += d.agents.size() + d.frameworks.size() + d.tasks.size() + d.recovered.size();
    server->change(d, std::chrono::steady_clock::now());
  }
  void task(const std::string& id, size_t weight = 0) {
    auto t = ls::test::task({.id = id});
    auto spec = std::make_shared<TaskSpec>(*t.spec);
    spec->name = id + std::string(weight, 'x');
    t.spec = std::move(spec);
    say(TaskAdded{std::move(t)});
  }
  uint16_t port() const { return server->bound().at(0).port; }

  std::unique_ptr<Server> server;
  ClusterState state;
  uint64_t seq = 0;
};

inline std::vector<Task> tasks_of(const ClusterState& s) {
  std::vector<Task> out;
  s.for_each_task([&](const TaskPtr& t) { out.push_back(*t); });
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return std::tie(a.framework_id, a.id, a.copy) < std::tie(b.framework_id, b.id, b.copy); });
  return out;
}

}  // namespace ls::hub::test
