// Domain names, their escapes and limits; networks.
#include "util/dns_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "util/network.h"

namespace ls {
namespace {

using namespace std::string_literals;

std::span<const uint8_t> octets(const std::string& s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }

TEST(DnsName, ParsesLabels) {
  EXPECT_EQ(DnsName::parse("Web.mesos.")->wire(), "\3Web\5mesos\0"s);
  EXPECT_EQ(DnsName::parse("web.mesos")->wire(), "\3web\5mesos\0"s);
  EXPECT_EQ(DnsName::parse(".")->wire(), "\0"s);
  EXPECT_EQ(DnsName::parse("a\\.b.c")->wire(), "\3a.b\1c\0"s);
  EXPECT_EQ(DnsName::parse("\\000\\255.c")->wire(), "\2\0\xff\1c\0"s);
  EXPECT_EQ(DnsName::parse("\\A.c")->wire(), "\1A\1c\0"s);
  EXPECT_EQ(DnsName::parse("web.mesos")->labels(), 2u);
  EXPECT_EQ(DnsName().labels(), 0u);
}

TEST(DnsName, RefusesWithTheLabelAndTheReason) {
  const auto error = [](std::string_view text) { return DnsName::parse(text).error().doing; };
  EXPECT_EQ(error(""), "name: is empty; the root is \".\"");
  EXPECT_EQ(error("a..b"), "name: label 2 is empty");
  EXPECT_EQ(error(".a"), "name: label 1 is empty");
  EXPECT_EQ(error("a." + std::string(64, 'x')), "name: label 2 is longer than 63 octets");
  for (const char* text : {"a\\", "a\\25", "a\\256", "a\\2x5"}) EXPECT_THAT(error(text), testing::HasSubstr("broken escape")) << text;
}

TEST(DnsName, AtMost255Octets) {
  const std::string label = std::string(63, 'x') + ".";
  const std::string longest = label + label + label + std::string(61, 'y');
  ASSERT_TRUE(DnsName::parse(longest));
  EXPECT_EQ(DnsName::parse(longest)->wire().size(), 255u);
  EXPECT_EQ(DnsName::parse(longest + "z").error().doing, "name: label 4 makes the name longer than 255 octets");
}

TEST(DnsName, FromWireTakesOnlyWholeNames) {
  EXPECT_TRUE(DnsName::from_wire(octets("\3web\0"s)));
  EXPECT_FALSE(DnsName::from_wire({}));
  EXPECT_FALSE(DnsName::from_wire(octets("\3web"s)));
  EXPECT_FALSE(DnsName::from_wire(octets("\4web\0"s)));
  EXPECT_FALSE(DnsName::from_wire(octets("\3web\0\0"s)));
  EXPECT_FALSE(DnsName::from_wire(octets("\3web\xc0\0"s)));
}

TEST(DnsName, TextGoesBothWays) {
  for (const auto& wire : {"\0"s, "\3web\5mesos\0"s, "\3a.b\0"s, "\5\0\xff \\\"\0"s, "\4@$();\0"s}) {
    const auto name = DnsName::from_wire(octets(wire));
    if (!name) continue;
    EXPECT_EQ(DnsName::parse(name->text())->wire(), wire) << name->text();
  }
  EXPECT_EQ(DnsName().text(), ".");
  EXPECT_EQ(DnsName::from_wire(octets("\4a. \xff\1b\0"s))->text(), "a\\.\\032\\255.b.");
}

TEST(DnsName, WithinIgnoresCaseAndCountsLabels) {
  const auto mesos = *DnsName::parse("mesos");
  EXPECT_TRUE(DnsName::parse("web.MESOS")->is_within(mesos));
  EXPECT_TRUE(mesos.is_within(mesos));
  EXPECT_TRUE(mesos.is_within(DnsName()));
  EXPECT_FALSE(DnsName::parse("xmesos")->is_within(mesos));
  EXPECT_FALSE(DnsName().is_within(mesos));
  // The octets of "\5mesos\0" inside a label are no suffix.
  EXPECT_FALSE(DnsName::parse("a\\005mesos")->is_within(mesos));
  EXPECT_EQ(DnsName::parse("Web.X.mesos")->relative_to(mesos), "\3web\1x");
  EXPECT_EQ(mesos.relative_to(mesos), "");
}

TEST(DnsName, JoinKeepsTheLimit) {
  const auto mesos = *DnsName::parse("mesos");
  EXPECT_EQ(DnsName::join("\3web", mesos)->text(), "web.mesos.");
  EXPECT_EQ(DnsName::join("", mesos), mesos);
  std::string longest;
  for (int i = 0; i < 124; ++i) longest += "\1x"s;
  EXPECT_EQ(DnsName::join(longest, mesos)->wire().size(), 255u);
  EXPECT_FALSE(DnsName::join(longest + "\1x", mesos));
}

TEST(DnsName, RelativeNames) {
  EXPECT_EQ(relative_name("Web.Marathon"), "\3web\10marathon"s);
  EXPECT_EQ(relative_name(""), "");
  EXPECT_FALSE(relative_name("a..b"));
  EXPECT_FALSE(relative_name("a."));
  EXPECT_FALSE(relative_name(std::string(64, 'x')));
  std::string dotted = "x";
  for (int i = 1; i < 127; ++i) dotted += ".x";
  EXPECT_EQ(relative_name(dotted)->size(), 254u);
  EXPECT_FALSE(relative_name(dotted + ".x"));
  EXPECT_EQ(relative_text("\3web\3a.b"), "web.a\\.b");
}

TEST(DnsName, FoldsEveryOctetAtEveryPlace) {
  for (size_t size = 0; size < 20; ++size)
    for (unsigned octet = 0; octet < 256; ++octet)
      for (size_t place = 0; place < size; ++place) {
        std::string name(size, '\xff');
        name[place] = static_cast<char>(octet);
        std::string want = name;
        if (octet >= 'A' && octet <= 'Z') want[place] = static_cast<char>(octet + 32);
        fold({reinterpret_cast<uint8_t*>(name.data()), name.size()});
        ASSERT_EQ(name, want) << octet << " at " << place << " of " << size;
      }
}

TEST(DnsName, HashDependsOnKeyAndEveryOctet) {
  const std::string name = "\3web\10marathon\5mesos";
  const uint64_t base = name_hash(name, 1);
  EXPECT_EQ(base, name_hash(name, 1));
  EXPECT_NE(base, name_hash(name, 2));
  for (size_t i = 0; i < name.size(); ++i) {
    std::string other = name;
    other[i] ^= 1;
    EXPECT_NE(base, name_hash(other, 1)) << i;
    EXPECT_NE(base, name_hash(name.substr(0, i), 1)) << i;
  }
  EXPECT_EQ(random_key(), random_key());
}

TEST(IpNetwork, Parses) {
  EXPECT_EQ(IpNetwork::parse("10.0.0.0/8")->prefix, 104);
  EXPECT_EQ(IpNetwork::parse("10.0.0.0/8")->text(), "10.0.0.0/8");
  EXPECT_EQ(IpNetwork::parse("fd01::/64")->text(), "fd01::/64");
  EXPECT_EQ(IpNetwork::parse("10.1.2.3")->text(), "10.1.2.3/32");
  EXPECT_EQ(IpNetwork::parse("::/0")->prefix, 0);
  for (const char* text : {"", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "fd01::/129", "fd01::1/64", "x/8", "/8"})
    EXPECT_FALSE(IpNetwork::parse(text)) << text;
}

TEST(IpNetwork, Contains) {
  const auto contains = [](const char* network, const char* address) {
    return IpNetwork::parse(network)->contains(*IpAddress::parse(address));
  };
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(contains("10.0.0.128/25", "10.0.0.255"));
  EXPECT_FALSE(contains("10.0.0.128/25", "10.0.0.127"));
  EXPECT_TRUE(contains("0.0.0.0/0", "1.2.3.4"));
  EXPECT_FALSE(contains("0.0.0.0/0", "fd01::1"));
  EXPECT_TRUE(contains("::/0", "fd01::1"));
  EXPECT_FALSE(contains("::/0", "1.2.3.4"));
  EXPECT_TRUE(contains("fd01::/63", "fd01:0:0:1::1"));
  EXPECT_FALSE(contains("fd01::/64", "fd01:0:0:1::1"));
}

}  // namespace
}  // namespace ls
