#pragma once
/// HostNames: addresses of the few hosts that the cluster's state names instead of giving an address (a scheduler's pid, a master in
/// the configuration). Looks up in the background, answers from memory, looks again every minute.
/// Thread: control loop; the system's resolver works on a thread of Asio's own. Bounded: kMaxHosts names; hosts beyond have no
/// address and are logged.
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "util/address.h"

namespace ls {

class HostNames {
 public:
  static constexpr size_t kMaxHosts = 10'000;
  static constexpr int kRefreshSeconds = 60;

  /// `changed`: lookup() gives something else for this host from now on.
  HostNames(boost::asio::io_context& io, std::function<void(const std::string& host)> changed);
  /// Addresses known now, sorted; a name never asked for before is looked up. A failed look-up keeps what was known.
  std::vector<IpAddress> lookup(std::string_view host);
  void stop();

 private:
  void resolve(const std::string& host);
  void refresh();

  boost::asio::ip::tcp::resolver resolver_;
  boost::asio::steady_timer timer_;
  std::function<void(const std::string&)> changed_;
  std::map<std::string, std::vector<IpAddress>, std::less<>> known_;
  bool full_ = false;
};

}  // namespace ls
