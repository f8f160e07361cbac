#include "cni/leases.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cni/deadline.h"
#include "cni/fields.h"
#include "cni/host_local.h"
#include "cni/ip_math.h"

namespace ls::cni {
namespace {

uint64_t boot_of_this_machine() {
  static const uint64_t boot = [] {
    char text[64] = {};
    UniqueFd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    ssize_t n = fd ? read(fd.get(), text, sizeof text) : 0;
    uint64_t h = 0xcbf29ce484222325ull;
    for (ssize_t i = 0; i < n; i++) h = (h ^ uint8_t(text[i])) * 0x100000001b3ull;
    return h ? h : 1;
  }();
  return boot;
}

Attachment attachment_of(const LeaseRecord& r) {
  auto text = [](const char* p, size_t size) { return std::string(p, strnlen(p, size)); };
  Attachment a;
  a.container = text(r.container, sizeof r.container);
  a.ifname = text(r.ifname, sizeof r.ifname);
  a.imported = r.mode & kImported;
  a.mode = Mode(r.mode & 15);
  a.v4 = address_of(r, true);
  a.v6 = address_of(r, false);
  a.owned = r.owned;
  std::copy(std::begin(r.mac), std::end(r.mac), a.mac.begin());
  a.host_device = text(r.host_device, sizeof r.host_device);
  a.bridge = text(r.bridge, sizeof r.bridge);
  for (uint16_t i = 0; i < r.mappings; i++)
    a.mappings.push_back({Protocol(r.mapping[i].protocol), r.mapping[i].host_port, r.mapping[i].container_port});
  return a;
}

/// nullopt: something is longer than the record has room for; request.h has refused that already.
std::optional<LeaseRecord> record_of(const Attachment& a, uint64_t boot) {
  LeaseRecord r;
  r.mode = uint8_t(uint8_t(a.mode) | (a.imported ? kImported : 0));
  r.boot = boot;
  if (!set_text(r.container, sizeof r.container, a.container) || !set_text(r.ifname, sizeof r.ifname, a.ifname) ||
      !set_text(r.host_device, sizeof r.host_device, a.host_device) || !set_text(r.bridge, sizeof r.bridge, a.bridge) ||
      a.mappings.size() > kMaxMappings)
    return std::nullopt;
  for (auto* address : {&a.v4, &a.v6}) {
    if (!*address) continue;
    set_address(r, **address);
    if (a.owned) r.owned = uint8_t(r.owned | ((*address)->is_v4() ? 1 : 2));
  }
  std::copy(a.mac.begin(), a.mac.end(), r.mac);
  r.mappings = uint16_t(a.mappings.size());
  for (size_t i = 0; i < a.mappings.size(); i++)
    r.mapping[i] = {a.mappings[i].host_port, a.mappings[i].container_port, uint16_t(a.mappings[i].protocol)};
  return r;
}

std::string range_text(const Range& r) { return fmt::format("{} - {} of {}", r.first.text(), r.last.text(), r.network.text()); }

}  // namespace

std::filesystem::path lease_path(const std::filesystem::path& data_dir, const std::string& network) {
  return data_dir / ".loadstar" / network;
}

Outcome<std::optional<Leases>> Leases::open(const Options& o) {
  bool make = o.make || has_host_local(o.data_dir / o.network);
  auto disk = open_locked(lease_path(o.data_dir, o.network), LeaseFile::kSize, make);
  if (!disk) return tl::make_unexpected(disk.error());
  if (!*disk) return std::optional<Leases>();
  auto out = over(std::move(*disk), o);
  if (!out) return tl::make_unexpected(out.error());
  return std::optional<Leases>(std::move(*out));
}

Outcome<Leases> Leases::over(std::unique_ptr<Disk> disk, const Options& o) {
  auto file = LeaseFile::open(std::move(disk), lease_path(o.data_dir, o.network).native());
  if (!file) return tl::make_unexpected(file.error());
  Leases out(std::move(*file), o);
  if (out.options_.boot == 0) out.options_.boot = boot_of_this_machine();
  if (auto r = out.prepare(); !r) return tl::make_unexpected(r.error());
  return out;
}

Outcome<> Leases::prepare() {
  if (!file_.header().imported) LS_CNI_TRY(import_host_local());
  if (file_.header().boot != options_.boot) return forget_earlier_boots(options_.boot);
  return {};
}

Outcome<> Leases::import_host_local() {
  auto found = read_host_local(options_.data_dir / options_.network);
  if (!found) return tl::make_unexpected(found.error());
  for (auto& lease : found->leases) {
    if (file_.taken(lease.address)) continue;  // the import was interrupted behind this one
    Attachment a;
    a.container = lease.container;
    a.ifname = lease.ifname;
    a.imported = a.owned = true;
    (lease.address.is_v4() ? a.v4 : a.v6) = lease.address;
    // host-local has one file an address: the second family of an attachment joins the first.
    auto slot = file_.find(a.container, a.ifname);
    if (!slot) return tl::make_unexpected(slot.error());
    auto h = file_.header();
    if (*slot != kNoSlot) {
      auto have = file_.read(*slot);
      if (!have) return tl::make_unexpected(have.error());
      auto joined = attachment_of(*have);
      auto& place = lease.address.is_v4() ? joined.v4 : joined.v6;
      if (!place) {
        place = lease.address;
        LS_CNI_TRY(file_.remove(*slot, h));
        h = file_.header();
        a = std::move(joined);
      } else {
        // The pinned host-local gave a second address to a second ADD of one container. It is kept from others under a name that
        // no DEL uses; the release of the container's interface releases it too (release()).
        a.ifname = "+" + lease.address.text().substr(0, 14);
      }
    }
    auto r = record_of(a, options_.boot);
    if (!r) continue;
    if (auto added = file_.add(*r, h); !added) return tl::make_unexpected(added.error());
  }
  auto h = file_.header();
  for (auto& last : found->last)
    std::copy(last.bytes().begin(), last.bytes().end(), h.last[last.is_v4() ? 0 : 1]);
  h.imported = 1;
  h.boot = options_.boot;
  return file_.set_header(h);
}

Outcome<> Leases::forget_earlier_boots(uint64_t boot) {
  // The namespaces of an earlier boot are gone, and nobody has to send a DEL for them (spec/cni.md, 2.1).
  std::vector<uint32_t> gone;
  LS_CNI_TRY(file_.for_each([&](uint32_t slot, const LeaseRecord& r) -> Outcome<> {
    if (r.boot != boot) gone.push_back(slot);
    return {};
  }));
  for (auto slot : gone) LS_CNI_TRY(file_.remove(slot, file_.header()));
  auto h = file_.header();
  h.boot = boot;
  return file_.set_header(h);
}

Outcome<uint32_t> Leases::slot_of(const std::string& container, const std::string& ifname) const {
  auto slot = file_.find(container, ifname);
  if (!slot || *slot != kNoSlot) return slot;
  return file_.find(container, "");
}

Outcome<std::optional<Attachment>> Leases::find(const std::string& container, const std::string& ifname) const {
  auto slot = slot_of(container, ifname);
  if (!slot) return tl::make_unexpected(slot.error());
  if (*slot == kNoSlot) return std::optional<Attachment>();
  auto r = file_.read(*slot);
  if (!r) return tl::make_unexpected(r.error());
  return std::optional<Attachment>(attachment_of(*r));
}

std::optional<IpAddress> Leases::next_free(const Range& r, const LeaseHeader& h) const {
  auto last = IpAddress::from_bytes(h.last[r.network.address.is_v4() ? 0 : 1]);
  bool within = r.first <= last && last < r.last;
  auto at = within ? next_address(last) : r.first;
  // One more than there are attachments, and the gateway, cannot all be taken.
  uint64_t most = std::min<uint64_t>(distance(r.first, r.last), uint64_t(h.used) + 2);
  for (uint64_t i = 0; i < most; i++) {
    if (at != r.gateway && !file_.taken(at)) return at;
    at = at == r.last ? r.first : next_address(at);
  }
  return std::nullopt;
}

Outcome<Attachment> Leases::reserve(Attachment a, const std::vector<Range>& ranges, const std::vector<IpAddress>& requested) {
  auto slot = slot_of(a.container, a.ifname);
  if (!slot) return tl::make_unexpected(slot.error());
  if (*slot != kNoSlot)
    return refuse(Code::kUnknown, fmt::format("{} of container {} is attached to network {} already", a.ifname, a.container, options_.network), "a DEL has to come first");
  for (auto& wanted : requested) {
    auto in = std::find_if(ranges.begin(), ranges.end(), [&](auto& r) { return r.network.contains(wanted) && r.first <= wanted && wanted <= r.last && wanted != r.gateway; });
    if (in == ranges.end() && !ranges.empty())
      return refuse(Code::kConfig, fmt::format("requested address {} is not one that network {} hands out on this node", wanted.text(), options_.network));
    if (file_.taken(wanted)) return refuse(Code::kExhausted, fmt::format("requested address {} is taken", wanted.text()));
  }
  auto h = file_.header();
  for (auto& range : ranges) {
    bool v4 = range.network.address.is_v4();
    auto own = std::find_if(requested.begin(), requested.end(), [&](auto& w) { return w.is_v4() == v4; });
    auto address = own == requested.end() ? next_free(range, h) : std::optional<IpAddress>(*own);
    if (!address) return refuse(Code::kExhausted, fmt::format("no free address in network {}", options_.network), range_text(range));
    (v4 ? a.v4 : a.v6) = *address;
    a.owned = true;
    std::copy(address->bytes().begin(), address->bytes().end(), h.last[v4 ? 0 : 1]);
  }
  auto r = record_of(a, options_.boot);
  if (!r) return refuse(Code::kConfig, fmt::format("container {} has a name, device or number of mappings past the limits", a.container));
  auto added = file_.add(*r, h);
  if (!added) return tl::make_unexpected(added.error());
  return a;
}

Outcome<bool> Leases::release(const std::string& container, const std::string& ifname) {
  bool any = false;
  // Imported ones may be several for one container and interface.
  for (;;) {
    auto slot = slot_of(container, ifname);
    if (!slot) return tl::make_unexpected(slot.error());
    if (*slot == kNoSlot) break;
    auto r = file_.read(*slot);
    if (!r) return tl::make_unexpected(r.error());
    auto a = attachment_of(*r);
    if (auto done = file_.remove(*slot, file_.header()); !done) return tl::make_unexpected(done.error());
    any = true;
    if (!a.imported) continue;
    for (auto& address : {a.v4, a.v6})
      if (address) forget_host_local(options_.data_dir / options_.network, *address, container);
    std::vector<std::pair<std::string, std::string>> more;
    auto r2 = file_.for_each([&](uint32_t, const LeaseRecord& other) -> Outcome<> {
      auto o = attachment_of(other);
      if (o.imported && o.container == container && o.ifname.starts_with("+")) more.emplace_back(o.container, o.ifname);
      return {};
    });
    if (!r2) return tl::make_unexpected(r2.error());
    for (auto& [c, i] : more)
      if (auto done = release(c, i); !done) return done;
  }
  return any;
}

Outcome<std::vector<Attachment>> Leases::all() const {
  std::vector<Attachment> out;
  auto done = file_.for_each([&](uint32_t, const LeaseRecord& r) -> Outcome<> {
    out.push_back(attachment_of(r));
    return {};
  });
  if (!done) return tl::make_unexpected(done.error());
  return out;
}

Outcome<> Leases::room(const std::vector<Range>& ranges) const {
  for (auto& r : ranges)
    if (!next_free(r, file_.header())) return refuse(Code::kExhausted, fmt::format("no free address in network {}", options_.network), range_text(r));
  if (file_.header().used >= kSlots) return refuse(Code::kExhausted, fmt::format("network {} has {} attachments on this node, which is the most", options_.network, kSlots));
  return {};
}

Outcome<AttachmentLock> AttachmentLock::take(const std::filesystem::path& data_dir, const std::string& network, const std::string& container,
                                             const std::string& ifname, bool make) {
  AttachmentLock out;
  auto file = data_dir / ".loadstar" / ".attachments";
  if (make) {
    std::error_code e;
    std::filesystem::create_directories(file.parent_path(), e);
    if (e) return refuse(Code::kIo, fmt::format("make folder {}: {}", file.parent_path().native(), e.message()));
  }
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600));
  if (!fd && errno == ENOENT) return out;
  if (!fd) return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "open " + file.native()});
  uint64_t h = 0xcbf29ce484222325ull;
  for (auto* part : {&network, &container, &ifname}) {
    for (char c : *part) h = (h ^ uint8_t(c)) * 0x100000001b3ull;
    h = (h ^ 0xff) * 0x100000001b3ull;
  }
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = off_t(h >> 2);
  lock.l_len = 1;
  while (fcntl(fd.get(), F_OFD_SETLKW, &lock) != 0) {
    if (errno != EINTR) return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "lock " + file.native()});
    if (Deadline::passed()) return refuse(Code::kTryAgain, fmt::format("another call for {} of container {} is not done yet", ifname, container));
  }
  out.fd_ = std::move(fd);
  return out;
}

}  // namespace ls::cni
