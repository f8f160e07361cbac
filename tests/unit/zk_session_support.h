#pragma once
// For tests of the session: a client that waits for its answers, answers and calls that can be waited for, and peers that are no ZooKeeper.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "util/unique_fd.h"
#include "zk/session.h"
#include "zookeeper_fixture.h"

namespace ls::zk {

inline constexpr std::chrono::seconds kPatience{30};  // for what must come; nothing is asserted about how soon

template <class T>
int code(const Result<T>& r) {
  return r ? 0 : r.error().code.value();
}

inline Op check(std::string path, int32_t version) { return {Op::Kind::kCheck, std::move(path), {}, version}; }
inline Op create(std::string path, std::string value) { return {Op::Kind::kCreate, std::move(path), std::move(value)}; }
inline Op set(std::string path, std::string value, int32_t version) { return {Op::Kind::kSet, std::move(path), std::move(value), version}; }
inline Op erase(std::string path, int32_t version) { return {Op::Kind::kErase, std::move(path), {}, version}; }

/// A value that one thread changes and another waits for.
template <class T>
class Awaited {
 public:
  template <class F>
  void change(F&& f) {
    std::lock_guard lock(mutex_);
    f(value_);
    changed_.notify_all();
  }
  template <class F>
  bool wait(F&& good) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return good(value_); });
  }
  T value() {
    std::lock_guard lock(mutex_);
    return value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  T value_{};
};

/// Counts calls of a watch.
class Calls {
 public:
  Session::Watch watch() {
    return [n = n_] { n->change([](int& v) { v++; }); };
  }
  bool reached(int wanted) {
    return n_->wait([&](int v) { return v >= wanted; });
  }
  int count() { return n_->value(); }

 private:
  std::shared_ptr<Awaited<int>> n_ = std::make_shared<Awaited<int>>();
};

/// One answer, which may come once.
template <class T>
class Answer {
 public:
  Session::Done<T> done() {
    return [a = answers_](Result<T> r) { a->change([&](auto& v) { v.push_back(std::move(r)); }); };
  }
  bool have() { return !answers_->value().empty(); }
  bool wait() {
    return answers_->wait([](auto& v) { return !v.empty(); });
  }
  Result<T> get() {
    auto all = answers_->value();
    EXPECT_EQ(all.size(), 1u) << "answered exactly once";
    return all.at(0);
  }

 private:
  std::shared_ptr<Awaited<std::vector<Result<T>>>> answers_ = std::make_shared<Awaited<std::vector<Result<T>>>>();
};

class Client {
 public:
  explicit Client(const std::string& url, Millis session = Millis(10'000), bool wait = true)
      : options{parse_url(url).value(), session, Millis(200)},
        session_(std::make_unique<Session>(options, [s = seen_](SessionState state, int64_t id) { s->change([&](auto& v) { v.emplace_back(state, id); }); })) {
    session_->start();
    if (wait) {
      EXPECT_TRUE(connected()) << session_->status().last_error;
    }
  }
  Session* operator->() { return session_.get(); }

  bool connected(int times = 1) {
    return seen_->wait([&](auto& v) { return std::count_if(v.begin(), v.end(), [](auto& e) { return e.first == SessionState::kConnected; }) >= times; });
  }
  bool told(SessionState state, int64_t id) {
    return seen_->wait([&](auto& v) { return std::find(v.begin(), v.end(), std::pair(state, id)) != v.end(); });
  }
  std::vector<SessionState> states() {
    std::vector<SessionState> out;
    for (auto& [state, id] : seen_->value()) out.push_back(state);
    return out;
  }
  /// The status says so in the end.
  bool trouble(const std::string& part) {
    auto end = std::chrono::steady_clock::now() + kPatience;
    while (session_->status().last_error.find(part) == std::string::npos) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(Millis(5));
    }
    return true;
  }
  /// What was asked before has been handed to the library.
  void settle() {
    Answer<void> passed;
    session_->post([d = passed.done()] { d({}); });
    EXPECT_TRUE(passed.wait());
  }

  auto get(const std::string& path, Session::Watch w = {}) { return ask<Node>([&](auto d) { session_->get(path, w, d); }); }
  auto children(const std::string& path, Session::Watch w = {}) {
    return ask<std::vector<std::string>>([&](auto d) { session_->children(path, w, d); });
  }
  auto exists(const std::string& path, Session::Watch w = {}) { return ask<std::optional<Stat>>([&](auto d) { session_->exists(path, w, d); }); }
  auto create(const std::string& path, const std::string& value, Mode mode = Mode::kPersistent) {
    return ask<std::string>([&](auto d) { session_->create(path, value, mode, d); });
  }
  auto set(const std::string& path, const std::string& value, int32_t version) {
    return ask<Stat>([&](auto d) { session_->set(path, value, version, d); });
  }
  auto erase(const std::string& path, int32_t version) { return ask<void>([&](auto d) { session_->erase(path, version, d); }); }
  auto multi(std::vector<Op> steps) { return ask<std::vector<int32_t>>([&](auto d) { session_->multi(steps, d); }); }
  auto sync(const std::string& path) { return ask<void>([&](auto d) { session_->sync(path, d); }); }

  const SessionOptions options;

 private:
  template <class T, class Begin>
  Result<T> ask(Begin&& begin) {
    return wait<T>(kPatience, begin);
  }
  std::shared_ptr<Awaited<std::vector<std::pair<SessionState, int64_t>>>> seen_ = std::make_shared<Awaited<std::vector<std::pair<SessionState, int64_t>>>>();
  std::unique_ptr<Session> session_;
};

/// A listener that is no ZooKeeper.
class Peer {
 public:
  enum class Says { kNothing, kGarbage, kHttp, kHalfAGreeting, kReset, kRefuse };
  explicit Peer(Says says) : says_(says), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&a), size), 0);
    EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&a), &size), 0);
    port_ = ntohs(a.sin_port);
    if (says == Says::kRefuse) return;  // bound, so that nobody else takes the port
    EXPECT_EQ(listen(listener_.get(), 16), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~Peer() {
    ending_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  void serve() {
    std::vector<UniqueFd> held;
    while (!ending_) {
      pollfd p{listener_.get(), POLLIN, 0};
      if (poll(&p, 1, 10) <= 0) continue;
      UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      std::string words;
      if (says_ == Says::kGarbage) words = std::string(5000, '\x5a');
      if (says_ == Says::kHttp) words = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
      if (says_ == Says::kHalfAGreeting) words = std::string("\0\0\0\x25\0\0\0\0", 8);
      if (says_ == Says::kReset) {
        linger hard{1, 0};
        setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        continue;
      }
      (void)!send(fd.get(), words.data(), words.size(), MSG_NOSIGNAL);
      if (says_ != Says::kHttp) held.push_back(std::move(fd));
    }
  }
  const Says says_;
  UniqueFd listener_;
  uint16_t port_ = 0;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace ls::zk
