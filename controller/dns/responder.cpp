#include "dns/responder.h"

#include <algorithm>
#include <ctime>

#include "dns/chain.h"
#include "dns/wire_bytes.h"
#include "loadstar/abi/dns_rate.h"

namespace ls::dns {
namespace {

constexpr size_t kLargest = 65535;
constexpr uint16_t kTkey = 249;

/// Rcode and whether there are answers: what the rate limit counts apart.
uint8_t kind_of(std::span<const uint8_t> message, Rcode rcode) {
  bool answers = message.size() >= kHeader && load16(message.data() + 6) != 0;
  return ls_dns_rate_kind(uint32_t(rcode), answers);
}

}  // namespace

Responder::Responder(const Shared& shared)
    : s_(shared),
      routes_(std::make_shared<const Routes>()),
      policy_(s_.service.policy.get()),
      random_(random_key() | 1),
      scratch_(kLargest),
      chased_(kLargest) {}
Responder::~Responder() = default;

uint64_t Responder::random() {
  // xorshift64*: order of records only, nothing that must not be guessed.
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545f4914f6cdd1dull;
}

void Responder::begin(Instant now) {
  now_ = now;
  timespec wall;
  clock_gettime(CLOCK_REALTIME_COARSE, &wall);
  unix_s_ = uint32_t(wall.tv_sec);
  if (s_.service.routes_version.load(std::memory_order_acquire) != routes_version_) refresh();
}

void Responder::refresh() {
  routes_version_ = s_.service.routes_version.load(std::memory_order_acquire);
  routes_ = s_.service.routes.get();
  policy_ = s_.service.policy.get();
}

AnswerLimits Responder::limits(const Question& question) {
  AnswerLimits l;
  l.tcp = question.tcp;
  l.udp_max = s_.udp_size;
  l.truncate_bit = policy_->truncates(question.client);
  l.random = random();
  return l;
}

void Responder::cookies(const Query& query, const IpAddress& client, AnswerLimits& limits, Cookies& c) const {
  if (!query.edns || query.edns->client_cookie.size() != kClientCookie) return;
  auto state = check_cookie(s_.secret, query.edns->client_cookie, query.edns->server_cookie, client, unix_s_);
  c.valid = state != CookieState::kBad;
  if (state == CookieState::kFresh) {
    std::copy_n(query.edns->client_cookie.begin(), kClientCookie, c.bytes.begin());
    std::copy_n(query.edns->server_cookie.begin(), kServerCookie, c.bytes.begin() + kClientCookie);
  } else {
    write_cookies(s_.secret, query.edns->client_cookie, client, unix_s_, c.bytes);
  }
  limits.cookie = c.bytes;
}

Reply Responder::plain(const Query& query, Rcode rcode, Path path, bool with_question,
                       const AnswerLimits& limits, std::span<uint8_t> out) const {
  return {Reply::Next::kSend, path, rcode, plain_answer(query, rcode, with_question, limits, out)};
}

Reply Responder::answer(const Question& question, std::span<uint8_t> out) {
  (question.tcp ? counters_.tcp_queries : counters_.udp_queries).add();
  Parsed parsed = parse_query(question.packet, query_);
  if (parsed.outcome == ParseOutcome::kIgnore) {
    counters_.ignored.add();
    return {};
  }
  AnswerLimits l = limits(question);
  Cookies c;
  cookies(query_, question.client, l, c);
  Reply reply;
  if (!policy_->clients.allows(question.client)) {
    counters_.denied.add();
    reply = plain(query_, Rcode::kRefused, Path::kRefused, parsed.question_readable, l, out);
  } else if (parsed.outcome == ParseOutcome::kRcode) {
    reply = plain(query_, parsed.rcode, parsed.rcode == Rcode::kRefused ? Path::kRefused : Path::kError,
                  parsed.question_readable, l, out);
  } else {
    reply = resolve(question, query_, l, out);
  }
  if (reply.next != Reply::Next::kSend) return reply;
  return finish(query_, question.tcp || c.valid, question.client, l, out, reply);
}

Reply Responder::finish(const Query& query, bool exempt, const IpAddress& client, const AnswerLimits& limits,
                        std::span<uint8_t> out, Reply reply) {
  if (reply.size < kHeader) return {};
  if (!exempt && policy_->rate.per_second) {
    switch (policy_->limit->check(client, kind_of(out.first(reply.size), reply.rcode), now_)) {
      case RateLimit::Verdict::kSend:
        break;
      case RateLimit::Verdict::kSlip:
        counters_.slipped.add();
        reply.size = plain_answer(query, Rcode::kNoError, true, limits, out, kTc);
        return reply;
      case RateLimit::Verdict::kDrop:
        counters_.rate_dropped.add();
        return {};
    }
  }
  if (load16(out.data() + 2) & kTc) counters_.truncated.add();
  auto& by_rcode = counters_.responses[size_t(reply.path)];
  by_rcode[std::min<size_t>(size_t(reply.rcode), by_rcode.size() - 1)].add();
  return reply;
}

Reply Responder::resolve(const Question& question, const Query& query, const AnswerLimits& l,
                         std::span<uint8_t> out) {
  if (query.type == uint16_t(RrType::kAxfr) || query.type == uint16_t(RrType::kIxfr))
    return transfer(question, query, l, out);
  Route route = routes_->find(query.folded());
  if (route.zone) {
    Answer a = answer_from_zone(query, *route.zone, *routes_, l, out);
    if (a.outside) return chase(query, a, l, out);
    return {Reply::Next::kSend, Path::kZone, a.rcode, a.size};
  }
  if (!route.forward) return plain(query, Rcode::kRefused, Path::kRefused, true, l, out);
  return recurse(query, *route.forward, l, out);
}

Reply Responder::transfer(const Question& question, const Query& query, const AnswerLimits& l,
                          std::span<uint8_t> out) {
  bool incremental = query.type == uint16_t(RrType::kIxfr);
  if (!question.tcp && !incremental)
    return plain(query, Rcode::kFormErr, Path::kError, true, l, out);  // RFC 5936 4.2
  Route route = routes_->find(query.folded());
  const ZoneView* zone = route.zone;
  bool apex = zone && zone->apex.folded().wire() == query.folded();
  if (!zone || !apex || !zone->transferable || query.qclass != kClassIn ||
      !policy_->may_transfer(question.client))
    return plain(query, Rcode::kRefused, Path::kRefused, true, l, out);
  if (!zone->table->loaded()) return plain(query, Rcode::kServFail, Path::kError, true, l, out);
  if (!question.tcp) {
    // RFC 1995 2: what does not fit a datagram is asked again over TCP.
    Reply again = plain(query, Rcode::kNoError, Path::kZone, true, l, out);
    store16(out.data() + 2, load16(out.data() + 2) | kTc);
    return again;
  }
  transfer_ = dns::transfer(query, *zone);
  counters_.transfers.add();
  return {Reply::Next::kTransfer, Path::kZone, Rcode::kNoError, transfer_.size()};
}

Reply Responder::recurse(const Query& query, const ForwardGroup& group, const AnswerLimits& l,
                         std::span<uint8_t> out) {
  if (query.qclass != kClassIn) return plain(query, Rcode::kRefused, Path::kRefused, true, l, out);
  if (query.type == uint16_t(RrType::kOpt) || query.type == kTkey || query.type == uint16_t(RrType::kTsig))
    return plain(query, Rcode::kFormErr, Path::kError, true, l, out);  // no questions can be asked for these
  size_t size = 0;
  Cache::Hit hit = Cache::Hit::kMiss;
  if (group.cached) hit = s_.cache.answer(query, now_, size_limit(query, l), false, out, size, l.cookie);
  if (hit != Cache::Hit::kMiss) {
    if (hit == Cache::Hit::kFreshPrefetch && !group.upstreams.empty())
      s_.forwarder.ask(query, group, [](std::span<const uint8_t>, const Forwarder::Trace*) {});
    if (!l.truncate_bit) store16(out.data() + 2, load16(out.data() + 2) & ~kTc);
    return {Reply::Next::kSend, hit == Cache::Hit::kStale ? Path::kStale : Path::kCache, Rcode(out[3] & 0xf),
            size};
  }
  if (!(query.flags & kRd) || s_.forwarder.is_own_probe(query))
    return plain(query, Rcode::kRefused, Path::kRefused, true, l, out);
  group_ = &group;
  chase_ = false;
  return {Reply::Next::kForward, Path::kForward, Rcode::kNoError, 0};
}

Reply Responder::chase(const Query& query, const Answer& alias, const AnswerLimits& l,
                       std::span<uint8_t> out) {
  Reply alone{Reply::Next::kSend, Path::kZone, alias.rcode, alias.size};
  const DnsName folded = alias.target.folded();
  Route route = routes_->find(folded.wire());
  if (!route.forward || query.qclass != kClassIn || query.type == uint16_t(RrType::kAny)) return alone;
  auto packet = chain_question(query, folded, query.id);
  Query asked;
  if (parse_query(packet, asked).outcome != ParseOutcome::kGood) return alone;
  size_t size = 0, answer = alias.size;
  Cache::Hit hit = Cache::Hit::kMiss;
  if (route.forward->cached) hit = s_.cache.answer(asked, now_, kLargest, false, chased_, size);
  if (hit != Cache::Hit::kMiss) {
    if (hit == Cache::Hit::kFreshPrefetch && !route.forward->upstreams.empty())
      s_.forwarder.ask(asked, *route.forward, [](std::span<const uint8_t>, const Forwarder::Trace*) {});
    if ((chased_[3] & 0xf) == uint8_t(Rcode::kServFail))
      return plain(query, Rcode::kServFail, Path::kError, true, l, out);
    if (!append_chain(query, {chased_.data(), size}, size_limit(query, l), l.cookie, l.udp_max, out, answer))
      return plain(query, Rcode::kServFail, Path::kError, true, l, out);
    if (!l.truncate_bit) store16(out.data() + 2, load16(out.data() + 2) & ~kTc);
    return {Reply::Next::kSend, hit == Cache::Hit::kStale ? Path::kStale : Path::kCache, Rcode(out[3] & 0xf),
            answer};
  }
  if (!(query.flags & kRd)) return alone;
  group_ = route.forward;
  chase_ = true;
  target_ = folded;
  return {Reply::Next::kForward, Path::kForward, Rcode::kNoError, alias.size};
}

}  // namespace ls::dns
