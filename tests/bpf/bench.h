#pragma once
/// One loaded copy of lb_tc with small tables, in a network namespace of its own, driven by prog-test-run.
/// Needs root and BPF; `Bench::reason()` says why a test is skipped where they are missing.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loadstar/abi/drop.h"
#include "loadstar/abi/flow.h"
#include "loadstar/abi/lb.h"
#include "packet.h"

struct lb_tc;

namespace ls::test {

constexpr int kPass = -1;     ///< TC_ACT_UNSPEC: goes on to the stack
constexpr int kDropped = 2;   ///< TC_ACT_SHOT
constexpr int kRedirect = 7;  ///< TC_ACT_REDIRECT
/// The kernel's test run takes no frame shorter than its network header; the program was not run.
constexpr int kRefused = -1000;

struct Out {
  int verdict = 0;
  Bytes frame;
  uint32_t ns = 0;  ///< average per run, as the kernel measured it
  Seen seen() const { return see(frame); }
};

struct BenchOptions {
  uint32_t flow_buckets = 1024;  ///< power of two, both tables
};

class Bench {
 public:
  /// Empty when the kernel lets us; else why not.
  static std::string reason();
  explicit Bench(BenchOptions options = {});
  ~Bench();

  /// (Re)defines a service. Backends get numbers in order of first mention; a ring of `slots` slots goes round robin over
  /// those with weight 1.
  void service(const std::string& vip, uint16_t port, Protocol proto,
               const std::vector<std::pair<std::string, uint16_t>>& backends, const std::vector<int>& weights = {});
  void set_state(const std::string& addr, uint16_t port, ls_be_state state);
  void bump_generation(const std::string& addr, uint16_t port);

  Out run(const char* program, const Bytes& frame, uint32_t ifindex = 0, int repeat = 1);
  Out run(const char* program, const Packet& p) { return run(program, p.bytes()); }

  uint64_t drops(ls_hook hook, ls_drop_reason reason);
  uint64_t verdicts(ls_hook hook, ls_verdict verdict);
  uint64_t drops_total();
  int map_fd(const char* name);
  int prog_fd(const char* program);
  ls_ctl* ctl() { return ctl_; }

 private:
  void change(const std::string& addr, uint16_t port, uint32_t (*next)(uint32_t, uint32_t), uint32_t arg);
  uint32_t number_of(const std::string& addr, uint16_t port, uint32_t svc);
  lb_tc* skel_;
  ls_ctl* ctl_ = nullptr;
  std::map<std::string, uint32_t> services_, backends_;
  uint32_t next_block_ = 0;
};

}  // namespace ls::test
