#include <fmt/format.h>

#include "app/overlay_check.h"
#include "datapath/overlay_device.h"
#include "overlay/model.h"

namespace ls::overlay_probe {
namespace {

bool fault(const TalkReport& t) {
  return t.verdict != Verdict::kGood && t.verdict != Verdict::kNoPeer && t.verdict != Verdict::kUnclear;
}

std::string size_cause(uint32_t mtu, uint32_t passes) {
  auto wanted = mtu + datapath::kOverlayOverhead;
  if (!passes)
    return fmt::format("small packets pass, those of {} octets do not: the network between the nodes takes less than {} octets; raise its MTU or set overlay.vtep_mtu "
                       "lower", mtu, wanted);
  return fmt::format("packets of {} octets pass, those of {} do not: the network between the nodes takes less than {} octets; raise its MTU or set overlay.vtep_mtu "
                     "to {}", passes, mtu, wanted, passes);
}

std::string tcp_cause(const TalkReport& t, const std::string& node, uint32_t mtu) {
  switch (t.verdict) {
    case Verdict::kOursLost:
      return fmt::format(
          "ping passes, TCP does not ({}): checksum offload of this node's network card is broken for tunnels, or a firewall takes TCP out; "
          "the probe switches it off by itself, else do: ethtool -K {} tx off", t.what, overlay::kVtepName);
    case Verdict::kTheirsLost:
      return fmt::format(
          "ping passes, TCP does not ({}): checksum offload of the network card of {} is broken for tunnels; its own probe switches it off, else "
          "do there: ethtool -K {} tx off", t.what, node, overlay::kVtepName);
    case Verdict::kOneSideLost:
      return fmt::format("ping passes, TCP does not ({}): checksum offload of this node or of {} is broken for tunnels; do there: ethtool -K {} tx off",
                         t.what, node, overlay::kVtepName);
    case Verdict::kTooLarge:
      return size_cause(mtu, 0);
    case Verdict::kChanged:
      return "TCP data arrives changed: something between the nodes alters packets and makes their checksums right again; look at network cards and hypervisors";
    default:
      return "";
  }
}

}  // namespace

bool PairFindings::good() const {
  return device && known && tunnel && large.value_or(true) && tunnel6.value_or(true) && !(talk && fault(*talk));
}

std::string probable_cause(const PairFindings& f, const std::string& node, uint16_t probe_port) {
  if (f.good()) return "";
  if (!f.device) return fmt::format("the device {} of this node is missing or down: see `loadstar overlay ls` for why it could not be made", overlay::kVtepName);
  if (!f.known)
    return fmt::format("this node's tables do not lead to {}: it registered a moment ago, or writing them failed; see the log and `loadstar overlay ls`", node);
  if (f.tunnel) {
    if (!f.large.value_or(true))
      return size_cause(f.mtu, f.passes);
    if (f.talk && fault(*f.talk)) return tcp_cause(*f.talk, node, f.mtu);
    return fmt::format("IPv4 passes through the tunnel, IPv6 does not: the IPv6 address of the tunnel is missing on {} or here, or a firewall drops IPv6", node);
  }
  if (f.port_refused)
    return fmt::format("{} answers outside of the tunnel, but nobody listens on UDP {} there: start loadstard with overlay.join (or Navstar) on it",
                       node, overlay::kUdpPort);
  if (!f.outside) return "nothing answers through the tunnel; not looked at further, because many do not answer: look at this node's network first";
  if (!*f.outside) return fmt::format("{} does not answer outside of the tunnel either: it is down, or cannot be reached from here", node);
  return fmt::format("{} answers outside of the tunnel and not through it: UDP {} is filtered between the two in either direction (open it, and TCP {} for the probe), "
                     "or the overlay of {} does not know this node", node, overlay::kUdpPort, probe_port, node);
}

}  // namespace ls::overlay_probe
