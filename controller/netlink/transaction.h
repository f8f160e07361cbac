#pragma once
/// Transaction: many rtnetlink requests in few system calls. The kernel does them in order, one by one; it undoes nothing.
/// Thread: one. Cost: a send and a receive for up to 64 requests (their answers must fit into the socket's buffer).
/// Errors: of single requests as errno in what run() gives; of the socket from run().
/// No product knowledge.
#include <linux/netlink.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "util/result.h"
#include "util/unique_fd.h"

namespace ls::netlink {

/// One request, attribute by attribute. `header` is what follows nlmsghdr for its type (ndmsg, rtmsg, ...).
class Request {
 public:
  template <class Header>
  Request(uint16_t type, uint16_t flags, const Header& header) : Request(type, flags, &header, sizeof header) {}

  Request& put(uint16_t attribute, const void* data, size_t bytes);
  Request& put(uint16_t attribute, std::span<const uint8_t> bytes) { return put(attribute, bytes.data(), bytes.size()); }
  Request& put_u8(uint16_t attribute, uint8_t v) { return put(attribute, &v, sizeof v); }
  Request& put_u16(uint16_t attribute, uint16_t v) { return put(attribute, &v, sizeof v); }
  Request& put_u32(uint16_t attribute, uint32_t v) { return put(attribute, &v, sizeof v); }
  Request& put_text(uint16_t attribute, const std::string& v) { return put(attribute, v.c_str(), v.size() + 1); }
  /// Everything until the matching end() is inside of it.
  Request& begin(uint16_t attribute);
  Request& end();
  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  Request(uint16_t type, uint16_t flags, const void* header, size_t bytes);
  void finish();
  std::vector<uint8_t> bytes_;
  std::vector<size_t> open_;
};

class Transaction {
 public:
  Transaction& add(const Request& r);
  size_t size() const { return offsets_.size(); }
  /// Sends everything; the errno of each request, 0 for done, in order.
  Result<std::vector<int>> run() const;

 private:
  std::vector<uint8_t> bytes_;
  std::vector<size_t> offsets_;
};

/// One request alone; fails with its errno. `doing` is the error's text.
Result<> request(const Request& r, std::string doing);

}  // namespace ls::netlink
