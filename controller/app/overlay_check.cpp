#include "app/overlay_check.h"

#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "app/overlay_probe_ping.h"
#include "overlay/model.h"
#include "util/unique_fd.h"

namespace ls::overlay_probe {
namespace {

constexpr size_t kSmall = 64;
constexpr int kPings = 2;

bool is_up(int ifindex) {
  ifreq request{};
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return ifindex > 0 && fd && ::if_indextoname(unsigned(ifindex), request.ifr_name) && ::ioctl(fd.get(), SIOCGIFFLAGS, &request) == 0 &&
         (request.ifr_flags & IFF_UP);
}

}  // namespace

struct OverlayCheck::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor e, CheckPlan p, std::function<void(api::OverlayCheckView)> d)
      : executor(e), plan(std::move(p)), done(std::move(d)), end(e) {}

  void begin();
  asio::awaitable<void> work();
  asio::awaitable<void> pair(const OverlayProbePeer& peer);
  asio::awaitable<PairFindings> look(const OverlayProbePeer& peer, double& rtt_ms);
  asio::awaitable<bool> answers(PingSocket* socket, const Via& via, IpAddress to, double& rtt_ms);
  asio::awaitable<bool> large(bool by_ping, const Endpoint& probe, uint32_t octets);
  asio::awaitable<uint32_t> largest(bool by_ping, Endpoint probe, uint32_t mtu);
  asio::awaitable<std::optional<TalkReport>> old_node(const OverlayProbePeer& peer);
  asio::awaitable<bool> pings(PingSocket* socket, IpAddress to, size_t octets, double& rtt_ms);
  void finish(bool complete);

  Via tunnel() const { return {plan.self.vtep4, plan.self.ifindex}; }
  std::optional<Via> tunnel6() const {
    if (!plan.self.vtep6) return std::nullopt;
    return Via{*plan.self.vtep6, plan.self.ifindex};
  }
  Via outside() const { return {plan.self.node, 0}; }

  asio::any_io_executor executor;
  CheckPlan plan;
  std::function<void(api::OverlayCheckView)> done;
  asio::steady_timer end;
  std::shared_ptr<PingSocket> ping4, ping6, ping_outside;  ///< null: not allowed
  api::OverlayCheckView view;
  size_t next = 0, working = 0, diagnosed = 0;
  bool device = true, closed = false;
};

void OverlayCheck::Impl::begin() {
  view.asked = plan.peers.size();
  device = is_up(plan.self.ifindex);
  auto open = [&](const Via& via) {
    auto socket = PingSocket::open(executor, via);
    return socket ? std::move(*socket) : nullptr;
  };
  if (device) {
    ping4 = open(tunnel());
    if (auto six = tunnel6()) ping6 = open(*six);
    ping_outside = open(outside());
  }
  end.expires_after(plan.options.check);
  end.async_wait([self = shared_from_this()](const Code& ec) {
    if (!ec) self->finish(false);
  });
  working = std::clamp<size_t>(plan.peers.size(), 1, std::max(1u, plan.options.in_flight));
  for (size_t i = 0, n = working; i < n; i++) asio::co_spawn(executor, work(), asio::detached);
}

asio::awaitable<void> OverlayCheck::Impl::work() {
  auto self = shared_from_this();
  // Never within start().
  co_await asio::post(executor, asio::use_awaitable);
  while (!closed && next < plan.peers.size()) co_await pair(plan.peers[next++]);
  if (--working == 0) finish(true);
}

void OverlayCheck::Impl::finish(bool complete) {
  if (closed) return;
  closed = true;
  end.cancel();
  for (auto* s : {&ping4, &ping6, &ping_outside})
    if (*s) (*s)->close();
  view.done = complete;
  auto rank = [](const api::OverlayCheckResult& r) { return std::pair(r.ok, IpAddress::parse(r.node)); };
  std::sort(view.results.begin(), view.results.end(), [&](auto& a, auto& b) { return rank(a) < rank(b); });
  std::exchange(done, nullptr)(std::move(view));
}

asio::awaitable<void> OverlayCheck::Impl::pair(const OverlayProbePeer& peer) {
  api::OverlayCheckResult r;
  r.node = peer.node.text();
  r.vtep = peer.vtep4.text();
  auto found = co_await look(peer, r.rtt_ms);
  if (closed) co_return;
  r.ok = found.good();
  r.cause = probable_cause(found, r.node, plan.options.port);
  view.answered += found.tunnel;
  view.results.push_back(std::move(r));
}

asio::awaitable<bool> OverlayCheck::Impl::pings(PingSocket* socket, IpAddress to, size_t octets, double& rtt_ms) {
  for (int i = 0; i < kPings && !closed; i++) {
    if (auto rtt = co_await socket->ping(to, octets, plan.options.ping)) {
      rtt_ms = *rtt;
      co_return true;
    }
  }
  co_return false;
}

