#pragma once
/// Watch: changes of links, addresses, routes and neighbours of this network namespace, as they happen. No
/// product knowledge. Thread: one; non-blocking, driven by the caller: wait until fd() is readable, then
/// drain(). Open the Watch before the first list_devices(), so that nothing is missed between the two. Events
/// may repeat what the list said already.
#include <functional>
#include <memory>
#include <variant>

#include "netlink/links.h"

namespace ls::netlink {

struct DeviceChanged {
  Device device;  ///< as it is now, without addresses
};
struct DeviceRemoved {
  int ifindex;
};
struct AddressChanged {
  int ifindex;
};
struct RouteChanged {};
struct NeighbourChanged {
  int ifindex;
};
/// The kernel dropped events because nobody read for too long: list again.
struct ResyncNeeded {};
using Event =
    std::variant<DeviceChanged, DeviceRemoved, AddressChanged, RouteChanged, NeighbourChanged, ResyncNeeded>;

class Watch {
 public:
  static Result<Watch> open();
  Watch(Watch&&) noexcept;
  Watch& operator=(Watch&&) noexcept;
  ~Watch();

  int fd() const;
  /// Calls back for everything that waits; returns when nothing does. Losing events is not an error but
  /// ResyncNeeded.
  Result<> drain(const std::function<void(const Event&)>& each);

 private:
  struct Impl;
  explicit Watch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::netlink
