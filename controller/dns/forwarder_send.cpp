#include <sys/socket.h>

#include <cstring>

#include "dns/forwarder_impl.h"

namespace ls::dns {

Peer& Forwarder::Impl::peer(uint32_t number) {
  if (peers.size() <= number) peers.resize(number + size_t{1});
  if (!peers[number])
    peers[number] = std::make_unique<Peer>(io, number, upstreams.endpoint(number), options.ports, random, events, alive);
  return *peers[number];
}

/// The question as it goes out: its own id, RD and AD set (AD asks whether the answer was validated, RFC 6840 5.7), the client's CD and
/// DO, every letter's case by chance (0x20) where the upstream keeps it.
size_t Forwarder::Impl::build(const Question& q, Exchange& e, std::span<uint8_t> out) {
  const Query& query = q.query;
  uint8_t* to = out.data();
  std::memset(to, 0, kHeader);
  put16(to, e.id);
  put16(to + 2, static_cast<uint16_t>(kRd | (e.edns ? kAd : 0) | (query.flags & kCd)));
  put16(to + 4, 1);
  uint8_t* name = to + kHeader;
  std::memcpy(name, query.folded_bytes.data(), query.name_size);
  if (e.mixed) {
    uint64_t bits = 0;
    int left = 0;
    for (size_t i = 0; i < query.name_size; i++) {
      if (name[i] < 'a' || name[i] > 'z') continue;  // length octets are below 64
      if (left == 0) {
        bits = random.get<uint64_t>();
        left = 64;
      }
      if (bits & 1) name[i] = static_cast<uint8_t>(name[i] - 'a' + 'A');
      bits >>= 1;
      left--;
    }
  }
  e.name.assign(reinterpret_cast<const char*>(name), query.name_size);
  size_t size = kHeader + query.name_size;
  put16(to + size, query.type);
  put16(to + size + 2, query.qclass);
  size += 4;
  if (!e.edns) return size;
  put16(to + 10, 1);
  Query opt;
  opt.edns.emplace().dnssec_ok = q.dnssec_ok();
  std::array<uint8_t, 40> cookie;
  size_t cookie_size = 0;
  e.cookie = options.cookies;
  if (e.cookie) {
    std::memcpy(cookie.data(), e.peer->client_cookie.data(), 8);
    cookie_size = 8 + e.peer->server_cookie.size();
    if (!e.peer->server_cookie.empty()) std::memcpy(cookie.data() + 8, e.peer->server_cookie.data(), e.peer->server_cookie.size());
  }
  const size_t opt_at = size;
  size += write_opt(opt, {cookie.data(), cookie_size}, to + size);
  put16(to + opt_at + 3, options.udp_size);
  return size;
}

bool Forwarder::Impl::send(Question& q, uint32_t number, How how, Instant now) {
  Peer& p = peer(number);
  auto owned = std::make_unique<Exchange>();
  Exchange& e = *owned;
  e.question = &q;
  e.peer = &p;
  e.probe = how.probe;
  e.edns = !how.plain && p.edns(now);
  e.without_edns = how.plain;
  e.cookie_again = how.cookie_again;
  // Over TCP nobody can answer in the upstream's place, and the spelling is that of the cache.
  e.mixed = options.mixed_case && !how.tcp && !how.exact_case && p.keeps_case(now);
  e.sent = now;
  if (q.want_trace) {
    e.trace = static_cast<int>(q.trace.asked.size());
    q.trace.asked.push_back({p.endpoint, how.tcp, std::chrono::duration<double, std::milli>(now - q.started).count(), 0, "cancelled"});
  }
  std::array<uint8_t, kHeader + DnsName::kMaxWire + 4 + 11 + 4 + 40> message;
  upstreams.asked(number, now);
  q.exchanges.push_back(std::move(owned));
  const bool sent = how.tcp ? send_tcp(e, message) : send_udp(e, message, now);
  if (sent) return true;
  e.resolved = true;
  trace_result(e, "unreachable", now);
  if (how.tcp)
    upstreams.excused(number, UpstreamEvent::kUnreachable);
  else
    upstreams.result(number, UpstreamEvent::kUnreachable, {}, now);
  return false;
}

bool Forwarder::Impl::send_udp(Exchange& e, std::span<uint8_t> message, Instant now) {
  int error = 0;
  uint64_t fewer = 0;
  auto port = e.peer->port(now, error, fewer);
  if (fewer) add(counters.fewer_ports, fewer);
  if (!port) return false;
  do {
    e.id = random.get<uint16_t>();
  } while (port->pending.find(e.id));
  const size_t size = build(*e.question, e, message);
  const int fd = port->socket.native_handle();
  ssize_t n = ::send(fd, message.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
  // The error of a packet sent before is told with this one, which has not gone out; the one before is told as lost by its own time.
  if (n < 0 && errno == ECONNREFUSED) n = ::send(fd, message.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
  // A full queue of the device is a lost packet: the retry comes by itself.
  if (n < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR) return false;
  e.port = std::move(port);
  e.port->pending.add(&e);
  return true;
}

bool Forwarder::Impl::send_tcp(Exchange& e, std::span<uint8_t> message) {
  auto link = e.peer->tcp();
  if (!link) return false;
  do {
    e.id = random.get<uint16_t>();
  } while (link->pending.find(e.id));
  const size_t size = build(*e.question, e, message);
  if (!link->send(message.first(size))) return false;
  e.link = std::move(link);
  e.link->pending.add(&e);
  return true;
}

void Forwarder::Impl::detach(Exchange& e) {
  e.resolved = true;
  if (e.port) e.port->pending.remove(&e);
  if (e.link) {
    e.link->pending.remove(&e);
    // A connection that never said a word while a question ran into its time-out is of no more use.
    if (e.link->pending.empty() && !e.link->heard && clock.now() >= e.question->ends) e.link->close();
  }
}

}  // namespace ls::dns
