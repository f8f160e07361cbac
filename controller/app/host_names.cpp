#include "app/host_names.h"

#include <algorithm>

#include "util/log.h"

namespace ls {

HostNames::HostNames(boost::asio::io_context& io, std::function<void(const std::string&)> changed)
    : resolver_(io), timer_(io), changed_(std::move(changed)) {
  refresh();
}

void HostNames::stop() {
  timer_.cancel();
  resolver_.cancel();
}

std::vector<IpAddress> HostNames::lookup(std::string_view host) {
  if (auto literal = IpAddress::parse(host)) return {*literal};
  if (auto it = known_.find(host); it != known_.end()) return it->second;
  if (host.empty() || known_.size() >= kMaxHosts) {
    if (!host.empty() && !std::exchange(full_, true)) log::warn("host_names_full", {{"limit", kMaxHosts}, {"host", host}});
    return {};
  }
  auto it = known_.emplace(std::string(host), std::vector<IpAddress>{}).first;
  resolve(it->first);
  return {};
}

void HostNames::resolve(const std::string& host) {
  resolver_.async_resolve(host, "", [this, host](boost::system::error_code ec, boost::asio::ip::tcp::resolver::results_type results) {
    if (ec == boost::asio::error::operation_aborted) return;
    if (ec) {
      log::debug("host_unknown", {{"host", host}, {"error", ec.message()}});
      return;
    }
    std::vector<IpAddress> found;
    for (auto& r : results) {
      if (auto a = IpAddress::parse(r.endpoint().address().to_string())) found.push_back(*a);
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    auto it = known_.find(host);
    if (found.empty() || it == known_.end() || it->second == found) return;
    it->second = std::move(found);
    changed_(host);
  });
}

void HostNames::refresh() {
  timer_.expires_after(std::chrono::seconds(kRefreshSeconds));
  timer_.async_wait([this](boost::system::error_code ec) {
    if (ec) return;
    for (auto& [host, addresses] : known_) resolve(host);
    refresh();
  });
}

}  // namespace ls
