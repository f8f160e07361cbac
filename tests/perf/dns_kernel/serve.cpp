// dns-kernel-serve ADDRESS PORT NAMES HOW:DEVICE...
//
// Runs in the server's network namespace: makes the device of a client answer, HOW being `xdp` and `tc` (the real programs with a zone of
// NAMES names), `reflect` (sends questions back, the floor) or `plain` (nothing; its packets reach the stack). Says `ready`, and prints at
// the end of its input what became of the questions. Whatever it attached goes with the namespace.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <iostream>
#include <memory>

#include "common.h"
#include "question.h"
// The skeleton knows the types of the programs' variables by name only.
#include "dns_rate.skel.h"
#include "kernel_zone.h"

namespace {

using namespace dk;

/// A veth takes frames only with NAPI, which it has with an XDP program or with this.
void receive_offload_on(const std::string& device) {
  ethtool_value value{ETHTOOL_SGRO, 1};
  ifreq req{};
  std::strncpy(req.ifr_name, device.c_str(), IFNAMSIZ - 1);
  req.ifr_data = reinterpret_cast<char*>(&value);
  const int s = socket(AF_INET, SOCK_DGRAM, 0);
  must(s >= 0 && ioctl(s, SIOCETHTOOL, &req) == 0, device + ": receive offload");
}

void attach_tc(int device, int program) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = device, .attach_point = BPF_TC_INGRESS);
  LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program);
  must(bpf_tc_hook_create(&hook) == 0 && bpf_tc_attach(&hook, &opts) == 0, "tc");
}

}  // namespace

int main(int argc, char** argv) {
  must(argc > 4, "arguments");
  uint32_t address;
  must(inet_pton(AF_INET, argv[1], &address) == 1, "address");
  dns_rate* skel = dns_rate__open_and_load();
  must(skel, "load");
  KernelZone zone(uint32_t(std::atoi(argv[3])), address, htons(uint16_t(std::atoi(argv[2]))));
  for (int i = 4; i < argc; i++) {
    const std::string what = argv[i], how = what.substr(0, what.find(':')), name = what.substr(what.find(':') + 1);
    const int device = int(if_nametoindex(name.c_str()));
    must(device > 0, name);
    receive_offload_on(name);
    if (how == "reflect") must(bpf_xdp_attach(device, bpf_program__fd(skel->progs.reflect), XDP_FLAGS_DRV_MODE, nullptr) == 0, "reflect");
    if (how == "xdp") must(bpf_xdp_attach(device, zone.xdp(), XDP_FLAGS_DRV_MODE, nullptr) == 0, "xdp");
    if (how == "tc") attach_tc(device, zone.tc());
  }
  std::puts("ready");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
  }
  std::puts(zone.results().c_str());
  dns_rate__destroy(skel);
  return 0;
}
