#include "cni/port_maps.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include <cerrno>
#include <cstring>

#include "bpf/link.h"
#include "bpf/map.h"
#include "bpf/mmap_array.h"
#include "bpf/pin.h"
#include "cni/fields.h"
#include "loadstar/abi/lb.h"
#include "loadstar/abi/overlay.h"
#include "loadstar/abi/portmap.h"

namespace ls::cni {
namespace {

struct LocalKey {
  __be32 addr_be[4];
};
using PortMap = Map<ls_portmap_key, ls_portmap>;
using LocalMap = Map<LocalKey, ls_ovl_local>;
using ConfMap = Map<__u32, ls_ovl_conf>;

/// nullopt: not pinned.
template <class M>
Result<std::optional<M>> open_map(const std::string& pin, const char* name) {
  auto fd = bpf::open_pinned(fmt::format("{}/maps/{}", pin, name), bpf::PinKind::kMap);
  if (!fd && fd.error().code.value() == ENOENT) return std::optional<M>();
  if (!fd) return tl::make_unexpected(fd.error());
  LS_ASSIGN(auto map, M::adopt(std::move(*fd)));
  return std::optional<M>(std::move(map));
}

struct Entry {
  ls_portmap_key key;
  ls_portmap value;
};

std::vector<Entry> entries_of(const std::vector<PortMapping>& mappings, const PortTarget& to) {
  std::vector<Entry> out;
  for (auto& m : mappings) {
    for (auto* address : {&to.v4, &to.v6}) {
      if (!*address) continue;
      Entry e{};
      e.key.port_be = htons(m.host_port);
      e.key.proto = uint8_t(m.protocol);
      e.key.family = (*address)->is_v4() ? 4 : 6;
      std::memcpy(e.value.addr_be, (*address)->bytes().data(), 16);
      e.value.port_be = htons(m.container_port);
      e.value.bridge_ifindex = to.bridge_ifindex;
      out.push_back(e);
    }
  }
  return out;
}

/// That they have to look for host ports: after the entries are there, because a daemon that starts clears the word before it looks
/// at the map. Without ls_ctl nobody looks yet, and whoever makes it will see the entries.
Result<> tell_programs(const std::string& pin) {
  auto fd = bpf::open_pinned(pin + "/maps/ls_ctl", bpf::PinKind::kMap);
  if (!fd && fd.error().code.value() == ENOENT) return {};
  if (!fd) return tl::make_unexpected(fd.error());
  LS_ASSIGN(auto ctl, MmapArray<ls_ctl>::adopt(std::move(*fd)));
  ctl.publish(0, &ls_ctl::ports, 1);
  return {};
}

std::string text_of(const Entry& e) {
  return fmt::format("host port {}/{} of IPv{}", ntohs(e.key.port_be), to_text(Protocol(e.key.proto)), e.key.family);
}

bool same_target(const ls_portmap& a, const ls_portmap& b) {
  return std::memcmp(a.addr_be, b.addr_be, 16) == 0 && a.port_be == b.port_be;
}

std::string target_text(const ls_portmap& v) {
  return Endpoint{IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(v.addr_be)), ntohs(v.port_be)}.text();
}

LocalKey local_key(const IpAddress& a) {
  LocalKey k;
  std::memcpy(k.addr_be, a.bytes().data(), 16);
  return k;
}

ls_ovl_local local_value(const LocalDevice& d) {
  ls_ovl_local v{};
  v.ifindex = d.ifindex;
  std::memcpy(v.mac, d.mac.data(), 6);
  std::memcpy(v.gw_mac, d.gateway_mac.data(), 6);
  return v;
}

}  // namespace

Outcome<> add_port_mappings(const std::string& pin, const std::vector<PortMapping>& mappings, const PortTarget& to) {
  if (mappings.empty()) return {};
  auto map = open_map<PortMap>(pin, "ls_portmap");
  if (!map) return refuse(Code::kPortMapping, map.error());
  if (!*map) return refuse(Code::kTryAgain, "port mappings need loadstard, which has not set them up yet", fmt::format("{}/maps/ls_portmap is not there", pin));
  auto entries = entries_of(mappings, to);
  for (size_t i = 0; i < entries.size(); i++) {
    auto r = (*map)->put(entries[i].key, entries[i].value, BPF_NOEXIST);
    if (r) continue;
    auto owner = (*map)->get(entries[i].key);
    for (size_t k = 0; k < i; k++)
      if (auto undone = (*map)->erase(entries[k].key); !undone) return refuse(Code::kPortMapping, undone.error());
    if (r.error().code.value() != EEXIST) return refuse(Code::kPortMapping, r.error());
    return refuse(Code::kPortMapping, fmt::format("{} is mapped already", text_of(entries[i])),
                  owner && *owner ? fmt::format("it leads to {}", target_text(**owner)) : "");
  }
  auto told = tell_programs(pin);
  if (told) return {};
  for (auto& e : entries)
    if (auto undone = (*map)->erase(e.key); !undone) return refuse(Code::kPortMapping, undone.error());
  return refuse(Code::kPortMapping, told.error());
}

