/// A spoofer sends wrong answers from the upstream's own address and port: right question, even its spelling, random id, random port. None may
/// be taken. LS_SPOOF_SECONDS: how long (default 3).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "dns_forward.h"

namespace ls::dns::test {
namespace {

TEST(Spoofer, NoneIsAccepted) {
  const char* text = std::getenv("LS_SPOOF_SECONDS");
  const int seconds = text ? std::atoi(text) : 3;
  UpstreamScript s;
  s.after_ms = 20;  // the time in which a forgery could win
  ForwardLab lab({s}, ForwardLab::patient());
  lab.ask("first.example.org");
  lab.servers[0]->flood(100'000);
  uint64_t answers = 0, forged = 0, other = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  for (uint64_t n = 0; std::chrono::steady_clock::now() < end;) {
    std::vector<std::unique_ptr<Asked>> asked;
    for (int i = 0; i < 50; i++) asked.push_back(std::make_unique<Asked>("name" + std::to_string(n++) + ".example.org"));
    size_t open = asked.size();
    for (auto& a : asked) {
      lab.forwarder->ask(a->query, lab.group, [&](std::span<const uint8_t> m, const Forwarder::Trace*) {
        const Seen seen = see(m);
        open--;
        answers++;
        if (seen.addresses == std::vector<std::string>{"203.0.113.66"}) forged++;
        else if (seen.addresses != std::vector<std::string>{"192.0.2.1"}) other++;
      });
    }
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (open && std::chrono::steady_clock::now() < patience) lab.run(Millis{5});
    ASSERT_EQ(open, 0u);
  }
  lab.servers[0]->flood(0);
  const auto v = lab.forwarder->view();
  std::printf("%lu forgeries sent, %lu reached one of our ports, %lu questions answered, %lu over TCP, %lu forged\n",
              static_cast<unsigned long>(lab.servers[0]->flooded()), static_cast<unsigned long>(v.mismatches),
              static_cast<unsigned long>(answers), static_cast<unsigned long>(v.tcp_fallbacks), static_cast<unsigned long>(forged));
  EXPECT_GT(lab.servers[0]->flooded(), 1'000u);
  EXPECT_GT(v.mismatches, 0u);
  EXPECT_EQ(forged, 0u);
  EXPECT_EQ(other, 0u);
}

}  // namespace
}  // namespace ls::dns::test
