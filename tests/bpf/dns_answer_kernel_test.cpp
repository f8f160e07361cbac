// What the BPF programs answer, question by question, against what the process answers.
#include <gtest/gtest.h>

#include "dns_lab.h"

namespace ls::test {
namespace {

constexpr uint16_t kA = 1, kNs = 2, kSoa = 6, kTxt = 16, kAaaa = 28, kSrv = 33, kAny = 255;

class DnsAnswerKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = DnsBench::reason(); !why.empty()) GTEST_SKIP() << why;
    lab = std::make_unique<DnsLab>();
  }
  /// The kernel answers (does not leave it to the process), and as the process does, at every hook.
  void same(const Question& q) {
    for (const char* program : {"ls_dns_try", "ls_dns_xdp", "ls_dns_uplink", "ls_dns_port", "ls_dns_lo"}) {
      bool up = false;
      const auto before = lab->bench.stats();
      EXPECT_EQ(lab->differs(q.bytes(), &up, program), "") << q.name << " " << q.type;
      EXPECT_FALSE(up) << program << " " << q.name << " " << q.type << ": " << counted(before, lab->bench.stats());
    }
  }
  /// Goes up untouched, counted as `result`.
  void up(const Bytes& packet, const std::string& result, const char* program = "ls_dns_try") {
    const auto before = lab->bench.stats();
    const DnsOut out = lab->bench.ask(program, packet, lab->how);
    EXPECT_EQ(out.wrong, "");
    EXPECT_FALSE(out.answered) << hex(packet) << "\n" << hex(out.message);
    EXPECT_EQ(counted(before, lab->bench.stats()), result) << hex(packet);
  }
  std::unique_ptr<DnsLab> lab;
};

TEST_F(DnsAnswerKernel, Addresses) {
  lab->world.zone("example.org");
  lab->world.add("example.org", "web.example.org", "A", "10.0.0.1");
  lab->world.add("example.org", "web.example.org", "AAAA", "fd00::1");
  lab->world.add("example.org", "example.org", "A", "10.0.0.2", 77);
  lab->world.add("example.org", "two.example.org", "A", "10.0.0.3");
  lab->world.add("example.org", "two.example.org", "A", "10.0.0.4");
  lab->fill();
  same({"web.example.org", kA});
  same({"web.example.org", kAaaa});
  same({"wEb.EXAMPLE.orG", kA});
  same({"example.org", kA});
  same({"two.example.org", kA});
  same({"web.example.org", kTxt});
  same({"none.example.org", kA});
  same({"example.org", kSoa});
}

}  // namespace
}  // namespace ls::test
