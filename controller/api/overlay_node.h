#pragma once
/// What the API shows of the overlay on this node: `loadstar overlay ls|agents|trace|check`, /v1/overlay/node and what is below it.
/// `app` implements it. Plain texts and numbers, so that neither the API nor the command line knows pools or maps.
/// Thread: any; values are copies. Cost: view() is small and made anew once a second; nodes() is a search and `most` copies; trace() a few
/// map look-ups.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "util/result.h"

namespace ls::api {

/// What one node has of one overlay.
struct OverlayShareView {
  std::string overlay;
  std::string v4, v6;                        ///< "9.0.3.0/24"; empty: none
  std::string state;                         ///< "ok", "exhausted", "conflict"
  std::string detail;                        ///< of another state than ok
  bool mesos = false, docker = false;        ///< which halves are used
};

/// One node of the overlay, this one among them.
struct OverlayPeerView {
  std::string node, id;                      ///< own address, and the id it chose
  std::string vtep4, vtep6, mac;             ///< "44.128.0.3/20"
  bool self = false;
  std::vector<OverlayShareView> shares;
};

/// Of this node's own shares, what was brought about.
struct OverlayLocalView {
  OverlayShareView share;
  std::string pool4, pool6;                  ///< of the overlay
  std::string status;                        ///< "ok", "failed", "configuring"
  std::string error;                         ///< of failed
  std::string cni_file;                      ///< path; empty: none is written
  std::string docker_network;                ///< name and how it stands: "dcos: made", "dcos: there already", "off"
};

struct OverlayNodeView {
  bool enabled = false;                      ///< this node takes part; else nothing below means anything
  std::string state;                         ///< "registering", "last known", "configuring", "ok", "failed"
  std::string problem;                       ///< why not ok; empty: it is
  std::string master, last_error;            ///< who is followed, and why it failed last
  double heard_s = -1;                       ///< age of the last good answer; < 0: never
  uint64_t registrations = 0, failures = 0, updates = 0;
  std::string node, id, vtep4, vtep6, mac;
  std::string device;                        ///< "vtep1024"
  uint32_t ifindex = 0, mtu = 0, underlay_mtu = 0;
  std::string offload;                       ///< what the checksum probe found: "good", "broken, switched off", "not probed: ..."
  std::string offload_state;                 ///< the same as one word for a metric: "not_probed", "good", "mended", "off", "broken"
  uint64_t talks_good = 0, talks_lost_here = 0, talks_lost_there = 0;  ///< of the probe: TCP with a peer, and whose packets were lost
  std::vector<OverlayLocalView> shares;
  uint64_t peers = 0, entries = 0, conflicts = 0;
  uint64_t repaired = 0;                     ///< things of the device and the tables that were wrong and were put right
  uint64_t docker_failures = 0;              ///< commands that failed
  std::vector<std::string> warnings;
  struct Hook {
    std::string hook, result;                ///< labels of abi/overlay.h
    uint64_t packets = 0, bytes = 0;
  };
  std::vector<Hook> hooks;
};

/// The way of a packet to an address of the overlay, as this node would send it.
struct OverlayTraceView {
  std::string address;
  std::string kind;                          ///< "container", "vtep", "node", "unallocated", "outside"
  std::string overlay, pool, share;          ///< of the address; empty: none
  std::string node, mac;                     ///< who has it
  bool self = false;
  std::vector<std::string> steps;            ///< one sentence each, in order
  std::string verdict;                       ///< "tunnel to 10.0.0.3", "dropped: overlay_unallocated"
};

/// One pair that was looked at by `overlay check`.
struct OverlayCheckResult {
  std::string node, vtep;
  bool ok = false;
  double rtt_ms = 0;
  std::string cause;                         ///< of !ok: a sentence with the probable cause
};
struct OverlayCheckView {
  bool done = false;                         ///< false: its time was over before all had been asked
  uint64_t asked = 0, answered = 0;
  std::vector<OverlayCheckResult> results;   ///< the broken ones first
};

/// Whoever asked for a check gets an answer by then; a check that is not done says what it has a little before.
inline constexpr std::chrono::seconds kOverlayCheckTime{60};

class OverlayNodeSource {
 public:
  virtual ~OverlayNodeSource() = default;
  /// Never null once this node has begun; null and `!enabled` are both shown as "takes no part".
  virtual std::shared_ptr<const OverlayNodeView> view() const = 0;
  /// At most `most` nodes in the order of their own addresses as numbers, this one among them, from the first above `after` on (empty: from
  /// the lowest). So 65,536 of them are shown a page at a time and never copied all at once.
  virtual std::vector<OverlayPeerView> nodes(const std::string& after, size_t most) const = 0;
  /// EINVAL: no address.
  virtual Result<OverlayTraceView> trace(const std::string& address) const = 0;
  /// Looks at all peers through the tunnel, or at one node (its own address; one that is not known is a result with that cause). `done` is
  /// called once, on any thread, perhaps before this returns. Never asked again before `done`, or before kOverlayCheckTime is over.
  virtual void check(const std::string& node, std::function<void(OverlayCheckView)> done) = 0;
};

}  // namespace ls::api
