// vip-inject SINK-NETNS SINK-DEVICE DEVICE CPU PID,PID,... DESTINATION PORT PORTS BACKEND BACKEND-PORT
//
// Runs in the node's network namespace. Reads commands, answers each with a JSON line:
//   est FIRST FLOWS PACKETS CHUNK   packets of open flows
//   syn FIRST FLOWS PACKETS CHUNK   a SYN each
//   drop FIRST FLOWS PACKETS CHUNK  the generator alone
// After each CHUNK packets it waits until the backend has them all (0: only at the end).
// cpu_us: run time of this process and of the PIDs while sending and waiting, the sleeping not counted.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>

#include "inject.skel.h"
#include "load.h"

namespace {

using namespace perf;
using Skel = struct inject;

constexpr int kPorts = 10;
constexpr uint32_t kBatch = 64;

void attach_sink(Skel* skel, const char* netns, const char* device) {
  int own = open("/proc/self/ns/net", O_RDONLY), other = open(netns, O_RDONLY);
  must(own >= 0 && other >= 0 && setns(other, CLONE_NEWNET) == 0, netns);
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = int(if_nametoindex(device)), .attach_point = BPF_TC_INGRESS);
  must(hook.ifindex > 0, device);
  must(bpf_tc_hook_create(&hook) == 0, "clsact");
  LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(skel->progs.sink));
  must(bpf_tc_attach(&hook, &opts) == 0, "sink");
  must(setns(own, CLONE_NEWNET) == 0, "setns");
  close(own);
  close(other);
}

struct Arrived {
  uint64_t by_port[kPorts + 1];
  uint64_t all() const {
    uint64_t sum = 0;
    for (auto n : by_port) sum += n;
    return sum;
  }
};
Arrived arrived(Skel* skel) {
  Arrived a;
  for (int i = 0; i <= kPorts; i++) a.by_port[i] = __atomic_load_n(&skel->bss->arrived[i], __ATOMIC_RELAXED);
  return a;
}

/// Until `want` are there, or none came for 300 ms.
void wait_for(Skel* skel, uint64_t want) {
  uint64_t last = 0;
  double moved = wall_s();
  for (;;) {
    uint64_t now = arrived(skel).all();
    if (now >= want) return;
    if (now != last) {
      last = now;
      moved = wall_s();
    } else if (wall_s() - moved > 0.3) {
      return;
    }
    usleep(200);
  }
}

}  // namespace

int main(int argc, char** argv) {
  must(argc == 11, "arguments");
  const char* device = argv[3];
  auto pids = numbers(argv[5]);
  Skel* skel = inject__open_and_load();
  must(skel, "load");
  attach_sink(skel, argv[1], argv[2]);
  ifreq req{};
  std::strncpy(req.ifr_name, device, IFNAMSIZ - 1);
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  must(s >= 0 && ioctl(s, SIOCGIFHWADDR, &req) == 0, device);
  std::memcpy(skel->bss->dmac, req.ifr_hwaddr.sa_data, 6);
  must(inet_pton(AF_INET, argv[6], &skel->bss->dst_be) == 1, "destination");
  skel->data->dport = uint32_t(std::atoi(argv[7]));
  skel->data->dports = uint32_t(std::atoi(argv[8]));
  must(inet_pton(AF_INET, argv[9], &skel->bss->backend_be) == 1, "backend");
  skel->bss->backend_port = uint32_t(std::atoi(argv[10]));
  pin(std::atoi(argv[4]));

  std::vector<uint8_t> frame(66);
  xdp_md ctx{};
  ctx.data_end = uint32_t(frame.size());
  ctx.ingress_ifindex = if_nametoindex(device);
  std::puts("ready");
  std::fflush(stdout);
  std::string kind;
  uint32_t first, flows, packets, chunk;
  while (std::cin >> kind >> first >> flows >> packets >> chunk) {
    skel->bss->first = skel->bss->next = first;
    skel->data->flows = flows;
    skel->bss->syn = kind == "syn";
    skel->bss->drop = kind == "drop";
    Arrived before = arrived(skel);
    double cpu = cpu_s(pids), machine = machine_s(), wall = wall_s();
    for (uint32_t sent = 0; sent < packets;) {
      uint32_t n = chunk ? std::min(chunk, packets - sent) : packets;
      LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_size_in = uint32_t(frame.size()), .ctx_in = &ctx,
                  .ctx_size_in = sizeof ctx, .repeat = int(n), .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = kBatch);
      must(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.make_packet), &opts) == 0, "test run");
      sent += n;
      if (kind != "drop") wait_for(skel, before.all() + sent);
    }
    wall = wall_s() - wall;
    cpu = cpu_s(pids) - cpu;
    machine = machine_s() - machine;
    Arrived after = arrived(skel);
    std::printf("{\"sent\": %u, \"wall_us\": %.0f, \"cpu_us\": %.0f, \"machine_us\": %.0f, \"arrived\": [", packets, wall * 1e6,
                cpu * 1e6, machine * 1e6);
    for (int i = 0; i <= kPorts; i++)
      std::printf("%s%llu", i ? ", " : "", static_cast<unsigned long long>(after.by_port[i] - before.by_port[i]));
    std::puts("]}");
    std::fflush(stdout);
  }
  inject__destroy(skel);
  return 0;
}
