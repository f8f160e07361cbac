// Names, views and ready answers in the form in which programs read them (include/loadstar/abi/dns.h).
#include "dns/kernel_form.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "dns/answer.h"
#include "dns_wire.h"
#include "dns_world.h"
#include "loadstar/abi/dns.h"

namespace ls::dns {
namespace {

using test::add16;
using test::add32;
using test::add_name;
using test::Bytes;
using testing::ElementsAre;
using testing::Pair;

/// A number for each name that was asked about.
uint64_t fake_hash(std::string_view relative) { return name_hash(relative, 77); }

template <class T>
T read(const KernelBody& body, size_t at) {
  T value;
  EXPECT_LE(at + sizeof value, body.octets.size());
  std::memcpy(&value, body.octets.data() + at, sizeof value);
  return value;
}

class KernelName : public testing::Test {
 protected:
  ls::test::DnsWorld world;
  ZoneTable& table = world.zone("mesos");
  KernelBody body;
  size_t base = 0;  ///< of the entry's body

  void add(const char* owner, const char* type, const std::string& value, uint32_t ttl = 0) { world.add("mesos", owner, type, value, ttl); }
  const ZoneName& make(const std::string& owner) {
    const ZoneName* name = table.find(*relative_name(owner));
    EXPECT_NE(name, nullptr);
    kernel_name(*name, fake_hash, body);
    base = LS_DNS_BODY(name->owner().size());
    return *name;
  }
  ls_dns_set set(size_t i) { return read<ls_dns_set>(body, i * sizeof(ls_dns_set)); }
  std::string data(size_t at, size_t size) {
    EXPECT_LE(at - base + size, body.octets.size());
    return {reinterpret_cast<const char*>(body.octets.data()) + at - base, size};
  }
  ls_dns_srv srv(const ls_dns_set& s, size_t i, std::string* name = nullptr) {
    const auto at = read<uint16_t>(body, s.at - base + 2 * i);
    EXPECT_EQ(at % 8, 0);
    const auto out = read<ls_dns_srv>(body, at - base);
    if (name) *name = data(at + sizeof(ls_dns_srv), out.name_octets);
    return out;
  }
};

TEST_F(KernelName, AddressesLieAtMultiplesOfEight) {
  for (const char* owner : {"a", "ab", "abcdefg", "abcdefgh"}) {
    add((std::string(owner) + ".mesos").c_str(), "A", "10.0.0.1", 30);
    add((std::string(owner) + ".mesos").c_str(), "A", "10.0.0.2", 20);
    add((std::string(owner) + ".mesos").c_str(), "AAAA", "fd00::1");
    make(owner);
    EXPECT_EQ(body.flags, 0);
    ASSERT_EQ(body.sets, 2);
    EXPECT_EQ(set(0).type_be, htons(1));
    EXPECT_EQ(set(0).form, LS_DNS_FORM_A);
    EXPECT_EQ(set(0).count, 2);
    EXPECT_EQ(set(0).ttl, 20u);
    EXPECT_EQ(set(0).at, base + 2 * sizeof(ls_dns_set));
    EXPECT_EQ(set(0).at % 8, 0);
    EXPECT_EQ(data(set(0).at, 8), std::string("\x0a\0\0\1\x0a\0\0\2", 8));
    EXPECT_EQ(set(1).type_be, htons(28));
    EXPECT_EQ(set(1).ttl, 0u);
    EXPECT_EQ(set(1).at % 8, 0);
    EXPECT_EQ(data(set(1).at, 1), "\xfd");
    EXPECT_EQ(set(1).at - base + 16u, body.octets.size());
  }
}

TEST_F(KernelName, EmptyNonTerminalsAndOtherTypes) {
  add("x.web.mesos", "A", "10.0.0.1");
  make("web");
  EXPECT_EQ(body.flags, LS_DNS_EMPTY);
  EXPECT_TRUE(body.octets.empty());
  add("x.web.mesos", "TXT", "\3abc");
  make("x.web");
  EXPECT_EQ(body.flags, LS_DNS_PARTIAL);
  EXPECT_TRUE(body.partial());
  EXPECT_EQ(body.sets, 1);
  add("alias.mesos", "CNAME", "web.mesos");
  make("alias");
  EXPECT_EQ(body.flags, LS_DNS_PARTIAL);
  EXPECT_EQ(body.sets, 0);
  EXPECT_TRUE(body.octets.empty());
}

TEST_F(KernelName, SrvRecords) {
  add("_w._tcp.mesos", "SRV", "1 2 80 web.mesos");
  add("_w._tcp.mesos", "SRV", "1 2 81 web.mesos");
  add("_w._tcp.mesos", "SRV", "3 4 82 other.web.mesos");
  add("_w._tcp.mesos", "SRV", "3 4 83 mesos");
  make("_w._tcp");
  ASSERT_EQ(body.sets, 1);
  const ls_dns_set s = set(0);
  EXPECT_EQ(s.form, LS_DNS_FORM_SRV);
  EXPECT_EQ(s.count, 4);
  EXPECT_EQ(s.flags, 0);
  std::string name;
  ls_dns_srv r = srv(s, 0, &name);
  EXPECT_EQ(name, "\3web");
  EXPECT_EQ(r.flags, LS_DNS_SRV_BELOW);
  EXPECT_EQ(r.target_hash, fake_hash("\3web"));
  EXPECT_EQ(std::string(reinterpret_cast<char*>(r.front), 6), std::string("\0\1\0\2\0\x50", 6));
  EXPECT_EQ(r.target, 0);
  EXPECT_EQ(srv(s, 1).target, 0);
  r = srv(s, 2, &name);
  EXPECT_EQ(name, std::string("\5other\3web"));
  EXPECT_EQ(r.target, 2);
  EXPECT_EQ(r.target_hash, fake_hash("\5other\3web"));
  r = srv(s, 3, &name);
  EXPECT_EQ(name, "");
  EXPECT_EQ(r.flags, LS_DNS_SRV_BELOW);
  EXPECT_EQ(r.target_hash, fake_hash(""));
}

TEST_F(KernelName, SrvTargetsElsewhere) {
  add("_a.mesos", "SRV", "0 0 1 web.example");
  make("_a");
  EXPECT_EQ(set(0).flags, LS_DNS_SET_OUTSIDE);
  std::string name;
  EXPECT_EQ(srv(set(0), 0, &name).flags, 0);
  EXPECT_EQ(name, std::string("\3web\7example\0", 13)) << "the whole name with the root";
  table.apply({{srv_record("\2_b", 0, 0, 1, "\3Web")}, {}});
  make("_b");
  EXPECT_EQ(set(0).flags, LS_DNS_SET_OUTSIDE) << "spelt with capitals";
  EXPECT_EQ(srv(set(0), 0, &name).target_hash, fake_hash("\3web"));
  EXPECT_EQ(name, "\3Web");
}

TEST_F(KernelName, LargeSetsAreLeftOut) {
  RecordDelta d;
  for (uint32_t i = 0; i < LS_DNS_A_MAX; ++i) d.add.push_back(address_record("\1a", IpAddress::from_v4(0x0a000000 + i)));
  for (uint32_t i = 0; i < LS_DNS_SRV_MAX; ++i) d.add.push_back(srv_record("\1a", 0, 0, static_cast<uint16_t>(i), "\1t"));
  table.apply(d);
  make("a");
  EXPECT_EQ(body.sets, 2);
  EXPECT_FALSE(body.partial());
  table.apply({{address_record("\1a", IpAddress::from_v4(0x0b000000)), srv_record("\1a", 0, 0, 999, "\1t")}, {}});
  make("a");
  EXPECT_EQ(body.sets, 0);
  EXPECT_TRUE(body.partial());
  // Few records with long targets.
  RecordDelta longs;
  const std::string label = '\x3f' + std::string(63, 'x');
  for (uint32_t i = 0; i < LS_DNS_SRV_MAX; ++i) longs.add.push_back(srv_record("\1b", 0, 0, static_cast<uint16_t>(i), label + label + label));
  longs.add.push_back(address_record("\1b", IpAddress::from_v4(1)));
  table.apply(longs);
  make("b");
  EXPECT_EQ(body.sets, 1);
  EXPECT_TRUE(body.partial());
  EXPECT_LE(base + body.octets.size(), size_t{LS_DNS_ENTRY_MAX});
}

TEST(KernelView, SoaEndsWithTheApex) {
  ls::test::DnsWorld world;
  world.zone("mesos");
  ZoneView& view = world.view("mesos");
  view.soa.mname = ls::test::name_of("ns1.MESOS");
  view.soa.rname = ls::test::name_of("mesos");
  view.soa.refresh = 0x01020304;
  view.ttl = 60;
  view.srv_override = {{1, 2}};
  view.rules.soa_at_question = true;
  KernelBody body;
  kernel_view(view, 0x80000005u, 0x40000006u, true, true, body);
  auto v = read<ls_dns_view>(body, 0);
  EXPECT_EQ(body.octets.size(), sizeof v);
  EXPECT_EQ(v.zone, 0x80000005u);
  EXPECT_EQ(v.ready, 0x40000006u);
  EXPECT_EQ(v.flags, uint32_t{LS_DNS_VIEW_COMPLETE | LS_DNS_VIEW_NESTED | LS_DNS_VIEW_SOA_AT_QUESTION | LS_DNS_VIEW_SRV_ADDITIONAL |
                              LS_DNS_VIEW_RANDOM | LS_DNS_VIEW_SRV_OVERRIDE});
  EXPECT_EQ(v.ttl, 60u);
  EXPECT_EQ(v.srv_front_be[1], htons(2));
  EXPECT_EQ(v.soa_pointer[0], 4);
  EXPECT_EQ(v.soa_pointer[1], 6);
  EXPECT_EQ(v.soa_octets, 8 + 20);
  EXPECT_EQ(get32(v.soa + 8), 1u) << "serial";
  EXPECT_EQ(get32(v.soa + 12), 0x01020304u);

  view.soa.mname = ls::test::name_of("ns.xmesos");  // ends with the same octets, but not with the label
  view.soa.rname = ls::test::name_of("a.example");
  kernel_view(view, 0, 0, false, false, body);
  v = read<ls_dns_view>(body, 0);
  EXPECT_EQ(v.soa_pointer[0], 0xffff);
  EXPECT_EQ(v.soa_pointer[1], 0xffff);
  EXPECT_EQ(v.soa_octets, 11 + 11 + 20);
  EXPECT_FALSE(v.flags & (LS_DNS_VIEW_COMPLETE | LS_DNS_VIEW_NESTED | LS_DNS_VIEW_UP));

  const std::string label(63, 'a');
  view.soa.mname = view.soa.rname = ls::test::name_of(label + "." + label + "." + label);
  kernel_view(view, 0, 0, false, false, body);
  EXPECT_TRUE(read<ls_dns_view>(body, 0).flags & LS_DNS_VIEW_UP) << "does not fit";
  view.apex = DnsName();
  view.soa.mname = view.soa.rname = ls::test::name_of("a");
  kernel_view(view, 0, 0, false, false, body);
  EXPECT_TRUE(read<ls_dns_view>(body, 0).flags & LS_DNS_VIEW_UP) << "the root";
}

TEST(KernelView, Forwarded) {
  KernelBody body;
  kernel_view(ForwardGroup{ls::test::name_of("corp"), {}, true}, body);
  EXPECT_EQ(read<ls_dns_view>(body, 0).flags, uint32_t{LS_DNS_VIEW_FORWARD});
  kernel_view(ForwardGroup{ls::test::name_of("corp"), {}, false}, body);
  EXPECT_EQ(read<ls_dns_view>(body, 0).flags, uint32_t{LS_DNS_VIEW_FORWARD | LS_DNS_VIEW_UNCACHED});
}

/// A response with records as given; the owner of each is the question.
struct Message {
  Bytes octets;
  Message(uint16_t type, uint16_t flags, int answers) {
    for (unsigned v : {0x1234u, unsigned{flags}, 1u, unsigned(answers), 0u, 0u}) add16(octets, v);
    add_name(octets, "web.mesos");
    add16(octets, type);
    add16(octets, 1);
  }
  Message& record(uint16_t type, uint32_t ttl, const std::string& data, uint16_t owner = 0xc00c) {
    for (unsigned v : {unsigned{owner}, unsigned{type}, 1u}) add16(octets, v);
    add32(octets, ttl);
    add16(octets, static_cast<unsigned>(data.size()));
    octets.insert(octets.end(), data.begin(), data.end());
    return *this;
  }
};
constexpr size_t kQuestion = 12 + 11 + 4;
const std::string kA1("\x0a\0\0\1", 4), kA2("\x0a\0\0\2", 4);

TEST(KernelReady, WhatIsBehindTheQuestion) {
  Message m(1, kQr | kAa | kRa | kRd | kCd, 3);
  m.record(5, 60, std::string("\1x\xc0\x10", 4));
  const auto target = static_cast<uint16_t>(0xc000 | (m.octets.size() - 4));
  m.record(1, 60, kA1, target).record(1, 60, kA2, target);
  KernelBody body;
  ASSERT_TRUE(kernel_ready(m.octets, true, body));
  const auto r = read<ls_dns_ready>(body, 0);
  EXPECT_EQ(r.flags_be, htons(kAa | kRa)) << "what the client sends is not the answer's";
  EXPECT_EQ(r.counts_be[0], htons(3));
  EXPECT_EQ(r.counts_be[1], 0);
  EXPECT_EQ(r.body_octets, m.octets.size() - kQuestion);
  EXPECT_EQ(std::memcmp(body.octets.data() + sizeof r, m.octets.data() + kQuestion, r.body_octets), 0);
  EXPECT_EQ(r.ttls, 0);
  EXPECT_EQ(r.stored_ns, 0u);
  EXPECT_EQ(r.rotate_count, 2);
  EXPECT_EQ(r.rotate_octets, 4);
  EXPECT_EQ(r.rotate_stride, 16);
  EXPECT_EQ(r.rotate_at, 16 + 12) << "behind the alias";
  ASSERT_TRUE(kernel_ready(m.octets, false, body));
  EXPECT_EQ(read<ls_dns_ready>(body, 0).rotate_count, 0);
}

TEST(KernelReady, OneAddressOrDifferentOwnersAreNotTurned) {
  KernelBody body;
  ASSERT_TRUE(kernel_ready(Message(1, kQr, 1).record(1, 60, kA1).octets, true, body));
  EXPECT_EQ(read<ls_dns_ready>(body, 0).rotate_count, 0);
  ASSERT_TRUE(kernel_ready(Message(1, kQr, 2).record(1, 60, kA1).record(1, 60, kA2, 0xc010).octets, true, body));
  EXPECT_EQ(read<ls_dns_ready>(body, 0).rotate_count, 0);
  ASSERT_TRUE(kernel_ready(Message(1, kQr, 2).record(1, 60, kA1).record(1, 61, kA2).octets, true, body));
  EXPECT_EQ(read<ls_dns_ready>(body, 0).rotate_count, 0);
}

TEST(KernelReady, WhatIsRefused) {
  KernelBody body;
  EXPECT_FALSE(kernel_ready(Message(1, kQr | kTc, 1).record(1, 60, kA1).octets, true, body));
  EXPECT_FALSE(kernel_ready(Message(1, kQr | 2, 0).octets, true, body));
  EXPECT_FALSE(kernel_ready(Message(1, kQr | 5, 0).octets, true, body));
  EXPECT_TRUE(kernel_ready(Message(1, kQr | 3, 0).octets, true, body));
  EXPECT_EQ(read<ls_dns_ready>(body, 0).flags_be, htons(3));
  EXPECT_FALSE(kernel_ready(Message(1, kRd, 0).octets, true, body)) << "a question";
  EXPECT_FALSE(kernel_ready(Message(1, kQr, 1).octets, true, body)) << "cut";
  const size_t head = kQuestion + 12;
  std::string text = '\xfa' + std::string(250, 'x');
  while (head + text.size() + 251 < LS_DNS_MESSAGE_MAX) text += '\xfa' + std::string(250, 'x');
  const size_t left = LS_DNS_MESSAGE_MAX - head - text.size();
  const std::string full = text + static_cast<char>(left - 1) + std::string(left - 1, 'y');
  EXPECT_TRUE(kernel_ready(Message(16, kQr, 1).record(16, 60, full).octets, true, body));
  const std::string over = text + static_cast<char>(left) + std::string(left, 'y');
  EXPECT_FALSE(kernel_ready(Message(16, kQr, 1).record(16, 60, over).octets, true, body));
}

TEST(KernelCached, TtlsAndFlags) {
  Message m(1, kQr | kAa | kAd | kRd, 2);
  m.record(1, 60, kA1).record(1, 60, kA2);
  KernelBody body;
  ASSERT_TRUE(kernel_cached(m.octets, 11, 22, body));
  const auto r = read<ls_dns_ready>(body, 0);
  EXPECT_EQ(r.stored_ns, 11u);
  EXPECT_EQ(r.expires_ns, 22u);
  EXPECT_EQ(r.flags_be, htons(kRa | kAd)) << "as from the cache: no authority, recursion offered";
  EXPECT_EQ(r.ttls, 2);
  EXPECT_EQ(r.ttl_at[0], 6);
  EXPECT_EQ(r.ttl_at[1], 22);
  EXPECT_EQ(get32(body.octets.data() + sizeof r + r.ttl_at[1]), 60u);
  EXPECT_EQ(r.rotate_count, 2);
  EXPECT_EQ(r.rotate_at, 12);
  EXPECT_FALSE(kernel_cached(Message(1, kQr, 1).record(1, 0x80000001, kA1).octets, 1, 2, body));
  Message many(1, kQr, LS_DNS_TTLS_MAX);
  for (int i = 0; i < LS_DNS_TTLS_MAX; ++i) many.record(1, 60, kA1);
  EXPECT_TRUE(kernel_cached(many.octets, 1, 2, body));
  Message more(1, kQr, LS_DNS_TTLS_MAX + 1);
  for (int i = 0; i < LS_DNS_TTLS_MAX + 1; ++i) more.record(1, 60, kA1);
  EXPECT_FALSE(kernel_cached(more.octets, 1, 2, body));
}

}  // namespace
}  // namespace ls::dns
