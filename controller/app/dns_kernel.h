#pragma once
/// DnsKernel: the wiring of DNS answers in the kernel: the maps with what DnsNode serves, on which addresses, for whom.
///
/// Thread: control loop, except view() and try_question() (any). Cost: see dns/kernel_mirror.h.
/// The maps outlive the daemon: the kernel goes on answering with what was written last. A start takes over what is there.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/dns_kernel.h"
#include "app/settings.h"
#include "datapath/programs.h"
#include "dns/cookie.h"
#include "dns/hot_answer.h"
#include "dns/kernel_mirror.h"
#include "util/clock.h"

namespace ls {

class DnsKernel {
 public:
  /// `programs` are loaded. An error leaves DNS to the process; it is shown.
  static Result<std::unique_ptr<DnsKernel>> open(const Config& config, datapath::Programs& programs, Epoch& epoch, const Clock& clock);
  ~DnsKernel();

  void set_routes(dns::ServiceKind service, std::shared_ptr<const dns::Routes> routes);
  /// Listeners, clients, rate limits: at the start, at a reload and whenever addresses of the machine change.
  void set_services(const Config& config, const std::vector<IpAddress>& own_addresses);
  void settled();          ///< the first complete state is in the zones
  void tick();             ///< every few seconds: clock offset, kept answers that have ended
  void hot(std::vector<dns::HotAnswer> answers);
  size_t flush(const DnsName& suffix);

  /// The limit that the process shares with the programs, and the secret of its cookies.
  std::span<uint64_t> rate_words(dns::ServiceKind service);
  dns::CookieSecret cookie_secret() const;
  std::array<uint8_t, 16> rate_key() const;

  api::KernelDnsView view() const;
  std::optional<api::KernelDnsTry> try_question(dns::ServiceKind service, std::span<const uint8_t> question) const;

 private:
  struct Impl;
  explicit DnsKernel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls
