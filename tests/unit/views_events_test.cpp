// Records of the event ring on their way to the monitors of a running daemon.
#include <gtest/gtest.h>

#include <cstring>

#include "app/views.h"
#include "loadstar/abi/dns.h"

namespace ls {
namespace {

template <class T>
std::span<const std::byte> bytes(const T& record) {
  return std::as_bytes(std::span(&record, 1));
}

class ViewsEvents : public testing::Test {
 protected:
  std::shared_ptr<api::EventStream> watch(uint32_t types) {
    api::EventFilter f;
    f.types = types;
    return views_.events().subscribe(f, [] {});
  }
  uint32_t wanted_ = 0;
  DaemonViews views_{[this](uint32_t mask) { wanted_ = mask; }};
};

TEST_F(ViewsEvents, EachKindIsDecodedByItsOwnLayout) {
  auto all = watch(~0u >> (32 - LS_EVENT_MAX));
  ls_event packet{};
  packet.type = LS_EVENT_DROP;
  packet.hook = LS_HOOK_LO;
  packet.reason = LS_DROP_NO_BACKEND;
  packet.proto = 6;
  packet.sport_be = htobe16(1234);
  packet.ifindex = 1;
  views_.publish_event(bytes(packet));
  ls_dns_event dns{};
  dns.type = LS_EVENT_DNS;
  dns.hook = LS_DNS_HOOK_LO;
  dns.result = LS_DNS_UP_MISS;
  dns.ifindex = 1;
  dns.name_octets = 3;
  memcpy(dns.name, "\1x", 3);
  views_.publish_event(bytes(dns));
  auto got = all->take().values;
  ASSERT_EQ(got.size(), 2u);
  EXPECT_FALSE(got[0].dns);
  EXPECT_EQ(got[0].src.port, 1234);
  EXPECT_EQ(got[0].reason, LS_DROP_NO_BACKEND);
  EXPECT_EQ(got[0].device, "lo") << "number 1 is the loopback device of every network namespace";
  ASSERT_TRUE(got[1].dns && got[1].dns->name);
  EXPECT_EQ(got[1].dns->name->text(), "x.");
  EXPECT_EQ(got[1].dns->result, LS_DNS_UP_MISS);
  EXPECT_EQ(got[1].device, "lo");
}

TEST_F(ViewsEvents, NobodyGetsQuestionsUnasked) {
  auto packets = watch(api::kDefaultEvents);
  EXPECT_EQ(wanted_ >> LS_EVENT_DNS & 1, 0u);
  ls_dns_event dns{};
  dns.type = LS_EVENT_DNS;
  views_.publish_event(bytes(dns));
  EXPECT_TRUE(packets->take().values.empty());
}

TEST_F(ViewsEvents, WhatIsNoRecordIsIgnored) {
  auto all = watch(~0u);
  ls_dns_event dns{};
  ls_event packet{};
  for (int type = 0; type < 256; type++) {
    dns.type = packet.type = uint8_t(type);
    auto least = type == LS_EVENT_DNS ? sizeof dns : sizeof packet;
    for (size_t n = 0; n < least; n++) views_.publish_event(bytes(dns).first(n));
    if (type >= LS_EVENT_MAX) views_.publish_event(bytes(dns));
  }
  EXPECT_TRUE(all->take().values.empty());
}

}  // namespace
}  // namespace ls
