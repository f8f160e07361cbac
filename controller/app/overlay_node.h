#pragma once
/// OverlayNode: this machine as a node of the overlay. Registers, follows the allocations of all nodes, and brings about what belongs to
/// them: the tunnel's device, the tables of the programs, the places of the programs, masquerading, the files for containers and the
/// Docker networks.
///
///   link (a master, or the allocator of this process) --> allocation, feed --> device, tables, programs
///                                                                         \-> masquerading, files, Docker networks --> reports
///
/// Last known good: what was heard last is kept on disk and holds until something newer comes; a master that is silent changes nothing.
/// Nothing of an earlier run is cleaned up before the first feed, or the kept one, has said what there is.
/// Own drift: the device at each change of the network and every 10 s, everything every reconcile.interval.
///
/// Thread: control loop, but for the calls of api::OverlayNodeSource. Nothing here waits for a disk or a command: those have threads of
/// their own. Cost: a change of one node costs what it has; a full feed, adopting and checks cost all nodes.
/// Errors: what fails is told (view().problem, the shares' own errors, the reports to the master) and tried again every 10 s.
#include <functional>
#include <memory>

#include "api/overlay_node.h"
#include "api/overlay_source.h"
#include "app/settings.h"
#include "datapath/programs.h"
#include "sources/overlay_link.h"

namespace boost::asio {
class io_context;
}

namespace ls {

class OverlayNode final : public api::OverlayNodeSource {
 public:
  using MakeLink = std::function<Result<std::unique_ptr<OverlayLink>>(OverlayLinkEvents, std::optional<OverlayHeld>)>;
  /// Where the programs go: the tunnel's device and the bridges of containers (datapath::Attachments::set_overlay).
  using Attach = std::function<void(const std::string& vtep, const std::vector<std::string>& bridges)>;

  OverlayNode(boost::asio::io_context& io, const Config& config, const Clock& clock);
  ~OverlayNode() override;

  /// Adopts the tables, takes what was kept, begins to register. Errors: maps that cannot be used, a list of masters that cannot be read.
  Result<> start(const datapath::Programs& programs, MakeLink make_link);
  /// The programs may be attached from now on; told again whenever the places change.
  void use_attachments(Attach attach);
  void stop();

  /// Once a second: the view, what is to be tried again.
  void tick();
  /// Compares everything with the kernel; every reconcile.interval.
  Result<> check();

  /// Body of GET /overlay-agent/overlay. Any thread.
  api::OverlayBody agent_body() const;

  std::shared_ptr<const api::OverlayNodeView> view() const override;
  std::vector<api::OverlayPeerView> nodes(const std::string& after, size_t most) const override;
  Result<api::OverlayTraceView> trace(const std::string& address) const override;
  void check(const std::string& node, std::function<void(api::OverlayCheckView)> done) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// What tells this machine from another: node.id, or made from /etc/machine-id; empty without either.
std::string overlay_node_id(const Config& config, const std::filesystem::path& machine_id = "/etc/machine-id");

/// Takes away the device, the masquerading and the rules in Docker's filter, for purge: a line for each thing that was there. Runs iptables.
std::vector<std::string> purge_overlay(std::vector<std::string>& problems);

}  // namespace ls
