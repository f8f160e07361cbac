#include "datapath/map_set.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>

#include "bpf/pin.h"
#include "datapath/map_copy.h"
#include "loadstar/abi/lb.h"
#include "util/log.h"

namespace ls::datapath {
namespace {

constexpr mode_t kDirMode = 0750, kMapMode = 0640;

bool is_flow_table(const std::string& name) {
  return name == "ls_flow4" || name == "ls_flow6";
}
/// What flow entries are worth nothing without: they live and die with LS_FLOW_VERSION.
bool is_flow_family(const std::string& name) {
  return is_flow_table(name) || name == "ls_overflow" || name == "ls_be" || name == "ls_svc_tab";
}
bool is_service_table(const std::string& name) {
  return name == "ls_svc" || name == "ls_svc_tab" || name == "ls_ring" || name == "ls_be";
}

bool is_cni_table(const std::string& name) {
  return name == "ls_portmap" || name == "ls_ovl_local";
}

/// What an entry of DNS is found by, and what says so to the programs: worth nothing one without another.
bool is_dns_place(const std::string& name) {
  return name == "ls_dns_conf" || name == "ls_dns_bucket" || name == "ls_dns_data";
}
bool is_dns_answer(const std::string& name) {
  return is_dns_place(name) || name == "ls_dns_listen";
}

/// "value 32 not 24 bytes, 64 not 32 entries"
std::string difference(const bpf::MapLayout& have, const bpf::MapLayout& want) {
  std::vector<std::string> parts;
  auto add = [&](std::string_view what, uint32_t w, uint32_t h) {
    if (w != h) parts.push_back(fmt::format("{} {}, pinned was {}", what, w, h));
  };
  add("type", want.type, have.type);
  add("key bytes", want.key_bytes, have.key_bytes);
  add("value bytes", want.value_bytes, have.value_bytes);
  add("entries", want.max_entries, have.max_entries);
  add("flags", want.flags, have.flags);
  return fmt::format("{}", fmt::join(parts, "; "));
}

Result<ls_meta> read_meta(int fd) {
  ls_meta meta;
  uint32_t zero = 0;
  if (bpf_map_lookup_elem(fd, &zero, &meta) != 0) return fail(errno, "read ls_meta");
  return meta;
}

}  // namespace

std::string_view to_text(MapOrigin o) {
  switch (o) {
    case MapOrigin::kReused:
      return "reused";
    case MapOrigin::kCreated:
      return "created";
    case MapOrigin::kCopied:
      return "copied";
    case MapOrigin::kRebuilt:
      break;
  }
  return "rebuilt";
}

std::vector<std::string> map_folders(const std::string& pin) {
  return {pin + "/maps_next", pin + "/maps_old", pin + "/maps"};
}

MapSet::MapSet(std::string pin, Steps steps) : pin_(std::move(pin)), steps_(std::move(steps)) {}

void MapSet::step(std::string_view what) const {
  if (steps_) steps_(what);
}

Result<> MapSet::recover() {
  LS_TRY(bpf::require_bpffs(pin_));
  step("make the pin folder");
  LS_TRY(bpf::make_pin_dir(pin_, kDirMode));
  if (bpf::exists(pin_ + "/maps_old")) {
    if (!bpf::exists(dir()) && bpf::exists(pin_ + "/maps_next")) {
      step("finish the exchange of map folders");
      LS_TRY(bpf::move_pin(pin_ + "/maps_next", dir()));
    } else if (!bpf::exists(dir())) {
      step("take the old map folder back");
      LS_TRY(bpf::move_pin(pin_ + "/maps_old", dir()));
    }
    step("remove the old map folder");
    LS_TRY(bpf::remove_pin_dir(pin_ + "/maps_old"));
  }
  step("remove a half-made map folder");
  return bpf::remove_pin_dir(pin_ + "/maps_next");
}

Result<> MapSet::read_old() {
  LS_ASSIGN(auto names, bpf::list_pins(dir()));
  for (auto& name : names) {
    auto fd = bpf::open_pinned(dir() + "/" + name, bpf::PinKind::kMap);
    if (!fd && fd.error().code.value() == EMEDIUMTYPE) {
      old_[name] = {};  // something else under our name: as good as another layout
      continue;
    }
    if (!fd) return pass(std::move(fd.error()), "adopt maps");
    LS_ASSIGN(auto layout, bpf::map_layout(fd->get()));
    old_[name] = {std::move(*fd), std::move(layout)};
  }
  auto meta = old_.find("ls_meta");
  if (meta == old_.end() || !meta->second.fd || meta->second.layout.value_bytes != sizeof(ls_meta) ||
      meta->second.layout.type != BPF_MAP_TYPE_ARRAY) {
    return {};
  }
  LS_ASSIGN(auto m, read_meta(meta->second.fd.get()));
  same_abi_ = m.abi_version == LS_ABI_VERSION;
  same_flow_ = m.flow_version == LS_FLOW_VERSION;
  auto* bytes = reinterpret_cast<const std::byte*>(&m);
  old_meta_.assign(bytes, bytes + sizeof m);
  return {};
}

bool MapSet::version_ok(const std::string& name) const {
  if (name == "ls_meta") return same_abi_ && same_flow_;
  // Entries of running containers, which loadstar-cni wrote: kept as long as their own layout is the same.
  if (is_cni_table(name)) return true;
  return is_flow_family(name) ? same_flow_ : same_abi_;
}

/// Decides what becomes of each map, before anything is made.
Result<> MapSet::plan(const std::vector<bpf::MapLayout>& want) {
  std::set<std::string> names;
  for (auto& w : want) {
    names.insert(w.name);
    auto it = old_.find(w.name);
    if (it == old_.end()) {
      bool first = old_.empty();
      stories_.push_back(
          {w.name, first ? MapOrigin::kCreated : MapOrigin::kRebuilt, first ? "" : "its pin was missing"});
      continue;
    }
    auto& have = it->second.layout;
    bool shape = it->second.fd && have.same_shape(w);
    if (!it->second.fd) {
      stories_.push_back({w.name, MapOrigin::kRebuilt, "something that is no map was pinned in its place"});
    } else if (!version_ok(w.name)) {
      stories_.push_back({w.name, MapOrigin::kRebuilt, "made by another version of the layouts"});
    } else if (!shape || (have.max_entries != w.max_entries &&
                          (w.name.starts_with("ls_dns_") || !can_copy(w)))) {
      stories_.push_back({w.name, MapOrigin::kRebuilt, difference(have, w)});
    } else if (have.max_entries != w.max_entries) {
      stories_.push_back({w.name, MapOrigin::kCopied, difference(have, w)});
    } else {
      stories_.push_back({w.name, MapOrigin::kReused, {}});
    }
  }
  pending_ =
      std::any_of(stories_.begin(), stories_.end(), [](auto& s) { return s.origin != MapOrigin::kReused; }) ||
      std::any_of(old_.begin(), old_.end(), [&](auto& o) { return !names.contains(o.first); });
  // Flow entries name backends by number; without the numbers they would lead to somebody else's backend.
  if (!carries_flows()) {
    for (auto& s : stories_) {
      if (!is_flow_table(s.name) || s.origin == MapOrigin::kCreated || s.origin == MapOrigin::kRebuilt)
        continue;
      s = {s.name, MapOrigin::kRebuilt, "the backend numbers its entries hold are gone"};
      pending_ = true;
    }
  }
  plan_dns();
  return {};
}

void MapSet::plan_dns() {
  auto begins = std::find_if(stories_.begin(), stories_.end(), [](auto& s) {
    return is_dns_place(s.name) && s.origin != MapOrigin::kReused;
  });
  if (begins == stories_.end()) return;
  auto why = fmt::format("{} starts empty", begins->name);
  for (auto& s : stories_) {
    if (is_dns_answer(s.name) && s.origin == MapOrigin::kReused) s = {s.name, MapOrigin::kRebuilt, why};
  }
}

bool MapSet::dns_kept() const {
  return !stories_.empty() && std::all_of(stories_.begin(), stories_.end(), [](auto& s) {
    return !is_dns_answer(s.name) || s.origin == MapOrigin::kReused;
  });
}

bool MapSet::carries_flows() const {
  return same_flow_ && std::none_of(stories_.begin(), stories_.end(), [](auto& s) {
           return (s.name == "ls_be" || s.name == "ls_svc_tab") &&
                  (s.origin == MapOrigin::kRebuilt || s.origin == MapOrigin::kCreated);
         });
}

bool MapSet::compare_tables() const {
  return std::all_of(stories_.begin(), stories_.end(), [&](auto& s) {
    if (!is_service_table(s.name) || s.origin == MapOrigin::kReused) return true;
    if (s.origin != MapOrigin::kCopied) return false;
    auto now = bpf::map_layout(maps_.at(s.name).get());
    return now && now->max_entries >= old_.at(s.name).layout.max_entries;
  });
}

Result<> MapSet::build(std::span<const std::byte> elf, const std::map<std::string, uint32_t>& entries) {
  LS_TRY(recover());
  LS_TRY(read_old());
  LS_ASSIGN(auto object, bpf::Object::open("ls_maps", elf));
  for (auto& [name, n] : entries) LS_TRY(object.resize(name, n));
  auto want = object.maps();
  LS_TRY(plan(want));
  for (auto& s : stories_) {
    if (s.origin == MapOrigin::kReused) LS_TRY(object.share(s.name, old_.at(s.name).fd.get()));
  }
  // Maps come from libbpf, not from bpf_map_create, because it brings their type data along.
  object.skip_programs();
  LS_TRY(object.load({}));
  for (auto& w : want) {
    int fd = fcntl(object.map_fd(w.name), F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return fail(errno, "keep map " + w.name);
    maps_[w.name] = UniqueFd(fd);
  }
  if (pending_) {
    auto r = pin_new().and_then([this] { return carry_tables(); }).and_then([this] { return fill_meta(); });
    if (!r) {
      abandon();
      return r;
    }
  }
  tables_kept_ = compare_tables();
  return {};
}

Result<> MapSet::pin_new() {
  auto next = pin_ + "/maps_next";
  step("make maps_next");
  LS_TRY(bpf::make_pin_dir(next, kDirMode));
  for (auto& [name, fd] : maps_) {
    step("pin in maps_next: " + name);
    LS_TRY(bpf::pin(fd.get(), next + "/" + name, kMapMode));
  }
  return {};
}

Result<> MapSet::carry_tables() {
  for (auto& s : stories_) {
    if (s.origin != MapOrigin::kCopied || is_flow_table(s.name)) continue;
    step("copy " + s.name);
    if (auto r = copy_map(old_.at(s.name).fd.get(), maps_.at(s.name).get()); !r) {
      if (is_flow_family(s.name)) return pass(std::move(r.error()), "carry tables over");
      s = {s.name, MapOrigin::kRebuilt, s.why + "; " + r.error().text()};
    }
  }
  return {};
}

Result<> MapSet::fill_meta() {
  auto story = std::find_if(stories_.begin(), stories_.end(), [](auto& s) { return s.name == "ls_meta"; });
  if (story == stories_.end() || story->origin == MapOrigin::kReused) return {};
  ls_meta meta{};
  meta.abi_version = LS_ABI_VERSION;
  meta.flow_version = LS_FLOW_VERSION;
  meta.created_ns = uint64_t(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count());
  std::strncpy(meta.build, LS_VERSION, sizeof meta.build - 1);
  if (carries_flows() && old_meta_.size() == sizeof meta) {
    // The places of the flows follow from the seed: it lives as long as they do.
    ls_meta before;
    std::memcpy(&before, old_meta_.data(), sizeof before);
    std::memcpy(meta.seed, before.seed, sizeof meta.seed);
  } else if (getrandom(meta.seed, sizeof meta.seed, 0) != ssize_t(sizeof meta.seed)) {
    return fail(errno, "make the seed of the flow tables");
  }
  uint32_t zero = 0;
  step("write ls_meta");
  if (bpf_map_update_elem(maps_.at("ls_meta").get(), &zero, &meta, BPF_ANY) != 0)
    return fail(errno, "write ls_meta");
  return {};
}

Result<> MapSet::commit(const MigrateFlows& migrate) {
  if (!pending_) return {};
  for (auto& s : stories_) {
    if (!is_flow_table(s.name) || s.origin != MapOrigin::kCopied) continue;
    step("carry the flows over: " + s.name);
    auto r = migrate ? migrate(old_.at(s.name).fd.get(), maps_.at(s.name).get())
                     : Result<>(fail(ENOTSUP, "carry the flows of " + s.name + " over"));
    if (r) continue;
    // New connections matter more than the old ones: the table starts empty, open flows go by the hash.
    log::warn("flows_not_carried", {{"map", s.name}, {"error", r.error().text()}});
    s = {s.name, MapOrigin::kRebuilt, s.why + "; " + r.error().text()};
  }
  if (bpf::exists(dir())) {
    step("rename maps to maps_old");
    LS_TRY(bpf::move_pin(dir(), pin_ + "/maps_old"));
  }
  step("rename maps_next to maps");
  LS_TRY(bpf::move_pin(pin_ + "/maps_next", dir()));
  pending_ = false;
  step("remove maps_old");
  LS_TRY(bpf::remove_pin_dir(pin_ + "/maps_old"));
  old_.clear();
  return {};
}

void MapSet::abandon() {
  if (!pending_) return;
  if (auto r = bpf::remove_pin_dir(pin_ + "/maps_next"); !r) {
    log::warn("pins_left_behind", {{"error", r.error().text()}});  // the next start removes them
  }
  pending_ = false;
}

Result<int> MapSet::check(bool full) {
  if (pending_ || maps_.empty()) return 0;
  int repaired = 0;
  for (auto& [name, fd] : maps_) {
    auto path = dir() + "/" + name;
    bool good = bpf::exists(path);
    if (good && full) {
      auto pinned = bpf::open_pinned(path, bpf::PinKind::kMap);
      auto theirs = pinned ? bpf::map_layout(pinned->get()) : Result<bpf::MapLayout>(fail(ENOENT, path));
      auto ours = bpf::map_layout(fd.get());
      good = theirs && ours && theirs->id == ours->id;
    }
    if (good) continue;
    LS_TRY(bpf::require_bpffs(pin_));
    LS_TRY(bpf::make_pin_dir(pin_, kDirMode));
    LS_TRY(bpf::make_pin_dir(dir(), kDirMode));
    LS_TRY(bpf::unpin(path));
    LS_TRY(bpf::pin(fd.get(), path, kMapMode));
    repaired++;
  }
  return repaired;
}

}  // namespace ls::datapath
