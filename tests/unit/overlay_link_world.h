#pragma once
/// Masters that allocate behind a real API, a master that says what a test wants, and what a node heard of them.
#include <fmt/format.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <map>

#include "app/config.h"
#include "app/overlay_service.h"
#include "overlay_support.h"
#include "registration_node.h"
#include "sources/overlay_link.h"
#include "store_support.h"

namespace ls {

constexpr const char* kOneNetwork = "[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\nprefix = 24\n";

inline Config master_config(const std::filesystem::path& folder, std::string more = kOneNetwork, std::string role = "master") {
  ConfigText text{"x.toml", "[node]\nroles = [\"" + role + "\"]\naddress = \"10.0.0.1\"\n[mesos]\nmasters = [\"m:5050\"]\n[store]\npath = \"" +
                                (folder / "store.db").native() + "\"\n" + more};
  auto loaded = parse_config({&text, 1});
  EXPECT_TRUE(loaded.good()) << report(loaded);
  return loaded.config;
}

/// A node of the role master. What it has given out is on its disk.
class AllocatingMaster {
 public:
  explicit AllocatingMaster(std::string networks = kOneNetwork) : networks_(std::move(networks)) {
    write_file(token, "secret\n");
    node.token_file = token;
  }
  ~AllocatingMaster() { stop(); }
  void start() {
    config_ = master_config(dir_.path(), networks_);
    config_.overlay.check_address = check_address;
    service = std::make_unique<OverlayService>(config_, clock_);
    service->start();
    node.provider.overlay_source = service.get();
    node.start();
  }
  void stop() {
    node.stop();
    service.reset();
  }
  /// The next start begins with nothing.
  void lose_store() {
    for (auto& f : std::filesystem::directory_iterator(dir_.path())) {
      if (f.path().filename().native().starts_with("overlay.db")) std::filesystem::remove(f.path());
    }
  }
  /// Registers another node; its share.
  std::string add(const std::string& address, std::string holding = {}) {
    auto q = overlay::request(address);
    if (!holding.empty()) q.holding.blocks = {{"dcos", holding, ""}};
    auto r = api::call(node.path, "POST", "/v1/overlay/nodes", overlay::registration_text({q, {}}), api::kJson);
    auto answer = overlay::parse_answer(r.body);
    EXPECT_TRUE(answer) << r.body;
    return answer ? answer->allocation.shares.at(0).v4->text() : "";
  }
  void remove(const std::string& address) { api::call(node.path, "POST", "/overlay-master/agents/delete", "{\"agents\": [\"" + address + "\"]}", api::kJson); }
  std::string state() { return api::call(node.path, "GET", "/overlay-master/state").body; }
  std::string address() const { return "127.0.0.1:" + std::to_string(node.port); }

  StoreDir dir_;
  std::filesystem::path token = dir_.path() / "token";
  api::Node node{false};
  std::unique_ptr<OverlayService> service;
  bool check_address = false;  ///< nodes of these tests have other addresses than the loopback device

 private:
  std::string networks_;
  Config config_;
  SystemClock clock_;
};

/// A master that answers what it is told.
class StandInMaster {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  /// The whole answer with its head; empty: nothing, for ever.
  using Answer = std::function<std::string(const std::string& request)>;
  StandInMaster(boost::asio::io_context& io, Answer answer)
      : io_(io), answer_(std::move(answer)), acceptor_(io, {boost::asio::ip::address_v4::loopback(), 0}) {
    boost::asio::co_spawn(io_, accept(), boost::asio::detached);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()); }
  void close() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    for (auto& s : open_) s->close(ignored);
  }
  static std::string with(unsigned status, const std::string& body, bool keep = true) {
    return fmt::format("HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), keep ? "" : "Connection: close\r\n", body);
  }
  int connections = 0;

 private:
  boost::asio::awaitable<void> accept() {
    namespace asio = boost::asio;
    boost::system::error_code ec;
    while (true) {
      auto socket = std::make_shared<Socket>(io_);
      co_await acceptor_.async_accept(*socket, asio::redirect_error(asio::use_awaitable, ec));
      if (ec) co_return;
      connections++;
      open_.push_back(socket);
      asio::co_spawn(io_, serve(socket), asio::detached);
    }
  }
  boost::asio::awaitable<void> serve(std::shared_ptr<Socket> socket) {
    namespace asio = boost::asio;
    boost::system::error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    std::string text;
    while (true) {
      auto head = co_await asio::async_read_until(*socket, asio::dynamic_buffer(text), "\r\n\r\n", token);
      if (ec) co_return;
      size_t length = 0;
      if (auto at = text.find("Content-Length: "); at < head) length = std::stoul(text.substr(at + 16));
      while (text.size() < head + length) {
        std::array<char, 4096> more;
        auto n = co_await socket->async_read_some(asio::buffer(more), token);
        if (ec) co_return;
        text.append(more.data(), n);
      }
      auto said = answer_(text.substr(0, head + length));
      text.erase(0, head + length);
      if (said.empty()) continue;
      co_await asio::async_write(*socket, asio::buffer(said), token);
      if (ec || said.find("Connection: close") != said.npos) {
        socket->close(ec);
        co_return;
      }
    }
  }
  boost::asio::io_context& io_;
  Answer answer_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::vector<std::shared_ptr<Socket>> open_;
};

