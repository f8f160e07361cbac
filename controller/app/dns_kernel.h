#pragma once
/// DnsKernel: the wiring of DNS answers in the kernel: keeps the maps equal to what the two servers serve, on which addresses,
/// and for whom. dns/kernel_mirror.h does the names, this the rest.
///
/// Thread: control loop, except view() and try_question() (any). Cost: see dns/kernel_mirror.h; set_listeners() O(addresses).
/// The maps outlive the daemon: the kernel goes on answering with what was written last. A start takes over what is there.
/// Only addresses where the process has its UDP socket are answered in the kernel: what another server holds stays its own.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/dns_kernel.h"
#include "app/settings.h"
#include "datapath/programs.h"
#include "dns/server.h"
#include "util/epoch.h"

namespace ls {

class DnsKernel {
 public:
  /// `programs` are loaded. At most `max_cached` forwarded answers are kept. An error leaves DNS to the process.
  static Result<std::unique_ptr<DnsKernel>> open(const datapath::Programs& programs, Epoch& epoch, size_t max_cached);
  ~DnsKernel();

  /// Gives the servers what they share with the programs: rate limit, cookie secret, and where hot answers go. `hot` is called on
  /// workers' threads.
  void share(dns::ServerOptions& options, std::function<void(dns::HotAnswer&&)> hot);

  void set_routes(dns::ServiceKind service, std::shared_ptr<const dns::Routes> routes);
  /// Who may ask and how often: at the start and at a reload. `udp_size` as the server's.
  void set_policy(const dns::ServiceOptions& options, uint16_t udp_size);
  /// Where the process answers: at the start, and every few seconds. A wildcard address stands for all of `own`.
  void set_listeners(const std::vector<dns::ListenerView>& listeners, const std::vector<IpAddress>& own);
  /// Questions are answered from now on, or no more.
  void enable(bool on);
  /// The first complete state is in the zones: what a daemon before left beside it goes.
  void settled();
  /// Every few seconds: the clock's offset, forwarded answers that have ended.
  void tick();
  void hot(const dns::HotAnswer& answer);
  /// Forwarded answers at and below `suffix`; those still on their way as well.
  size_t flush(const DnsName& suffix);

  api::KernelDnsView view() const;
  /// Puts a question to the program, as a packet to the first address of the service would.
  std::optional<api::KernelDnsTry> try_question(dns::ServiceKind service, std::span<const uint8_t> question) const;

 private:
  struct Impl;
  explicit DnsKernel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls
