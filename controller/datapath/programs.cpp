#include "datapath/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <optional>

#include "bpf/object.h"
#include "dns_tc.skel.h"
#include "dns_xdp.skel.h"
#include "lb_sock.skel.h"
#include "lb_tc.skel.h"
#include "overlay_tc.skel.h"
#include "loadstar/abi/dns.h"
#include "loadstar/abi/flow.h"
#include "loadstar/abi/lb.h"
#include "loadstar/abi/portmap.h"
#include "util/log.h"

namespace ls::datapath {
namespace {

/// The smallest table bpf/lib/maps.h knows; also keeps bit_ceil away from 0.
constexpr uint32_t kMinBuckets = 1024;
constexpr uint32_t kMaxBuckets = 1u << 24;  // 2 GiB of IPv4 flows

uint32_t buckets(uint32_t flows) {
  return std::bit_ceil(std::clamp(flows, kMinBuckets, kMaxBuckets));
}

constexpr uint32_t kMaxDnsBuckets = 1u << 25;  // 2 GiB

uint32_t dns_buckets(uint64_t entries) {
  constexpr uint64_t kUsedWays = LS_DNS_WAYS * 3 / 4;
  auto wanted = (entries + kUsedWays - 1) / kUsedWays;
  return std::bit_ceil(uint32_t(std::clamp<uint64_t>(wanted, kMinBuckets, kMaxDnsBuckets)));
}

std::span<const std::byte> bytes_of(const void* (*elf)(size_t*)) {
  size_t n = 0;
  auto* p = static_cast<const std::byte*>(elf(&n));
  return {p, n};
}
std::span<const std::byte> tc_elf() { return bytes_of(lb_tc__elf_bytes); }
std::span<const std::byte> sock_elf() { return bytes_of(lb_sock__elf_bytes); }
std::span<const std::byte> dns_xdp_elf() { return bytes_of(dns_xdp__elf_bytes); }
std::span<const std::byte> dns_tc_elf() { return bytes_of(dns_tc__elf_bytes); }
std::span<const std::byte> overlay_elf() { return bytes_of(overlay_tc__elf_bytes); }

}  // namespace

std::map<std::string, uint32_t> map_entries(const Sizes& s) {
  return {
      {"ls_svc", s.services},
      {"ls_svc_tab", s.services + 1},
      {"ls_be", s.backends + 1},
      {"ls_be_stat", s.backends + 1},
      {"ls_ring", (s.ring_slots + LS_RING_BLOCK_SLOTS - 1) / LS_RING_BLOCK_SLOTS},
      {"ls_flow4", buckets(s.flows)},
      {"ls_flow6", buckets(s.flows6)},
      {"ls_sock_rev", s.socket_replies},
      {"ls_dns_bucket", dns_buckets(uint64_t(s.dns_names) + s.dns_cached)},
      {"ls_dns_data", std::clamp(s.dns_megabytes, 1u, 4096u)},
      {"ls_ovl_block", std::max(s.overlay_blocks, 1u)},
      // A node's own address and its IPv6 VTEP, and as much again for a pool that has no room in the array.
      {"ls_ovl_hash", std::max(s.overlay_nodes, 1u) * 4},
  };
}

namespace {

/// Whether bpf_l4_csum_replace knows BPF_F_IPV6 (kernel 6.16), by trying: a program of ten instructions is run once on a packet.
bool csum_ipv6_flag_known() {
  constexpr int kPseudoHeader = 0x10, kIpv6 = 1 << 7;
  bpf_insn code[] = {
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 60},  // offset of a UDP checksum behind an IPv6 header
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 0},
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, 0},
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_5, 0, 0, kPseudoHeader | kIpv6},
      {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_l4_csum_replace},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  UniqueFd prog(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "ls_csum_probe", "GPL", code, std::size(code), nullptr));
  if (!prog) return false;
  uint8_t frame[80] = {};
  frame[12] = 0x86;
  frame[13] = 0xdd;
  LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof frame, .repeat = 1);
  return bpf_prog_test_run_opts(prog.get(), &opts) == 0 && opts.retval == 0;
}

