#include "bench.h"

#include <linux/bpf.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "lb_tc.skel.h"

namespace ls::test {
namespace {

void must(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error(what + ": " + std::strerror(errno));
}

void wide(__be32* to, const IpAddress& a) { std::memcpy(to, a.bytes().data(), 16); }

}  // namespace

std::string Bench::reason() {
  if (geteuid() != 0) return "not root";
  LIBBPF_OPTS(bpf_map_create_opts, opts);
  int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ls_probe", 4, 4, 1, &opts);
  if (fd < 0) return std::string("BPF map refused: ") + std::strerror(errno);
  close(fd);
  return "";
}

Bench::Bench(BenchOptions options) {
  must(unshare(CLONE_NEWNET) == 0, "own network namespace");
  skel_ = lb_tc__open();
  must(skel_, "open lb_tc");
  bpf_map__set_max_entries(skel_->maps.ls_flow4, options.flow_buckets);
  bpf_map__set_max_entries(skel_->maps.ls_flow6, options.flow_buckets);
  skel_->rodata->ls_flow4_mask = options.flow_buckets - 1;
  skel_->rodata->ls_flow6_mask = options.flow_buckets - 1;
  bpf_map__set_max_entries(skel_->maps.ls_ring, 65536);
  must(lb_tc__load(skel_) == 0, "load lb_tc");
  void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd("ls_ctl"), 0);
  must(at != MAP_FAILED, "mmap ls_ctl");
  ctl_ = static_cast<ls_ctl*>(at);
}

Bench::~Bench() {
  munmap(ctl_, 4096);
  lb_tc__destroy(skel_);
}

int Bench::map_fd(const char* name) { return bpf_object__find_map_fd_by_name(skel_->obj, name); }

int Bench::prog_fd(const char* program) {
  return bpf_program__fd(bpf_object__find_program_by_name(skel_->obj, program));
}

uint32_t Bench::number_of(const std::string& addr, uint16_t port, uint32_t svc) {
  auto key = addr + " " + std::to_string(port) + " " + std::to_string(svc);
  auto [it, added] = backends_.try_emplace(key, uint32_t(backends_.size() + 1));
  if (added) {
    ls_be be{};
    wide(be.addr_be, IpAddress::parse(addr).value());
    be.port_be = htobe16(port);
    be.svc = svc;
    be.state = 1 << 8 | LS_BE_ACTIVE;
    must(bpf_map_update_elem(map_fd("ls_be"), &it->second, &be, BPF_ANY) == 0, "write ls_be");
  }
  return it->second;
}

void Bench::service(const std::string& vip, uint16_t port, Protocol proto,
                    const std::vector<std::pair<std::string, uint16_t>>& backends, const std::vector<int>& weights) {
  auto name = vip + " " + std::to_string(port) + " " + std::string(to_text(proto));
  auto [it, added] = services_.try_emplace(name, uint32_t(services_.size()));
  uint32_t id = it->second;
  std::vector<uint32_t> active;
  for (size_t i = 0; i < backends.size(); i++) {
    uint32_t n = number_of(backends[i].first, backends[i].second, id);
    ls_be be{};
    bpf_map_lookup_elem(map_fd("ls_be"), &n, &be);
    bool takes = i >= weights.size() || weights[i] > 0;
    be.proto = uint8_t(proto);
    be.svc = id;
    be.state = (be.state & ~0xffu) | (takes ? LS_BE_ACTIVE : LS_BE_DRAINING);
    bpf_map_update_elem(map_fd("ls_be"), &n, &be, BPF_ANY);
    if (takes) active.push_back(n);
  }
  uint32_t slots = active.empty() ? 0 : 61, first = next_block_;
  if (next_block_ > 65000) first = next_block_ = 0;
  for (uint32_t at = 0; at < slots; at += LS_RING_BLOCK_SLOTS) {
    ls_ring_block block{};
    for (uint32_t i = 0; i < LS_RING_BLOCK_SLOTS; i++) block.be[i] = active[(at + i) % active.size()];
    must(bpf_map_update_elem(map_fd("ls_ring"), &next_block_, &block, BPF_ANY) == 0, "write ls_ring");
    next_block_++;
  }
  ls_svc svc{};
  wide(svc.key.addr_be, IpAddress::parse(vip).value());
  svc.key.port_be = htobe16(port);
  svc.key.proto = uint8_t(proto);
  svc.flags = LS_SVC_USED;
  svc.ring = slots ? LS_RING_WORD(first, slots) : 0;
  must(bpf_map_update_elem(map_fd("ls_svc_tab"), &id, &svc, BPF_ANY) == 0, "write ls_svc_tab");
  ls_svc_ref ref{id};
  must(bpf_map_update_elem(map_fd("ls_svc"), &svc.key, &ref, BPF_ANY) == 0, "write ls_svc");
}

