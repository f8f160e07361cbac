// ns of a question inside the kernel, net of the harness: the real XDP and tc programs, and the bare one (bare.h), in one run.
//
//   dns-kernel-prog [--rounds N] [--names N,N,...] [--repeat N] [--cpu N] [--only TITLE]
//
// Nothing is attached: the kernel runs the programs on a packet (BPF_PROG_TEST_RUN). dns_prog.bpf.c makes that packet a question again before
// each run, of another name each time; what this takes, and the way to the program, is measured with an empty program at its end and
// taken off. All rows of a round follow each other, rounds repeat all of them. Root. Wrong answers fail it, times never do.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <sched.h>

#include <numeric>
#include <random>

#include "common.h"
#include "loadstar/abi/dns.h"
#include "question.h"
// The skeleton knows the types of the programs' variables by name only.
#include "dns_prog.skel.h"
#include "kernel_zone.h"

namespace {

using namespace dk;
constexpr int kLoopback = 1;
constexpr uint32_t kAddress = 0x0a090001;  // 10.9.0.1, asked by 10.1.0.5 and up
constexpr uint32_t kClient = 0x0a010005, kClients = 256;
constexpr uint32_t kRateStep = 8;  // 2 us between answers to a prefix: nobody reaches it, everybody is counted

struct Options {
  int rounds = 9, repeat = 200000, cpu = 0;
  std::vector<uint32_t> names{1, 10000, 100000};
  std::string only;  ///< rows whose title begins so, beside the bare ones
};

struct BareValue {
  uint64_t name[8];
  uint32_t addr_be, ttl;
};

struct Row {
  std::string title;
  Kind kind;
  bool tc, bare, guarded;
  std::vector<double> net;
};

class Bench {
 public:
  Bench(const Options& options, uint32_t names)
      : options_(options),
        names_(names),
        zone_(names, htonl(kAddress), htons(53))
  {
    skel_ = dns_prog__open();
    must(skel_, "open");
    bpf_map__set_max_entries(skel_->maps.bare_names, names);
    must(dns_prog__load(skel_) == 0, "load");
    fill_bare();
    skel_->data->names = names;
    skel_->data->step = step_of(names);
    skel_->data->clients = kClients;
  }
  ~Bench() { dns_prog__destroy(skel_); }

  void report() {
    std::vector<Row> rows;
    for (bool tc : {false, true}) {
      const std::string hook = tc ? "tc" : "XDP";
      rows.push_back({hook + " bare, A", Kind::kA, tc, true, false, {}});
      for (Kind kind : kKinds) rows.push_back({hook + " " + to_text(kind), kind, tc, false, false, {}});
      rows.push_back({hook + " A, EDNS, access list, rate limit", Kind::kAEdns, tc, false, true, {}});
    }
    std::erase_if(rows, [&](const Row& r) { return !r.bare && !r.title.starts_with(options_.only); });
    std::vector<double> empty[2], harness[2];
    for (auto& row : rows) check(row);
    for (int round = -1; round < options_.rounds; round++) {  // the first one only warms
      for (auto& row : rows) {
        prepare(row);
        const double all = run(row.tc ? skel_->progs.tc_run : skel_->progs.xdp_run);
        aim(row.tc, bpf_program__fd(row.tc ? skel_->progs.tc_empty : skel_->progs.xdp_empty));
        const double around = run(row.tc ? skel_->progs.tc_run : skel_->progs.xdp_run);
        const double nothing = run(row.tc ? skel_->progs.tc_empty : skel_->progs.xdp_empty);
        if (round < 0) continue;
        row.net.push_back(all - around);
        harness[row.tc].push_back(around);
        empty[row.tc].push_back(nothing);
      }
    }
    for (bool tc : {false, true})
      std::printf("\n%u names, %s: empty program %.0f ns, harness %.0f ns\n  %-36s %8s %7s %8s %8s\n", names_, tc ? "tc" : "XDP", median(empty[tc]),
                  median(harness[tc]), "net ns", "median", "least", "x bare", "x empty"),
          table(rows, tc, median(empty[tc]));
    std::printf("  results: %s\n", zone_.results().c_str());
    std::fflush(stdout);
  }
  bool failed() const { return failed_; }

 private:
  void table(const std::vector<Row>& rows, bool tc, double empty) {
    const std::vector<double>* bare = nullptr;
    for (auto& row : rows) {
      if (row.tc != tc) continue;
      if (row.bare) bare = &row.net;
      std::vector<double> ratio;
      for (size_t i = 0; i < row.net.size(); i++) ratio.push_back(row.net[i] / (*bare)[i]);
      std::printf("  %-36s %8.1f %7.1f %8.2f %8.1f\n", row.title.c_str(), median(row.net), least(row.net), median(ratio), median(row.net) / empty);
    }
  }

