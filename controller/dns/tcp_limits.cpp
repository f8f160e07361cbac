#include "dns/tcp_limits.h"

namespace ls::dns {

TcpLimits::Place TcpLimits::enter(const IpAddress& client) {
  bool let_in = open_.with([&](Open& o) {
    if (o.all >= total_) return false;
    size_t& n = o.by_client[client];
    if (n >= per_client_) {
      if (n == 0) o.by_client.erase(client);
      return false;
    }
    n++;
    o.all++;
    return true;
  });
  return let_in ? Place(this, client) : Place();
}

void TcpLimits::leave(const IpAddress& client) {
  open_.with([&](Open& o) {
    o.all--;
    auto it = o.by_client.find(client);
    if (it != o.by_client.end() && --it->second == 0) o.by_client.erase(it);
  });
}

}  // namespace ls::dns
