#include "derive/mesos_masters.h"

#include <algorithm>
#include <set>

#include "state/model.h"

namespace ls {
namespace {

/// Equal for two spellings of one literal, and for a name in any case.
std::string canonical(const MasterAddress& m) {
  std::string host = m.host;
  if (auto literal = IpAddress::parse(host)) {
    host = literal->text();
  } else {
    for (char& c : host)
      if (c >= 'A' && c <= 'Z') c = char(c | 0x20);
  }
  return host + " " + std::to_string(m.port);
}

}  // namespace

std::optional<MasterAddress> parse_master(std::string_view text) {
  if (auto at = text.find('@'); at != text.npos) {
    text.remove_prefix(at + 1);
    text = text.substr(0, text.find('@'));
  }
  return split_host_port(text);
}

std::vector<MasterAddress> ordered_masters(const std::optional<MasterAddress>& leader, std::vector<MasterAddress> members) {
  auto rank = [&](const MasterAddress& m) {
    auto literal = IpAddress::parse(m.host);
    return std::tuple(!(leader && canonical(*leader) == canonical(m)), !literal, literal.value_or(IpAddress()), m.host, m.port);
  };
  std::sort(members.begin(), members.end(), [&](auto& a, auto& b) { return rank(a) < rank(b); });
  return members;
}

namespace mesos {

std::vector<Record> master_records(const std::optional<MasterAddress>& leader, const std::vector<MasterAddress>& list,
                                   const std::function<std::vector<IpAddress>(std::string_view host)>& addresses_of,
                                   uint16_t srv_weight) {
  std::vector<Record> out;
  const std::string leader_name = relative_name("leader").value(), master_name = relative_name("master").value();
  std::set<IpAddress> masters;  // what master.D has
  auto add_master = [&](const std::vector<IpAddress>& addresses) {
    for (auto& a : addresses)
      if (masters.insert(a).second) out.push_back(address_record(master_name, a));
  };
  size_t number = 0;
  auto add_numbered = [&](const std::vector<IpAddress>& addresses) {
    const std::string owner = relative_name("master" + std::to_string(number++)).value();
    for (auto& a : addresses) out.push_back(address_record(owner, a));
  };
  std::vector<IpAddress> leading;
  if (leader) {
    leading = addresses_of(leader->host);
    for (auto& a : leading) out.push_back(address_record(leader_name, a));
    add_master(leading);
    if (!leading.empty())
      for (auto* protocol : {"_leader._tcp", "_leader._udp"})
        out.push_back(srv_record(relative_name(protocol).value(), 0, srv_weight, leader->port, leader_name));
  }
  bool met = false;
  std::set<std::string> unknown;  // names without addresses: these too are counted once
  for (auto& m : list) {
    const std::string key = canonical(m);
    if (leader && key == canonical(*leader)) {
      if (!std::exchange(met, true)) add_numbered(leading);
      continue;
    }
    const std::vector<IpAddress> addresses = addresses_of(m.host);
    // An address that master.D has already is another entry of a master that was counted.
    const bool fresh = addresses.empty() ? unknown.insert(key).second
                                         : std::any_of(addresses.begin(), addresses.end(),
                                                       [&](auto& a) { return !masters.contains(a); });
    if (!fresh) continue;
    add_master(addresses);
    add_numbered(addresses);
  }
  if (leader && !met) add_numbered(leading);
  return out;
}

}  // namespace mesos
}  // namespace ls
