#include "sources/master_follow.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <random>

#include "sources/http_link.h"
#include "util/log.h"

namespace ls {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;

struct MasterFollow::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& i, std::vector<MasterAddress> m, MasterFollowOptions o, User u)
      : io(i), masters(std::move(m)), options(std::move(o)), user(std::move(u)), pause(io) {}

  asio::awaitable<void> run();
  /// Until the connection ends or the first master is to be tried again. True: it answered at least once.
  asio::awaitable<bool> follow(size_t which);
  asio::awaitable<Result<std::string>> ask(HttpLink& to);

  asio::io_context& io;
  const std::vector<MasterAddress> masters;
  const MasterFollowOptions options;
  User user;
  MasterFollowStatus status;
  std::vector<std::string> failures = std::vector<std::string>(masters.size());  ///< the last of each, logged
  asio::steady_timer pause;
  HttpLink* link = nullptr;  ///< what stop() and leave() must end
  size_t current = 0;        ///< the master it goes to
  std::string left;          ///< why leave() was called
  Steady::time_point first_tried{};
  bool turns = false;        ///< a master said since the last pause that it is not the one
  bool stopping = false;
};

asio::awaitable<void> MasterFollow::Impl::run() {
  auto self = shared_from_this();
  boost::system::error_code ec;
  auto backoff = options.times.backoff_min;
  while (!stopping) {
    bool answered = false;
    for (size_t i = 0; i < masters.size() && !stopping && !answered; i++) {
      if (i == 0) first_tried = Steady::now();
      answered = co_await follow(i);
    }
    if (stopping) break;
    if (answered) backoff = options.times.backoff_min;
    pause.expires_after(jittered(std::exchange(turns, false) ? std::min(backoff, kTurnPause) : backoff));
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    if (!answered) backoff = std::min(backoff * 2, options.times.backoff_max);
  }
}

asio::awaitable<Result<std::string>> MasterFollow::Impl::ask(HttpLink& to) {
  bool first = !status.connected || status.endpoint != masters[current].text();
  auto head = co_await to.get(user.path(first), options.times.wait + options.times.slack);
  if (!head) co_return tl::make_unexpected(std::move(head.error()));
  auto body = co_await to.read_text(options.most + 1, options.times.slack);
  if (!body) co_return tl::make_unexpected(std::move(body.error()));
  turns = turns || (head->status == 503 && body->find("\"leader\"") != body->npos);
  if (head->status != 200) co_return fail(fmt::format("it answered {}: {}", head->status, quote_answer(*body)));
  co_return std::move(*body);
}

asio::awaitable<bool> MasterFollow::Impl::follow(size_t which) {
  HttpLink to(io.get_executor());
  link = &to;
  left.clear();
  bool answered = false;
  auto& master = masters[which];
  current = which;
  auto result = co_await to.connect(master, nullptr, options.times.connect_timeout);
  while (result && !stopping) {
    auto body = co_await ask(to);
    if (stopping) break;
    result = body ? user.take(which, std::move(*body)) : tl::make_unexpected(std::move(body.error()));
    if (!result || stopping) break;
    if (!status.connected || status.endpoint != master.text()) log::info(options.event + "_followed", {{"master", master.text()}});
    answered = status.connected = true;
    status.endpoint = master.text();
    status.last_error.clear();
    failures[which].clear();
    if (user.answered) user.answered(which);
    if (which > 0 && Steady::now() - first_tried >= options.times.retry_first) break;
    if (!to.reusable()) break;  // asked to close: connect anew at once
  }
  link = nullptr;
  if (!result && !stopping) {
    status.failures++;
    auto error = left.empty() ? std::move(result.error()) : Error{{}, left};
    auto why = std::move(error).within(options.doing + " " + master.text()).text();
    if (std::exchange(failures[which], why) != why) log::warn(options.event + "_not_followed", {{"master", master.text()}, {"error", why}});
    status.last_error = std::move(why);
    status.connected = false;
  }
  co_return answered;
}

MasterFollow::MasterFollow(asio::io_context& io, std::vector<MasterAddress> masters, MasterFollowOptions options, User user)
    : impl_(std::make_shared<Impl>(io, std::move(masters), std::move(options), std::move(user))) {}

MasterFollow::~MasterFollow() { stop(); }

void MasterFollow::start() { asio::co_spawn(impl_->io, impl_->run(), asio::detached); }

void MasterFollow::stop() {
  auto& m = *impl_;
  if (m.stopping) return;
  m.stopping = true;
  m.pause.cancel();
  if (m.link) m.link->close();
}

void MasterFollow::leave(size_t which, const std::string& why) {
  auto& m = *impl_;
  if (m.stopping || !m.link || m.current != which) return;
  m.left = why;
  m.link->close();
}

const MasterFollowStatus& MasterFollow::status() const { return impl_->status; }

Result<std::vector<MasterAddress>> parse_masters(const std::vector<std::string>& texts, const std::string& what) {
  if (texts.empty()) return fail(what + ": no master is named");
  std::vector<MasterAddress> out;
  for (auto& text : texts) {
    LS_ASSIGN(auto parsed, parse_master_address(text, kApiPort));
    out.push_back(std::move(parsed));
  }
  return out;
}

Millis jittered(Millis most) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  return most / 2 + Millis(std::uniform_int_distribution<int64_t>(0, most.count() / 2)(random));
}

std::string query_text(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    out += plain ? std::string(1, char(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

}  // namespace ls
