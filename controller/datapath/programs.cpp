#include "datapath/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <optional>

#include "bpf/object.h"
#include "lb_sock.skel.h"
#include "lb_tc.skel.h"
#include "loadstar/abi/flow.h"
#include "loadstar/abi/lb.h"
#include "util/log.h"

namespace ls::datapath {
namespace {

/// The smallest table bpf/lib/maps.h knows; also keeps bit_ceil away from 0.
constexpr uint32_t kMinBuckets = 1024;
constexpr uint32_t kMaxBuckets = 1u << 24;  // 2 GiB of IPv4 flows

uint32_t buckets(uint32_t flows) {
  return std::bit_ceil(std::clamp(flows, kMinBuckets, kMaxBuckets));
}

std::span<const std::byte> tc_elf() {
  size_t n = 0;
  auto* p = static_cast<const std::byte*>(lb_tc__elf_bytes(&n));
  return {p, n};
}
std::span<const std::byte> sock_elf() {
  size_t n = 0;
  auto* p = static_cast<const std::byte*>(lb_sock__elf_bytes(&n));
  return {p, n};
}

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

/// Read-only globals of lb_tc (bpf/lib/common.h).
Result<> set_constants(bpf_object* object, const MapSet& set) {
  auto* map = bpf_object__find_map_by_name(object, "lb_tc.rodata");
  size_t bytes = 0;
  void* at = map ? const_cast<void*>(bpf_map__initial_value(map, &bytes)) : nullptr;
  using Constants = std::remove_pointer_t<decltype(lb_tc::rodata)>;
  if (!at || bytes < sizeof(Constants)) return fail(EPROTO, "find the constants of lb_tc");
  auto* c = static_cast<Constants*>(at);
  auto mask = [&](const char* name) -> Result<uint32_t> {
    LS_ASSIGN(auto layout, bpf::map_layout(set.maps().at(name).get()));
    return layout.max_entries - 1;
  };
  LS_ASSIGN(c->ls_flow4_mask, mask("ls_flow4"));
  LS_ASSIGN(c->ls_flow6_mask, mask("ls_flow6"));
  LS_ASSIGN(c->ls_nh_mask, mask("ls_nh"));
  ls_meta meta{};
  uint32_t zero = 0;
  if (bpf_map_lookup_elem(set.maps().at("ls_meta").get(), &zero, &meta)) return fail(errno, "read ls_meta");
  c->ls_seed0 = meta.seed[0];
  c->ls_seed1 = meta.seed[1];
  constexpr uint64_t kIpv6Flag = 1 << 7;
  c->ls_csum_ipv6_flag = csum_ipv6_flag_known() ? kIpv6Flag : 0;
  return {};
}

}  // namespace

struct Programs::Impl {
  Options options;
  MapSet set;
  std::optional<bpf::Object> packet, socket;
  std::string packet_error, socket_error;
  ls_ctl* ctl = nullptr;

  explicit Impl(Options o) : options(std::move(o)), set(options.pin, options.steps) {}
  ~Impl() {
    if (ctl) munmap(ctl, sizeof *ctl);
  }

  Result<> load_object(std::optional<bpf::Object>& out, const char* name, std::span<const std::byte> elf) {
    LS_ASSIGN(auto object, bpf::Object::open(name, elf));
    for (auto& m : object.maps()) {
      auto it = set.maps().find(m.name);
      if (it == set.maps().end()) return fail(ENOENT, fmt::format("find map {} of {}", m.name, name));
      LS_TRY(object.share(m.name, it->second.get()));
    }
    if (object.raw() && std::string_view(name) == "lb_tc") LS_TRY(set_constants(object.raw(), set));
    set_step(fmt::format("load {}", name));
    LS_TRY(object.load(options.verifier_log));
    out = std::move(object);
    return {};
  }
  void set_step(std::string_view what) const {
    if (options.steps) options.steps(what);
  }

  Result<> map_ctl() {
    void* p =
        mmap(nullptr, sizeof(ls_ctl), PROT_READ | PROT_WRITE, MAP_SHARED, set.maps().at("ls_ctl").get(), 0);
    if (p == MAP_FAILED) return fail(errno, "map ls_ctl");
    ctl = static_cast<ls_ctl*>(p);
    return {};
  }
};

Programs::Programs(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Programs::Programs(Programs&&) noexcept = default;
Programs& Programs::operator=(Programs&&) noexcept = default;
Programs::~Programs() = default;

Result<LoadReport> Programs::load() {
  auto& s = *impl_;
  // Both objects define every map (bpf/lib/maps.h), either will do.
  LS_TRY(s.set.build(tc_elf(), map_entries(s.options.sizes)));
  LS_TRY(s.map_ctl());
  LoadReport report;
  const bool packet = s.options.packet, socket = s.options.socket;
  if (packet)
    if (auto r = s.load_object(s.packet, "lb_tc", tc_elf()); !r) s.packet_error = r.error().text();
  if (socket)
    if (auto r = s.load_object(s.socket, "lb_sock", sock_elf()); !r) s.socket_error = r.error().text();
  if ((packet || socket) && !s.packet && !s.socket) {
    s.set.abandon();
    return fail(packet && socket ? s.packet_error + "; " + s.socket_error : s.packet_error + s.socket_error);
  }
  report.packet_error = s.packet_error;
  report.socket_error = s.socket_error;
  report.maps = s.set.stories();
  report.tables_kept = s.set.tables_kept();
  return report;
}

Result<> Programs::commit() {
  return impl_->set.commit(impl_->options.migrate_flows);
}
Result<int> Programs::check(bool full) {
  return impl_->set.check(full);
}

int Programs::map(const std::string& name) const {
  auto it = impl_->set.maps().find(name);
  return it == impl_->set.maps().end() ? -1 : it->second.get();
}

int Programs::program(std::string_view name) const {
  for (auto* object : {&impl_->packet, &impl_->socket}) {
    if (!*object) continue;
    if (int fd = (*object)->program_fd(std::string(name)); fd >= 0) return fd;
  }
  return -1;
}

std::string Programs::load_error(bool socket) const {
  auto& text = socket ? impl_->socket_error : impl_->packet_error;
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
  for (auto* object : {&impl_->packet, &impl_->socket}) {
    if (!*object) continue;
    for (auto& name : (*object)->program_names()) {
      if (auto info = bpf::program_info((*object)->program_fd(name))) out.push_back(std::move(*info));
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