Outcome<> remove_port_mappings(const std::string& pin, const std::vector<PortMapping>& mappings, const PortTarget& to) {
  if (mappings.empty()) return {};
  auto map = open_map<PortMap>(pin, "ls_portmap");
  if (!map) return refuse(Code::kPortMapping, map.error());
  if (!*map) return {};
  for (auto& e : entries_of(mappings, to)) {
    auto have = (*map)->get(e.key);
    if (!have) return refuse(Code::kPortMapping, have.error());
    if (!*have || !same_target(**have, e.value)) continue;
    if (auto r = (*map)->erase(e.key); !r) return refuse(Code::kPortMapping, r.error());
  }
  return {};
}

Outcome<> check_port_mappings(const std::string& pin, const std::vector<PortMapping>& mappings, const PortTarget& to) {
  if (mappings.empty()) return {};
  auto map = open_map<PortMap>(pin, "ls_portmap");
  if (!map) return refuse(Code::kPortMapping, map.error());
  if (!*map) return refuse(Code::kPortMapping, fmt::format("{}/maps/ls_portmap is not there", pin));
  for (auto& e : entries_of(mappings, to)) {
    auto have = (*map)->get(e.key);
    if (!have) return refuse(Code::kPortMapping, have.error());
    if (!*have) return refuse(Code::kPortMapping, fmt::format("{} is not mapped", text_of(e)));
    if (!same_target(**have, e.value)) return refuse(Code::kPortMapping, fmt::format("{} leads to {}", text_of(e), target_text(**have)));
  }
  return {};
}

Outcome<> add_local_devices(const std::string& pin, const std::vector<IpAddress>& addresses, const LocalDevice& d) {
  auto map = open_map<LocalMap>(pin, "ls_ovl_local");
  if (!map) return refuse(Code::kIo, map.error());
  if (!*map) return {};
  for (auto& a : addresses)
    if (auto r = (*map)->put(local_key(a), local_value(d)); !r) return refuse(Code::kIo, r.error());
  return {};
}

Outcome<> remove_local_devices(const std::string& pin, const std::vector<IpAddress>& addresses) {
  auto map = open_map<LocalMap>(pin, "ls_ovl_local");
  if (!map) return refuse(Code::kIo, map.error());
  if (!*map) return {};
  for (auto& a : addresses)
    if (auto r = (*map)->erase(local_key(a)); !r) return refuse(Code::kIo, r.error());
  return {};
}

Outcome<> check_local_devices(const std::string& pin, const std::vector<IpAddress>& addresses, const LocalDevice& d) {
  auto map = open_map<LocalMap>(pin, "ls_ovl_local");
  if (!map) return refuse(Code::kIo, map.error());
  if (!*map) return {};
  auto want = local_value(d);
  for (auto& a : addresses) {
    auto have = (*map)->get(local_key(a));
    if (!have) return refuse(Code::kIo, have.error());
    if (!*have) return refuse(Code::kIo, fmt::format("ls_ovl_local has no entry for {}", a.text()));
    if (std::memcmp(&**have, &want, sizeof want) != 0) return refuse(Code::kIo, fmt::format("ls_ovl_local leads {} to device {} instead of {}", a.text(), (*have)->ifindex, want.ifindex));
  }
  return {};
}

std::optional<uint32_t> tunnel_mtu(const std::string& pin) {
  auto map = open_map<ConfMap>(pin, "ls_ovl_conf");
  if (!map || !*map) return std::nullopt;
  auto conf = (*map)->get(0);
  if (!conf || !*conf || !((*conf)->flags & LS_OVL_ENABLED) || !(*conf)->mtu) return std::nullopt;
  return (*conf)->mtu;
}

bool programs_attached(const std::string& pin, int ifindex) {
  auto names = bpf::list_pins(pin + "/links");
  if (!names) return true;
  bool any_port = false, ours = false;
  auto mine = fmt::format("-{}-", ifindex);
  for (auto& name : *names) {
    if (!name.starts_with("port_") && !name.starts_with("bridge_")) continue;
    any_port = true;
    if (name.find(mine) == name.npos) continue;
    auto link = bpf::Link::open_pinned(pin + "/links/" + name);
    if (!link) return false;
    auto info = link->info();
    if (!info || !info->attached()) return false;
    ours = true;
  }
  return ours || !any_port;
}

}  // namespace ls::cni
