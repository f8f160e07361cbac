// Folding, hashing and the grammar of labels. The vectors of spec/ run in loadstar-conformance; these are the edges beyond them.
#include <gtest/gtest.h>

#include "derive/fold.h"
#include "derive/labels.h"
#include "derive/vip_hash.h"

namespace ls {
namespace {

TEST(Fold, Edges) {
  EXPECT_EQ(fold_label(std::string(70, 'a')), std::string(63, 'a'));
  EXPECT_EQ(fold_label(std::string(62, 'a') + "--b"), std::string(62, 'a') + "b");
  EXPECT_EQ(fold_label("__a__"), "a");
  EXPECT_EQ(fold_name("..A..b_.c-"), "a.b.c");
  EXPECT_EQ(vip_name("/group/sub/web", "kafka/prod"), "groupsubweb.kafkaprod");
  EXPECT_TRUE(usable_name("a.b"));
  for (auto bad : {"", ".a", "a.", "a..b"}) EXPECT_FALSE(usable_name(bad)) << bad;
}

TEST(Hash, Edges) {
  EXPECT_EQ(start_offset_v4("anything", 0), Address128(0));
  EXPECT_EQ(start_offset_v6("anything", 0), Address128(0));
  EXPECT_EQ(start_offset_v6("anything", 1), Address128(0));
  // SHA-1("abc") = a9993e364706816aba3e25717850c26c9cd0d89d; modulo 2^127 its low bits, though the dividend has 160.
  Address128 low = Address128(0x4706816aba3e2571ull) << 64 | 0x7850c26c9cd0d89dull;
  EXPECT_TRUE(start_offset_v6("abc", Address128(1) << 127) == low);
  // Modulo a number near 2^128: 0xa9993e36 * 2^128 + low = 0xa9993e36 * (2^128 - 1) + 0xa9993e36 + low.
  EXPECT_TRUE(start_offset_v6("abc", ~Address128(0)) == low + 0xa9993e36u);
}

TEST(Labels, Addresses) {
  auto address = [](const char* text) {
    auto v = parse_vip(text);
    return v && v->address ? v->address->text() + " " + std::to_string(v->port) : "";
  };
  EXPECT_EQ(address("1.2.3.4:80"), "1.2.3.4 80");
  EXPECT_EQ(address("[fd01::1]:80"), "fd01::1 80");
  EXPECT_EQ(address("fd01::1:80"), "fd01::1 80");
  EXPECT_EQ(address("1.2.3:80"), "");
  for (auto refused : {"0.0.0.0:80", "127.0.0.1:5051", "224.0.0.1:1", "255.255.255.255:1", "[::1]:80", "[::]:80", "[ff02::1]:80"})
    EXPECT_FALSE(parse_vip(refused)) << refused;
}

TEST(Labels, PortsAndNames) {
  EXPECT_EQ(parse_vip("/web:65535")->port, 65535);
  EXPECT_EQ(parse_vip("/web:+80")->port, 80);
  EXPECT_EQ(parse_vip("//a/b:1")->label, "a/b");
  EXPECT_EQ(parse_vip("//a/b:1")->folded, "ab");
  for (auto refused : {"", ":", ":80", "/:80", "web", "web:", "web:0", "web:65536", "web:70000", "web:-1", "web: 80", "web:8o",
                       "web:99999999999999999999", "-.-:80", "a.-:80"})
    EXPECT_FALSE(parse_vip(refused)) << refused;
  EXPECT_NE(parse_vip("web:70000").error().doing.find("70000"), std::string::npos);
}

TEST(Labels, TaskForm) {
  auto l = parse_task_label("ViP_PoRt12", "udp://dns:53");
  ASSERT_TRUE(l);
  EXPECT_EQ(l->index, 12u);
  EXPECT_EQ(l->protocol, Protocol::kUdp);
  EXPECT_EQ(l->value, "dns:53");
  for (auto key : {"vip_port", "vip_port-1", "vip_portx", "vip_0", "port0"}) EXPECT_FALSE(parse_task_label(key, "tcp://a:1")) << key;
  EXPECT_FALSE(parse_task_label("vip_port0", "http://a:1"));
  EXPECT_FALSE(parse_task_label("vip_port0", "a:1"));
}

}  // namespace
}  // namespace ls
