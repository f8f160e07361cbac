#pragma once
/// The asking side: what happens to TCP between this node and one peer through the tunnel, and whose packets are at fault.
///
/// A node can only mend what it sends itself, so the direction decides. TCP alone does not tell it: a connection that never comes to be looks
/// the same whether the request or the answer was lost. So each step has a witness (overlay_probe_wire.h), which is asked
/// without checksums and answers without them:
///
///   is the witness there?           no: an old node or none at all, nothing is concluded
///   connect                         time is over: did the request arrive there?  no: ours are broken;  yes: the peer's are
///   send `bytes`, read them back    time is over: was all of ours acknowledged?  no: ours are broken, unless large packets without a
///                                   checksum do not arrive either (path MTU);  yes: the peer's are
///   compare                         different: something on the way changes data and makes its checksums right again
///
/// Packets that carry no data are as small as a connection request, so when the connection stands, acknowledgements arrive in both directions.
/// Thread: the io_context's. Cost: two UDP packets and a connection; on a fault up to three times `witness` and `connect` or `data`.
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>

#include "app/overlay_probe_socket.h"
#include "app/overlay_probe_wire.h"

namespace ls::overlay_probe {

struct TalkLimits {
  Millis witness{500};   ///< for one answer; asked three times
  Millis connect{3'500};  ///< three connection requests (after 0, 1 and 3 s, net/ipv4/tcp.h TCP_TIMEOUT_INIT)
  Millis data{3'000};     ///< for each direction; some ten attempts of the kernel
};

enum class Verdict {
  kGood,
  kNoPeer,       ///< no witness: an old node, or none
  kUnclear,      ///< it was there and is not any more, or something else than time was the reason
  kOursLost,     ///< what this node sends with a checksum does not arrive
  kTheirsLost,   ///< what this node sends arrives, the answers do not
  kOneSideLost,  ///< one of the two, the peer's kernel cannot tell which
  kTooLarge,     ///< large packets do not arrive, with or without a checksum
  kChanged,      ///< the data that came back is not what was sent
};

struct TalkReport {
  Verdict verdict = Verdict::kUnclear;
  std::string what;   ///< half a sentence: "connection requests of this node do not arrive"
  double rtt_ms = 0;  ///< of the witness
};

/// `bytes` at most kMaxBytes of overlay_probe_echo.h. `mtu` of the tunnel, for large questions.
asio::awaitable<TalkReport> talk(const Via& via, const Endpoint& peer, size_t bytes, uint32_t mtu, TalkLimits limits);

struct WitnessAnswer {
  Seen seen = Seen::kNothing;
  double rtt_ms = 0;
};
/// Three attempts; at once nullopt when the other kernel says that nobody listens. `size` of the UDP payload.
asio::awaitable<std::optional<WitnessAnswer>> ask_witness(const Via& via, const Endpoint& peer, uint16_t port, size_t size, Millis limit);

/// UDP payload of an IPv4 packet of `mtu` octets.
size_t large_question(uint32_t mtu);

enum class TcpAnswer { kConnected, kRefused, kNone, kUnreachable };
/// Whether anything answers a connection request: a refusal is an answer.
asio::awaitable<TcpAnswer> knock(const Via& via, const Endpoint& to, Millis limit, double& rtt_ms);

/// Whether a host says that nobody listens on a UDP port. False: it said nothing.
asio::awaitable<bool> udp_refused(const Via& via, const Endpoint& to, Millis limit);

}  // namespace ls::overlay_probe
