#pragma once
/// What the tests of packet programs expect of every packet that comes out of one.
#include <gtest/gtest.h>

#include <string>

#include "packet.h"
#include "util/address.h"

namespace ls::test {

/// All headers can be read, lengths agree, both checksums are right.
inline void sound(const Seen& s) {
  EXPECT_TRUE(s.ok);
  EXPECT_TRUE(s.ip_check_ok) << s.text();
  EXPECT_TRUE(s.l4_check_ok) << s.text();
}

/// An end of a flow as Seen::text() has it.
inline std::string to(const char* address, int port) { return Endpoint{IpAddress::parse(address).value(), uint16_t(port)}.text(); }

}  // namespace ls::test
