#include "datapath/attachments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "bpf/pin.h"
#include "datapath/device_hook.h"
#include "util/log.h"

namespace ls::datapath {
namespace {

constexpr mode_t kDirMode = 0750, kLinkMode = 0640;

const HookSpec& spec_of(size_t hook) {
  return kHooks[hook];
}

}  // namespace

Attachments::Attachments(Programs& programs, AttachmentConfig config)
    : programs_(programs), config_(std::move(config)) {}

// ---- what should be ----

void Attachments::open_group() {
  group_ = {};
  group_error_.clear();
  auto g = CgroupGroup::open(config_.cgroup);
  if (g) {
    group_ = std::move(*g);
  } else {
    group_error_ = g.error().text();
  }
}

/// A group that cannot be opened still has its hooks, under number 0, so that status shows them and why.
std::map<Attachments::Key, std::string> Attachments::wanted_cgroup() {
  std::map<Key, std::string> out;
  if (!config_.socket) return out;
  open_group();
  for (size_t i = 0; i < kHooks.size(); i++) {
    if (kHooks[i].is_cgroup()) out[{i, group_.id()}] = config_.cgroup;
  }
  return out;
}

Result<> Attachments::list_devices() {
  LS_ASSIGN(auto list, netlink::list_devices());
  devices_.clear();
  for (auto& d : list) devices_[d.ifindex] = std::move(d);
  std::erase_if(xdp_refused_, [&](auto& r) { return !devices_.contains(r.first); });
  tell_addresses();
  return {};
}

// ---- start ----

Result<> Attachments::start() {
  LS_ASSIGN(watch_, netlink::Watch::open());
  LS_TRY(list_devices());
  LS_TRY(programs_.commit());
  LS_ASSIGN(own_, OwnAddresses::open(programs_.map("ls_own")));
  tell_addresses();
  programs_.step("make the links folder");
  LS_TRY(bpf::make_pin_dir(programs_.pin() + "/links", kDirMode));
  LS_TRY(adopt());
  reconcile_all();
  sweep_clsact();
  return {};
}

Result<> Attachments::adopt() {
  auto all = wanted_cgroup();
  for (auto& [index, d] : devices_) {
    all.merge(wanted(d));
    // Where XDP is wanted now and then refused, tc goes on, with the new program.
    if (use_xdp(d) && role(d) == HookKind::kUplink && config_.dns) all[{kDnsUplinkHook, uint64_t(index)}] = d.name;
  }
  LS_ASSIGN(auto names, bpf::list_pins(programs_.pin() + "/links"));
  for (auto& name : names) {
    // One pin that cannot be read must not keep the others from being taken over.
    if (auto r = adopt_one(name, all); !r)
      log::warn("pin_not_adopted", {{"pin", name}, {"error", r.error().text()}});
  }
  return {};
}

/// Takes the link over if it is where a program is wanted. Otherwise it goes, after reconcile has attached
/// what replaces it (entries that are not wanted are removed last).
Result<> Attachments::adopt_one(const std::string& name, const std::map<Key, std::string>& all) {
  auto path = programs_.pin() + "/links/" + name;
  auto link = bpf::Link::open_pinned(path);
  if (!link && link.error().code.value() != EMEDIUMTYPE) return pass(std::move(link.error()), "adopt a link");
  auto hook = std::find_if(kHooks.begin(), kHooks.end(),
                           [&](auto& h) { return name.substr(0, name.find('-')) == h.name; });
  auto info = link ? link->info() : Result<bpf::LinkInfo>(fail(EMEDIUMTYPE, path));
  if (!info || !info->attached() || hook == kHooks.end() || int(info->attach_type) != hook->attach_type) {
    programs_.step("remove the stale pin " + name);
    log::info("stale_pin_removed", {{"pin", name}});
    return bpf::unpin(path);
  }
  Key key{size_t(hook - kHooks.begin()), info->target};
  if (entries_.contains(key)) {  // pinned twice; the other one stays
    programs_.step("remove the second pin " + name);
    return bpf::unpin(path);
  }
  auto it = all.find(key);
  Entry e;
  auto device = devices_.find(int(key.target));
  e.device = it != all.end() ? it->second : !hook->is_cgroup() && device != devices_.end() ? device->second.name : "";
  e.link = std::move(*link);
  e.link_id = info->id;
  e.program_id = info->program_id;
  e.attached = true;
  e.since = std::chrono::system_clock::now();
  int fd = programs_.program(hook->program);
  if (hook->is_dns() && fd < 0 && config_.dns) {
    // Nothing is lost but speed, while an old program could go on with tables that nobody writes any more.
    programs_.step("take off " + name);
    (void)e.link.detach();
    return bpf::unpin(path);
  }
  bool goes_on = it != all.end() || (config_.hold_overlay && !hook->is_cgroup() && !hook->is_xdp());
  if (goes_on && !held(key)) {
    auto ours = our_program(key);
    programs_.step("exchange the program of " + name);
    auto updated = ours ? e.link.update(fd) : Result<>(tl::make_unexpected(std::move(ours.error())));
    if (updated) {
      e.program_id = *ours;
    } else if (fd >= 0) {
      return updated;
    } else {
      e.error = "still runs the program of the daemon before: " + updated.error().text();
    }
  }
  entries_[key] = std::move(e);
  return {};
}

/// Filters of ours where none is wanted: from a start before, with another configuration or before tcx was
/// there.
void Attachments::sweep_clsact() {
  for (auto& [index, d] : devices_) {
    if (has_held_filters(index)) continue;
    auto n = remove_clsact_filters(programs_.pin(), index, d.name, wanted_filters(d));
    if (!n) log::warn("stale_filter_stays", {{"device", d.name}, {"error", n.error().text()}});
    if (n && *n) log::info("stale_filters_removed", {{"device", d.name}, {"filters", *n}});
  }
}

// ---- bring about ----

void Attachments::reconcile(std::map<Key, std::string> want, const std::function<bool(const Key&)>& within) {
  for (auto& [key, device] : want) {
    auto it = entries_.find(key);
    if (held(key)) continue;
    if (it == entries_.end() || (!it->second.attached)) {
      attach(key, device);
    } else {
      it->second.device = device;
    }
  }
  auto stays = [&](const Key& key) {
    if (want.contains(key)) return key.hook != kDnsXdpHook || !xdp_refused_.contains(int(key.target));
    return key.hook == kDnsUplinkHook && xdp_refused_.contains(int(key.target)) &&
           want.contains({kDnsXdpHook, key.target});
  };
  for (auto it = entries_.begin(); it != entries_.end();) {
    bool gone = !spec_of(it->first.hook).is_cgroup() && !devices_.contains(int(it->first.target));
    if (!within(it->first) || stays(it->first) || (!gone && (held(it->first) || held_device(it->first)))) {
      ++it;
      continue;
    }
    remove(it->first, it->second);
    it = entries_.erase(it);
  }
}

void Attachments::reconcile_device(int ifindex) {
  auto d = devices_.find(ifindex);
  reconcile(d == devices_.end() ? std::map<Key, std::string>() : wanted(d->second),
            [&](const Key& k) { return !spec_of(k.hook).is_cgroup() && k.target == uint64_t(ifindex); });
}

void Attachments::reconcile_all() {
  auto all = wanted_cgroup();
  for (auto& [index, d] : devices_) all.merge(wanted(d));
  reconcile(std::move(all), [](const Key&) { return true; });
}

Result<uint32_t> Attachments::our_program(const Key& key) const {
  int fd = programs_.program(spec_of(key.hook).program);
  if (fd < 0) {
    return fail(fmt::format("{} is not loaded: {}", spec_of(key.hook).program,
                            programs_.load_error(spec_of(key.hook).object)));
  }
  LS_ASSIGN(auto info, bpf::program_info(fd));
  return info.id;
}

std::string Attachments::pin_path(const Key& key, const std::string& device) const {
  auto& spec = spec_of(key.hook);
  auto path = fmt::format("{}/links/{}-{}", programs_.pin(), spec.name, key.target);
  return spec.is_cgroup() ? path : path + "-" + bpf::pin_name(device);
}

void Attachments::attach(const Key& key, const std::string& device) {
  auto& e = entries_[key];
  bool first = e.since == std::chrono::system_clock::time_point();
  e.device = device;
  auto before = e.error;
  e.error.clear();
  auto r = attach_now(key, e);
  auto& spec = spec_of(key.hook);
  e.foreign = !r && spec.is_cgroup() && r.error().code.value() == EBUSY;
  if (r) {
    e.attached = true;
    e.since = std::chrono::system_clock::now();
    log::info("program_attached", {{"hook", spec.name}, {"device", device}, {"program", e.program_id}});
    return;
  }
  if (!spec.is_cgroup() && r.error().code.value() == ENODEV) {  // gone already, its event is on the way
    entries_.erase(key);
    return;
  }
  if (spec.is_xdp()) {
    std::string why = r.error().text(), name = device;
    entries_.erase(key);
    return fall_back_to_tc(key, name, why);
  }
  e.attached = false;
  e.error = r.error().text();
  if (first || e.error != before) {
    e.since = std::chrono::system_clock::now();
    log::warn("program_not_attached", {{"hook", spec.name}, {"device", device}, {"error", e.error}});
  }
}

Result<> Attachments::attach_now(const Key& key, Entry& e) {
  auto& spec = spec_of(key.hook);
  LS_ASSIGN(uint32_t id, our_program(key));
  int fd = programs_.program(spec.program);
  if (spec.is_cgroup()) {
    if (group_.fd() < 0) return fail(group_error_);
    LS_TRY(group_.look(bpf_attach_type(spec.attach_type)));
    programs_.step(fmt::format("attach {}", spec.name));
    LS_ASSIGN(e.link, bpf::Link::create_cgroup(fd, group_.fd(), bpf_attach_type(spec.attach_type)));
  } else if (spec.is_xdp()) {
    programs_.step(fmt::format("attach {} to {}", spec.name, e.device));
    LS_ASSIGN(e.link, bpf::Link::create_xdp(fd, int(key.target)));
  } else if (config_.tcx) {
    programs_.step(fmt::format("attach {} to {}", spec.name, e.device));
    auto* next = spec.object == ProgramObject::kOverlay ? first_of_others(key) : nullptr;
    LS_ASSIGN(e.link, next ? bpf::Link::create_tcx_before(fd, int(key.target), spec.side(), next->link)
                           : bpf::Link::create_tcx(fd, int(key.target), spec.side()));
  } else {
    programs_.step(fmt::format("attach {} to {}", spec.name, e.device));
    LS_TRY(attach_clsact(programs_.pin(), int(key.target), e.device, spec, fd));
  }
  e.program_id = id;
  if (!e.link) return {};
  LS_ASSIGN(auto info, e.link.info());
  e.link_id = info.id;
  if (auto r = pin(key, e); !r) {
    // Attached all the same; check() tries again. Not failing here is what keeps traffic going without a
    // bpffs.
    e.error = r.error().text();
    log::warn("link_not_pinned", {{"hook", spec.name}, {"device", e.device}, {"error", e.error}});
  }
  return {};
}

Result<> Attachments::pin(const Key& key, Entry& e) {
  LS_TRY(bpf::require_bpffs(programs_.pin()));
  LS_TRY(bpf::make_pin_dir(programs_.pin(), kDirMode));
  LS_TRY(bpf::make_pin_dir(programs_.pin() + "/links", kDirMode));
  auto path = e.link.pin_path().empty() ? pin_path(key, e.device) : e.link.pin_path();
  programs_.step("pin " + path);
  LS_TRY(bpf::unpin(path));
  LS_TRY(e.link.pin(path, kLinkMode));
  e.error.clear();
  return {};
}

void Attachments::remove(const Key& key, Entry& e) {
  auto& spec = spec_of(key.hook);
  bool gone = !spec.is_cgroup() && !devices_.contains(int(key.target));
  programs_.step(fmt::format("take {} off {}", spec.name, e.device));
  Result<> r;
  if (e.link) {
    // Detaching says ENOLINK or so when the kernel was faster; the name goes in any case.
    (void)e.link.detach();
    r = e.link.unpin();
  } else if (gone) {
    forget_clsact(programs_.pin(), {int(key.target), bpf::pin_name(e.device)});
  } else if (e.attached) {
    std::vector<size_t> others;
    for (auto& [k, o] : entries_) {
      bool filter = !spec_of(k.hook).is_cgroup() && !o.link && o.attached;
      if (&o != &e && k.target == key.target && filter) others.push_back(k.hook);
    }
    auto n = remove_clsact_filters(programs_.pin(), int(key.target), e.device, others);
    if (!n) r = tl::make_unexpected(std::move(n.error()));
  }
  if (!r)
    log::warn("program_not_removed",
              {{"hook", spec.name}, {"device", e.device}, {"error", r.error().text()}});
  if (r && e.attached) log::info("program_removed", {{"hook", spec.name}, {"device", e.device}});
}

// ---- events ----

int Attachments::event_fd() const {
  return watch_ ? watch_->fd() : -1;
}

void Attachments::handle(const netlink::Event& event, bool& network_changed, bool& resync, bool& addresses) {
  network_changed = true;
  if (std::get_if<netlink::ResyncNeeded>(&event)) resync = true;
  if (std::get_if<netlink::AddressChanged>(&event)) addresses = true;
  if (auto* gone = std::get_if<netlink::DeviceRemoved>(&event)) {
    devices_.erase(gone->ifindex);
    xdp_refused_.erase(gone->ifindex);
    reconcile_device(gone->ifindex);
  }
  if (auto* changed = std::get_if<netlink::DeviceChanged>(&event)) {
    auto& d = devices_[changed->device.ifindex];
    auto& now = changed->device;
    bool same_role = d.name == now.name && d.master == now.master && d.alias == now.alias;
    bool bridge_named = changed->device.kind == "bridge" && d.name != changed->device.name;
    auto kept = std::move(d.addresses);
    d = changed->device;
    d.addresses = std::move(kept);
    if (bridge_named) {
      resync = true;  // its ports may have become ours
    } else if (!same_role) {
      reconcile_device(d.ifindex);
    }
  }
}

Result<> Attachments::on_readable() {
  if (!watch_) return {};
  bool network_changed = false, resync = false, addresses = false;
  LS_TRY(watch_->drain([&](const netlink::Event& e) { handle(e, network_changed, resync, addresses); }));
  if (network_changed) programs_.on_network_change();
  if (resync) {
    LS_TRY(list_devices());
    reconcile_all();
  } else if (addresses) {
    LS_TRY(refresh_addresses());
  }
  return {};
}

/// Nothing else of the devices: what else is new about them has an event that is still to come.
Result<> Attachments::refresh_addresses() {
  LS_ASSIGN(auto list, netlink::list_devices());
  for (auto& d : list) {
    if (auto it = devices_.find(d.ifindex); it != devices_.end()) it->second.addresses = std::move(d.addresses);
  }
  tell_addresses();
  return {};
}

// ---- look again ----

/// True when it was as it should be.
bool Attachments::verify(const Key& key, Entry& e, bool full) {
  auto& spec = spec_of(key.hook);
  auto ours = our_program(key);
  if (!ours) return true;  // nothing to compare with: what the daemon before attached goes on
  if (!e.link) {
    auto id = bpf::query_filter(clsact_place(int(key.target), spec));
    return id && *id == e.program_id;
  }
  auto info = e.link.info();
  if (!info || !info->attached()) return false;
  if (full && !runs_first(key, e)) {
    log::warn("program_out_of_order", {{"hook", spec.name}, {"device", e.device}});
    (void)e.link.detach();  // check() attaches it anew
    return false;
  }
  bool good = true;
  if (info->program_id != *ours) {
    good = false;
    if (e.link.update(programs_.program(spec.program))) e.program_id = *ours;
  }
  bool pinned = !e.link.pin_path().empty() && bpf::exists(e.link.pin_path());
  if (pinned && full) {
    auto theirs = bpf::Link::open_pinned(e.link.pin_path());
    auto their_info = theirs ? theirs->info() : Result<bpf::LinkInfo>(fail(ENOENT, e.link.pin_path()));
    pinned = their_info && their_info->id == info->id;
  }
  if (pinned) return good;
  if (auto r = pin(key, e); !r) {
    e.error = r.error().text();
    return good;  // not repaired, so not counted
  }
  return false;
}

Result<int> Attachments::check(bool full) {
  LS_TRY(on_readable());
  if (full) LS_TRY(list_devices());
  // The kernel detaches the links of a removed group only some time later.
  bool moved = config_.socket && group_.fd() >= 0 && !group_.is_current();
  if (full || moved) reconcile_all();
  int repaired = 0;
  std::vector<Key> retry, lost;
  for (auto& [key, e] : entries_) {
    if (held(key)) continue;
    if (!e.attached) {
      retry.push_back(key);
    } else if (!verify(key, e, full)) {
      auto info = e.link ? e.link.info() : Result<bpf::LinkInfo>(fail(ENOENT, "read a link"));
      if (info && info->attached()) {
        repaired++;  // verify has put it right
      } else {
        lost.push_back(key);
      }
    }
  }
  for (auto& key : lost) {
    auto it = entries_.find(key);
    auto device = it->second.device;
    (void)it->second.link.unpin();
    it->second.link = {};
    it->second.attached = false;
    attach(key, device);
    it = entries_.find(key);
    if (it == entries_.end() && key.hook == kDnsXdpHook) it = entries_.find({kDnsUplinkHook, key.target});
    if (it != entries_.end() && it->second.attached) repaired++;
  }
  for (auto& key : retry) {
    auto it = entries_.find(key);
    if (it == entries_.end() || it->second.attached) continue;
    if (spec_of(key.hook).is_cgroup() && group_.fd() < 0) {
      reconcile_all();  // the folder may be there now, under its own number
      break;
    }
    attach(key, std::string(it->second.device));
  }
  auto pins = programs_.check(full);
  repaired += pins.value_or(0);
  if (repaired) log::warn("drift_repaired", {{"things", repaired}});
  drift_repaired_ += uint64_t(repaired);
  if (!pins) return pins;
  return repaired;
}

}  // namespace ls::datapath