  void fill_bare() {
    std::vector<uint32_t> order(names_);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), std::mt19937(2));
    const auto* key = skel_->rodata->bare_key;
    for (uint32_t n : order) {
      BareValue v{};
      const std::string name = host_key(n) + std::string("\x05mesos\0", 7);
      std::memcpy(v.name, name.data(), name.size());
      v.addr_be = htonl(DK_FIRST_ADDRESS + n);
      v.ttl = 60;
      const __u64 k[2] = {key[0], key[1]};
      uint64_t hash = ls_dns_hash_begin(k, 0, 0);
      for (size_t i = 0; i < (name.size() + 7) / 8; i++) hash = ls_dns_hash_word(hash, v.name[i], k[1]);
      hash = ls_dns_hash_end(hash, uint32_t(name.size()), k[1]);
      must(bpf_map_update_elem(bpf_map__fd(skel_->maps.bare_names), &hash, &v, BPF_NOEXIST) == 0, "bare_names");
    }
  }

  void aim(bool tc, int program) {
    uint32_t zero = 0;
    must(bpf_map_update_elem(bpf_map__fd(tc ? skel_->maps.jump_tc : skel_->maps.jump_xdp), &zero, &program, 0) == 0, "jump");
  }

  void prepare(const Row& row) {
    Ends ends;
    ends.from_be = htonl(kClient);
    ends.to_be = htonl(kAddress);
    std::fill(ends.to_mac, ends.to_mac + 6, uint8_t{0});  // of loopback, where a test run is: the packet is for this machine
    ends.port_be = htons(53);
    skel_->bss->question = question(row.kind, ends);
    skel_->bss->checksum = !row.bare;
    int program = bpf_program__fd(row.tc ? skel_->progs.tc_bare : skel_->progs.xdp_bare);
    zone_.guard({row.guarded, row.guarded ? kRateStep : 0});
    if (!row.bare) program = row.tc ? zone_.tc() : zone_.xdp();
    aim(row.tc, program);
  }

  double run(bpf_program* program, int repeat = 0) {
    out_.assign(2048, 0);
    __sk_buff skb{};
    skb.ifindex = kLoopback;
    const bool tc = bpf_program__type(program) == BPF_PROG_TYPE_SCHED_CLS;
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = skel_->bss->question.frame, .data_out = out_.data(),
                .data_size_in = skel_->bss->question.octets, .data_size_out = uint32_t(out_.size()), .ctx_in = tc ? &skb : nullptr,
                .ctx_size_in = tc ? uint32_t(sizeof skb) : 0, .repeat = repeat ? repeat : options_.repeat);
    must(bpf_prog_test_run_opts(bpf_program__fd(program), &opts) == 0, "test run");
    out_.resize(opts.data_size_out);
    verdict_ = int(opts.retval);
    return opts.duration;
  }

  void check(const Row& row) {
    prepare(row);
    for (uint32_t i = 0; i < std::min(names_ * 2, 1000u); i++) {
      run(row.tc ? skel_->progs.tc_run : skel_->progs.xdp_run, 1);
      std::string wrong = wrong_in_answer(row.kind, skel_->bss->at, out_);
      if (verdict_ != (row.tc ? int(TC_ACT_REDIRECT) : int(XDP_TX))) wrong = "verdict " + std::to_string(verdict_);
      if (wrong.empty()) continue;
      std::printf("FAIL %s, name %u: %s\n", row.title.c_str(), skel_->bss->at, wrong.c_str());
      failed_ = true;
      return;
    }
  }

  const Options& options_;
  uint32_t names_;
  KernelZone zone_;
  dns_prog* skel_ = nullptr;
  std::vector<uint8_t> out_;
  int verdict_ = 0;
  bool failed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const char* value = argv[i + 1];
    if (name == "--rounds") options.rounds = std::atoi(value);
    if (name == "--repeat") options.repeat = std::atoi(value);
    if (name == "--cpu") options.cpu = std::atoi(value);
    if (name == "--only") options.only = value;
    if (name != "--names") continue;
    options.names.clear();
    for (char* at = const_cast<char*>(value); *at; at += *at == ',') options.names.push_back(uint32_t(std::strtoul(at, &at, 10)));
  }
  pin(options.cpu);
  bool failed = false;
  for (uint32_t names : options.names) {
    Bench bench(options, names);
    bench.report();
    failed = failed || bench.failed();
  }
  return failed ? 1 : 0;
}