void Bench::change(const std::string& addr, uint16_t port, uint32_t (*next)(uint32_t, uint32_t), uint32_t arg) {
  auto prefix = addr + " " + std::to_string(port) + " ";
  for (auto it = backends_.lower_bound(prefix); it != backends_.end() && it->first.starts_with(prefix); ++it) {
    ls_be be{};
    bpf_map_lookup_elem(map_fd("ls_be"), &it->second, &be);
    be.state = next(be.state, arg);
    bpf_map_update_elem(map_fd("ls_be"), &it->second, &be, BPF_ANY);
  }
}

void Bench::set_state(const std::string& addr, uint16_t port, ls_be_state state) {
  change(addr, port, [](uint32_t old, uint32_t s) { return (old & ~0xffu) | s; }, state);
}

void Bench::bump_generation(const std::string& addr, uint16_t port) {
  change(addr, port, [](uint32_t old, uint32_t by) { return old + by; }, 1 << 8);
}

Out Bench::run(const char* program, const Bytes& frame, uint32_t ifindex, int repeat) {
  Out out;
  out.frame.resize(frame.size() + 256);
  __sk_buff ctx{};
  ctx.ifindex = ifindex;
  LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_out = out.frame.data(),
              .data_size_in = uint32_t(frame.size()), .data_size_out = uint32_t(out.frame.size()), .repeat = repeat);
  if (ifindex) {
    opts.ctx_in = &ctx;
    opts.ctx_size_in = sizeof ctx;
  }
  int rc = bpf_prog_test_run_opts(prog_fd(program), &opts);
  if (rc && errno == EINVAL) return {kRefused, frame, 0};
  must(rc == 0, std::string("test run of ") + program);
  out.verdict = int(opts.retval);
  out.ns = opts.duration;
  out.frame.resize(opts.data_size_out);
  return out;
}

namespace {
template <class T>
T per_cpu_sum(int fd, uint32_t key, void (*add)(T&, const T&)) {
  std::vector<T> values(static_cast<size_t>(libbpf_num_possible_cpus()));
  T sum{};
  if (bpf_map_lookup_elem(fd, &key, values.data()) == 0)
    for (auto& v : values) add(sum, v);
  return sum;
}
}  // namespace

uint64_t Bench::drops(ls_hook hook, ls_drop_reason reason) {
  return per_cpu_sum<uint64_t>(map_fd("ls_drops"), uint32_t(hook) * LS_DROP_SLOTS + uint32_t(reason),
                               [](uint64_t& a, const uint64_t& b) { a += b; });
}

uint64_t Bench::verdicts(ls_hook hook, ls_verdict verdict) {
  return per_cpu_sum<ls_stat>(map_fd("ls_stats"), uint32_t(hook) * LS_VERDICT_MAX + uint32_t(verdict),
                              [](ls_stat& a, const ls_stat& b) { a.packets += b.packets; })
      .packets;
}

uint64_t Bench::drops_total() {
  uint64_t n = 0;
  for (int h = 0; h < LS_HOOK_MAX; h++)
    for (int r = 1; r < LS_DROP_MAX; r++) n += drops(ls_hook(h), ls_drop_reason(r));
  return n;
}

}  // namespace ls::test
