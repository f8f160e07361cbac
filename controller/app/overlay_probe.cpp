#include "app/overlay_probe.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <utility>

#include "app/overlay_check.h"
#include "app/overlay_probe_echo.h"
#include "app/overlay_probe_offload.h"
#include "app/overlay_probe_peers.h"
#include "app/overlay_probe_talk.h"
#include "overlay/model.h"
#include "util/log.h"

namespace ls {

using namespace overlay_probe;
using Offload = OverlayProbeStatus::Offload;
using Steady = std::chrono::steady_clock;

namespace {

constexpr size_t kFruitless = 64;     // peers that are remembered as not mended
constexpr Millis kHintPause{60'000};  // between rounds that peers asked for
constexpr Millis kListenAgain{5'000};

bool lost_here(Verdict v) { return v == Verdict::kOursLost || v == Verdict::kOneSideLost; }
/// Said something about checksums.
bool telling(Verdict v) { return v != Verdict::kNoPeer && v != Verdict::kUnclear && v != Verdict::kTooLarge; }

}  // namespace

std::string_view to_text(Offload o) {
  constexpr std::array<std::string_view, 5> kTexts{"not_probed", "good", "mended", "off", "broken"};
  return kTexts[size_t(o)];
}

struct OverlayProbe::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& i, OverlayProbeOptions o) : io(i), options(std::move(o)), timer(i), listen_timer(i) {}

  asio::awaitable<void> run();
  asio::awaitable<void> round();
  asio::awaitable<TalkReport> talk_to(OverlayProbePeer peer);
  asio::awaitable<void> mend(OverlayProbePeer peer, TalkReport first);
  void schedule(Millis after);
  void listen();
  void unheard(const IpAddress& vtep);
  void end_trial();
  void begin_anew();
  void conclude(Offload now, std::string why);
  void fresh_peer() {
    if (state == Offload::kNotProbed) schedule(options.first);
  }
  bool on() const { return read_tx_checksum(self.ifindex).value_or(false); }

