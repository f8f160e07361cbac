#pragma once
/// OverlayLinkState: what every link to an allocator keeps, wherever the allocator is: which feeds it believes, what became of the last
/// registration, when the next one is due. Internal to the links. Thread: control loop.
#include <string>

#include "overlay/plan_pools.h"
#include "sources/overlay_link.h"
#include "sources/overlay_take.h"

namespace ls {

class OverlayLinkState {
 public:
  OverlayLinkState(const Clock& clock, const OverlayLinkOptions& options, OverlayLinkEvents events);

  /// A feed came; hands on what is new. True: it is of another run, which knows nothing of what this node said.
  Result<bool> fed(bool first, overlay::AllocationFeed&& feed);
  /// A registration was answered. An error: by another allocator than the one followed.
  Result<> allocated(overlay::RegistrationAnswer&& answer);
  void refused(overlay::Refusal&& why);
  /// A registration at `where` came to its end, refused or not; how long until the next one.
  Millis next(Result<>&& result, const std::string& where);

  const OverlayTake& copy() const { return copy_; }
  /// All but `connected` and `endpoint`. `last_error` is that of the last registration.
  OverlayLinkStatus status() const;

 private:
  const Clock& clock_;
  const Millis reregister_, backoff_min_, backoff_max_;
  const OverlayLinkEvents events_;
  OverlayTake copy_;
  OverlayLinkStatus status_;
  Millis backoff_ = backoff_min_;
};

}  // namespace ls
