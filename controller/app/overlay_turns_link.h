#pragma once
/// The link of a master's own node when masters take turns: to the allocator of this process while this master leads, by HTTP to whoever
/// leads otherwise. Each change of the turn makes another link, which begins where the copy stands; while no other master is known the one
/// before stays, and what the node has stays with it.
///
/// Thread: as OverlayLink says, the control loop. Which feeds are believed over the change: sources/overlay_take.h (terms).
#include "sources/overlay_link.h"

namespace ls {

class OverlayTurnsLink final : public OverlayLink {
 public:
  /// `others` is empty for this process.
  using Make = std::function<Result<std::unique_ptr<OverlayLink>>(const std::vector<std::string>& others, OverlayLinkEvents, std::optional<OverlayHeld>)>;
  OverlayTurnsLink(Make make, OverlayLinkEvents events, std::optional<OverlayHeld> held);
  ~OverlayTurnsLink() override { stop(); }

  /// Another turn began: `here`, or at one of `others`, most likely the first.
  void turn(bool here, const std::vector<std::string>& others);

  void start() override;
  void stop() override;
  void say(overlay::NodeRegistration) override;
  void say_again() override;
  OverlayLinkStatus status() const override;

 private:
  OverlayLinkEvents told();

  const Make make_;
  const OverlayLinkEvents events_;
  std::optional<OverlayHeld> held_;
  std::optional<overlay::NodeRegistration> said_;
  std::unique_ptr<OverlayLink> link_;
  std::vector<std::string> others_;
  std::string problem_ = "no master is known to lead";
  bool started_ = false, stopped_ = false;
};

}  // namespace ls
