#include "dns/forwarder.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <charconv>
#include <cstring>

#include "dns/forwarder_impl.h"

namespace ls::dns {

namespace {

// The probe's name: sixteen hexadecimal digits, then this. `invalid` exists nowhere (RFC 6761 6.4).
constexpr std::string_view kProbeSuffix{"\x04loop\x08loadstar\x07invalid\x00", 23};
static_assert(kProbeSuffix.size() == 23);
constexpr size_t kProbeDigits = 16;
const std::string kStaleSource = "stale cache";

}  // namespace

Forwarder::Impl::Impl(boost::asio::io_context& context, Upstreams& u, Cache& c, const Clock& k, ForwarderOptions o)
    : io(context), upstreams(u), cache(c), clock(k), options(o), timer(context), scratch(65535) {
  events.datagram = [this](Port& port, std::span<const uint8_t> bytes) { on_datagram(port, bytes); };
  events.refused = [this](Port& port) { on_refused(port); };
  events.message = [this](TcpLink& link, std::span<const uint8_t> bytes) { on_message(link, bytes); };
  events.closed = [this](TcpLink& link) { on_closed(link); };
}

Forwarder::Impl::~Impl() {
  alive.reset();
  for (auto& [number, q] : questions) {
    for (auto& e : q->exchanges) {
      if (e->resolved) continue;
      detach(*e);
      upstreams.dropped(e->peer->number);
    }
  }
  for (auto& p : peers)
    if (p && p->link) p->link->close();
}

void Forwarder::Impl::refuse(Waiter waiter, const Query& query) {
  add(counters.servfail);
  std::vector<uint8_t> message(kHeader + query.name_size + 4);
  put16(message.data(), query.id);
  put16(message.data() + 2, static_cast<uint16_t>(reply_flags(query, 0) | static_cast<uint16_t>(Rcode::kServFail)));
  put16(message.data() + 4, 1);
  std::memcpy(message.data() + kHeader, query.name.data(), query.name_size);
  put16(message.data() + kHeader + query.name_size, query.type);
  put16(message.data() + kHeader + query.name_size + 2, query.qclass);
  boost::asio::post(io, [weak = std::weak_ptr(alive), w = std::move(waiter), m = std::move(message)] {
    if (weak.expired()) return;
    Trace trace;
    trace.source = "none";
    w.done(m, w.trace ? &trace : nullptr);
  });
}

Question& Forwarder::Impl::make_question(const Query& query, const std::string& key) {
  auto owned = std::make_unique<Question>();
  Question& q = *owned;
  q.number = ++next_question;
  q.key = key;
  const bool dnssec_ok = query.edns && query.edns->dnssec_ok;
  q.packet.resize(kHeader + query.name_size + 4 + (dnssec_ok ? 11 : 0));
  uint8_t* to = q.packet.data();
  put16(to + 2, static_cast<uint16_t>(kRd | (query.flags & kCd)));
  put16(to + 4, 1);
  std::memcpy(to + kHeader, query.folded_bytes.data(), query.name_size);
  put16(to + kHeader + query.name_size, query.type);
  put16(to + kHeader + query.name_size + 2, query.qclass);
  if (dnssec_ok) {
    put16(to + 10, 1);
    write_opt(query, {}, to + kHeader + query.name_size + 4);
  }
  parse_query(q.packet, q.query);
  questions.emplace(q.number, std::move(owned));
  return q;
}

void Forwarder::Impl::ask(const Query& query, const ForwardGroup& group, Done done, bool trace) {
  add(counters.questions);
  Waiter waiter{std::move(done), std::string(reinterpret_cast<const char*>(query.name.data()), query.name_size), query.id, query.flags, trace};
  if (query.edns && query.edns->dnssec_ok) waiter.flags |= kAd;  // it understands AD (RFC 6840 5.8)
  std::vector<uint32_t> asked;
  asked.reserve(group.upstreams.size());
  for (const Endpoint& endpoint : group.upstreams) {
    auto [it, fresh] = numbers.try_emplace(endpoint, 0);
    if (fresh) it->second = upstreams.number(endpoint);
    asked.push_back(it->second);
  }
  std::string key(query.folded());
  key.reserve(key.size() + 5 + 4 * asked.size());
  const uint8_t fixed[5] = {static_cast<uint8_t>(query.type >> 8), static_cast<uint8_t>(query.type), static_cast<uint8_t>(query.qclass >> 8),
                            static_cast<uint8_t>(query.qclass),
                            static_cast<uint8_t>((query.edns && query.edns->dnssec_ok ? 1 : 0) | (query.flags & kCd ? 2 : 0))};
  key.append(reinterpret_cast<const char*>(fixed), sizeof fixed);
  // The same name may be forwarded elsewhere by another listener.
  key.append(reinterpret_cast<const char*>(asked.data()), asked.size() * sizeof(uint32_t));
  if (auto it = in_flight.find(key); it != in_flight.end()) {
    if (it->second->waiters.size() >= options.max_waiters) {
      add(counters.overflow);
      return refuse(std::move(waiter), query);
    }
    add(counters.shared);
    Question& q = *it->second;
    q.waiters.push_back(std::move(waiter));
    if (trace && !q.want_trace) start_trace(q, group);
    return;
  }
  if (asked.empty() || in_flight.size() >= options.max_in_flight) {
    if (!asked.empty()) add(counters.overflow);
    return refuse(std::move(waiter), query);
  }
  const Instant now = clock.now();
  if (now >= next_loop_check) {
    next_loop_check = now + Millis{1'000};
    probe_loops(asked, now);
  }
  Question& q = make_question(query, key);
  q.waiters.push_back(std::move(waiter));
  if (trace) start_trace(q, group);
  in_flight.emplace(key, &q);
  counters.in_flight.store(in_flight.size(), std::memory_order_relaxed);
  start(q, asked, now);
}

void Forwarder::Impl::start_trace(Question& q, const ForwardGroup& group) {
  q.want_trace = true;
  q.trace.group = group.zone.text();
}

void Forwarder::Impl::start(Question& q, std::span<const uint32_t> group, Instant now) {
  auto choice = upstreams.choose(group, now, random.get<uint64_t>());
  q.started = now;
  q.ends = now + options.timeout;
  q.stale_at = now + kStaleAfter;
  q.peers = choice.now;
  q.first = choice.now.size();
  q.next = q.first;
  q.peers.insert(q.peers.end(), choice.later.begin(), choice.later.end());
  q.patience = upstreams.patience(choice.now);
  for (size_t i = 0; i < q.first; i++) send(q, q.peers[i], {}, now);
  for (uint32_t number : choice.probe) send(q, number, {.probe = true}, now);
  q.retry_at = now + q.patience;
  // Nothing went out: the end is told from the timer, since ask() must not call back.
  const bool waiting = std::any_of(q.exchanges.begin(), q.exchanges.end(), [](auto& e) { return !e->resolved; });
  schedule(q, waiting ? std::min({q.retry_at, q.ends, q.stale_at}) : now);
  if (!waiting) q.retry_at = now;
}

void Forwarder::Impl::probe_loops(std::span<const uint32_t> group, Instant now) {
  for (uint32_t number : group) {
    auto token = upstreams.loop_probe(number, now, random.get<uint64_t>());
    if (!token) continue;
    std::vector<uint8_t> packet(kHeader);
    put16(packet.data() + 2, kRd);
    put16(packet.data() + 4, 1);
    packet.push_back(kProbeDigits);
    for (char c : fmt::format("{:016x}", *token)) packet.push_back(static_cast<uint8_t>(c));
    packet.insert(packet.end(), kProbeSuffix.begin(), kProbeSuffix.end());
    packet.insert(packet.end(), {0, 1, 0, 1});
    Query query;
    if (parse_query(packet, query).outcome != ParseOutcome::kGood) continue;
    Question& q = make_question(query, "");
    q.started = now;
    q.ends = q.retry_at = q.stale_at = now + options.timeout;
    q.answered = true;
    send(q, number, {}, now);
    schedule(q, now + kJudgeMax);
  }
}

void Forwarder::Impl::schedule(Question& q, Instant at) {
  if (q.timer_at != Instant{} && q.timer_at <= at) return;
  q.timer_at = at;
  due.push({at, q.number});
  if (at < armed_for) arm();
}

bool Forwarder::Impl::outlived(const Due& entry) const {
  auto it = questions.find(entry.question);
  return it == questions.end() || it->second->timer_at != entry.at;
}

void Forwarder::Impl::arm() {
  while (!due.empty() && outlived(due.top())) due.pop();
  if (due.empty()) {
    armed_for = Instant::max();
    return;
  }
  // Not sooner than a tick from now, so that thousands of questions a second do not mean as many wake-ups.
  const Instant now = clock.now();
  armed_for = due.top().at <= now ? now : std::max(due.top().at, now + kTick);
  timer.expires_after(armed_for - now);
  timer.async_wait([this, weak = std::weak_ptr(alive)](const boost::system::error_code& ec) {
    if (ec || weak.expired()) return;
    on_timer();
  });
}

void Forwarder::Impl::on_timer() {
  const std::weak_ptr<int> owner = alive;
  const Instant now = clock.now();
  while (!due.empty() && due.top().at <= now) {
    const Due top = due.top();
    due.pop();
    if (outlived(top)) continue;
    Question& q = *questions.find(top.question)->second;
    q.timer_at = Instant{};
    on_time(q, now);
    if (owner.expired()) return;
  }
  arm();
}

void Forwarder::Impl::on_time(Question& q, Instant now) {
  if (q.answered) return judge(q, now);
  if (now >= q.ends) return fail(q, now);
  if (now >= q.stale_at) {
    q.stale_at = q.ends;
    if (!q.waiters.empty()) reply_stale(q, now);
  }
  if (now >= q.retry_at) {
    const uint64_t number = q.number;
    ask_next(q, now);
    if (!questions.contains(number)) return;
  }
  schedule(q, std::min({q.retry_at, q.ends, q.stale_at}));
}

void Forwarder::Impl::ask_next(Question& q, Instant now) {
  if (q.next >= q.peers.size()) {
    // All were asked: once more the ones that were asked first, with twice the patience.
    q.rounds++;
    q.next = 0;
    q.patience = std::min(q.patience * 2, Millis{1'000});
  }
  if (q.rounds >= kMaxRounds || q.peers.empty()) {
    q.retry_at = q.ends;
    return advance(q, now);
  }
  add(counters.retries);
  const size_t until = q.rounds == 0 ? q.next + 1 : std::min(q.peers.size(), std::max<size_t>(q.first, 1));
  bool any = false;
  for (; q.next < until; q.next++) any = send(q, q.peers[q.next], {}, now) || any;
  if (q.rounds > 0) q.next = q.peers.size();
  q.retry_at = now + q.patience;
  if (!any) advance(q, now);
}

void Forwarder::Impl::advance(Question& q, Instant now) {
  if (q.answered) {
    if (std::all_of(q.exchanges.begin(), q.exchanges.end(), [](auto& e) { return e->resolved; })) erase(q);
    return;
  }
  for (;;) {
    bool waiting = false;
    for (auto& e : q.exchanges) {
      if (e->resolved || e->probe) continue;
      // With a bad answer in hand nobody waits for upstreams that are known not to answer.
      waiting = waiting || q.best_rank == BadRank::kNone || !upstreams.aside(e->peer->number);
    }
    if (waiting) return;
    if (q.rounds > 0 || q.next >= q.peers.size()) return fail(q, now);
    send(q, q.peers[q.next++], {}, now);
  }
}

void Forwarder::Impl::win(Question& q, Exchange& by, const Response& good, Instant now) {
  if (q.answered) return advance(q, now);
  for (const Blame& b : q.blame) upstreams.result(b.number, b.event, {}, now);
  q.blame.clear();
  // The clients first: what the cache needs stays, in `good`, unless a client's end was the Forwarder's.
  const std::weak_ptr<int> owner = alive;
  const bool dnssec_ok = q.dnssec_ok(), checking_disabled = q.checking_disabled();
  reply(q, good, q.want_trace ? "upstream " + by.peer->endpoint.text() : "");
  if (!owner.expired()) cache.store(good.message, dnssec_ok, checking_disabled, now);
}

void Forwarder::Impl::fail(Question& q, Instant now) {
  for (auto& e : q.exchanges) {
    if (e->resolved) continue;
    detach(*e);
    upstreams.result(e->peer->number, UpstreamEvent::kTimeout, {}, now);
    trace_result(*e, "timeout", now);
  }
  for (const Blame& b : q.blame) upstreams.excused(b.number, b.event);
  q.blame.clear();
  if (reply_stale(q, now)) return;
  const bool servfail = q.best_rank == BadRank::kNone || q.best_rank == BadRank::kServFail;
  if (servfail) cache.failed(q.query, now);
  Response best;
  if (q.best_rank != BadRank::kNone && best.read(q.best) && best.answers(q.query)) return reply(q, best, "the best of bad answers");
  reply_servfail(q);
}

bool Forwarder::Impl::reply_stale(Question& q, Instant now) {
  size_t size = 0;
  std::vector<uint8_t> message(65535);
  if (q.key.empty() || cache.answer(q.query, now, message.size(), true, message, size) == Cache::Hit::kMiss) return false;
  cache.failed(q.query, now);
  Response stale;
  if (!stale.read({message.data(), size})) return false;
  add(counters.stale);
  if (now >= q.ends || std::all_of(q.exchanges.begin(), q.exchanges.end(), [](auto& e) { return e->resolved; })) {
    reply(q, stale, kStaleSource);
    return true;
  }
  // The question goes on, so that the cache gets what comes late.
  std::vector<Waiter> waiters = std::move(q.waiters);
  q.waiters.clear();
  Question only;
  only.packet = q.packet;
  parse_query(only.packet, only.query);
  only.waiters = std::move(waiters);
  only.trace = q.trace;
  only.want_trace = q.want_trace;
  only.answered = true;
  reply(only, stale, kStaleSource);
  return true;
}

/// Gives `good` to everybody who waits, and ends the question. It stays for a while when upstreams have not answered yet.
void Forwarder::Impl::reply(Question& q, const Response& good, const std::string& source) {
  const std::weak_ptr<int> owner = alive;
  const uint64_t number = q.number;
  std::vector<Waiter> waiters = std::move(q.waiters);
  q.waiters.clear();
  Trace trace;
  if (q.want_trace) trace = q.trace;
  trace.source = source;
  const bool stale = source == kStaleSource;
  Query query = q.query;
  query.edns.reset();
  // Messages first: what is called may end the response's memory, the question and the Forwarder.
  std::vector<std::vector<uint8_t>> more;
  size_t first_size = 0;
  for (size_t i = 0; i < waiters.size(); i++) {
    const Waiter& w = waiters[i];
    query.id = w.id;
    query.flags = w.flags;
    query.name = {reinterpret_cast<const uint8_t*>(w.name.data()), w.name.size()};
    size_t size = 0;
    if (i == 0) {
      if (write_reply(good, query, scratch.size(), {}, scratch, size)) first_size = size;
    } else if (first_size) {
      auto& copy = more.emplace_back(scratch.begin(), scratch.begin() + static_cast<ptrdiff_t>(first_size));
      put16(copy.data(), w.id);
      put16(copy.data() + 2, reply_flags(query, good.flags));
      std::memcpy(copy.data() + kHeader, w.name.data(), w.name.size());
    }
  }
  add(good.rcode == Rcode::kServFail ? counters.servfail : counters.answered, waiters.size());
  if (number) close(q, clock.now());
  if (waiters.empty()) return;
  std::vector<uint8_t> first(scratch.begin(), scratch.begin() + static_cast<ptrdiff_t>(first_size));
  for (size_t i = 0; i < waiters.size() && !owner.expired(); i++)
    waiters[i].done(i == 0 ? first : more[i - 1], waiters[i].trace || stale ? &trace : nullptr);
}

void Forwarder::Impl::reply_servfail(Question& q) {
  std::vector<uint8_t> message = q.packet;
  message.resize(kHeader + q.query.name_size + 4);
  put16(message.data() + 2, static_cast<uint16_t>(kQr | kRa | static_cast<uint16_t>(Rcode::kServFail)));
  put16(message.data() + 10, 0);
  Response failure;
  failure.read(message);
  reply(q, failure, "none");
}

void Forwarder::Impl::close(Question& q, Instant now) {
  q.answered = true;
  if (auto it = in_flight.find(q.key); it != in_flight.end() && it->second == &q) in_flight.erase(it);
  counters.in_flight.store(in_flight.size(), std::memory_order_relaxed);
  std::vector<uint32_t> open;
  for (auto& e : q.exchanges)
    if (!e->resolved) open.push_back(e->peer->number);
  // Answers still to come are waited for, to learn how the others do; but not by more questions than may be in flight.
  if (open.empty() || questions.size() - in_flight.size() > options.max_in_flight) return erase(q);
  q.timer_at = Instant{};
  schedule(q, now + std::clamp(upstreams.patience(open) * 3, kJudgeMin, kJudgeMax));
}

void Forwarder::Impl::judge(Question& q, Instant now) {
  for (auto& e : q.exchanges) {
    if (e->resolved) continue;
    detach(*e);
    upstreams.result(e->peer->number, UpstreamEvent::kTimeout, {}, now);
  }
  erase(q);
}

void Forwarder::Impl::erase(Question& q) {
  for (auto& e : q.exchanges) {
    if (e->resolved) continue;
    detach(*e);
    upstreams.dropped(e->peer->number);
  }
  questions.erase(q.number);
}

void Forwarder::Impl::trace_result(Exchange& e, std::string outcome, Instant now) {
  if (e.trace < 0) return;
  auto& asked = e.question->trace.asked[static_cast<size_t>(e.trace)];
  asked.outcome = std::move(outcome);
  asked.took_ms = std::chrono::duration<double, std::milli>(now - e.sent).count();
}

Forwarder::Forwarder(boost::asio::io_context& io, Upstreams& upstreams, Cache& cache, const Clock& clock, ForwarderOptions options)
    : impl_(std::make_unique<Impl>(io, upstreams, cache, clock, options)) {}
Forwarder::~Forwarder() = default;

void Forwarder::ask(const Query& query, const ForwardGroup& group, Done done, bool trace) { impl_->ask(query, group, std::move(done), trace); }

bool Forwarder::is_own_probe(const Query& query) {
  const std::string_view name = query.folded();
  if (name.size() != 1 + kProbeDigits + kProbeSuffix.size() || name[0] != kProbeDigits || !name.ends_with(kProbeSuffix)) return false;
  uint64_t token = 0;
  const char* end = name.data() + 1 + kProbeDigits;
  auto [at, error] = std::from_chars(name.data() + 1, end, token, 16);
  return error == std::errc{} && at == end && impl_->upstreams.loop_seen(token, impl_->clock.now());
}

ForwarderView Forwarder::view() const {
  auto& c = impl_->counters;
  auto get = [](const std::atomic<uint64_t>& n) { return n.load(std::memory_order_relaxed); };
  ForwarderView v;
  v.in_flight = get(c.in_flight);
  v.questions = get(c.questions);
  v.shared = get(c.shared);
  v.answered = get(c.answered);
  v.servfail = get(c.servfail);
  v.stale = get(c.stale);
  v.overflow = get(c.overflow);
  v.mismatches = get(c.mismatches);
  v.tcp_fallbacks = get(c.tcp_fallbacks);
  v.retries = get(c.retries);
  v.loops = impl_->upstreams.loops();
  v.fewer_ports = get(c.fewer_ports);
  return v;
}

}  // namespace ls::dns
