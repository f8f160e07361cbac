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
  if (!armed_) look_after(pause_);
}

void ClientWaker::look_after(Millis pause) {
  armed_ = true;
  timer_.expires_after(pause);
  timer_.async_wait([this](boost::system::error_code ec) {
    armed_ = false;
    if (!ec) look();
  });
}

void ClientWaker::look() {
  auto woken = reset_.wake(kLimit);
  if (!woken) {
    log::warn("wake_clients", {{"error", woken.error().text()}});
  } else if (*woken) {
    log::info("clients_of_dead_backends", {{"woken", *woken}});
  }
  pause_ = std::max(kAgain, 2 * pause_);
  if (clock_.now() < until_) look_after(pause_);
}

}  // namespace ls
