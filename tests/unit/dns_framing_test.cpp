// Messages out of a TCP stream, however it is cut.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "dns/tcp_framing.h"
#include "dns/tcp_limits.h"

namespace ls::dns {
namespace {

std::string framed(const std::string& m) { return std::string{char(m.size() >> 8), char(m.size())} + m; }

std::vector<std::string> read_all(const std::string& stream, size_t piece) {
  TcpFraming framing;
  std::vector<std::string> out;
  for (size_t at = 0; at < stream.size();) {
    auto space = framing.space();
    size_t n = std::min({piece, space.size(), stream.size() - at});
    std::memcpy(space.data(), stream.data() + at, n);
    framing.received(n);
    at += n;
    while (auto m = framing.next()) out.emplace_back(m->begin(), m->end());
  }
  EXPECT_FALSE(framing.partial());
  return out;
}

TEST(TcpFraming, AnyCutGivesTheSameMessages) {
  std::vector<std::string> messages{"a", "", std::string(300, 'b'), std::string(65535, 'c'), "d", std::string(5000, 'e'),
                                    std::string(4094, 'f'), std::string(4095, 'g'), "h"};
  std::string stream;
  for (auto& m : messages) stream += framed(m);
  for (size_t piece : {1u, 2u, 3u, 7u, 100u, 4096u, 100'000u}) EXPECT_EQ(read_all(stream, piece), messages) << piece;
}

TEST(TcpFraming, MemoryFollowsTheMessage) {
  TcpFraming framing;
  EXPECT_EQ(framing.space().size(), TcpFraming::kFirst);
  auto space = framing.space();
  space[0] = space[1] = 0xff;
  framing.received(2);
  EXPECT_FALSE(framing.next());
  EXPECT_EQ(framing.space().size(), TcpFraming::kMost - 2);
  framing.received(65535);
  EXPECT_EQ(framing.next()->size(), 65535u);
  EXPECT_EQ(framing.space().size(), TcpFraming::kFirst) << "given back";
}

TEST(TcpLimits, InAllAndPerClient) {
  TcpLimits limits(3, 2);
  auto a = *IpAddress::parse("192.0.2.1"), b = *IpAddress::parse("192.0.2.2");
  auto one = limits.enter(a), two = limits.enter(a);
  EXPECT_TRUE(one && two);
  EXPECT_FALSE(limits.enter(a));
  auto three = limits.enter(b);
  EXPECT_TRUE(three);
  EXPECT_FALSE(limits.enter(b)) << "three in all";
  one = {};
  EXPECT_TRUE(limits.enter(a));
  EXPECT_TRUE(limits.enter(b));
}

}  // namespace
}  // namespace ls::dns
