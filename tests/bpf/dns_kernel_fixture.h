#pragma once
/// What the tests of the DNS programs share: programs loaded once, emptied before each test.
#include <gtest/gtest.h>

#include "dns_lab.h"

namespace ls::test {

inline constexpr uint16_t kTypeA = 1, kTypeNs = 2, kTypeCname = 5, kTypeSoa = 6, kTypePtr = 12, kTypeMx = 15, kTypeTxt = 16, kTypeAaaa = 28,
                          kTypeSrv = 33, kTypeRrsig = 46, kTypeHttps = 65, kTypeAxfr = 252, kTypeAny = 255;
inline constexpr const char* kPrograms[] = {"ls_dns_try", "ls_dns_xdp", "ls_dns_uplink", "ls_dns_port", "ls_dns_lo"};
inline constexpr const char* kHookLabels[] = {"try", "xdp", "uplink", "port", "lo"};

class DnsKernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = DnsBench::reason(); !why.empty()) GTEST_SKIP() << why;
    if (!bench_) bench_ = std::make_unique<DnsBench>();
    bench_->reset();
    lab = std::make_unique<DnsLab>(*bench_);
  }
  DnsBench& bench() { return *bench_; }
  DnsWorld& world() { return lab->world; }

  /// The kernel answers at every hook, as the process does, and counts one `result`.
  void same(const Question& q, const std::string& result = "hit") { same(q.bytes(), result, q.name + " " + std::to_string(q.type)); }
  void same(const Bytes& packet, const std::string& result, const std::string& what) {
    for (size_t i = 0; i < std::size(kPrograms); i++) {
      const auto before = bench_->stats();
      const uint64_t asked = lab->asked;
      bool up = false;
      EXPECT_EQ(lab->differs(packet, &up, kPrograms[i]), "") << what;
      EXPECT_EQ(counted(before, bench_->stats()), std::string(kHookLabels[i]) + " " + result + " " + std::to_string(lab->asked - asked)) << what;
      EXPECT_FALSE(up) << what;
      if (HasFailure()) return;
    }
  }
  /// Goes up untouched at every hook, counted as `result`; nothing is counted when that is empty.
  void up(const Question& q, const std::string& result) { up(lab->how.around(q.bytes()), result, q.name); }
  void up(const Bytes& frame, const std::string& result, const std::string& what = "") {
    for (size_t i = 0; i < std::size(kPrograms) && !HasFailure(); i++) up_at(i, frame, result, what);
  }
  void up_at(size_t hook, const Bytes& frame, const std::string& result, const std::string& what = "") {
    const auto before = bench_->stats();
    const DnsOut out = bench_->run(kPrograms[hook], frame);
    EXPECT_EQ(out.wrong, "") << kPrograms[hook] << " " << what;
    EXPECT_FALSE(out.answered) << kPrograms[hook] << " " << what << "\n" << hex(frame) << "\n" << hex(out.message);
    EXPECT_EQ(counted(before, bench_->stats()), result.empty() ? "" : std::string(kHookLabels[hook]) + " " + result + " 1")
        << kPrograms[hook] << " " << what << " " << hex(frame);
  }
  std::unique_ptr<DnsLab> lab;

 private:
  static inline std::unique_ptr<DnsBench> bench_;
};

}  // namespace ls::test
