#include "sources/overlay_link_state.h"

#include <algorithm>

#include "sources/master_follow.h"
#include "util/log.h"

namespace ls {

OverlayLinkState::OverlayLinkState(const Clock& clock, const OverlayLinkOptions& options, OverlayLinkEvents events)
    : clock_(clock),
      reregister_(options.reregister),
      backoff_min_(options.times.backoff_min),
      backoff_max_(options.times.backoff_max),
      events_(std::move(events)),
      copy_(clock, options.settle, options.held) {}

Result<bool> OverlayLinkState::fed(bool first, overlay::AllocationFeed&& feed) {
  auto run = copy_.at().run;
  LS_ASSIGN(auto news, copy_.take(first, std::move(feed)));
  status_.heard = clock_.now();
  if (news) {
    status_.updates++;
    if (events_.fed) events_.fed(std::move(*news));
  }
  return run != copy_.at().run;
}

Result<> OverlayLinkState::allocated(overlay::RegistrationAnswer&& answer) {
  if (answer.allocator != copy_.at().allocator) return fail("its answer is of another allocator than the one followed");
  status_.registrations++;
  status_.registered = true;
  status_.refused.clear();
  status_.heard = clock_.now();
  if (events_.allocated) events_.allocated(std::move(answer));
  return {};
}

void OverlayLinkState::refused(overlay::Refusal&& why) {
  if (status_.refused != why.text()) log::warn("overlay_not_allocated", {{"reason", why.reason}, {"detail", why.detail}});
  status_.refused = why.text();
  status_.registered = false;
  if (events_.refused) events_.refused(why.reason, why.detail);
}

Millis OverlayLinkState::next(Result<>&& result, const std::string& where) {
  if (result) {
    status_.last_error.clear();
    backoff_ = backoff_min_;
    return jittered(reregister_);
  }
  status_.failures++;
  status_.registered = false;
  auto why = std::move(result.error()).within("register at " + where).text();
  if (why != status_.last_error) log::warn("overlay_not_registered", {{"master", where}, {"error", why}});
  status_.last_error = std::move(why);
  auto pause = jittered(backoff_);
  backoff_ = std::min(backoff_ * 2, backoff_max_);
  return pause;
}

OverlayLinkStatus OverlayLinkState::status() const {
  auto out = status_;
  out.at = copy_.at();
  return out;
}

}  // namespace ls
