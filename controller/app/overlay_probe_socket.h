#pragma once
/// Small parts of the overlay's self-tests: sockets that use the tunnel's device and nothing else, and limits of time.
/// Thread: the io_context's.
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>
#include <cstring>
#include <memory>

#include "util/address.h"
#include "util/clock.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

namespace ls::overlay_probe {

namespace asio = boost::asio;
using Code = boost::system::error_code;

/// Of this node. `ifindex` 0: sockets are not tied to a device (what is looked at outside of the tunnel).
struct Via {
  IpAddress source;
  int ifindex = 0;
};

inline asio::ip::address to_asio(const IpAddress& a) {
  if (a.is_v4()) return asio::ip::address_v4(a.v4());
  asio::ip::address_v6::bytes_type b;
  std::memcpy(b.data(), a.bytes().data(), b.size());
  return asio::ip::address_v6(b);
}

inline IpAddress from_asio(const asio::ip::address& a) {
  if (a.is_v4()) return IpAddress::from_v4(a.to_v4().to_uint());
  auto b = a.to_v6().to_bytes();
  return IpAddress::from_bytes(b.data());
}

inline Code last_errno() { return {errno, boost::system::system_category()}; }

/// Linux 5.1; since 5.7 without CAP_NET_RAW.
inline void tie_to_device(int fd, int ifindex, Code& ec) {
  if (!ec && ifindex > 0 && ::setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, sizeof ifindex) != 0) ec = last_errno();
}

/// Opens, ties and binds a TCP or UDP socket or acceptor.
template <class Socket>
void open_via(Socket& socket, const Via& via, uint16_t port, Code& ec) {
  typename Socket::protocol_type::endpoint local(to_asio(via.source), port);
  socket.open(local.protocol(), ec);
  tie_to_device(socket.native_handle(), via.ifindex, ec);
  if (!ec && port) socket.set_option(typename Socket::reuse_address(true), ec);
  if (!ec) socket.bind(local, ec);
  if (ec) {
    Code ignored;
    socket.close(ignored);
  }
}

/// Cancels what waits on `object` when the time is over, and again every 20 ms, because between two steps of a composed operation
/// nothing waits.
template <class Object>
class Limit {
 public:
  Limit(Object& object, Millis time) : state_(std::make_shared<State>(object)) { arm(state_, time); }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
  ~Limit() {
    state_->object = nullptr;
    state_->timer.cancel();
  }
  bool over() const { return state_->over; }

 private:
  struct State {
    explicit State(Object& o) : timer(o.get_executor()), object(&o) {}
    asio::steady_timer timer;
    Object* object;
    bool over = false;
  };
  static void arm(const std::shared_ptr<State>& s, Millis time) {
    s->timer.expires_after(time);
    s->timer.async_wait([s](const Code& ec) {
      if (ec || !s->object) return;
      s->over = true;
      Code ignored;
      s->object->cancel(ignored);
      arm(s, Millis(20));
    });
  }
  std::shared_ptr<State> state_;
};

}  // namespace ls::overlay_probe
