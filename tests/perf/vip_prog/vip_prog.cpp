// ns per packet of the packet program, net of the harness, beside an empty program in the same run.
//
//   vip_prog [ROUNDS]
//
// Topology: one network namespace of its own with a veth pair; the backend's next hop is on it, so that the whole path runs
// (flow table, backend, next hop, both checksums, MACs, TTL). Single CPU, pinned. Numbers are medians of the rounds.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "loadstar/abi/lb.h"
#include "vip_prog.skel.h"

namespace {

constexpr int kRepeat = 300000;
constexpr uint32_t kBackends = 100;
constexpr uint32_t kSlots = 16381;
constexpr uint32_t kBuckets = 1 << 19;  // 2 M entries: 1 M flows

void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "vip_prog: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

void shell(const char* command) { must(std::system(command) == 0, command); }

double least(const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); }

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

struct Bench {
  vip_prog* skel = nullptr;
  std::vector<uint8_t> frame;
  int ifindex = 0;

  explicit Bench(uint32_t flows) {
    skel = vip_prog__open();
    must(skel, "open");
    bpf_map__set_max_entries(skel->maps.ls_flow4, kBuckets);
    bpf_map__set_max_entries(skel->maps.ls_ring, 2048);
    bpf_map__set_max_entries(skel->maps.ls_be, kBackends + 1);
    bpf_map__set_max_entries(skel->maps.ls_be_stat, kBackends + 1);
    bpf_map__set_max_entries(skel->maps.ls_svc, 1000);
    bpf_map__set_max_entries(skel->maps.ls_svc_tab, 1000);
    skel->rodata->ls_flow4_mask = kBuckets - 1;
    skel->rodata->flows = flows;
    skel->rodata->vip_be = htonl(0x0b000001);
    skel->rodata->client_be = htonl(0x0a010000);
    must(vip_prog__load(skel) == 0, "load");
    ifindex = int(if_nametoindex("client"));
    tables();
    packet();
  }
  ~Bench() { vip_prog__destroy(skel); }

  int fd(const char* map) { return bpf_object__find_map_fd_by_name(skel->obj, map); }

  void tables() {
    for (uint32_t n = 1; n <= kBackends; n++) {
      ls_be be{};
      be.addr_be[2] = htonl(0xffff);
      be.addr_be[3] = htonl(0x0a020000 + n);
      be.port_be = htons(8080);
      be.proto = 6;
      be.state = 1 << 8 | LS_BE_ACTIVE;
      must(bpf_map_update_elem(fd("ls_be"), &n, &be, 0) == 0, "ls_be");
    }
    for (uint32_t block = 0, slot = 0; slot < kSlots; block++) {
      ls_ring_block b{};
      for (auto& be : b.be) be = 1 + slot++ * 7919u % kBackends;
      must(bpf_map_update_elem(fd("ls_ring"), &block, &b, 0) == 0, "ls_ring");
    }
    for (uint32_t id = 0; id < 1000; id++) {  // the service asked is one of a thousand
      ls_svc svc{};
      svc.key.addr_be[2] = htonl(0xffff);
      svc.key.addr_be[3] = htonl(0x0b000001 + id);
      svc.key.port_be = htons(80);
      svc.key.proto = 6;
      svc.flags = LS_SVC_USED;
      svc.ring = LS_RING_WORD(0, kSlots);
      ls_svc_ref ref{id};
      must(bpf_map_update_elem(fd("ls_svc_tab"), &id, &svc, 0) == 0, "ls_svc_tab");
      must(bpf_map_update_elem(fd("ls_svc"), &svc.key, &ref, 0) == 0, "ls_svc");
    }
  }

  void packet() {
    frame.assign(66, 0);  // Ethernet, IPv4, TCP, 12 bytes: the size performance.md used
    frame[12] = 8;
    frame[14] = 0x45;
    frame[17] = 52;
    frame[22] = 64;
    frame[23] = 6;
    frame[46] = 0x50;
  }

  double run(bpf_program* prog, int repeat = kRepeat) {
    std::vector<uint8_t> out(512);
    __sk_buff ctx{};
    ctx.ifindex = uint32_t(ifindex);
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_out = out.data(),
                .data_size_in = uint32_t(frame.size()), .data_size_out = uint32_t(out.size()), .ctx_in = &ctx,
                .ctx_size_in = sizeof ctx, .repeat = repeat);
    skel->bss->turn = 0;
    must(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) == 0, "test run");
    verdict = int(opts.retval);
    return opts.duration;
  }
  int verdict = 0;
};

void report(uint32_t flows, int rounds) {
  Bench b(flows);
  std::vector<double> empty, harness, data, syn;
  // New flows: every run makes an entry pair, until `flows` are there.
  if (flows >= 100000) {
    double h = b.run(b.skel->progs.harness, int(flows));
    syn.push_back(b.run(b.skel->progs.packet_syn, int(flows)) - h);
  } else {
    b.run(b.skel->progs.packet_syn, int(std::max(flows, 1000u)));
  }
  b.run(b.skel->progs.packet_data, int(std::max(flows, 1000u)) * 2);
  for (int i = 0; i < rounds; i++) {
    empty.push_back(b.run(b.skel->progs.empty));
    double h = b.run(b.skel->progs.harness);
    harness.push_back(h);
    data.push_back(b.run(b.skel->progs.packet_data) - h + empty.back());
  }
  double e = median(empty);
  std::printf("%8u flows: empty %3.0f ns, harness %3.0f ns, established %4.0f ns (least %4.0f) = %5.1f x empty", flows, e,
              median(harness), median(data), least(data), median(data) / e);
  if (!syn.empty()) std::printf(", new flow %4.0f ns = %5.1f x empty", median(syn) + e, (median(syn) + e) / e);
  std::printf("  (verdict %d)\n", b.verdict);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 7;
  must(unshare(CLONE_NEWNET) == 0, "own network namespace (root?)");
  cpu_set_t cpu;
  CPU_ZERO(&cpu);
  CPU_SET(0, &cpu);
  sched_setaffinity(0, sizeof cpu, &cpu);
  shell("ip link set lo up && ip link add client type veth peer name c1 && ip link add server type veth peer name s1 && "
        "ip addr add 10.1.255.254/16 dev client && ip addr add 10.2.255.254/16 dev server && "
        "for d in client c1 server s1; do ip link set $d up; done && sysctl -qw net.ipv4.ip_forward=1");
  for (uint32_t n = 1; n <= kBackends; n++)
    shell(("ip neigh add 10.2.0." + std::to_string(n) + " lladdr 02:00:00:00:01:" + std::to_string(10 + n % 90) +
           " dev server").c_str());
  for (uint32_t flows : {1u, 1000u, 64000u, 256000u}) report(flows, rounds);
  return 0;
}