/// Read-only globals (bpf/lib/common.h): lb_tc has all of them, other objects what they use.
Result<> set_constants(bpf::Object& object, const MapSet& set, bool all) {
  auto put = [&](const char* name, auto value) -> Result<> {
    LS_ASSIGN(bool there, object.set_constant(name, value));
    if (!there && all) return fail(ENOENT, fmt::format("find constant {}", name));
    return {};
  };
  auto put_mask = [&](const char* name, const char* map) -> Result<> {
    LS_ASSIGN(auto layout, bpf::map_layout(set.maps().at(map).get()));
    return put(name, layout.max_entries - 1);
  };
  LS_TRY(put_mask("ls_flow4_mask", "ls_flow4"));
  LS_TRY(put_mask("ls_flow6_mask", "ls_flow6"));
  LS_TRY(put_mask("ls_nh_mask", "ls_nh"));
  ls_meta meta{};
  uint32_t zero = 0;
  if (bpf_map_lookup_elem(set.maps().at("ls_meta").get(), &zero, &meta)) return fail(errno, "read ls_meta");
  LS_TRY(put("ls_seed0", meta.seed[0]));
  LS_TRY(put("ls_seed1", meta.seed[1]));
  constexpr uint64_t kIpv6Flag = 1 << 7;
  static const bool known = csum_ipv6_flag_known();
  return put("ls_csum_ipv6_flag", known ? kIpv6Flag : uint64_t(0));
}

/// Of this process' network namespace; 0 on kernels before 5.14.
uint64_t own_netns() {
  constexpr int kNetnsCookie = 71;  // SO_NETNS_COOKIE
  UniqueFd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (!any || getsockopt(any.get(), SOL_SOCKET, kNetnsCookie, &cookie, &size) != 0) return 0;
  return cookie;
}

/// Either capability spares a program the checks against speculation.
bool has_perfmon() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &head, data)) return true;  // the kernel's own words must do then
  auto has = [&](int cap) { return (data[cap / 32].effective >> (cap % 32) & 1) != 0; };
  return has(CAP_PERFMON) || has(CAP_SYS_ADMIN);
}

struct File {
  ProgramObject object;
  std::span<const std::byte> (*elf)();
  bool dns;
};
constexpr File kFiles[kProgramObjects] = {
    {ProgramObject::kPacket, tc_elf, false},
    {ProgramObject::kSocket, sock_elf, false},
    {ProgramObject::kDnsXdp, dns_xdp_elf, true},
    {ProgramObject::kDnsTc, dns_tc_elf, true},
    {ProgramObject::kOverlay, overlay_elf, false},
};

}  // namespace

std::string_view to_text(ProgramObject o) {
  constexpr std::string_view kNames[kProgramObjects] = {"lb_tc", "lb_sock", "dns_xdp", "dns_tc", "overlay_tc"};
  return kNames[size_t(o)];
}

struct Programs::Impl {
  struct Slot {
    std::optional<bpf::Object> object;
    std::string error;
  };
  Options options;
  MapSet set;
  std::array<Slot, kProgramObjects> slots;
  ls_ctl* ctl = nullptr;

  explicit Impl(Options o) : options(std::move(o)), set(options.pin, options.steps) {}
  ~Impl() {
    if (ctl) munmap(ctl, sizeof *ctl);
  }
  Slot& at(ProgramObject o) { return slots[size_t(o)]; }

  std::span<const std::byte> elf_of(const File& file) const {
    auto& other = file.object == ProgramObject::kDnsXdp ? options.dns_xdp_file : options.dns_tc_file;
    return file.dns && !other.empty() ? other : file.elf();
  }

  Result<> load_object(const File& file, std::optional<bpf::Object>& out) {
    std::string name(to_text(file.object));
    LS_ASSIGN(auto object, bpf::Object::open(name, elf_of(file)));
    for (auto& m : object.maps()) {
      auto it = set.maps().find(m.name);
      if (it == set.maps().end()) return fail(ENOENT, fmt::format("find map {} of {}", m.name, name));
      LS_TRY(object.share(m.name, it->second.get()));
    }
    LS_TRY(set_constants(object, set, file.object == ProgramObject::kPacket));
    if (file.object == ProgramObject::kSocket) LS_TRY(object.set_constant("ls_netns", own_netns()));
    set_step(fmt::format("load {}", name));
    LS_TRY(object.load(options.verifier_log));
    out = std::move(object);
    return {};
  }

  void load_one(const File& file) {
    auto& slot = at(file.object);
    if (file.dns && !options.dns) {
      slot.error = "switched off (dns.kernel)";
      return;
    }
    auto r = load_object(file, slot.object);
    if (r) return;
    slot.error = r.error().text();
    auto code = r.error().code.value();
    bool overlay = file.object == ProgramObject::kOverlay;
    if ((file.dns || overlay) && (code == EACCES || code == EPERM) && !has_perfmon()) {
      slot.error = fmt::format("CAP_PERFMON is missing: without it the kernel takes no program that computes offsets in packets; {}\n{}",
                               overlay ? "this machine cannot be a node of the overlay" : "the process answers", slot.error);
    }
  }
  void set_step(std::string_view what) const {
    if (options.steps) options.steps(what);
  }

