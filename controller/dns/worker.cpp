#include "dns/worker.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <system_error>

namespace ls::dns {

Worker::Worker(const Shared& shared)
    : s_(shared),
      work_(boost::asio::make_work_guard(*io_)),
      reader_(shared.epoch),
      forwarder_(std::make_unique<Forwarder>(*io_, shared.upstreams, shared.cache, shared.clock,
                                             shared.options.forwarder)),
      batch_(std::max<size_t>(shared.options.udp_size, 512)),
      tcp_{.reader = reader_,
           .clock = shared.clock,
           .queries = shared.options.tcp_queries,
           .idle = shared.options.tcp_idle} {
  for (auto& service : shared.services) {
    responders_.push_back(std::make_unique<Responder>(Responder::Shared{
        *service, shared.cache, *forwarder_, shared.clock, shared.secret, shared.options.udp_size}));
  }
}

Worker::~Worker() {
  forwarder_.reset();  // first: questions on their way hold sessions and listeners
  udp_.clear();
  tcp_listeners_.clear();
  io_.reset();  // the sessions' handlers, and with them the sessions, before what they count in
}

Result<> Worker::start(size_t number) {
  // Signals are the control loop's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<> result;
  try {
    thread_ = std::thread([this] { io_->run(); });
    pthread_setname_np(thread_.native_handle(), ("ls-dns-" + std::to_string(number)).c_str());
  } catch (const std::system_error& e) {
    result = fail(e.code(), "start a DNS worker");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result;
}

void Worker::stop() {
  work_.reset();
  io_->stop();
  if (thread_.joinable()) thread_.join();
}

void Worker::add_udp(size_t service, UniqueFd fd, const Endpoint& at) {
  bool wildcard = at.address.is_zero() || (at.address.is_v4() && at.address.v4() == 0);
  udp_.push_back(std::make_unique<UdpListener>(*io_, std::move(fd), wildcard, *responders_[service], reader_,
                                               batch_, s_.clock));
  udp_.back()->start();
}

void Worker::add_tcp(size_t service, UniqueFd fd, const Endpoint& at) {
  tcp_listeners_.push_back(std::make_unique<TcpListener>(*io_, std::move(fd), at.address.is_v4(),
                                                         *responders_[service], s_.tcp_limits, tcp_));
  tcp_listeners_.back()->start();
}

void Worker::refresh() {
  for (auto& r : responders_) r->refresh();
}

double Worker::lag() {
  auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  int64_t sent = 0;
  if (!probe_.compare_exchange_strong(sent, now)) return double(now - sent) / 1e9;
  post([this] { probe_.store(0); });
  return 0;
}

}  // namespace ls::dns
