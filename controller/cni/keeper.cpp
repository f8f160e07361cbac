#include "cni/keeper.h"

#include <fmt/format.h>

#include <algorithm>

#include "cni/fields.h"
#include "cni/plugin_parts.h"
#include "cni/port_maps.h"
#include "cni/request.h"

namespace ls::cni {
namespace {

namespace fs = std::filesystem;

Outcome<std::vector<Attachment>> attachments_of(const fs::path& data_dir, const std::string& network) {
  auto leases = Leases::open({data_dir, network, false, 0});
  if (!leases) return tl::make_unexpected(leases.error());
  if (!*leases) return std::vector<Attachment>();
  return (*leases)->all();
}

Outcome<> restore_one(Attacher& attacher, const Attachment& a, const std::string& pin) {
  if (!a.mappings.empty()) {
    PortTarget to{a.v4, a.v6, 0};
    if (!a.bridge.empty()) {
      auto bridge = attacher.find_device(a.bridge);
      if (!bridge) return tl::make_unexpected(bridge.error());
      if (*bridge) to.bridge_ifindex = uint32_t((*bridge)->ifindex);
    }
    if (!check_port_mappings(pin, a.mappings, to)) {
      // Some may be there: those that are ours go first, so that all are made or none.
      LS_CNI_TRY(remove_port_mappings(pin, a.mappings, to));
      LS_CNI_TRY(add_port_mappings(pin, a.mappings, to));
    }
  }
  if (a.mode != Mode::kDirect) return {};
  auto device = attacher.find_device(a.host_device);
  if (!device) return tl::make_unexpected(device.error());
  if (!*device) return {};  // its container is being removed
  std::vector<IpAddress> addresses;
  for (auto& address : {a.v4, a.v6})
    if (address) addresses.push_back(*address);
  return add_local_devices(pin, addresses, {uint32_t((*device)->ifindex), a.mac, (*device)->mac});
}

}  // namespace

Outcome<std::vector<std::string>> list_networks(const fs::path& data_dir) {
  std::vector<std::string> out;
  std::error_code e;
  auto folder = data_dir / ".loadstar";
  if (!fs::exists(folder, e)) return out;
  auto list = fs::directory_iterator(folder, e);
  if (e) return refuse(Code::kIo, fmt::format("read folder {}: {}", folder.native(), e.message()));
  for (auto& entry : list) {
    auto name = entry.path().filename().string();
    if (valid_identifier(name, kMaxNetworkName) && entry.is_regular_file(e)) out.push_back(std::move(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Outcome<Restored> restore_entries(const fs::path& data_dir, const std::string& pin) {
  auto networks = list_networks(data_dir);
  if (!networks) return tl::make_unexpected(networks.error());
  auto attacher = Attacher::open();
  if (!attacher) return tl::make_unexpected(attacher.error());
  Restored out;
  auto problem = [&](const std::string& where, const Failure& f) {
    out.problems++;
    if (out.first_problem.empty()) out.first_problem = fmt::format("{}: {}", where, f.msg);
  };
  for (auto& network : *networks) {
    auto all = attachments_of(data_dir, network);
    if (!all) {
      problem("network " + network, all.error());
      continue;
    }
    for (auto& a : *all) {
      // One whose container went meanwhile must not come back; one that is being made writes its entries itself.
      auto lock = AttachmentLock::take(data_dir, network, a.container, a.ifname, false);
      if (!lock) {
        problem("container " + a.container, lock.error());
        continue;
      }
      auto leases = Leases::open({data_dir, network, false, 0});
      if (!leases) {
        problem("network " + network, leases.error());
        continue;
      }
      if (!*leases) continue;
      auto still = (*leases)->find(a.container, a.ifname);
      if (!still || !*still) continue;
      *leases = std::nullopt;
      out.attachments++;
      if (auto r = restore_one(*attacher, a, pin); !r) problem("container " + a.container, r.error());
    }
  }
  return out;
}

Outcome<Collected> collect_orphans(const OrphanSearch& s) {
  Collected out;
  std::error_code e;
  bool any_root = std::any_of(s.roots.begin(), s.roots.end(), [&](auto& r) { return fs::is_directory(r, e); });
  auto all = attachments_of(s.data_dir, s.network);
  if (!all) return tl::make_unexpected(all.error());
  Config c;
  c.network = s.network;
  c.data_dir = s.data_dir;
  c.pin = s.pin;
  for (auto& a : *all) {
    auto known = [&](auto& root) { return fs::exists(root / a.container / s.network, e); };
    if (!any_root || std::any_of(s.roots.begin(), s.roots.end(), known)) {
      out.kept++;
      continue;
    }
    Outcome<> done;
    if (auto lock = AttachmentLock::take(s.data_dir, s.network, a.container, a.ifname, false); lock) done = tear_down(c, a, "");
    else done = tl::make_unexpected(lock.error());
    out.removed += done.has_value();
    if (done) continue;
    out.problems++;
    if (out.first_problem.empty()) out.first_problem = fmt::format("container {}: {}", a.container, done.error().msg);
  }
  return out;
}

}  // namespace ls::cni
