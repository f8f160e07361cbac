#include "sources/overlay_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "sources/http_link.h"
#include "sources/master_follow.h"
#include "sources/overlay_link_state.h"
#include "sources/secret_file.h"

namespace ls {
namespace {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;

constexpr size_t kMaxReason = 64, kMaxDetail = 1024;  // of a refusal; ours have 20 and 150

/// The body of a 409; nullopt: it is none.
std::optional<overlay::Refusal> refusal_of(std::string_view body) {
  auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  auto text = [&](const char* key) {
    auto it = json.find(key);
    return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  overlay::Refusal out{text("reason").substr(0, kMaxReason), text("error").substr(0, kMaxDetail)};
  if (out.reason.empty()) return std::nullopt;
  return out;
}

class HttpOverlayLink final : public OverlayLink {
 public:
  HttpOverlayLink(asio::io_context& io, const Clock& clock, std::vector<MasterAddress> masters, OverlayLinkOptions options, OverlayLinkEvents events)
      : impl_(std::make_shared<Impl>(io, clock, std::move(masters), std::move(options), std::move(events))) {}
  ~HttpOverlayLink() override { stop(); }

  void start() override;
  void stop() override;
  void say(overlay::NodeRegistration) override;
  void say_again() override;
  OverlayLinkStatus status() const override;

 private:
  struct Impl : std::enable_shared_from_this<Impl> {
    Impl(asio::io_context& i, const Clock& c, std::vector<MasterAddress> m, OverlayLinkOptions o, OverlayLinkEvents e);
    std::string question(bool first) const;
    Result<> take(size_t which, std::string&& body);
    void followed_now(size_t which);
    /// Registers as soon as possible.
    void hurry();
    asio::awaitable<void> register_loop();
    struct Answer {
      unsigned status = 0;
      std::string body;
    };
    /// An error: the master did not answer.
    asio::awaitable<Result<Answer>> post(const MasterAddress& to, const std::string& authorization);
    /// What the answer says; an error where it says nothing that can be used.
    Result<> heard(Answer&& answer);

    asio::io_context& io;
    const std::vector<MasterAddress> masters;
    const OverlayLinkOptions options;
    OverlayLinkState state;
    std::unique_ptr<MasterFollow> follow;
    asio::steady_timer due;
    HttpLink* link = nullptr;  ///< of a registration under way
    std::string said;          ///< text of the registration; empty: nothing was said yet
    std::optional<size_t> followed;
    bool again = false, stopping = false;
  };
  std::shared_ptr<Impl> impl_;
};

HttpOverlayLink::Impl::Impl(asio::io_context& i, const Clock& c, std::vector<MasterAddress> m, OverlayLinkOptions o, OverlayLinkEvents e)
    : io(i), masters(std::move(m)), options(std::move(o)), state(c, options, std::move(e)), due(i) {
  MasterFollowOptions f{.event = "overlay_allocations",
                        .doing = "follow the allocations of",
                        .most = overlay::kMaxFeedText,
                        .times = options.times};
  follow = std::make_unique<MasterFollow>(io, masters, std::move(f),
                                          MasterFollow::User{[this](bool first) { return question(first); }, [this](size_t which, std::string&& body) { return take(which, std::move(body)); },
                                                             [this](size_t which) { followed_now(which); }});
}

std::string HttpOverlayLink::Impl::question(bool first) const {
  auto from = state.copy().from();
  auto wait = options.times.wait;
  if (auto left = state.copy().settling(); left > Millis(0)) wait = std::min(wait, left + Millis(999));
  int64_t seconds = first ? 0 : std::max<int64_t>(1, wait.count() / 1000);
  return fmt::format("/v1/overlay/allocations?run={}&version={}&wait={}", query_text(from.run), from.version, seconds);
}

Result<> HttpOverlayLink::Impl::take(size_t which, std::string&& body) {
  LS_ASSIGN(auto feed, overlay::parse_feed(body));
  std::string().swap(body);
  LS_ASSIGN(bool another_run, state.fed(which == 0, std::move(feed)));
  if (another_run) hurry();
  return {};
}

void HttpOverlayLink::Impl::followed_now(size_t which) {
  if (followed == which) return;
  followed = which;
  hurry();
}

void HttpOverlayLink::Impl::hurry() {
  again = true;
  due.expires_at(Steady::now());
}

asio::awaitable<void> HttpOverlayLink::Impl::register_loop() {
  auto self = shared_from_this();
  boost::system::error_code ec;
  due.expires_at(Steady::time_point::max());
  if (again) hurry();
  while (!stopping) {
    co_await due.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    if (stopping) break;
    if (Steady::now() < due.expiry()) continue;  // set anew while it waited
    again = false;
    if (said.empty() || !followed) {
      due.expires_at(Steady::time_point::max());
      continue;
    }
    auto which = *followed;
    Result<> result;
    std::string authorization;
    if (!options.token_file.empty()) {
      auto token = read_secret(options.token_file.string());
      if (token) authorization = "Bearer " + *token;
      else result = tl::make_unexpected(std::move(token.error()));
    }
    if (result) {
      auto answer = co_await post(masters[which], authorization);
      if (stopping) break;
      if (followed != which) continue;  // `again` is set: it is said to the other one
      if (!answer) follow->leave(which, "it did not answer a registration: " + answer.error().text());
      result = answer ? heard(std::move(*answer)) : tl::make_unexpected(std::move(answer.error()));
      if (stopping) break;
    }
    auto next = state.next(std::move(result), masters[which].text());
    due.expires_at(Steady::now() + (again ? Millis(0) : next));
  }
}

asio::awaitable<Result<HttpOverlayLink::Impl::Answer>> HttpOverlayLink::Impl::post(const MasterAddress& master, const std::string& authorization) {
  HttpLink to(io.get_executor());
  link = &to;
  auto exchange = [&]() -> asio::awaitable<Result<Answer>> {
    auto connected = co_await to.connect(master, nullptr, options.times.connect_timeout);
    if (!connected) co_return tl::make_unexpected(std::move(connected.error()));
    auto head = co_await to.post("/v1/overlay/nodes", said, authorization, options.times.slack);
    if (!head) co_return tl::make_unexpected(std::move(head.error()));
    auto body = co_await to.read_text(overlay::kMaxAnswerText + 1, options.times.slack);
    if (!body) co_return tl::make_unexpected(std::move(body.error()));
    co_return Answer{head->status, std::move(*body)};
  };
  auto out = co_await exchange();
  link = nullptr;
  co_return out;
}

Result<> HttpOverlayLink::Impl::heard(Answer&& answer) {
  if (answer.status == 409) {
    auto why = refusal_of(answer.body);
    if (!why) return fail("it answered 409 without a reason: " + quote_answer(answer.body));
    state.refused(std::move(*why));
    return {};
  }
  if (answer.status != 200) return fail(fmt::format("it answered {}: {}", answer.status, quote_answer(answer.body)));
  LS_ASSIGN(auto said_back, overlay::parse_answer(answer.body));
  return state.allocated(std::move(said_back));
}

void HttpOverlayLink::start() {
  impl_->follow->start();
  asio::co_spawn(impl_->io, impl_->register_loop(), asio::detached);
}

void HttpOverlayLink::stop() {
  auto& m = *impl_;
  if (m.stopping) return;
  m.stopping = true;
  m.follow->stop();
  m.due.cancel();
  if (m.link) m.link->close();
}

void HttpOverlayLink::say(overlay::NodeRegistration n) {
  auto text = overlay::registration_text(n);
  if (text == impl_->said) return;
  impl_->said = std::move(text);
  impl_->hurry();
}

void HttpOverlayLink::say_again() {
  if (!impl_->said.empty()) impl_->hurry();
}

OverlayLinkStatus HttpOverlayLink::status() const {
  auto& m = *impl_;
  auto& f = m.follow->status();
  auto out = m.state.status();
  out.connected = f.connected;
  out.endpoint = f.endpoint;
  if (!f.last_error.empty()) out.last_error = f.last_error;
  out.failures += f.failures;
  return out;
}

}  // namespace

Result<std::unique_ptr<OverlayLink>> make_overlay_link(asio::io_context& io, const Clock& clock, OverlayLinkOptions options, OverlayLinkEvents events) {
  LS_ASSIGN(auto masters, parse_masters(options.masters, "follow the overlay's allocator"));
  return std::make_unique<HttpOverlayLink>(io, clock, std::move(masters), std::move(options), std::move(events));
}

}  // namespace ls
