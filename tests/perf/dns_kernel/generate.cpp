// dns-kernel-generate DEVICE CPU FROM TO TO-MAC NAMES
//
// Runs in the client's network namespace. Makes questions inside the kernel (dns_rate.bpf.c) and counts right answers there. Reads
// commands, answers each with a JSON line:
//   sink xdp|tc                              what counts at DEVICE; the other one goes
//   run PORT SECONDS WINDOW CHECKSUM FLOOR   A questions to that port, WINDOW under way at most; CHECKSUM 0: the questions have none;
//                                            FLOOR 1: reflected questions count as answers
// cpu_us: run time of this process. For answers of programs in the kernel it contains question, answer and count.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>

#include "common.h"
#include "question.h"
// The skeleton knows the types of the programs' variables by name only.
#include "dns_rate.skel.h"

namespace {

using namespace dk;
constexpr uint32_t kBatch = 64, kRuns = 16384;
constexpr double kDrain_s = 0.3;  ///< no answer for so long after the last question: there comes none

class Sink {
 public:
  Sink(dns_rate* skel, int device) : skel_(skel), device_(device) {
    hook_.sz = sizeof hook_;
    hook_.ifindex = device;
    hook_.attach_point = BPF_TC_INGRESS;
    must(bpf_tc_hook_create(&hook_) == 0, "clsact");
  }
  ~Sink() { set(""); }
  void set(const std::string& kind) {
    LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(skel_->progs.sink_tc), .handle = 1, .priority = 1);
    if (kind_ == "xdp") must(bpf_xdp_detach(device_, XDP_FLAGS_DRV_MODE, nullptr) == 0, "detach sink_xdp");
    if (kind_ == "tc") {
      LIBBPF_OPTS(bpf_tc_opts, away, .handle = 1, .priority = 1);
      must(bpf_tc_detach(&hook_, &away) == 0, "detach sink_tc");
    }
    if (kind == "xdp") must(bpf_xdp_attach(device_, bpf_program__fd(skel_->progs.sink_xdp), XDP_FLAGS_DRV_MODE, nullptr) == 0, "sink_xdp");
    if (kind == "tc") must(bpf_tc_attach(&hook_, &opts) == 0, "sink_tc");
    kind_ = kind;
  }

 private:
  dns_rate* skel_;
  int device_;
  bpf_tc_hook hook_{};
  std::string kind_;
};

void run(dns_rate* skel, int device, const Ends& ends, double seconds, uint32_t window, bool checksum, bool reflected) {
  auto* d = skel->bss;
  d->question = question(Kind::kA, ends);
  d->server_port_be = ends.port_be;
  d->checksum = checksum;
  d->reflected = reflected;
  skel->data->window = window;
  d->salt++;  // a late answer of the run before is a wrong one
  d->sent = d->lost = d->last_answers = d->waiting_since_ns = d->answers = d->wrong = d->first_wrong = 0;
  std::vector<uint8_t> frame(DK_FRAME_MAX);
  xdp_md ctx{};
  ctx.data_end = uint32_t(frame.size());
  ctx.ingress_ifindex = uint32_t(device);
  const double begin = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  while (seconds_of(CLOCK_MONOTONIC) - begin < seconds) {
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_size_in = uint32_t(frame.size()), .ctx_in = &ctx,
                .ctx_size_in = sizeof ctx, .repeat = int(kRuns), .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = kBatch);
    must(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.make), &opts) == 0, "test run");
  }
  const double wall = seconds_of(CLOCK_MONOTONIC) - begin, spent = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  const uint64_t in_time = __atomic_load_n(&d->answers, __ATOMIC_RELAXED);
  uint64_t answers = in_time;
  for (double moved = seconds_of(CLOCK_MONOTONIC); answers < d->sent && seconds_of(CLOCK_MONOTONIC) - moved < kDrain_s; usleep(1000)) {
    const uint64_t now = __atomic_load_n(&d->answers, __ATOMIC_RELAXED);
    if (now != answers) moved = seconds_of(CLOCK_MONOTONIC);
    answers = now;
  }
  std::printf("{\"sent\": %llu, \"answers_in_time\": %llu, \"answers\": %llu, \"wrong\": %llu, \"first_wrong\": %u, \"wall_us\": %.0f, \"cpu_us\": %.0f}\n",
              static_cast<unsigned long long>(d->sent), static_cast<unsigned long long>(in_time), static_cast<unsigned long long>(answers),
              static_cast<unsigned long long>(d->wrong), d->first_wrong, wall * 1e6, spent * 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  must(argc == 7, "arguments");
  const int device = int(if_nametoindex(argv[1]));
  must(device > 0, argv[1]);
  Ends ends;
  must(inet_pton(AF_INET, argv[3], &ends.from_be) == 1 && inet_pton(AF_INET, argv[4], &ends.to_be) == 1, "addresses");
  unsigned mac[6];
  must(std::sscanf(argv[5], "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) == 6, "MAC");
  std::copy(mac, mac + 6, ends.to_mac);
  ifreq req{};
  std::strncpy(req.ifr_name, argv[1], IFNAMSIZ - 1);
  const int s = socket(AF_INET, SOCK_DGRAM, 0);
  must(s >= 0 && ioctl(s, SIOCGIFHWADDR, &req) == 0, argv[1]);
  std::memcpy(ends.from_mac, req.ifr_hwaddr.sa_data, 6);
  dns_rate* skel = dns_rate__open_and_load();
  must(skel, "load");
  skel->data->names = uint32_t(std::atoi(argv[6]));
  skel->data->step = step_of(skel->data->names);
  skel->bss->first_address_be = htonl(DK_FIRST_ADDRESS);
  pin(std::atoi(argv[2]));
  {
    Sink sink(skel, device);
    std::puts("ready");
    std::fflush(stdout);
    for (std::string word; std::cin >> word;) {
      if (word == "sink") {
        std::string kind;
        std::cin >> kind;
        sink.set(kind);
        std::puts("{}");
      } else if (word == "run") {
        int port, checksum, reflected;
        double seconds;
        uint32_t window;
        std::cin >> port >> seconds >> window >> checksum >> reflected;
        ends.port_be = htons(uint16_t(port));
        run(skel, device, ends, seconds, window, checksum != 0, reflected != 0);
      }
      std::fflush(stdout);
    }
  }
  dns_rate__destroy(skel);
  return 0;
}