/// What a node made of everything its link told it.
struct LinkCopy {
  OverlayLinkEvents events() {
    return {.allocated =
                [this](overlay::RegistrationAnswer&& a) {
                  answers++;
                  own = std::move(a);
                },
            .fed =
                [this](overlay::AllocationFeed&& f) {
                  feeds++;
                  if (f.full) nodes.clear(), fulls++;
                  for (auto& n : f.nodes) nodes[n.node.text()] = n;
                  for (auto& n : f.removed) nodes.erase(n.text());
                  last = std::move(f);
                },
            .refused = [this](const std::string& reason, const std::string&) { refusals.push_back(reason); }};
  }
  std::string share(const std::string& node) const {
    auto it = nodes.find(node);
    return it == nodes.end() || it->second.shares.empty() || !it->second.shares[0].v4 ? "" : it->second.shares[0].v4->text();
  }
  std::map<std::string, overlay::Allocation> nodes;
  std::optional<overlay::RegistrationAnswer> own;
  overlay::AllocationFeed last;
  std::vector<std::string> refusals;
  int answers = 0, feeds = 0, fulls = 0;
};

class LinkTest : public testing::Test {
 protected:
  bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 2000; i++) {
      if (done()) return true;
      io_.restart();
      io_.run_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  /// Time passes in which nothing may happen.
  void pass(Millis time) {
    io_.restart();
    io_.run_for(time);
  }
  OverlayLinkOptions options(std::vector<std::string> masters) {
    OverlayLinkOptions o;
    o.masters = std::move(masters);
    o.token_file = token_;
    o.times.backoff_min = o.times.backoff_max = Millis(20);
    o.times.retry_first = Millis(100);
    o.times.wait = Millis(1000);
    o.reregister = Millis(200);
    o.settle = Millis(600);
    return o;
  }
  void follow(OverlayLinkOptions o) {
    end();
    auto made = make_overlay_link(io_, clock_, std::move(o), copy_.events());
    ASSERT_TRUE(made) << made.error().text();
    link_ = std::move(*made);
    link_->start();
  }
  void say(const std::string& node) { link_->say({overlay::request(node), {}}); }
  /// This node registers beside 10.0.0.9, which the master has already.
  void come_beside_another() {
    say("10.0.0.1");
    ASSERT_TRUE(eventually([&] { return copy_.own && copy_.nodes.size() == 2; }));
  }
  /// Then one more node comes and the other one goes; all that is told is the change.
  void follow_one_that_comes_and_one_that_goes(AllocatingMaster& master) {
    EXPECT_EQ(copy_.own->allocation, copy_.nodes["10.0.0.1"]);
    EXPECT_EQ(copy_.fulls, 1);
    auto share = master.add("10.0.0.3");
    ASSERT_TRUE(eventually([&] { return copy_.share("10.0.0.3") == share; }));
    master.remove("10.0.0.9");
    ASSERT_TRUE(eventually([&] { return copy_.nodes.size() == 2; }));
    EXPECT_EQ(copy_.fulls, 1) << "only what changed came";
    auto s = link_->status();
    EXPECT_TRUE(s.connected && s.registered);
    EXPECT_EQ(s.last_error, "");
  }
  void end() {
    if (!link_) return;
    link_->stop();
    pass(Millis(20));
    link_.reset();
  }
  void TearDown() override { end(); }

  StoreDir dir_;
  std::filesystem::path token_ = [this] {
    write_file(dir_.path() / "token", "secret\n");
    return dir_.path() / "token";
  }();
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};  ///< what is awaited may come from another thread
  SystemClock clock_;
  LinkCopy copy_;
  std::unique_ptr<OverlayLink> link_;
};

}  // namespace ls