/// Also TCP where ping is allowed and not answered: some hosts answer no ping.
asio::awaitable<bool> OverlayCheck::Impl::answers(PingSocket* socket, const Via& via, IpAddress to, double& rtt_ms) {
  if (socket && co_await pings(socket, to, kSmall, rtt_ms)) co_return true;
  if (closed) co_return false;
  uint16_t port = via.ifindex && plan.options.port ? plan.options.port : plan.options.api_port;
  auto answer = co_await knock(via, {to, port}, plan.options.ping * kPings, rtt_ms);
  co_return answer == TcpAnswer::kConnected || answer == TcpAnswer::kRefused;
}

asio::awaitable<bool> OverlayCheck::Impl::large(bool by_ping, const Endpoint& probe, uint32_t octets) {
  double ignored = 0;
  if (by_ping) co_return co_await pings(ping4.get(), probe.address, octets, ignored);
  co_return (co_await ask_witness(tunnel(), probe, 0, large_question(octets), plan.options.witness)).has_value();
}

asio::awaitable<uint32_t> OverlayCheck::Impl::largest(bool by_ping, Endpoint probe, uint32_t mtu) {
  uint32_t low = kSmall, high = mtu;
  while (high - low > kSizeStep && !closed) {
    auto middle = low + (high - low) / 2;
    (co_await large(by_ping, probe, middle) ? low : high) = middle;
  }
  co_return low;
}

/// A refusal is made without offload there, so what is lost is this node's request.
asio::awaitable<std::optional<TalkReport>> OverlayCheck::Impl::old_node(const OverlayProbePeer& peer) {
  double ignored = 0;
  auto limit = plan.options.ping * kPings;
  if (co_await knock(tunnel(), {peer.vtep4, plan.options.port}, limit, ignored) != TcpAnswer::kNone) co_return std::nullopt;
  auto out = co_await knock(outside(), {peer.node, plan.options.port}, limit, ignored);
  if (out != TcpAnswer::kConnected && out != TcpAnswer::kRefused) co_return std::nullopt;
  co_return TalkReport{Verdict::kOursLost, "connection requests are answered outside of the tunnel and not in it", 0};
}

asio::awaitable<PairFindings> OverlayCheck::Impl::look(const OverlayProbePeer& peer, double& rtt_ms) {
  auto& o = plan.options;
  PairFindings f;
  f.mtu = plan.self.mtu;
  f.device = device;
  f.known = !o.known || o.known(peer);
  double ignored = 0;
  if (!f.device) co_return f;
  f.tunnel = co_await answers(ping4.get(), tunnel(), peer.vtep4, rtt_ms);
  Endpoint probe{peer.vtep4, o.port};
  std::optional<WitnessAnswer> witness;
  if (o.port && !closed && (f.tunnel || !ping4)) witness = co_await ask_witness(tunnel(), probe, 0, kWitnessBytes, o.witness);
  // Where ping is not allowed and TCP is what is broken, the witness is the only one that answers.
  if (witness && !f.tunnel) f.tunnel = true, rtt_ms = witness->rtt_ms;
  if (closed) co_return f;
  if (!f.tunnel) {
    rtt_ms = 0;
    if (diagnosed >= kDiagnosed) co_return f;
    diagnosed++;
    f.outside = co_await answers(ping_outside.get(), outside(), peer.node, ignored);
    if (*f.outside && !closed) f.port_refused = co_await udp_refused(outside(), {peer.node, overlay::kUdpPort}, o.ping);
    co_return f;
  }
  bool by_ping = ping4 && co_await pings(ping4.get(), peer.vtep4, kSmall, ignored);
  if ((by_ping || witness) && !closed) f.large = co_await large(by_ping, probe, f.mtu);
  if (!f.large.value_or(true)) f.passes = co_await largest(by_ping, probe, f.mtu);
  if (f.passes || closed) co_return f;
  if (peer.vtep6 && tunnel6()) f.tunnel6 = co_await answers(ping6.get(), *tunnel6(), *peer.vtep6, ignored);
  if (witness && !closed) f.talk = co_await talk(tunnel(), probe, kCheckBytes, f.mtu, {o.witness, o.connect, o.data});
  if (!witness && by_ping && o.port && !closed) f.talk = co_await old_node(peer);
  co_return f;
}

OverlayCheck::OverlayCheck(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
OverlayCheck::~OverlayCheck() { close(); }

std::shared_ptr<OverlayCheck> OverlayCheck::start(asio::any_io_executor executor, CheckPlan plan, std::function<void(api::OverlayCheckView)> done) {
  auto impl = std::make_shared<Impl>(std::move(executor), std::move(plan), std::move(done));
  impl->begin();
  return std::shared_ptr<OverlayCheck>(new OverlayCheck(std::move(impl)));
}

void OverlayCheck::close() {
  auto& m = *impl_;
  if (m.closed) return;
  m.closed = true;
  m.done = nullptr;
  m.end.cancel();
  for (auto* s : {&m.ping4, &m.ping6, &m.ping_outside})
    if (*s) (*s)->close();
}

}  // namespace ls::overlay_probe
