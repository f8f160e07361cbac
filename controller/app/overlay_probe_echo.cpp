#include "app/overlay_probe_echo.h"

#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <list>
#include <string>

#include "util/unique_fd.h"

namespace ls::overlay_probe {
namespace {

using asio::ip::tcp;
using asio::ip::udp;

// States of a TCP connection as the kernel numbers them (linux/tcp_states.h is not for user space).
constexpr uint8_t kSynReceived = 3, kListen = 10, kNewSynReceived = 12;

auto redirect(Code& ec) { return asio::redirect_error(asio::use_awaitable, ec); }

}  // namespace

Seen connection_seen(const Endpoint& local, const Endpoint& remote, int ifindex) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  auto& r = question.request;
  r.sdiag_family = AF_INET;
  r.sdiag_protocol = IPPROTO_TCP;
  r.idiag_states = ~0u;
  r.id.idiag_sport = htons(local.port);
  r.id.idiag_dport = htons(remote.port);
  r.id.idiag_src[0] = htonl(local.address.v4());
  r.id.idiag_dst[0] = htonl(remote.address.v4());
  r.id.idiag_if = uint32_t(ifindex);
  r.id.idiag_cookie[0] = r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
  // The kernel answers within send(), so nothing is waited for.
  if (!fd || ::send(fd.get(), &question, sizeof question, 0) != ssize_t(sizeof question)) return Seen::kCannotTell;
  alignas(nlmsghdr) std::array<char, 8192> buffer;
  auto got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
  auto* h = reinterpret_cast<nlmsghdr*>(buffer.data());
  if (got < ssize_t(sizeof *h) || h->nlmsg_len > size_t(got)) return Seen::kCannotTell;
  if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_len >= NLMSG_LENGTH(sizeof(nlmsgerr)))
    return static_cast<nlmsgerr*>(NLMSG_DATA(h))->error == -ENOENT ? Seen::kNothing : Seen::kCannotTell;
  if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return Seen::kCannotTell;
  auto state = static_cast<inet_diag_msg*>(NLMSG_DATA(h))->idiag_state;
  if (state == kListen) return Seen::kNothing;
  return state == kSynReceived || state == kNewSynReceived ? Seen::kRequest : Seen::kConnection;
}

struct Echo::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor e, const Via& v, uint16_t p, EchoEvents ev)
      : executor(e), via(v), port(p), events(std::move(ev)), acceptor(e), witness(e), pause(e) {}

  asio::awaitable<void> accept();
  asio::awaitable<void> serve(std::list<tcp::socket>::iterator session);
  asio::awaitable<void> testify();

  asio::any_io_executor executor;
  Via via;
  uint16_t port;
  EchoEvents events;
  tcp::acceptor acceptor;
  udp::socket witness;
  asio::steady_timer pause;
  std::list<tcp::socket> sessions;
  bool closed = false;
};

asio::awaitable<void> Echo::Impl::accept() {
  auto self = shared_from_this();
  while (!closed) {
    Code ec;
    tcp::socket socket(executor);
    tcp::endpoint from;
    co_await acceptor.async_accept(socket, from, redirect(ec));
    if (closed) break;
    if (ec) {  // out of descriptors: what waits will still be there
      pause.expires_after(Millis(1000));
      co_await pause.async_wait(redirect(ec));
      continue;
    }
    if (sessions.size() >= kMaxSessions || !events.peer(from_asio(from.address()))) continue;
    sessions.push_back(std::move(socket));
    asio::co_spawn(executor, serve(std::prev(sessions.end())), asio::detached);
  }
}

asio::awaitable<void> Echo::Impl::serve(std::list<tcp::socket>::iterator session) {
  auto self = shared_from_this();
  auto& socket = *session;
  {
    Limit limit(socket, kMaxTime);
    // One octet more than is allowed, so that the end of the data is seen.
    std::string data(kMaxBytes + 1, '\0');
    Code ec;
    size_t size = co_await asio::async_read(socket, asio::buffer(data), redirect(ec));
    if (ec == asio::error::eof && size <= kMaxBytes && !limit.over() && !closed) {
      ec = {};
      co_await asio::async_write(socket, asio::buffer(data.data(), size), redirect(ec));
    }
  }
  Code ignored;
  socket.close(ignored);
  sessions.erase(session);
}

asio::awaitable<void> Echo::Impl::testify() {
  auto self = shared_from_this();
  std::string buffer(65536, '\0');
  while (!closed) {
    Code ec;
    udp::endpoint from;
    size_t size = co_await witness.async_receive_from(asio::buffer(buffer), from, redirect(ec));
    if (closed) break;
    auto peer = from_asio(from.address());
    auto w = ec ? std::nullopt : from_wire(std::string_view(buffer).substr(0, size));
    if (!w || w->answer || !events.peer(peer)) continue;
    w->answer = true;
    w->seen = w->port ? connection_seen({via.source, port}, {peer, w->port}, via.ifindex) : Seen::kNothing;
    // Not waited for: an answer that finds no room is one that got lost.
    witness.send_to(asio::buffer(to_wire(*w)), from, 0, ec);
    if (w->seen == Seen::kRequest) events.unheard(peer);
  }
}

Result<std::shared_ptr<Echo>> Echo::open(asio::any_io_executor executor, const Via& via, uint16_t port, EchoEvents events) {
  auto impl = std::make_shared<Impl>(std::move(executor), via, port, std::move(events));
  auto doing = fmt::format("listen on {} of the tunnel's device", Endpoint{via.source, port}.text());
  Code ec;
  open_via(impl->acceptor, via, port, ec);
  if (!ec) impl->acceptor.listen(int(kMaxSessions), ec);
  if (!ec) open_via(impl->witness, via, port, ec);
  if (int off = 1; !ec && ::setsockopt(impl->witness.native_handle(), SOL_SOCKET, SO_NO_CHECK, &off, sizeof off) != 0) ec = last_errno();
  if (!ec) impl->witness.non_blocking(true, ec);
  if (ec) return fail(std::error_code(ec), doing);
  asio::co_spawn(impl->executor, impl->accept(), asio::detached);
  asio::co_spawn(impl->executor, impl->testify(), asio::detached);
  return std::shared_ptr<Echo>(new Echo(std::move(impl)));
}

Echo::Echo(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Echo::~Echo() { close(); }

void Echo::close() {
  impl_->closed = true;
  Code ignored;
  impl_->acceptor.close(ignored);
  impl_->witness.close(ignored);
  impl_->pause.cancel();
  for (auto& s : impl_->sessions) s.cancel(ignored);
}

}  // namespace ls::overlay_probe
