#pragma once
/// What the kernel alone takes to tell so many sockets something, and readers that do not: what the hub is compared with.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "util/unique_fd.h"

struct ssl_ctx_st;
struct ssl_st;

namespace ls::converge {

/// CPU microseconds of the sender for one write of `octets` to one of `sockets` connections of loopback, in rounds over all of them,
/// `rounds` a second for `seconds`; another thread reads them.
double bare_write_us(size_t sockets, size_t octets, double rounds, double seconds);

/// Streams that ask for a snapshot and never read a byte of it.
class StoppedReaders {
 public:
  StoppedReaders(uint16_t port, size_t readers, ssl_ctx_st* tls);
  ~StoppedReaders();
  StoppedReaders(const StoppedReaders&) = delete;
  StoppedReaders& operator=(const StoppedReaders&) = delete;

 private:
  std::vector<UniqueFd> sockets_;
  std::vector<ssl_st*> tls_;
};

}  // namespace ls::converge