  asio::io_context& io;
  OverlayProbeOptions options;
  OverlayProbeSelf self;
  Peers peers;
  std::shared_ptr<Echo> echo;
  std::shared_ptr<OverlayCheck> checking;
  asio::steady_timer timer, listen_timer;
  Steady::time_point due = Steady::time_point::max(), hinted = Steady::time_point::min();
  std::optional<OverlayProbePeer> first;  ///< who asked for the round
  std::minstd_rand random{std::random_device{}()};
  std::map<IpAddress, Steady::time_point> fruitless;  ///< node, last trial
  OverlayProbeStatus status;
  Offload state = Offload::kNotProbed;
  std::string why, listen_error;
  std::map<IpAddress, std::string> theirs;  ///< peers of the last round whose packets do not arrive
  uint64_t device = 0;                      ///< counts devices, so that a round knows that its own is gone
  int trial = 0;                            ///< device on which offload is off for a trial; 0: none
  bool stopping = false;
};

void OverlayProbe::Impl::schedule(Millis after) {
  auto at = Steady::now() + after;
  if (at >= due) return;
  due = at;
  timer.cancel();
}

asio::awaitable<void> OverlayProbe::Impl::run() {
  auto keep = shared_from_this();
  while (!stopping) {
    Code ec;
    timer.expires_at(due);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    if (stopping) break;
    if (Steady::now() < due) continue;  // another time was set
    auto spread = std::uniform_int_distribution<int64_t>(0, options.interval.count() / 4)(random);
    due = Steady::now() + options.interval - Millis(spread);
    co_await round();
    if (state == Offload::kNotProbed && peers.size()) schedule(options.retry);
  }
}

asio::awaitable<TalkReport> OverlayProbe::Impl::talk_to(OverlayProbePeer peer) {
  Via via{self.vtep4, self.ifindex};
  auto report = co_await talk(via, {peer.vtep4, options.port}, kMaxBytes, self.mtu, {options.witness, options.connect, options.data});
  if (report.verdict == Verdict::kGood) status.good++;
  else if (lost_here(report.verdict)) status.ours++;
  else if (report.verdict == Verdict::kTheirsLost) status.theirs++;
  else status.unclear++;
  log::debug("overlay_probe", {{"peer", peer.node.text()}, {"result", report.what}, {"rtt_ms", report.rtt_ms}});
  co_return report;
}

asio::awaitable<void> OverlayProbe::Impl::round() {
  auto mine = device;
  if (!options.port || self.ifindex <= 0 || !peers.size()) co_return;
  auto candidates = peers.sample(options.tries, random);
  if (first) candidates.insert(candidates.begin(), *first);
  first.reset();
  std::map<IpAddress, std::string> heard;
  bool told = false, broken = false;
  unsigned count = 0;
  for (auto& peer : candidates) {
    if (count >= options.sample) break;
    auto report = co_await talk_to(peer);
    if (stopping || mine != device) co_return;
    if (!telling(report.verdict)) {
      if (why.empty() || state == Offload::kNotProbed) why = report.what;
      continue;
    }
    count++;
    told = true;
    if (report.verdict == Verdict::kTheirsLost || report.verdict == Verdict::kChanged) heard[peer.node] = report.what;
    if (!lost_here(report.verdict)) continue;
    co_await mend(peer, report);
    if (stopping || mine != device) co_return;
    broken |= state == Offload::kBroken;
  }
  status.rounds++;
  theirs = std::move(heard);
  if (!told || broken) co_return;
  // What was sent arrived, with offload as it is now.
  if (on()) conclude(Offload::kGood, "");
  else if (state != Offload::kMended) conclude(Offload::kOff, "");
}

/// Only the control loop's own: whatever happens meanwhile, offload is on again when this gives up.
asio::awaitable<void> OverlayProbe::Impl::mend(OverlayProbePeer peer, TalkReport found) {
  auto mine = device;
  auto name = peer.node.text();
  auto is_on = read_tx_checksum(self.ifindex);
  if (!is_on) co_return;  // the device goes just now
  auto tried = fruitless.find(peer.node);
  bool lately = tried != fruitless.end() && Steady::now() - tried->second < options.again;
  if (!*is_on || lately) {
    conclude(Offload::kBroken, fmt::format("towards {} {}, also without offload", name, found.what));
    co_return;
  }
  // Once more, so that one bad moment switches nothing.
  auto again = co_await talk_to(peer);
  if (stopping || mine != device || !lost_here(again.verdict)) co_return;
  if (auto off = write_tx_checksum(self.ifindex, false); !off) {
    conclude(Offload::kBroken, fmt::format("towards {} {}; {}", name, again.what, off.error().text()));
    co_return;
  }
  trial = self.ifindex;
  status.trials++;
  auto without = co_await talk_to(peer);
  if (stopping || mine != device) co_return;  // whoever ended it has taken the trial back
  // With the answers lost as well there are two bad cards: what is sent from here arrives now, which is all this node can do.
  bool better = without.verdict == Verdict::kGood || (without.verdict == Verdict::kTheirsLost && again.verdict == Verdict::kOursLost);
  if (better) {
    trial = 0;
    status.mended++;
    fruitless.clear();
    conclude(Offload::kMended, fmt::format("towards {} {}", name, found.what));
    co_return;
  }
  end_trial();
  if (fruitless.size() >= kFruitless) fruitless.erase(fruitless.begin());
  fruitless[peer.node] = Steady::now();
  conclude(Offload::kBroken, fmt::format("towards {} {}, also without offload", name, found.what));
}

void OverlayProbe::Impl::conclude(Offload now, std::string text) {
  if (now == state && text == why) return;
  state = now;
  why = std::move(text);
  switch (now) {
    case Offload::kMended:
      log::warn("overlay_offload_off", {{"device", overlay::kVtepName}, {"cause", why}});
      break;
    case Offload::kBroken:
      log::warn("overlay_offload_broken", {{"device", overlay::kVtepName}, {"cause", why}});
      break;
    default:
      log::info("overlay_offload", {{"device", overlay::kVtepName}, {"state", now == Offload::kGood ? "good" : "off before"}});
  }
}

void OverlayProbe::Impl::end_trial() {
  if (!trial) return;
  auto r = write_tx_checksum(std::exchange(trial, 0), true);
  if (!r && r.error().code.value() != ENODEV) log::warn("overlay_offload_stays_off", {{"error", r.error().text()}});
}

void OverlayProbe::Impl::begin_anew() {
  end_trial();
  device++;
  state = Offload::kNotProbed;
  why.clear();
  theirs.clear();
  fruitless.clear();
  if (echo) echo->close();
  echo.reset();
  listen_error.clear();
  listen_timer.cancel();
}

void OverlayProbe::Impl::listen() {
  if (stopping || echo || !options.port || self.ifindex <= 0) return;
  std::weak_ptr<Impl> weak = weak_from_this();
  EchoEvents events;
  events.peer = [weak](const IpAddress& a) {
    auto me = weak.lock();
    return me && me->peers.has_vtep(a);
  };
  events.unheard = [weak](const IpAddress& a) {
    if (auto me = weak.lock()) me->unheard(a);
  };
  auto opened = Echo::open(io.get_executor(), {self.vtep4, self.ifindex}, options.port, std::move(events));
  if (opened) {
    echo = std::move(*opened);
    listen_error.clear();
    return;
  }
  if (listen_error.empty()) log::warn("overlay_probe_listen", {{"error", opened.error().text()}});
  listen_error = opened.error().text();
  // The address may come a moment after the device.
  listen_timer.expires_after(kListenAgain);
  listen_timer.async_wait([weak](const Code& ec) {
    auto me = weak.lock();
    if (me && !ec) me->listen();
  });
}

void OverlayProbe::Impl::unheard(const IpAddress& vtep) {
  auto* peer = peers.find(vtep);
  auto now = Steady::now();
  if (!peer || (hinted != Steady::time_point::min() && now - hinted < kHintPause)) return;
  hinted = now;
  first = *peer;
  schedule(Millis(0));
}

OverlayProbe::OverlayProbe(asio::io_context& io, OverlayProbeOptions options)
    : impl_(std::make_shared<Impl>(io, std::move(options))) {
  asio::co_spawn(io, impl_->run(), asio::detached);
}

OverlayProbe::~OverlayProbe() { stop(); }

void OverlayProbe::set_self(const OverlayProbeSelf& self) {
  auto& m = *impl_;
  if (m.stopping || m.self == self) return;
  bool other = m.self.ifindex != self.ifindex || m.self.vtep4 != self.vtep4;
  if (other) m.begin_anew();
  m.self = self;
  m.peers.remove(self.node);
  m.listen();
  if (other && m.peers.size()) m.schedule(m.options.first);
}

void OverlayProbe::set_peers(std::vector<OverlayProbePeer> peers) {
  auto& m = *impl_;
  Peers next;
  bool fresh = false;
  for (auto& p : peers) {
    if (p.node == m.self.node) continue;
    fresh |= !m.peers.find(p.node);
    next.put(p);
  }
  m.peers = std::move(next);
  if (fresh) m.fresh_peer();
}

void OverlayProbe::put_peer(const OverlayProbePeer& peer) {
  if (peer.node != impl_->self.node && impl_->peers.put(peer)) impl_->fresh_peer();
}

void OverlayProbe::remove_peer(const IpAddress& node) {
  impl_->peers.remove(node);
  impl_->fruitless.erase(node);
  impl_->theirs.erase(node);
}

OverlayProbeStatus OverlayProbe::status() const {
  auto s = impl_->status;
  s.offload = impl_->state;
  return s;
}

std::string OverlayProbe::offload_text() const {
  auto& m = *impl_;
  switch (m.state) {
    case Offload::kGood:
      return "good";
    case Offload::kMended:
      return "broken, switched off";
    case Offload::kOff:
      return "off already before this start";
    case Offload::kBroken:
      return "broken, not mended: " + m.why;
    case Offload::kNotProbed:
      break;
  }
  if (!m.options.port) return "not probed: overlay.probe_port is 0";
  if (m.self.ifindex <= 0) return "not probed: there is no device";
  if (!m.peers.size()) return "not probed: no other node";
  return m.why.empty() ? "not probed: not yet" : "not probed: " + m.why;
}

std::vector<std::string> OverlayProbe::warnings() const {
  auto& m = *impl_;
  std::vector<std::string> out;
  if (m.state == Offload::kMended)
    out.push_back(fmt::format("checksum offload of {} is switched off, because the network card or hypervisor breaks checksums in the tunnel ({}); it costs CPU "
                              "time in large transfers", overlay::kVtepName, m.why));
  if (m.state == Offload::kBroken) out.push_back("TCP through the tunnel fails: " + m.why);
  size_t shown = 0;
  for (auto& [node, what] : m.theirs)
    if (shown++ < 3) out.push_back(fmt::format("TCP of {} through the tunnel fails: {}", node.text(), what));
  if (!m.listen_error.empty()) out.push_back("checksums of the tunnel are not tested by other nodes: " + m.listen_error);
  return out;
}

Result<> OverlayProbe::check(const std::string& node, std::function<void(api::OverlayCheckView)> done) {
  auto& m = *impl_;
  if (m.stopping) return fail(ECANCELED, "check the overlay");
  if (m.checking) return fail(EBUSY, "check the overlay: another check runs");
  CheckPlan plan{m.self, m.options, {}};
  if (node.empty()) {
    plan.peers = m.peers.all();
  } else {
    auto address = IpAddress::parse(node);
    if (!address) return fail(EINVAL, fmt::format("check the overlay: node \"{}\" is no address", node));
    auto* peer = m.peers.find(*address);
    if (!peer) return fail(ENOENT, fmt::format("check the overlay: no other node has the address {}", node));
    plan.peers.push_back(*peer);
  }
  m.checking = OverlayCheck::start(m.io.get_executor(), std::move(plan), [weak = std::weak_ptr(impl_), done = std::move(done)](api::OverlayCheckView v) {
    if (auto me = weak.lock()) me->checking.reset();
    done(std::move(v));
  });
  return {};
}

void OverlayProbe::stop() {
  auto& m = *impl_;
  if (m.stopping) return;
  m.stopping = true;
  m.begin_anew();
  if (m.checking) m.checking->close();
  m.checking.reset();
  m.timer.cancel();
}

}  // namespace ls
