#include "dns/upstream_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/write.hpp>
#include <cstring>

#include "dns/response.h"
#include "dns/sockets.h"

namespace ls::dns {

namespace asio = boost::asio;

namespace {

constexpr int kDrain = 64;             ///< datagrams read at a time before others get their turn
constexpr int kReceiveBuffer = 1 << 18;

asio::ip::tcp::endpoint to_asio(const Endpoint& e) {
  if (e.address.is_v4()) return {asio::ip::address_v4(e.address.v4()), e.port};
  asio::ip::address_v6::bytes_type bytes;
  std::copy(e.address.bytes().begin(), e.address.bytes().end(), bytes.begin());
  return {asio::ip::address_v6(bytes), e.port};
}

}  // namespace

Peer::Peer(asio::io_context& context, uint32_t n, const Endpoint& e, size_t count, RandomSource& source, const PeerEvents& peer_events,
           std::weak_ptr<int> owner)
    : io(context), number(n), endpoint(e), random(source), events(peer_events), alive(std::move(owner)), ports(std::max<size_t>(count, 1)) {
  for (uint8_t& octet : client_cookie) octet = random.get<uint8_t>();
}

std::shared_ptr<Port> Peer::open_port(Instant now, int& error) {
  const int fd = ::socket(endpoint.address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    error = errno;
    return nullptr;
  }
  // Room for a burst of answers; without CAP_NET_ADMIN the kernel may give less.
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) != 0)
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  sockaddr_storage address;
  const socklen_t size = to_sockaddr(endpoint, address);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) {
    error = errno;
    ::close(fd);
    return nullptr;
  }
  auto port = std::make_shared<Port>(io, fd);
  port->peer = this;
  port->opened = now;
  wait(port);
  return port;
}

std::shared_ptr<Port> Peer::port(Instant now, int& error, uint64_t& fewer) {
  const size_t first = random.below(static_cast<uint32_t>(ports.size()));
  auto& slot = ports[first];
  const bool old = slot && (slot->uses >= kUses || now - slot->opened >= kAge);
  if (!slot || old) {
    if (auto fresh = open_port(now, error)) {
      open += slot ? 0 : 1;
      slot = std::move(fresh);
    } else if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == EADDRNOTAVAIL || error == EAGAIN) {
      fewer++;
    } else {
      return nullptr;
    }
  }
  // Without room for a new one, the next that is open serves; after its time rather than not at all.
  for (size_t i = 0; i < ports.size(); i++) {
    auto& candidate = ports[(first + i) % ports.size()];
    if (!candidate || candidate->pending.size() >= kMaxPendingPerPort) continue;
    candidate->uses++;
    return candidate;
  }
  if (!error) error = EAGAIN;
  return nullptr;
}

void Peer::wait(const std::shared_ptr<Port>& port) {
  port->socket.async_wait(asio::posix::stream_descriptor::wait_read, [this, weak = std::weak_ptr(port)](const boost::system::error_code& ec) {
    auto p = weak.lock();
    if (ec || !p) return;
    std::weak_ptr<int> owner = alive;
    std::array<uint8_t, 4096> buffer;  // what we offer is 1232; a longer answer is cut here and found malformed
    for (int i = 0; i < kDrain; i++) {
      const bool awaited = !p->pending.empty();
      const ssize_t n = ::recv(p->socket.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n >= 0) {
        events.datagram(*p, {buffer.data(), static_cast<size_t>(n)});
      } else if (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH) {
        events.refused(*p);
      } else if (errno != EINTR) {
        break;
      }
      if (owner.expired()) return;
      // Nothing more is expected: saves the call that would find nothing. What comes all the same is told by the next wait.
      if (awaited && p->pending.empty()) break;
    }
    wait(p);
  });
}

void Peer::case_missed(Instant now) {
  if (++case_misses < kCaseMisses) return;
  case_misses = 0;
  no_case_until = now + kRemember;
}

std::shared_ptr<TcpLink> Peer::tcp() {
  if (link && !link->ended && link->pending.size() < TcpLink::kMaxPending) return link;
  if (link && !link->ended) return nullptr;
  link = std::make_shared<TcpLink>(io, events, alive);
  link->peer = this;
  link->start(endpoint);
  return link;
}

void TcpLink::start(const Endpoint& endpoint) {
  socket.async_connect(to_asio(endpoint), [self = shared_from_this()](const boost::system::error_code& ec) {
    if (self->ended) return;
    if (ec) return self->end();
    boost::system::error_code ignored;
    self->socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    self->connected = true;
    self->write();
    self->read();
  });
  wait_idle();
}

void TcpLink::wait_idle() {
  idle.expires_after(Peer::kTcpIdle);
  idle.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
    if (!ec && !self->ended) self->end();
  });
}

bool TcpLink::send(std::span<const uint8_t> message) {
  if (queued_ + message.size() + 2 > kMaxQueued) return false;
  std::vector<uint8_t> framed(message.size() + 2);
  put16(framed.data(), static_cast<uint16_t>(message.size()));
  std::memcpy(framed.data() + 2, message.data(), message.size());
  queued_ += framed.size();
  queue_.push_back(std::move(framed));
  if (pending.empty()) wait_idle();
  write();
  return true;
}

void TcpLink::write() {
  if (!connected || writing_ || queue_.empty() || ended) return;
  writing_ = true;
  asio::async_write(socket, asio::buffer(queue_.front()), [self = shared_from_this()](const boost::system::error_code& ec, size_t) {
    if (self->ended) return;
    self->writing_ = false;
    if (ec) return self->end();
    self->queued_ -= self->queue_.front().size();
    self->queue_.pop_front();
    self->write();
  });
}

void TcpLink::read() {
  if (in_.size() - have_ < 4096) in_.resize(have_ + 4096);
  socket.async_read_some(asio::buffer(in_.data() + have_, in_.size() - have_),
                         [self = shared_from_this()](const boost::system::error_code& ec, size_t n) {
    if (self->ended) return;
    if (ec || self->alive.expired()) return self->end();
    self->have_ += n;
    self->heard = true;
    size_t at = 0;
    while (self->have_ - at >= 2) {
      const size_t size = get16(self->in_.data() + at);
      if (self->have_ - at - 2 < size) break;
      self->events.message(*self, {self->in_.data() + at + 2, size});
      if (self->ended || self->alive.expired()) return;
      at += 2 + size;
    }
    // What is left is less than one message, 64 KiB at most.
    std::memmove(self->in_.data(), self->in_.data() + at, self->have_ - at);
    self->have_ -= at;
    self->wait_idle();
    self->read();
  });
}

void TcpLink::close() {
  if (ended) return;
  ended = true;
  boost::system::error_code ignored;
  socket.close(ignored);
  idle.cancel();
}

void TcpLink::end() {
  close();
  if (!alive.expired()) events.closed(*this);
}

}  // namespace ls::dns
