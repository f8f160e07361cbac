#pragma once
/// Worker: one thread that answers on its own sockets, for all services. Made and ended by the control loop;
/// everything else happens on its thread, by post().
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "dns/tcp_listener.h"
#include "dns/udp_listener.h"

namespace ls::dns {

class Worker {
 public:
  struct Shared {
    const ServerOptions& options;
    std::vector<std::unique_ptr<Service>>& services;
    Epoch& epoch;
    const Clock& clock;
    Cache& cache;
    Upstreams& upstreams;
    TcpLimits& tcp_limits;
    const CookieSecret& secret;
  };
  explicit Worker(const Shared& shared);
  ~Worker();  ///< after stop()

  Result<> start(size_t number);
  void stop();  ///< ends the thread; questions on their way are dropped
  template <class F>
  void post(F f);
  boost::asio::io_context& io() { return *io_; }

  // Worker's thread, or before start().
  void add_udp(size_t service, UniqueFd fd, const Endpoint& at);
  void add_tcp(size_t service, UniqueFd fd, const Endpoint& at);
  Responder& responder(size_t service) { return *responders_[service]; }
  Epoch::Reader& reader() { return reader_; }
  void refresh();

  // Any thread.
  const WorkerCounters& counters(size_t service) const { return responders_[service]->counters(); }
  ForwarderView forwarder() const { return forwarder_->view(); }
  /// How long the thread has not come to what was posted by the last call, in seconds; the first call says 0.
  /// An idle worker is not woken in between.
  double lag();

 private:
  const Shared s_;
  std::unique_ptr<boost::asio::io_context> io_ = std::make_unique<boost::asio::io_context>(1);
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  Epoch::Reader reader_;
  std::unique_ptr<Forwarder> forwarder_;
  std::vector<std::unique_ptr<Responder>> responders_;
  UdpBatch batch_;
  TcpShared tcp_;
  std::vector<std::unique_ptr<UdpListener>> udp_;
  std::vector<std::unique_ptr<TcpListener>> tcp_listeners_;
  std::atomic<int64_t> probe_{0};  ///< when the probe on its way was posted; 0: none is
  std::thread thread_;
};

}  // namespace ls::dns

#include <boost/asio/post.hpp>

template <class F>
void ls::dns::Worker::post(F f) {
  boost::asio::post(*io_, std::move(f));
}
