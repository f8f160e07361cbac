#include "dns/udp_listener.h"

#include <netinet/in.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>

#include "dns/sockets.h"

namespace ls::dns {
namespace {

constexpr int kRounds = 4;  // batches before others have their turn

size_t odd_lines(size_t octets) {
  return ((octets + 63) / 64 | 1) * 64;
}

/// The kernel says which address was asked; sent back, it becomes the source. The device is left to the
/// routes, except for link-local addresses, which mean nothing without one.
void make_source(msghdr& h) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      reinterpret_cast<in_pktinfo*>(CMSG_DATA(c))->ipi_ifindex = 0;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      auto* info = reinterpret_cast<in6_pktinfo*>(CMSG_DATA(c));
      if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr)) info->ipi6_ifindex = 0;
    }
  }
}

}  // namespace

UdpBatch::UdpBatch(size_t largest_answer)
    : answer_(odd_lines(largest_answer)),
      questions_(new uint8_t[kBatch * kQuestion]),
      answers_(new uint8_t[kBatch * answer_]),
      control_(new uint8_t[kBatch * kControl]) {
  std::memset(in_.data(), 0, sizeof in_);
  std::memset(out_.data(), 0, sizeof out_);
  for (size_t i = 0; i < kBatch; i++) {
    in_iov_[i] = {questions_.get() + i * kQuestion, kQuestion};
    in_[i].msg_hdr.msg_name = &peers_[i];
    in_[i].msg_hdr.msg_iov = &in_iov_[i];
    in_[i].msg_hdr.msg_iovlen = 1;
    out_[i].msg_hdr.msg_iov = &out_iov_[i];
    out_[i].msg_hdr.msg_iovlen = 1;
  }
}

UdpListener::UdpListener(boost::asio::io_context& io, UniqueFd fd, bool wildcard, Responder& responder,
                         Epoch::Reader& reader, UdpBatch& batch, const Clock& clock)
    : io_(io),
      socket_(io, fd.release()),
      wildcard_(wildcard),
      responder_(responder),
      reader_(reader),
      batch_(batch),
      clock_(clock) {}

void UdpListener::start() {
  wait();
}

void UdpListener::wait() {
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this](boost::system::error_code error) {
    if (!error) drain();
  });
}

void UdpListener::drain() {
  for (int round = 0; round < kRounds; round++) {
    size_t count = receive();
    if (count == 0) return wait();
    answer(count);
    if (count < UdpBatch::kBatch) return wait();
  }
  boost::asio::post(io_, [this] { drain(); });
}

size_t UdpListener::receive() {
  UdpBatch& b = batch_;
  for (size_t i = 0; i < UdpBatch::kBatch; i++) {
    msghdr& h = b.in_[i].msg_hdr;
    h.msg_namelen = sizeof(sockaddr_storage);
    h.msg_control = wildcard_ ? b.control_.get() + i * UdpBatch::kControl : nullptr;
    h.msg_controllen = wildcard_ ? UdpBatch::kControl : 0;
  }
  int n = recvmmsg(socket_.native_handle(), b.in_.data(), UdpBatch::kBatch, MSG_DONTWAIT, nullptr);
  return n > 0 ? size_t(n)
               : 0;  // an error of an earlier answer (ICMP) is taken off by this call; the next one reads on
}

void UdpListener::answer(size_t count) {
  UdpBatch& b = batch_;
  Instant since = clock_.now();
  std::array<uint32_t, kPaths> paths{};
  size_t answers = 0;
  {
    Epoch::Guard guard(reader_);
    responder_.begin(since);
    for (size_t i = 0; i < count; i++) {
      msghdr& h = b.in_[i].msg_hdr;
      Endpoint peer = from_sockaddr(b.peers_[i]);
      if (peer.port == 0) continue;  // nothing can be sent there
      uint8_t* to = b.answers_.get() + answers * b.answer_;
      Reply reply = responder_.answer(
          {{b.questions_.get() + i * UdpBatch::kQuestion, b.in_[i].msg_len}, peer.address, false},
          {to, b.answer_});
      if (reply.next == Reply::Next::kForward) {
        if (wildcard_) make_source(h);
        forward(i, {to, reply.size});
      }
      if (reply.next != Reply::Next::kSend) continue;
      paths[size_t(reply.path)]++;
      msghdr& o = b.out_[answers].msg_hdr;
      b.out_iov_[answers] = {to, reply.size};
      o.msg_name = h.msg_name;
      o.msg_namelen = h.msg_namelen;
      if (wildcard_) make_source(h);
      o.msg_control = h.msg_control;
      o.msg_controllen = h.msg_controllen;
      answers++;
    }
  }
  if (answers == 0) return;
  send(answers);
  auto took = clock_.now() - since;
  for (size_t p = 0; p < kPaths; p++) {
    if (paths[p]) responder_.counters().observe(Path(p), took, paths[p]);
  }
}

void UdpListener::send(size_t count) {
  for (size_t done = 0; done < count;) {
    int n =
        sendmmsg(socket_.native_handle(), batch_.out_.data() + done, unsigned(count - done), MSG_DONTWAIT);
    if (n > 0) {
      done += size_t(n);
    } else if (errno == EAGAIN || errno == ENOBUFS) {
      return;
    } else if (errno != EINTR) {
      done++;  // this one cannot be sent (no route, refused by a filter); the others may
    }
  }
}

void UdpListener::forward(size_t i, std::span<const uint8_t> written) {
  const msghdr& h = batch_.in_[i].msg_hdr;
  struct Return {
    sockaddr_storage peer;
    socklen_t peer_size;
    std::array<uint8_t, UdpBatch::kControl> control;
    size_t control_size;
  };
  auto back = std::make_shared<Return>();
  back->peer = batch_.peers_[i];
  back->peer_size = h.msg_namelen;
  back->control_size = h.msg_controllen;
  if (h.msg_controllen) std::memcpy(back->control.data(), h.msg_control, h.msg_controllen);
  Question question{{batch_.questions_.get() + i * UdpBatch::kQuestion, batch_.in_[i].msg_len},
                    from_sockaddr(back->peer).address,
                    false};
  responder_.forward(question, written, [this, back](std::span<const uint8_t> answer) {
    if (answer.empty()) return;
    iovec iov{const_cast<uint8_t*>(answer.data()), answer.size()};
    msghdr out{};
    out.msg_name = &back->peer;
    out.msg_namelen = back->peer_size;
    out.msg_iov = &iov;
    out.msg_iovlen = 1;
    out.msg_control = back->control_size ? back->control.data() : nullptr;
    out.msg_controllen = back->control_size;
    while (sendmsg(socket_.native_handle(), &out, MSG_DONTWAIT) < 0 && errno == EINTR) {
    }
  });
}

}  // namespace ls::dns
