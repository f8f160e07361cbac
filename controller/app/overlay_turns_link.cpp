#include "app/overlay_turns_link.h"

#include "util/log.h"

namespace ls {

OverlayTurnsLink::OverlayTurnsLink(Make make, OverlayLinkEvents events, std::optional<OverlayHeld> held)
    : make_(std::move(make)), events_(std::move(events)), held_(std::move(held)) {}

/// What the node hears, and where its copy stands by it.
OverlayLinkEvents OverlayTurnsLink::told() {
  auto out = events_;
  out.fed = [this](overlay::AllocationFeed&& feed) {
    held_ = OverlayHeld{feed.at, feed.plan};
    if (events_.fed) events_.fed(std::move(feed));
  };
  return out;
}

void OverlayTurnsLink::turn(bool here, const std::vector<std::string>& others) {
  auto list = here ? std::vector<std::string>() : others;
  if (stopped_ || (!here && (others.empty() || others == others_))) return;
  auto next = make_(list, told(), held_);
  if (!next) {
    problem_ = next.error().text();
    log::error("overlay_link", {{"leader", here ? std::string("this") : others.front()}, {"error", problem_}});
    return;
  }
  if (link_) link_->stop();
  link_ = std::move(*next);
  others_ = std::move(list);
  if (!started_) return;
  link_->start();
  if (said_) link_->say(*said_);
}

void OverlayTurnsLink::start() {
  started_ = true;
  if (!link_) return;
  link_->start();
  if (said_) link_->say(*said_);
}

void OverlayTurnsLink::stop() {
  stopped_ = true;
  if (link_) link_->stop();
}

void OverlayTurnsLink::say(overlay::NodeRegistration n) {
  said_ = n;
  if (link_ && started_) link_->say(std::move(n));
}

void OverlayTurnsLink::say_again() {
  if (link_) link_->say_again();
}

OverlayLinkStatus OverlayTurnsLink::status() const {
  if (link_) return link_->status();
  OverlayLinkStatus out;
  out.last_error = problem_;
  return out;
}

}  // namespace ls
