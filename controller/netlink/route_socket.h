#pragma once
/// rtnetlink for a program that lives some milliseconds: one request built in a buffer, one answer, and the kernel's own words for an
/// error. (libnl's objects and caches cost as much as the work of such a program, see docs/design/09-cni.md.) No product knowledge.
/// Thread: the owner's. A socket belongs to the network namespace in which it was opened, also after the thread has left that.
#include <linux/rtnetlink.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "util/result.h"
#include "util/unique_fd.h"

namespace ls::netlink {

/// A request under construction: header, then attributes in the order they are put.
class RouteMessage {
 public:
  /// `header` is what follows nlmsghdr: ifinfomsg, ifaddrmsg, rtmsg, ndmsg.
  template <class H>
  RouteMessage(uint16_t type, uint16_t flags, const H& header) {
    static_assert(std::is_trivially_copyable_v<H>);
    start(type, flags, &header, sizeof header);
  }
  RouteMessage& put(uint16_t attribute, const void* data, size_t size);
  RouteMessage& put(uint16_t attribute, std::span<const uint8_t> data) { return put(attribute, data.data(), data.size()); }
  RouteMessage& put32(uint16_t attribute, uint32_t v) { return put(attribute, &v, sizeof v); }
  RouteMessage& put8(uint16_t attribute, uint8_t v) { return put(attribute, &v, sizeof v); }
  /// With the final zero that names have.
  RouteMessage& put_text(uint16_t attribute, std::string_view text);
  /// Everything put until end() is inside.
  RouteMessage& begin(uint16_t attribute);
  RouteMessage& end();
  /// Raw octets, for headers inside an attribute.
  RouteMessage& raw(const void* data, size_t size);
  nlmsghdr* finish(uint32_t sequence);

 private:
  void start(uint16_t type, uint16_t flags, const void* header, size_t size);
  void align();
  std::vector<uint8_t> bytes_;
  std::vector<size_t> open_;
};

/// Attributes of an answer by number; those past the table are left out.
template <size_t N>
struct Attributes {
  const rtattr* at[N] = {};
  const rtattr* operator[](size_t i) const { return i < N ? at[i] : nullptr; }
};
template <size_t N>
Attributes<N> attributes(const void* first, size_t size) {
  Attributes<N> out;
  for (auto* a = static_cast<const rtattr*>(first); RTA_OK(a, size); a = RTA_NEXT(a, size)) {
    size_t type = a->rta_type & 0x3fff;  // NLA_TYPE_MASK
    if (type < N) out.at[type] = a;
  }
  return out;
}
inline std::span<const uint8_t> bytes_of(const rtattr* a) {
  return {static_cast<const uint8_t*>(RTA_DATA(a)), size_t(RTA_PAYLOAD(a))};
}
uint32_t u32_of(const rtattr* a);        ///< 0 when absent or short
std::string text_of(const rtattr* a);    ///< empty when absent

class RouteSocket {
 public:
  static Result<RouteSocket> open();
  /// Sends, waits for the acknowledgement. Errors: errno of the kernel, its words behind `doing`.
  Result<> call(RouteMessage& m, std::string_view doing);
  /// Sends, hands every answer over. With NLM_F_DUMP until the end, else one answer.
  Result<> ask(RouteMessage& m, std::string_view doing, const std::function<void(const nlmsghdr*)>& each);

 private:
  Result<> exchange(nlmsghdr* h, std::string_view doing, const std::function<void(const nlmsghdr*)>* each);
  UniqueFd fd_;
  uint32_t sequence_ = 0;
};

}  // namespace ls::netlink
