#include "app/kernel_options.h"

#include <gtest/gtest.h>

namespace ls {
namespace {

using datapath::MapOrigin;
using datapath::MapStory;

TEST(KernelOptions, SizesOfDnsFollowTheSettings) {
  Config c;
  c.dns.kernel_names = 2000;
  c.dns.kernel_megabytes = 7;
  c.dns.kernel_cached = 3;
  auto s = sizes_of(c);
  EXPECT_EQ(s.dns_names, 2000u);
  EXPECT_EQ(s.dns_megabytes, 7u);
  EXPECT_EQ(s.dns_cached, 3u);
  c.dns.kernel = false;
  auto entries = datapath::map_entries(sizes_of(c));
  EXPECT_EQ(entries["ls_dns_data"], 1u) << "switched off, the tables take next to no memory";
  EXPECT_EQ(entries["ls_dns_bucket"], 1024u);
}

TEST(KernelOptions, DefaultsOfTheProgramsAreThoseOfTheSettings) {
  datapath::Sizes d;
  auto s = sizes_of(Config());
  EXPECT_EQ(s.dns_names, d.dns_names);
  EXPECT_EQ(s.dns_megabytes, d.dns_megabytes);
  EXPECT_EQ(s.dns_cached, d.dns_cached);
  auto a = attachments_of(Config(), true, {});
  EXPECT_TRUE(a.dns);
  EXPECT_EQ(a.dns_xdp, datapath::XdpChoice::kAuto);
}

TEST(KernelOptions, HooksOfDnsFollowTheSettings) {
  Config c;
  c.lb.packet = false;
  c.dns.kernel_xdp = KernelXdp::kNative;
  auto a = attachments_of(c, false, {});
  EXPECT_TRUE(a.dns) << "lb.packet does not switch it off";
  EXPECT_FALSE(a.tcx);
  EXPECT_EQ(a.dns_xdp, datapath::XdpChoice::kNative);
  c.dns.kernel_xdp = KernelXdp::kOff;
  c.dns.kernel = false;
  a = attachments_of(c, false, {});
  EXPECT_FALSE(a.dns);
  EXPECT_EQ(a.dns_xdp, datapath::XdpChoice::kOff);
}

TEST(KernelOptions, HooksWaitForAnswersThatBeginAnew) {
  for (auto [origin, waits] : {std::pair(MapOrigin::kReused, false), {MapOrigin::kCreated, false}, {MapOrigin::kRebuilt, true}}) {
    std::vector<MapStory> stories{{"ls_svc", MapOrigin::kRebuilt, ""}, {"ls_dns_bucket", origin, ""}};
    Config c;
    EXPECT_EQ(attachments_of(c, true, stories).hold_dns, waits);
    c.dns.kernel = false;
    EXPECT_FALSE(attachments_of(c, true, stories).hold_dns) << "what is switched off goes at once";
  }
}

}  // namespace
}  // namespace ls
