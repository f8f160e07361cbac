#include "dns/binder.h"

#include "dns/sockets.h"
#include "util/log.h"

namespace ls::dns {
namespace {

constexpr std::chrono::seconds kAgain{1};

}  // namespace

Binder::Binder(const ServerOptions& options, std::vector<std::unique_ptr<Worker>>& workers)
    : options_(options), workers_(workers), timer_(workers.front()->io()) {
  listeners_.with([&](Listeners& all) {
    for (size_t s = 0; s < options.services.size(); s++) {
      for (const Endpoint& e : options.services[s].listen) all.push_back({s, e, false, false, {}});
    }
  });
}

void Binder::start() {
  if (!bind_all(false)) again();
}

void Binder::again() {
  timer_.expires_after(kAgain);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error && !bind_all(true)) again();
  });
}

/// True when everything is bound.
bool Binder::bind_all(bool running) {
  // Only this thread writes, so a copy may be worked on while others read.
  Listeners all = listeners_.with([](Listeners& l) { return l; });
  bool complete = true;
  for (Listener& l : all) {
    std::string before = l.error;
    l.error.clear();
    if (!l.udp) bind(l, true, running);
    if (!l.tcp) bind(l, false, running);
    if (!l.error.empty() && l.error != before)
      log::warn("dns_listen_failed",
                {{"service", to_text(options_.services[l.service].kind)}, {"error", l.error}});
    if (l.error.empty() && !before.empty())
      log::info("dns_listening",
                {{"service", to_text(options_.services[l.service].kind)}, {"endpoint", l.endpoint.text()}});
    complete = complete && l.udp && l.tcp;
  }
  listeners_.with([&](Listeners& l) { l = std::move(all); });
  return complete;
}

void Binder::bind(Listener& l, bool udp, bool running) {
  std::vector<UniqueFd> sockets;
  Endpoint at = l.endpoint;
  for (size_t i = 0; i < workers_.size(); i++) {
    auto fd = udp ? open_udp(at) : open_tcp(at);
    if (fd && at.port == 0) {
      if (auto port = local_port(fd->get())) at.port = *port;
    }
    if (!fd) {
      l.error += (l.error.empty() ? "" : "; ") + std::string(udp ? "udp: " : "tcp: ") + fd.error().text();
      return;
    }
    sockets.push_back(std::move(*fd));
  }
  l.endpoint = at;
  (udp ? l.udp : l.tcp) = true;
  for (size_t i = 0; i < workers_.size(); i++) {
    auto add = [worker = workers_[i].get(), service = l.service, at, udp,
                fd = std::move(sockets[i])]() mutable {
      udp ? worker->add_udp(service, std::move(fd), at) : worker->add_tcp(service, std::move(fd), at);
    };
    running ? workers_[i]->post(std::move(add)) : add();
  }
}

std::vector<ListenerView> Binder::view() const {
  return listeners_.with([&](Listeners& all) {
    std::vector<ListenerView> out;
    for (const Listener& l : all)
      out.push_back({options_.services[l.service].kind, l.endpoint, l.udp, l.tcp, l.error});
    return out;
  });
}

}  // namespace ls::dns