  void look_for_ports();

  Result<> map_ctl() {
    void* p =
        mmap(nullptr, sizeof(ls_ctl), PROT_READ | PROT_WRITE, MAP_SHARED, set.maps().at("ls_ctl").get(), 0);
    if (p == MAP_FAILED) return fail(errno, "map ls_ctl");
    ctl = static_cast<ls_ctl*>(p);
    return {};
  }
};

/// Programs look for host ports only while there may be one. loadstar-cni sets the word after it made an entry, so the map is looked at
/// again after it was cleared; while there are entries it is never 0, not for a moment.
void Programs::Impl::look_for_ports() {
  auto any = [&] {
    ls_portmap_key first{};
    return bpf_map_get_next_key(set.maps().at("ls_portmap").get(), nullptr, &first) == 0;
  };
  std::atomic_ref word(ctl->ports);
  if (!any()) word.store(0);
  if (any()) word.store(1);
}

Programs::Programs(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Programs::Programs(Programs&&) noexcept = default;
Programs& Programs::operator=(Programs&&) noexcept = default;
Programs::~Programs() = default;

Result<LoadReport> Programs::load() {
  auto& s = *impl_;
  // All objects define every map (bpf/lib/maps.h), any will do.
  LS_TRY(s.set.build(tc_elf(), map_entries(s.options.sizes)));
  LS_TRY(s.map_ctl());
  const bool packet_wanted = s.options.packet, socket_wanted = s.options.socket;
  for (auto& file : kFiles) {
    if ((file.object == ProgramObject::kPacket && !packet_wanted) || (file.object == ProgramObject::kSocket && !socket_wanted) ||
        (file.object == ProgramObject::kOverlay && !s.options.overlay))
      continue;
    s.load_one(file);
  }
  auto& packet = s.at(ProgramObject::kPacket);
  auto& socket = s.at(ProgramObject::kSocket);
  if ((packet_wanted || socket_wanted) && !packet.object && !socket.object) {
    s.set.abandon();
    return fail(packet_wanted && socket_wanted ? packet.error + "; " + socket.error : packet.error + socket.error);
  }
  LoadReport report;
  report.packet_error = packet.error;
  report.socket_error = socket.error;
  report.overlay_error = s.at(ProgramObject::kOverlay).error;
  if (s.options.dns) {
    report.dns_xdp_error = s.at(ProgramObject::kDnsXdp).error;
    report.dns_tc_error = s.at(ProgramObject::kDnsTc).error;
  }
  report.maps = s.set.stories();
  report.tables_kept = s.set.tables_kept();
  report.dns_kept = s.set.dns_kept();
  return report;
}

Result<> Programs::commit() {
  LS_TRY(impl_->set.commit(impl_->options.migrate_flows));
  impl_->look_for_ports();
  return {};
}
Result<int> Programs::check(bool full) {
  return impl_->set.check(full);
}

int Programs::map(const std::string& name) const {
  auto it = impl_->set.maps().find(name);
  return it == impl_->set.maps().end() ? -1 : it->second.get();
}

int Programs::program(std::string_view name) const {
  for (auto& slot : impl_->slots) {
    if (!slot.object) continue;
    if (int fd = slot.object->program_fd(std::string(name)); fd >= 0) return fd;
  }
  return -1;
}

std::string Programs::load_error(ProgramObject object) const {
  auto& text = impl_->at(object).error;
  return text.substr(0, text.find('\n'));
}

std::vector<MapInfo> Programs::maps() const {
  std::vector<MapInfo> out;
  for (auto& story : impl_->set.stories()) {
    int fd = map(story.name);
    auto layout = bpf::map_layout(fd);
    if (!layout) continue;
    layout->name = story.name;
    out.push_back({fd, std::move(*layout), bpf::map_memory_bytes(fd), story});
  }
  return out;
}

std::vector<bpf::ProgramInfo> Programs::programs() const {
  std::vector<bpf::ProgramInfo> out;
  for (auto& slot : impl_->slots) {
    if (!slot.object) continue;
    for (auto& name : slot.object->program_names()) {
      if (auto info = bpf::program_info(slot.object->program_fd(name))) out.push_back(std::move(*info));
    }
  }
  return out;
}

void Programs::on_network_change() {
  if (impl_->ctl) __atomic_fetch_add(&impl_->ctl->nh_gen, 1, __ATOMIC_RELEASE);
}

const std::string& Programs::pin() const {
  return impl_->options.pin;
}
void Programs::step(std::string_view what) const {
  impl_->set_step(what);
}

}  // namespace ls::datapath
