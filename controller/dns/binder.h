#pragma once
/// Binder: opens the sockets of all listeners for all workers, and tries again each second what could not be
/// opened. One listener's UDP and TCP are apart: each goes as soon as it can. Thread: construction and the
/// first bind_all() on the control loop before the workers run, later on the first worker. view(): any.
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <vector>

#include "dns/worker.h"
#include "util/guarded.h"

namespace ls::dns {

class Binder {
 public:
  Binder(const ServerOptions& options, std::vector<std::unique_ptr<Worker>>& workers);
  void start();  ///< binds what it can, and arms the timer for the rest
  std::vector<ListenerView> view() const;

 private:
  struct Listener {
    size_t service;
    Endpoint endpoint;  ///< with the port that was given for port 0
    bool udp = false, tcp = false;
    std::string error;
  };
  using Listeners = std::vector<Listener>;
  bool bind_all(bool running);
  void bind(Listener& listener, bool udp, bool running);
  void again();

  const ServerOptions& options_;
  std::vector<std::unique_ptr<Worker>>& workers_;
  boost::asio::steady_timer timer_;
  mutable Guarded<Listeners> listeners_;
};

}  // namespace ls::dns
