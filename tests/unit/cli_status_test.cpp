// What `loadstar status` says about the watchdog, from its state file.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/status_text.h"

namespace ls::cli {
namespace {

nlohmann::json state() {
  return {{"addresses",
           {{{"address", "198.51.100.1:53"}, {"health", "up"}, {"udp", true}, {"tcp", true}, {"udp_error", ""}, {"tcp_error", ""}},
            {{"address", "198.51.100.2:53"}, {"health", "degraded"}, {"udp", true}, {"tcp", false}, {"udp_error", ""}, {"tcp_error", "no answer\x1b"}}}},
          {"restarts", 1}, {"last_error", ""}, {"last_round_unix_ms", 1'000'000}};
}

TEST(StatusText, TheWatchdogsState) {
  EXPECT_EQ(watchdog_text(state(), 1'002'000), R"(watchdog   1 of 2 addresses answer, last round 2 s ago, 1 restarts
           address 198.51.100.2:53: degraded, no answer?
)");
  auto w = state();
  w["last_error"] = "write /etc/resolv.conf: Read-only file system";
  auto text = watchdog_text(w, 2'000'000);
  EXPECT_NE(text.find("NOT RUNNING"), std::string::npos) << text;
  EXPECT_NE(text.find("trouble: write /etc/resolv.conf"), std::string::npos) << text;
}

TEST(StatusText, WhatIsNotTheWatchdogsDoesNoHarm) {
  EXPECT_NE(watchdog_text(nlohmann::json::object(), 0).find("0 of 0"), std::string::npos);
  EXPECT_THROW(watchdog_text({{"addresses", 7}, {"restarts", "x"}}, 0), nlohmann::json::exception);
}

}  // namespace
}  // namespace ls::cli
