#include "app/client_waker.h"

#include <algorithm>

#include "util/log.h"

namespace ls {
namespace {

constexpr Millis kSoon{5};
constexpr Millis kAgain{250};  // clients of a dead backend are reset within 1 s
constexpr Millis kFor{5'000};
constexpr size_t kLimit = 20000;  // a look; the rest follows in the next

}  // namespace

void ClientWaker::backends_died() {
  until_ = clock_.now() + kFor;
  pause_ = kSoon;
  // A look that is near is shared; one that is far, late in the pauses after an earlier death, is brought forward.
  auto soon = std::max(std::chrono::steady_clock::now() + kSoon, looked_ + kAgain);
  if (!armed_ || timer_.expiry() > soon) look_at(soon);
}

void ClientWaker::look_at(std::chrono::steady_clock::time_point when) {
  armed_ = true;
  timer_.expires_at(when);
  timer_.async_wait([this](boost::system::error_code ec) {
    if (ec) return;  // another one was armed in its place
    armed_ = false;
    look();
  });
}

void ClientWaker::look() {
  auto woken = wake_(kLimit);
  if (!woken) {
    log::warn("wake_clients", {{"error", woken.error().text()}});
  } else if (*woken) {
    log::info("clients_of_dead_backends", {{"woken", *woken}});
  }
  pause_ = std::max(kAgain, 2 * pause_);
  looked_ = std::chrono::steady_clock::now();
  if (clock_.now() < until_) look_at(looked_ + pause_);
}

}  // namespace ls
