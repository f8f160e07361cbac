#include <cstring>

#include "dns/forwarder_impl.h"

namespace ls::dns {

namespace {

BadRank rank_of(Rcode rcode) {
  switch (rcode) {
    case Rcode::kServFail: return BadRank::kServFail;
    case Rcode::kRefused: return BadRank::kRefused;
    case Rcode::kNotImp: return BadRank::kNotImp;
    default: return BadRank::kFormErr;
  }
}

UpstreamEvent event_of(Rcode rcode) {
  return rcode == Rcode::kRefused ? UpstreamEvent::kRefused : rcode == Rcode::kServFail ? UpstreamEvent::kServFail : UpstreamEvent::kMalformed;
}

bool same_folded(std::span<const uint8_t> name, std::string_view folded) {
  if (name.size() != folded.size()) return false;
  std::array<uint8_t, DnsName::kMaxWire> copy;
  std::memcpy(copy.data(), name.data(), name.size());
  fold({copy.data(), name.size()});
  return std::memcmp(copy.data(), folded.data(), folded.size()) == 0;
}

}  // namespace

void Forwarder::Impl::on_datagram(Port& port, std::span<const uint8_t> bytes) {
  Exchange* e = bytes.size() >= kHeader ? port.pending.find(get16(bytes.data())) : nullptr;
  if (!e) return mismatch(port.pending, *port.peer);
  receive(*e, bytes);
}

void Forwarder::Impl::on_message(TcpLink& link, std::span<const uint8_t> bytes) {
  Exchange* e = bytes.size() >= kHeader ? link.pending.find(get16(bytes.data())) : nullptr;
  if (!e) return mismatch(link.pending, *link.peer);
  receive(*e, bytes);
}

void Forwarder::Impl::on_refused(Port& port) { failed_at_once(port.pending.all(), false); }
void Forwarder::Impl::on_closed(TcpLink& link) { failed_at_once(link.pending.all(), true); }

void Forwarder::Impl::failed_at_once(const std::vector<Exchange*>& all, bool tcp) {
  const std::weak_ptr<int> owner = alive;
  const Instant now = clock.now();
  std::vector<uint64_t> touched;
  for (Exchange* e : all) {
    detach(*e);
    trace_result(*e, tcp ? "closed" : "unreachable", now);
    // Whether an upstream speaks TCP says nothing about how it answers over UDP.
    if (tcp)
      upstreams.excused(e->peer->number, UpstreamEvent::kUnreachable);
    else
      upstreams.result(e->peer->number, UpstreamEvent::kUnreachable, {}, now);
    touched.push_back(e->question->number);
  }
  for (uint64_t number : touched) {
    if (owner.expired()) return;
    if (auto it = questions.find(number); it != questions.end()) advance(*it->second, now);
  }
}

/// Something that answers nothing we asked came from the upstream's address and port: late, or somebody tries ids. Above a limit the
/// questions that wait there go over TCP, where ids cannot be tried.
void Forwarder::Impl::mismatch(Pending& pending, Peer& from) {
  add(counters.mismatches);
  upstreams.note(from.number, UpstreamEvent::kMismatch);
  const Instant now = clock.now();
  for (Exchange* e : pending.all()) {
    Question& q = *e->question;
    if (++q.mismatches < options.mismatch_limit || q.over_tcp || q.answered) continue;
    q.over_tcp = true;
    add(counters.tcp_fallbacks);
    send(q, from.number, {.tcp = true}, now);
  }
}

Forwarder::Impl::Match Forwarder::Impl::match(const Exchange& e, bool well) const {
  const Query& asked = e.question->query;
  if (!(response.flags & kQr)) return Match::kNo;
  if (!response.has_question) {
    // An error may come without the question (RFC 1035 does not demand it); an answer may not. What is malformed is matched by its id.
    return !well || (response.rcode != Rcode::kNoError && response.rcode != Rcode::kNxDomain) ? Match::kYes : Match::kNo;
  }
  if (response.question_type != asked.type || response.question_class != asked.qclass) return Match::kNo;
  const auto name = response.question_name;
  if (name.size() == e.name.size() && std::memcmp(name.data(), e.name.data(), name.size()) == 0) return Match::kYes;
  if (!same_folded(name, asked.folded())) return Match::kNo;
  return e.mixed ? Match::kCase : Match::kYes;
}

Forwarder::Impl::Cookies Forwarder::Impl::check_cookies(Exchange& e) {
  Peer& p = *e.peer;
  if (!e.cookie) return Cookies::kGood;
  const bool there = response.edns && !response.edns->client_cookie.empty();
  if (!there) {
    if (e.link) p.speaks_cookies = false;
    return p.speaks_cookies ? Cookies::kMissing : Cookies::kGood;
  }
  const auto client = response.edns->client_cookie, server = response.edns->server_cookie;
  if (std::memcmp(client.data(), p.client_cookie.data(), 8) != 0) return Cookies::kForged;
  if (server.size() >= 8) {
    p.server_cookie.assign(server.begin(), server.end());
    p.speaks_cookies = true;
  }
  return Cookies::kGood;
}

/// Asks the same upstream once more in another way. The exchange is done; the question lives on.
void Forwarder::Impl::again(Exchange& e, How how, Instant now) {
  Question& q = *e.question;
  how.probe = e.probe;
  const uint32_t number = e.peer->number;
  upstreams.result(number, UpstreamEvent::kGood, now - e.sent, now);
  if (!q.answered) send(q, number, how, now);
  advance(q, now);
}

void Forwarder::Impl::receive(Exchange& e, std::span<const uint8_t> bytes) {
  const Instant now = clock.now();
  Question& q = *e.question;
  Peer& p = *e.peer;
  Pending& pending = e.port ? e.port->pending : e.link->pending;
  const bool tcp = e.link != nullptr;
  const bool well = response.read(bytes);
  const Match matched = match(e, well);
  if (matched == Match::kNo) return mismatch(pending, p);
  const bool good_rcode = well && (response.rcode == Rcode::kNoError || response.rcode == Rcode::kNxDomain);
  if (well) {
    const Cookies cookies = check_cookies(e);
    if (cookies == Cookies::kForged) return mismatch(pending, p);
    if (cookies == Cookies::kMissing && good_rcode && !tcp) {
      // It may be a forgery or another machine behind the same address: TCP tells.
      mismatch(pending, p);
      if (!q.over_tcp && !q.answered) {
        q.over_tcp = true;
        add(counters.tcp_fallbacks);
        send(q, p.number, {.tcp = true}, now);
      }
      return;
    }
  }
  detach(e);
  trace_result(e, well ? std::string(to_text(response.rcode)) : "malformed", now);
  if (!well) return bad_answer(e, UpstreamEvent::kMalformed, BadRank::kNone, {}, now);
  if (matched == Match::kCase) {
    // Not taken: asked again without mixed case, with a new id and port.
    trace_result(e, "case not kept", now);
    p.case_missed(now);
    return again(e, {.plain = e.without_edns, .exact_case = true}, now);
  }
  if (e.mixed) p.case_misses = 0;
  if (good_rcode && (response.flags & kTc) && !tcp) {
    upstreams.note(p.number, UpstreamEvent::kTruncated);
    if (q.best_rank < BadRank::kTruncated && !q.answered) {
      q.best_rank = BadRank::kTruncated;
      q.best.assign(bytes.begin(), bytes.end());
    }
    add(counters.tcp_fallbacks);
    return again(e, {.tcp = true}, now);
  }
  if (good_rcode) {
    upstreams.result(p.number, UpstreamEvent::kGood, now - e.sent, now);
    if (e.without_edns) p.no_edns_until = now + Peer::kRemember;
    return win(q, e, response, now);
  }
  if (response.rcode == Rcode::kBadCookie) {
    // The server's cookie was read above; the second time TCP needs none (RFC 7873 5.3).
    return again(e, {.tcp = e.cookie_again, .cookie_again = true}, now);
  }
  if (e.edns && (response.rcode == Rcode::kFormErr || response.rcode == Rcode::kNotImp || response.rcode == Rcode::kBadVers))
    return again(e, {.tcp = tcp, .plain = true}, now);
  bad_answer(e, event_of(response.rcode), rank_of(response.rcode), bytes, now);
}

void Forwarder::Impl::bad_answer(Exchange& e, UpstreamEvent event, BadRank rank, std::span<const uint8_t> bytes, Instant now) {
  Question& q = *e.question;
  if (q.answered) {
    // Somebody else answered well. A loop probe asks for nothing that exists: any answer will do.
    upstreams.result(e.peer->number, q.key.empty() ? UpstreamEvent::kGood : event, now - e.sent, now);
  } else {
    q.blame.push_back({e.peer->number, event});
    if (rank > q.best_rank && response.answers(q.query)) {
      q.best_rank = rank;
      q.best.assign(bytes.begin(), bytes.end());
    }
  }
  advance(q, now);
}

}  // namespace ls::dns
