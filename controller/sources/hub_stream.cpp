#include "sources/hub_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sources/master_follow.h"

namespace ls {
namespace {

namespace asio = boost::asio;
using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr int kSilentIntervals = 3;
constexpr Millis kLeastHeartbeat{50}, kLongestHeartbeat{600'000};  // a hub that says other is not believed
constexpr size_t kErrorTextBytes = 4096;
constexpr int kRoundTrips = 5;
constexpr size_t kTimeBytes = 1024;
constexpr int64_t kLatestClock = int64_t(1) << 60;  // no difference of two clocks overflows

std::string authorization(const HubAccess& access) { return access.token.empty() ? "" : "Bearer " + access.token; }

/// What a peer says may hold what it was sent.
std::string said(std::string text, const HubAccess& access) {
  if (!access.token.empty()) {
    for (size_t at = text.find(access.token); at != text.npos; at = text.find(access.token, at)) text.replace(at, access.token.size(), "***");
  }
  return quote_answer(text);
}

Millis heartbeat_of(const hub::Hello& hello) { return std::clamp(Millis(hello.heartbeat_ms), kLeastHeartbeat, kLongestHeartbeat); }

}  // namespace

int64_t monotonic_us() { return std::chrono::duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count(); }

HubStream::HubStream(asio::any_io_executor executor, MasterAddress master) : master_(std::move(master)), link_(std::move(executor)) {}

asio::awaitable<Result<HttpHead>> HubStream::ask(const HubAccess& access, const hub::Position& have) {
  auto connected = co_await link_.connect(master_, access.tls, access.connect_timeout);
  if (!connected) co_return tl::make_unexpected(std::move(connected.error()));
  std::string path = "/v1/hub?node=" + query_text(access.node);
  if (!have.run.empty()) path += fmt::format("&run={}&after={}", query_text(have.run), have.seq);
  auto key = authorization(access);
  co_return co_await link_.get(path, access.response_timeout, key);
}

asio::awaitable<Result<>> HubStream::open(const HubAccess& access, const hub::Position& have, HubRefusal& refusal) {
  reader_ = RecordIoReader(access.record_limit);
  auto head = co_await ask(access, have);
  if (!head) {
    refusal.silent = head.error().code == std::errc::timed_out;
    co_return tl::make_unexpected(std::move(head.error()));
  }
  if (head->status != 200) {
    refusal.retry_after = head->retry_after;
    auto text = co_await link_.read_text(kErrorTextBytes, access.response_timeout);
    auto words = text ? said(std::move(*text), access) : std::string();
    co_return fail(fmt::format("answered {}{}{}{}", head->status, words.empty() ? "" : " \"", words, words.empty() ? "" : "\""));
  }
  if (!head->content_type.starts_with("application/recordio"))
    co_return fail(fmt::format("answered with content type \"{}\" instead of application/recordio", said(head->content_type, access)));
  auto first = co_await read_record(access.response_timeout);
  if (!first) {
    refusal.silent = first.error().code == std::errc::timed_out;
    co_return tl::make_unexpected(std::move(first.error()));
  }
  auto record = hub::decode(first->text(), first->allocated());
  if (!record) co_return tl::make_unexpected(std::move(record.error()));
  auto* hello = *record ? std::get_if<hub::Hello>(&**record) : nullptr;
  if (!hello) co_return fail(EBADMSG, "the first record is no hello");
  if (hello->format != hub::kFormat) co_return fail(fmt::format("it speaks format {} of the stream, this version reads {}", hello->format, hub::kFormat));
  if (hello->at.run.empty()) co_return fail(EBADMSG, "its hello names no run");
  hello_ = std::move(*hello);
  co_return Result<>{};
}

asio::awaitable<Result<PaddedRecord>> HubStream::read_record(Millis silence) {
  while (true) {
    if (!rest_.empty()) {
      auto record = reader_.next(rest_);
      if (!record) {
        record.error().code = std::make_error_code(std::errc::bad_message);
        co_return tl::make_unexpected(std::move(record.error()));
      }
      if (*record) co_return std::move(**record);
    }
    auto some = co_await link_.read_some(silence);
    if (!some && some.error().code == std::errc::timed_out) co_return fail(ETIMEDOUT, fmt::format("silent for {} ms", silence.count()));
    if (!some) co_return tl::make_unexpected(std::move(some.error()));
    if (some->empty()) co_return fail("ended by the hub");
    rest_ = *some;
    bytes_ += some->size();
    last_byte_ = steady_clock::now();
  }
}

asio::awaitable<Result<hub::Record>> HubStream::next() {
  while (true) {
    auto text = co_await read_record(heartbeat_of(hello_) * kSilentIntervals);
    if (!text) co_return tl::make_unexpected(std::move(text.error()));
    auto record = hub::decode(text->text(), text->allocated());
    if (!record) {
      record.error().code = std::make_error_code(std::errc::bad_message);
      co_return tl::make_unexpected(std::move(record.error()));
    }
    if (*record) co_return std::move(**record);
  }
}

asio::awaitable<Result<ClockOffset>> compare_clocks(HttpLink& link, const MasterAddress& master, const HubAccess& access) {
  auto connected = co_await link.connect(master, access.tls, access.connect_timeout);
  if (!connected) co_return tl::make_unexpected(std::move(connected.error()));
  std::optional<ClockOffset> best;
  const std::string path = "/v1/hub/time", key = authorization(access);
  for (int i = 0; i < kRoundTrips; i++) {
    int64_t sent = monotonic_us();
    auto head = co_await link.get(path, access.response_timeout, key);
    int64_t came = monotonic_us();
    if (!head) co_return tl::make_unexpected(std::move(head.error()));
    auto text = co_await link.read_text(kTimeBytes, access.response_timeout);
    if (!text) co_return tl::make_unexpected(std::move(text.error()));
    if (head->status != 200) co_return fail(fmt::format("answered {} \"{}\" when asked for its time", head->status, said(*text, access)));
    auto json = nlohmann::json::parse(*text, nullptr, false);
    auto clock = json.is_object() ? json.find("clock_us") : json.end();
    bool good = json.is_object() && clock != json.end() && clock->is_number_integer();
    if (good) good = clock->get<int64_t>() >= 0 && clock->get<int64_t>() < kLatestClock;
    if (!good) co_return fail(fmt::format("its time is \"{}\"", said(*text, access)));
    // The hub read its clock at some moment between the two.
    ClockOffset now{clock->get<int64_t>() - (sent + (came - sent) / 2), (came - sent + 1) / 2};
    if (!best || now.error_us < best->error_us) best = now;
    if (!link.reusable()) break;
  }
  co_return *best;
}

}  // namespace ls
