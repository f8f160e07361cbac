#pragma once
/// The check of OverlayProbe: what is looked at for one pair, what is concluded from it, and the run over all peers.
///
///   through the tunnel   ping of the VTEP address, else a TCP connection (a refusal is an answer)
///     answers            a ping as large as the tunnel takes, and if none comes back, what size passes; IPv6; TCP with data where the peer has the
///                        probe's port. An old node has to refuse a connection in the tunnel, if it does so outside of it.
///     does not answer    the node's own address outside of the tunnel, and whether anybody listens on UDP 64000 there
///
/// Thread: the io_context's. Only kDiagnosed pairs that do not answer are looked at outside of the tunnel: more have one cause.
#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/overlay_probe.h"
#include "app/overlay_probe_talk.h"

namespace ls::overlay_probe {

inline constexpr size_t kDiagnosed = 256;
/// Of a TCP test in a check: more than a few segments, so that segmentation offload is part of it.
inline constexpr size_t kCheckBytes = 16384;

inline constexpr uint32_t kSizeStep = 8;

struct PairFindings {
  bool device = true;              ///< this node's is there and up
  bool known = true;               ///< this node's tables lead to the peer
  bool tunnel = false;             ///< anything answered through it
  std::optional<bool> large;       ///< a packet of the tunnel's MTU; nullopt: could not be asked
  uint32_t passes = 0;             ///< of !large: size of the largest packet that passes, within kSizeStep octets; 0: not known
  std::optional<bool> tunnel6;     ///< IPv6; nullopt: one of the two has none, or not looked at
  std::optional<bool> outside;     ///< the node's own address; nullopt: not looked at
  bool port_refused = false;       ///< UDP 64000 of it says that nobody listens
  std::optional<TalkReport> talk;  ///< TCP with data, to an old node without; nullopt: not looked at
  uint32_t mtu = 0;
  bool good() const;
};

/// What is probably wrong and what to do, one sentence. Empty: nothing is. Pure.
std::string probable_cause(const PairFindings& f, const std::string& node, uint16_t probe_port);

struct CheckPlan {
  OverlayProbeSelf self;
  OverlayProbeOptions options;
  std::vector<OverlayProbePeer> peers;
};

class OverlayCheck {
 public:
  /// `done` is called once, later, on the executor; not after close().
  static std::shared_ptr<OverlayCheck> start(asio::any_io_executor executor, CheckPlan plan, std::function<void(api::OverlayCheckView)> done);
  void close();
  ~OverlayCheck();

 private:
  struct Impl;
  explicit OverlayCheck(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls::overlay_probe
