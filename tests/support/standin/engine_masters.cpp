// The commands about masters, elections and streams, and those that wait.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "standin/engine.h"

namespace ls::standin {
namespace {

namespace asio = boost::asio;

constexpr Millis kPoll{2};  // of wait; the stand-in is a test tool

asio::awaitable<void> sleep_for(asio::io_context& io, Millis d) {
  asio::steady_timer timer(io, d);
  boost::system::error_code ec;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
}

}  // namespace

Result<size_t> Engine::master_number(const std::string& text, bool none_allowed) {
  if (none_allowed && text == "none") return 0;
  LS_ASSIGN(uint32_t n, number(text, "master"));
  if (n < 1 || n > server_.masters().size()) return fail(fmt::format("no master {}", n));
  return n;
}

asio::awaitable<void> Engine::reregister(int run, int leader, Millis gap, Millis every, bool frameworks_late,
                                         Args except) {
  auto alive = alive_;
  auto over = [this, alive, run] { return !*alive || run != failovers_; };
  if (gap > Millis(0)) {
    co_await sleep_for(io_, gap);
    if (over()) co_return;
    server_.lead(leader);
  }
  auto frameworks_return = [this] {
    for (auto& [id, f] : cluster_.frameworks) {
      if (!f.known) {
        f.known = f.recovered = true;
        f.connected = false;
        emit(event_framework(f, true));
      }
      f.connected = true;
      f.recovered = false;
      emit(event_framework(f, false));
    }
  };
  if (!frameworks_late) {
    co_await sleep_for(io_, every);
    if (over()) co_return;
    frameworks_return();
  }
  std::vector<std::string> waiting;
  for (const auto& [id, g] : cluster_.agents) {
    bool left_out = std::find(except.begin(), except.end(), id) != except.end();
    if (g.state == Agent::State::kRecovered && !left_out) waiting.push_back(id);
  }
  for (const auto& id : waiting) {
    co_await sleep_for(io_, every);
    if (over()) co_return;
    auto it = cluster_.agents.find(id);
    if (it != cluster_.agents.end() && it->second.state == Agent::State::kRecovered) agent_back(it->second);
  }
  if (frameworks_late) {
    co_await sleep_for(io_, every);
    if (over()) co_return;
    frameworks_return();
  }
  settled_ = true;
}

Result<> Engine::failover(const Args& a) {
  if (a.empty()) return fail("failover MASTER [gap=0s] [every=100ms] [except=A1,A2] [frameworks=late]");
  LS_ASSIGN(size_t leader, master_number(a[0], false));
  Millis gap{0}, every{100};
  bool late = false;
  Args except;
  for (size_t i = 1; i < a.size(); ++i) {
    auto [key, value] = option(a[i]);
    if (key == "gap") {
      LS_ASSIGN(gap, parse_duration(value));
    } else if (key == "every") {
      LS_ASSIGN(every, parse_duration(value));
    } else if (key == "except") {
      auto ids = comma_list(value);
      except.assign(ids.begin(), ids.end());
    } else if (key == "frameworks" && value == "late") {
      late = true;
    } else {
      return fail(fmt::format("failover: unknown option {}", a[i]));
    }
  }
  server_.lead(0);
  for (auto& [id, g] : cluster_.agents) {
    if (g.state == Agent::State::kRegistered) g.state = Agent::State::kRecovered;
  }
  for (auto& [id, f] : cluster_.frameworks) f.known = false;
  cluster_.completed.clear();
  if (gap == Millis(0)) server_.lead(static_cast<int>(leader));
  settled_ = false;
  asio::co_spawn(io_, reregister(++failovers_, static_cast<int>(leader), gap, every, late, except),
                 asio::detached);
  return {};
}

/// Commands about the masters and the streams.
Result<> Engine::steer(const std::string& what, const Args& a) {
  std::string first = a.empty() ? "" : a[0];
  if (what == "leader") {
    LS_ASSIGN(size_t n, master_number(first, true));
    server_.lead(static_cast<int>(n));
  } else if (what == "down" || what == "up") {
    LS_ASSIGN(size_t n, master_number(first, false));
    if (what == "down") {
      server_.down(n);
    } else {
      LS_TRY(server_.up(n));
    }
  } else if (what == "drop") {
    if (!first.empty() && first != "mid") return fail("drop, or drop mid");
    server_.drop(first == "mid");
  } else if (what == "silence") {
    server_.set_silent(true);
  } else if (what == "speak") {
    server_.set_silent(false);
  } else if (what == "heartbeat") {
    LS_ASSIGN(Millis d, parse_duration(first));
    if (d <= Millis(0)) return fail("heartbeat: above 0");
    server_.set_heartbeat(d);
  } else if (what == "event") {
    if (a.size() != 1) return fail("event 'JSON', in quotes");
    emit(first);
  } else if (what == "deny") {
    if (first.empty()) return fail("deny CALL, or deny none");
    server_.deny(first == "none" ? "" : first);
  } else if (what == "answer") {
    LS_ASSIGN(size_t n, master_number(first, false));
    auto& m = server_.masters()[n - 1];
    if (a.size() == 2 && a[1] == "normal") {
      m.canned.reset();
      m.redirect.clear();
    } else if (a.size() == 2 && a[1] == "hang") {
      m.canned = {0, ""};
    } else if (a.size() == 3 && a[1] == "redirect") {
      m.redirect = a[2];
    } else if (a.size() >= 2) {
      LS_ASSIGN(uint32_t status, number(a[1], "status"));
      if (status < 200 || status > 599) return fail("answer: a status from 200 to 599");
      m.canned = {status, a.size() > 2 ? a[2] : ""};
    } else {
      return fail("answer MASTER normal | hang | redirect HOST:PORT | STATUS [TEXT]");
    }
  } else {
    return fail(fmt::format("unknown command {}", what));
  }
  return {};
}

std::string Engine::status() const {
  std::string masters;
  for (const auto& m : server_.masters()) masters += (masters.empty() ? "\"" : ",\"") + m.address + "\"";
  return fmt::format(
      R"({{"leader":{},"masters":[{}],"subscribers":{},"subscribed":{},"agents":{},"frameworks":{},"tasks":{},"settled":{}}})",
      server_.leader(), masters, server_.subscribers(), server_.subscribed(), cluster_.agents.size(),
      cluster_.frameworks.size(), cluster_.tasks.size(), settled_);
}

Result<std::string> Engine::command(const Words& words) {
  if (words.empty()) return std::string();
  Args rest(words.begin() + 1, words.end());
  const std::string& what = words[0];
  Result<> r;
  if (what == "agent") {
    r = agent(rest);
  } else if (what == "framework") {
    r = framework(rest);
  } else if (what == "task") {
    r = task(rest);
  } else if (what == "bulk") {
    r = bulk(rest);
  } else if (what == "failover") {
    r = failover(rest);
  } else if (what == "status") {
    return status();
  } else if (what == "echo") {
    std::string out;
    for (const auto& w : rest) out += (out.empty() ? "" : " ") + w;
    return out;
  } else {
    r = steer(what, rest);
  }
  if (!r) return tl::make_unexpected(std::move(r.error()));
  return std::string();
}

asio::awaitable<Result<>> Engine::wait_for(const Args& a) {
  auto alive = alive_;
  bool settled = !a.empty() && a[0] == "settled";
  uint32_t wanted = 0;
  size_t used = 1;
  if (!settled) {
    if (a.size() < 2 || a[0] != "subscribers") {
      co_return fail("wait settled [TIMEOUT] | wait subscribers N [TIMEOUT]");
    }
    auto n = number(a[1], "subscribers");
    if (!n) co_return tl::make_unexpected(std::move(n.error()));
    wanted = *n;
    used = 2;
  }
  Millis limit{30'000};
  if (a.size() > used) {
    auto d = parse_duration(a[used]);
    if (!d) co_return tl::make_unexpected(std::move(d.error()));
    limit = *d;
  }
  Instant end = std::chrono::steady_clock::now() + limit;
  while (*alive && (settled ? !settled_ : server_.subscribers() != wanted)) {
    if (std::chrono::steady_clock::now() > end)
      co_return fail(ETIMEDOUT, settled ? "wait settled" : "wait subscribers");
    co_await sleep_for(io_, kPoll);
  }
  co_return Result<>{};
}

asio::awaitable<Result<std::string>> Engine::run_line(std::string line) {
  auto words = split(line);
  if (!words) co_return tl::make_unexpected(std::move(words.error()));
  if (!words->empty() && words->front() == "sleep") {
    auto d = parse_duration(words->size() == 2 ? (*words)[1] : "");
    if (!d) co_return tl::make_unexpected(std::move(d.error()));
    co_await sleep_for(io_, *d);
    co_return std::string();
  }
  if (!words->empty() && words->front() == "wait") {
    Args rest(words->begin() + 1, words->end());
    auto r = co_await wait_for(rest);
    if (!r) co_return tl::make_unexpected(std::move(r.error()));
    co_return std::string();
  }
  auto out = command(*words);
  co_return out;
}

}  // namespace ls::standin
