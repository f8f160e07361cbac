#pragma once
/// The programs that answer DNS, loaded with small tables of their own, driven by prog-test-run in a network namespace of its own.
/// `DnsBench::reason()` says why a test is skipped where root or BPF are missing. Thread: one, except ask() and run() (any).
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/dns_kernel_store.h"
#include "datapath/dns_tables.h"
#include "dns/kernel_store.h"
#include "loadstar/abi/dns.h"
#include "packet.h"

struct dns_xdp;
struct dns_tc;

namespace ls::test {

/// How a question travels. Ethernet addresses are those of the namespace's loopback, so that programs at tc take it for ours.
struct DnsFrame {
  std::string src = "10.1.2.3", dst = "198.51.100.1";
  uint16_t sport = 40001, dport = 53;
  int tags = 0;  ///< VLAN tags
  bool udp_checksum = true;
  Bytes around(const Bytes& message) const;
};
Bytes with_tags(Bytes frame, int tags);

struct DnsOut {
  int verdict = 0;
  bool answered = false;  ///< the frame is an answer
  Bytes frame;
  Bytes message;      ///< of the answer
  std::string wrong;  ///< what a reader of the answer's headers finds wrong; or "changed" when it went up but not as it was
};

struct DnsBenchOptions {
  uint32_t buckets = 1024, segments = 4;
  std::array<uint64_t, 2> key{0x243f6a8885a308d3, 0x13198a2e03707345};
};

class DnsBench : public dns::KernelStore {
 public:
  static std::string reason();
  using Options = DnsBenchOptions;
  explicit DnsBench(const Options& options = {});
  ~DnsBench() override;
  /// As newly loaded, with another hash key: a load takes seconds, so tests share one. What was counted stays.
  void reset(std::array<uint64_t, 2> key = Options().key);
  DnsBench(const DnsBench&) = delete;
  DnsBench& operator=(const DnsBench&) = delete;

  // dns::KernelStore, in the programs' maps, by the daemon's own store.
  bool put(const dns::KernelKey& key, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) override;
  bool remove(const dns::KernelKey& key) override;
  bool contains(const dns::KernelKey& key) const override;
  uint64_t hash(const dns::KernelKey& key) const override;
  size_t sweep(uint32_t space) override;
  size_t sweep_all() override;
  void mark() override;

  ls_dns_conf& conf() { return *conf_; }
  datapath::DnsTables& tables() { return *tables_; }
  std::span<ls_dns_bucket> buckets() { return {buckets_, options_.buckets}; }
  uint8_t* entry(uint32_t place);
  std::span<uint64_t> rate_words(int service);
  /// Adds a listening address; false when it has no place near enough.
  bool listen(std::string_view address, uint16_t port, int service);
  void allow(std::string_view network, int service);

  /// Packets counted so far, by hook * LS_DNS_RESULT_SLOTS + result.
  std::vector<uint64_t> stats() const;
  int map_fd(const char* name) const;
  int prog_fd(std::string_view program) const;

  /// One frame through "ls_dns_xdp", "ls_dns_uplink", "ls_dns_port", "ls_dns_lo" or "ls_dns_try".
  DnsOut run(std::string_view program, const Bytes& frame) const;
  DnsOut run_fd(int fd, bool xdp, bool result_is_verdict, const Bytes& frame) const;
  DnsOut ask(std::string_view program, const Bytes& message, const DnsFrame& how = {}) const { return run(program, how.around(message)); }

 private:
  void adopt();
  Options options_;
  dns_xdp* xdp_ = nullptr;
  dns_tc* tc_ = nullptr;
  ls_dns_conf* conf_ = nullptr;
  ls_dns_bucket* buckets_ = nullptr;
  ls_dns_segment* data_ = nullptr;
  ls_dns_rate_set* rate_ = nullptr;
  std::optional<datapath::DnsTables> tables_;
  std::optional<MmapArray<ls_dns_conf>> shared_conf_;
  std::optional<DnsKernelStore> store_;  ///< the daemon's
};

/// What a result is called, and every result that has changed between two stats(): "xdp hit 1, lo nodata 2".
std::string counted(const std::vector<uint64_t>& before, const std::vector<uint64_t>& after);

/// What is wrong with the headers of `out` as the answer to `in`; empty: nothing. `tc`: a question without checksum (IPv4) gets an answer
/// without; else an answer always has one.
std::string wrong_headers(const Bytes& in, const Bytes& out, bool tc, Bytes& message);

}  // namespace ls::test
