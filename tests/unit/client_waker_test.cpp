// When the clients of dead backends are looked for. Times are real; what is checked is an order.
#include "app/client_waker.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

namespace ls {
namespace {

TEST(ClientWaker, ADeathInALongPauseIsLookedAtSoon) {
  boost::asio::io_context io;
  SystemClock clock;
  int looks = 0;
  ClientWaker waker(io, clock, [&](size_t) -> Result<size_t> { return size_t(++looks); });
  waker.backends_died();
  waker.backends_died();
  waker.backends_died();
  while (looks < 3) ASSERT_EQ(io.run_one(), 1u);
  // The next look is a second away by now, and each later one further.
  bool too_late = false;
  boost::asio::steady_timer limit(io, std::chrono::milliseconds(600));
  limit.async_wait([&](boost::system::error_code) { too_late = true; });
  waker.backends_died();
  waker.backends_died();
  while (looks < 4 && !too_late) ASSERT_EQ(io.run_one(), 1u);
  EXPECT_EQ(looks, 4);
}

}  // namespace
}  // namespace ls
