#pragma once
/// OverlayProbe: this node's tests of its own tunnel.
///
/// Checksum offload. Some network cards and hypervisors break the inner checksums of VXLAN packets when the kernel leaves these to them: ping
/// works, TCP hangs. So this node talks TCP with a few random peers: soon after the first ones are known and when others come, every
/// `retry` until one of them says something, then every `interval`; never with all. Each node mends only what it sends:
///
///   what this node sends is lost (overlay_probe_talk.h says how that is told), twice in a row
///     -> transmit checksum offload of the VTEP off, again: does it arrive now?   yes: it stays off     no: back on, said, and not tried
///                                                                                                      with that peer for `again`
///   what the peer sends is lost -> nothing here. The peer hears of it by the witness and tests itself at once.
///
/// The device keeps what was set, over restarts too: offload that is off is never switched on, only tested as it is. Who wants it tested
/// anew switches it on (ethtool -K vtep1024 tx on); a device that is made anew has it on. A kill within the seconds of a trial leaves it off.
///
/// Check (`loadstar overlay check`): all peers or one through the tunnel, and for each that does not answer the probable cause.
///
/// Thread: control loop, all calls and all events; nothing blocks. Ends before its io_context does. Memory: some 100 octets a peer; a check some 300 more a peer.
/// Cost: a round is at most `tries` witness questions and `sample` connections of 128 KiB, one after the other.
/// No capability but CAP_NET_ADMIN (switching offload). ICMP where net.ipv4.ping_group_range allows it, else TCP.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/overlay_node.h"
#include "util/address.h"
#include "util/clock.h"
#include "util/result.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct OverlayProbePeer {
  IpAddress node;   ///< own address
  IpAddress vtep4;
  std::optional<IpAddress> vtep6;
  bool operator==(const OverlayProbePeer&) const = default;
};

/// This node. Without a device (ifindex 0) nothing is probed and a check says so.
struct OverlayProbeSelf {
  IpAddress node, vtep4;
  std::optional<IpAddress> vtep6;
  int ifindex = 0;
  uint32_t mtu = 0;  ///< of the device
  bool operator==(const OverlayProbeSelf&) const = default;
};

struct OverlayProbeOptions {
  uint16_t port = 64001;      ///< overlay.probe_port; 0: no probe, nothing listens
  uint16_t api_port = 62080;  ///< of other nodes, asked outside of the tunnel; a refusal is as good
  unsigned sample = 3;        ///< peers in a round that say something
  unsigned tries = 16;        ///< peers in a round at all: in a cluster of old nodes few say anything
  Millis first{2'000};        ///< from the first peer to the first round
  Millis interval{600'000};   ///< a random quarter of it is left out, so that nodes do not come together
  Millis retry{60'000};       ///< instead of it, while no peer said anything
  Millis again{6 * 3'600'000};
  Millis witness{500}, connect{3'500}, data{3'000};  ///< overlay_probe_talk.h
  Millis ping{1'000};         ///< of a check, twice
  Millis check{60'000};       ///< a check ends then, with those it has
  unsigned in_flight = 256;   ///< peers of a check at the same time
  /// Whether the tables send what is for this VTEP address to that node; empty: not looked at.
  std::function<bool(const OverlayProbePeer&)> known;
};

struct OverlayProbeStatus {
  enum class Offload : uint8_t {
    kNotProbed,
    kGood,       ///< on, and what is sent arrives
    kMended,     ///< was broken, this process switched it off
    kOff,        ///< was off before, and what is sent arrives
    kBroken,     ///< what is sent does not arrive, with offload or without
  };
  Offload offload = Offload::kNotProbed;
  uint64_t rounds = 0, good = 0, ours = 0, theirs = 0, unclear = 0;  ///< talks by their end
  uint64_t mended = 0, trials = 0;                                   ///< times it was switched off for good; for a trial
};

/// "not_probed", "good", "mended", "off", "broken": OverlayNodeView::offload_state and the label of a metric.
std::string_view to_text(OverlayProbeStatus::Offload);

class OverlayProbe {
 public:
  OverlayProbe(boost::asio::io_context& io, OverlayProbeOptions options);
  ~OverlayProbe();  ///< stop()

  /// At start and whenever something of it changed. Another device begins anew: it is listened on, and tested.
  void set_self(const OverlayProbeSelf& self);
  /// All of them; this node itself is left out. O(peers).
  void set_peers(std::vector<OverlayProbePeer> peers);
  void put_peer(const OverlayProbePeer& peer);   ///< O(1)
  void remove_peer(const IpAddress& node);       ///< O(1)

  OverlayProbeStatus status() const;
  /// For OverlayNodeView::offload: "good", "broken, switched off", "not probed: no peer answers on port 64001".
  std::string offload_text() const;
  /// What an operator should know, a sentence each.
  std::vector<std::string> warnings() const;

  /// Looks at all peers, or at the one whose own address or VTEP address is `node`. `done` is called once, on the control loop, not within this call;
  /// after stop() never. Errors: EBUSY while another check runs, EINVAL: no address, ENOENT: no such peer.
  Result<> check(const std::string& node, std::function<void(api::OverlayCheckView)> done);
  /// Ends everything; a trial that is under way is taken back. Idempotent.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls
