#include "dns_bench.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <stdexcept>

#include "bench.h"
#include "datapath/svc_tables.h"
#include "dns_tc.skel.h"
#include "dns_xdp.skel.h"
#include "util/network.h"

namespace ls::test {
namespace {

constexpr size_t kRoom = 2048;  ///< behind what went in: an answer, then canaries
constexpr uint8_t kCanary = 0xa7;

void must(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error(what + ": " + std::strerror(errno));
}

template <class T>
T* mapped(int fd, size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  must(at != MAP_FAILED, "mmap");
  return static_cast<T*>(at);
}

size_t array_bytes(size_t value, size_t n) { return (value * n + 4095) / 4096 * 4096; }

void set_sizes(bpf_object* obj, const DnsBenchOptions& o) {
  const std::pair<const char*, uint32_t> sizes[] = {{"ls_dns_bucket", o.buckets}, {"ls_dns_data", o.segments}};
  for (auto& [name, n] : sizes)
    if (bpf_map* m = bpf_object__find_map_by_name(obj, name)) must(bpf_map__set_max_entries(m, n) == 0, name);
}

template <class T>
MmapArray<T> array(int fd) {
  auto m = MmapArray<T>::adopt(UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)));
  if (!m) throw std::runtime_error(m.error().text());
  return std::move(*m);
}

uint16_t get16(const Bytes& b, size_t at) { return uint16_t(b[at] << 8 | b[at + 1]); }

}  // namespace

Bytes with_tags(Bytes frame, int tags) {
  // Each goes in front of those before it, so the last one is the outermost (IEEE 802.1ad).
  for (int i = 0; i < tags; i++) {
    const uint8_t tag[] = {uint8_t(i ? 0x88 : 0x81), uint8_t(i ? 0xa8 : 0x00), 0x60, uint8_t(7 + i)};
    frame.insert(frame.begin() + 12, std::begin(tag), std::end(tag));
  }
  return frame;
}

Bytes DnsFrame::around(const Bytes& message) const {
  Packet p = eth().ip(src, dst).udp(sport, dport).payload({reinterpret_cast<const char*>(message.data()), message.size()});
  if (!udp_checksum) p.no_udp_checksum();
  Bytes frame = p.bytes();
  std::fill(frame.begin(), frame.begin() + 6, 0);
  return with_tags(std::move(frame), tags);
}

std::string DnsBench::reason() { return Bench::reason(); }

DnsBench::DnsBench(const Options& options) : options_(options) {
  must(unshare(CLONE_NEWNET) == 0, "own network namespace");
  xdp_ = dns_xdp__open();
  tc_ = dns_tc__open();
  must(xdp_ && tc_, "open dns_xdp and dns_tc");
  set_sizes(xdp_->obj, options_);
  set_sizes(tc_->obj, options_);
  must(dns_xdp__load(xdp_) == 0, "load dns_xdp");
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, tc_->obj) {
    const std::string name = bpf_map__name(map);
    if (name.find('.') != name.npos) continue;  // read-only values: each object's own
    if (bpf_map* same = bpf_object__find_map_by_name(xdp_->obj, name.c_str()))
      must(bpf_map__reuse_fd(map, bpf_map__fd(same)) == 0, "share " + name);
  }
  must(dns_tc__load(tc_) == 0, "load dns_tc");
  conf_ = mapped<ls_dns_conf>(map_fd("ls_dns_conf"), 4096);
  buckets_ = mapped<ls_dns_bucket>(map_fd("ls_dns_bucket"), array_bytes(sizeof(ls_dns_bucket), options_.buckets));
  data_ = mapped<ls_dns_segment>(map_fd("ls_dns_data"), array_bytes(sizeof(ls_dns_segment), options_.segments));
  rate_ = mapped<ls_dns_rate_set>(map_fd("ls_dns_rate"), array_bytes(sizeof(ls_dns_rate_set), LS_DNS_SERVICES * LS_DNS_RATE_SETS));
  reset(options_.key);
}

void DnsBench::adopt() {
  store_.reset();
  tables_.reset();
  datapath::DnsMaps maps{array<ls_dns_bucket>(map_fd("ls_dns_bucket")), array<ls_dns_segment>(map_fd("ls_dns_data"))};
  auto tables = datapath::DnsTables::adopt(std::move(maps), options_.key.data(), wait_for_programs);
  if (!tables) throw std::runtime_error(tables.error().text());
  tables_.emplace(std::move(*tables));
  shared_conf_.emplace(array<ls_dns_conf>(map_fd("ls_dns_conf")));
  store_.emplace(*tables_, *shared_conf_);
}

void DnsBench::reset(std::array<uint64_t, 2> key) {
  options_.key = key;
  std::fill_n(buckets_, options_.buckets, ls_dns_bucket{});
  std::fill_n(rate_, LS_DNS_SERVICES * LS_DNS_RATE_SETS, ls_dns_rate_set{});
  *conf_ = {};
  const ls_dns_listen none{};
  for (uint32_t i = 0; i < LS_DNS_LISTEN_MAX; i++) {
    ls_dns_listen l;
    must(bpf_map_lookup_elem(map_fd("ls_dns_listen"), &i, &l) == 0, "read ls_dns_listen");
    if (l.port_be) must(bpf_map_update_elem(map_fd("ls_dns_listen"), &i, &none, BPF_ANY) == 0, "write ls_dns_listen");
  }
  for (ls_dns_acl_key k; bpf_map_get_next_key(map_fd("ls_dns_acl"), nullptr, &k) == 0;) bpf_map_delete_elem(map_fd("ls_dns_acl"), &k);
  adopt();
  conf_->bucket_mask = options_.buckets - 1;
  conf_->key[0] = key[0];
  conf_->key[1] = key[1];
  for (int i = 0; i < 16; i++) conf_->cookie_secret[i] = uint8_t(17 * i + 3), conf_->rate_key[i] = uint8_t(31 * i + 5);
  timespec wall, steady;
  clock_gettime(CLOCK_REALTIME, &wall);
  clock_gettime(CLOCK_MONOTONIC, &steady);
  conf_->unix_offset_ns = (wall.tv_sec - steady.tv_sec) * 1'000'000'000ll + wall.tv_nsec - steady.tv_nsec;
  for (auto& service : conf_->service) service.udp_max = LS_DNS_MESSAGE_MAX;
  conf_->enabled = 1;
}

DnsBench::~DnsBench() {
  store_.reset();
  tables_.reset();
  munmap(conf_, 4096);
  munmap(buckets_, array_bytes(sizeof(ls_dns_bucket), options_.buckets));
  munmap(data_, array_bytes(sizeof(ls_dns_segment), options_.segments));
  munmap(rate_, array_bytes(sizeof(ls_dns_rate_set), LS_DNS_SERVICES * LS_DNS_RATE_SETS));
  dns_xdp__destroy(xdp_);
  dns_tc__destroy(tc_);
}

bool DnsBench::put(const dns::KernelKey& k, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) {
  return store_->put(k, flags, sets, body);
}
bool DnsBench::remove(const dns::KernelKey& k) { return store_->remove(k); }
bool DnsBench::contains(const dns::KernelKey& k) const { return store_->contains(k); }
uint64_t DnsBench::hash(const dns::KernelKey& k) const { return store_->hash(k); }
size_t DnsBench::sweep(uint32_t space) { return store_->sweep(space); }
size_t DnsBench::sweep_all() { return store_->sweep_all(); }
void DnsBench::mark() { store_->mark(); }

uint8_t* DnsBench::entry(uint32_t place) {
  const uint64_t at = uint64_t{place} * LS_DNS_UNIT;
  return data_[at / LS_DNS_SEGMENT].octets + at % LS_DNS_SEGMENT;
}

std::span<uint64_t> DnsBench::rate_words(int service) {
  return {reinterpret_cast<uint64_t*>(rate_ + size_t(service) * LS_DNS_RATE_SETS), LS_DNS_RATE_SETS * LS_DNS_RATE_WAYS};
}

bool DnsBench::listen(std::string_view address, uint16_t port, int service) {
  ls_dns_listen l{};
  std::memcpy(l.addr_be, IpAddress::parse(address).value().bytes().data(), 16);
  l.port_be = htobe16(port);
  l.service = uint8_t(service);
  bool known = false;
  for (auto& p : conf_->port_be) known = known || p == l.port_be;
  for (auto& p : conf_->port_be)
    if (!known && !p) p = l.port_be, known = true;
  const uint32_t first = ls_dns_listen_at(l.addr_be, l.port_be);
  for (uint32_t i = 0; i < LS_DNS_LISTEN_PROBES; i++) {
    const uint32_t at = (first + i) & (LS_DNS_LISTEN_MAX - 1);
    ls_dns_listen there;
    must(bpf_map_lookup_elem(map_fd("ls_dns_listen"), &at, &there) == 0, "read ls_dns_listen");
    if (there.port_be) continue;
    must(bpf_map_update_elem(map_fd("ls_dns_listen"), &at, &l, BPF_ANY) == 0, "write ls_dns_listen");
    return true;
  }
  return false;
}

void DnsBench::allow(std::string_view network, int service) {
  const IpNetwork n = IpNetwork::parse(network).value();
  ls_dns_acl_key key{};
  key.prefix = 32u + n.prefix;
  key.service_be = htobe32(uint32_t(service));
  std::memcpy(key.addr_be, n.address.bytes().data(), 16);
  const uint64_t one = 1;
  must(bpf_map_update_elem(map_fd("ls_dns_acl"), &key, &one, BPF_ANY) == 0, "write ls_dns_acl");
}

std::vector<uint64_t> DnsBench::stats() const {
  std::vector<uint64_t> sums(LS_DNS_HOOK_MAX * LS_DNS_RESULT_SLOTS);
  std::vector<uint64_t> each(static_cast<size_t>(libbpf_num_possible_cpus()));
  for (uint32_t key = 0; key < sums.size(); key++) {
    must(bpf_map_lookup_elem(map_fd("ls_dns_stats"), &key, each.data()) == 0, "read ls_dns_stats");
    for (uint64_t n : each) sums[key] += n;
  }
  return sums;
}

int DnsBench::map_fd(const char* name) const { return bpf_object__find_map_fd_by_name(xdp_->obj, name); }

int DnsBench::prog_fd(std::string_view program) const {
  const std::string name(program);
  bpf_program* p = bpf_object__find_program_by_name(xdp_->obj, name.c_str());
  if (!p) p = bpf_object__find_program_by_name(tc_->obj, name.c_str());
  must(p, "no program " + name);
  return bpf_program__fd(p);
}

DnsOut DnsBench::run(std::string_view program, const Bytes& frame) const {
  return run_fd(prog_fd(program), program == "ls_dns_xdp", program == "ls_dns_try", frame);
}

DnsOut DnsBench::run_fd(int fd, bool xdp, bool result_is_verdict, const Bytes& frame) const {
  thread_local Bytes room;
  room.assign(frame.size() + kRoom, kCanary);
  LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_out = room.data(), .data_size_in = uint32_t(frame.size()),
              .data_size_out = uint32_t(room.size()), .repeat = 1);
  DnsOut out;
  if (bpf_prog_test_run_opts(fd, &opts)) {
    must(errno == EINVAL, "test run");
    out.verdict = kRefused;
    out.frame = frame;
    return out;
  }
  out.verdict = int(opts.retval);
  for (size_t i = opts.data_size_out; i < room.size(); i++)
    if (room[i] != kCanary) out.wrong = "octets behind the frame were written";
  out.frame.assign(room.begin(), room.begin() + opts.data_size_out);
  if (result_is_verdict)
    out.answered = out.verdict <= LS_DNS_SLIP;
  else if (xdp)
    out.answered = out.verdict == XDP_TX;
  else
    out.answered = out.verdict == kRedirect || out.frame != frame;  // at loopback the verdict is the same
  if (!out.answered) {
    if (out.frame != frame) out.wrong = "went up changed";
    return out;
  }
  if (std::string why = wrong_headers(frame, out.frame, !xdp, out.message); !why.empty()) out.wrong = why;
  return out;
}

std::string counted(const std::vector<uint64_t>& before, const std::vector<uint64_t>& after) {
#define LS_DNS_LABEL(name, num, label, text) {num, label},
  static const std::map<int, std::string> hooks{LS_DNS_HOOKS(LS_DNS_LABEL)}, results{LS_DNS_RESULTS(LS_DNS_LABEL)};
#undef LS_DNS_LABEL
  std::string out;
  for (size_t i = 0; i < before.size(); i++) {
    if (before[i] == after[i]) continue;
    const auto hook = hooks.find(int(i / LS_DNS_RESULT_SLOTS));
    const auto result = results.find(int(i % LS_DNS_RESULT_SLOTS));
    out += (out.empty() ? "" : ", ") + (hook == hooks.end() ? "?" : hook->second) + " " + (result == results.end() ? "?" : result->second) +
           " " + std::to_string(after[i] - before[i]);
  }
  return out;
}

std::string wrong_headers(const Bytes& in, const Bytes& out, bool tc, Bytes& message) {
  auto strip = [](const Bytes& f, Bytes& tags) {
    size_t at = 12;
    while (f.size() >= at + 4 && (get16(f, at) == 0x8100 || get16(f, at) == 0x88a8)) at += 4;
    tags.assign(f.begin() + 12, f.begin() + long(at));
    Bytes plain(f.begin(), f.begin() + 12);
    plain.insert(plain.end(), f.begin() + long(at), f.end());
    return plain;
  };
  if (out.size() < 14) return "no frame";
  Bytes tags_in, tags_out;
  const Bytes a = strip(in, tags_in), b = strip(out, tags_out);
  if (tags_in != tags_out) return "VLAN tags changed";
  const Seen q = see(a), r = see(b);
  if (!q.ok) return "a question that cannot be read was answered";
  if (!r.ok) return "headers of the answer cannot be read";
  if (r.dmac != q.smac || r.smac != q.dmac) return "Ethernet addresses are not turned round";
  if (get16(a, 12) != get16(b, 12)) return "Ethernet type changed";
  if (r.src != q.dst || r.dst != q.src) return "IP addresses are not turned round";
  if (r.sport != q.dport || r.dport != q.sport) return "ports are not turned round";
  if (r.ttl != 64) return "TTL is " + std::to_string(r.ttl);
  if (!r.ip_check_ok) return "IP checksum is wrong";
  // Where the sum is carried over, always at tc and mostly at XDP, a damaged question gets an answer that is as damaged.
  if (tc ? r.l4_check_ok != q.l4_check_ok : q.l4_check_ok && !r.l4_check_ok) return "UDP checksum is wrong";
  const size_t headers = r.l4 + 8;
  if (get16(b, r.l4 + 4) != b.size() - r.l4) return "UDP length is not what the frame has";
  if (b.size() != headers + r.payload.size()) return "octets behind the datagram";
  if (q.src.is_v4()) {
    if (b[14] != 0x45 || b[15] || get16(b, 16) != b.size() - 14) return "IPv4 header";
    if (get16(b, 20) != 0x4000) return "fragment field";
  } else if (get16(b, 14) != 0x6000 || get16(b, 16) || get16(b, 18) != b.size() - 54) {
    return "IPv6 header";
  }
  const bool unsummed = get16(a, q.l4 + 6) == 0;
  if ((get16(b, r.l4 + 6) == 0) != (tc && unsummed)) return "UDP checksum is there or not as it should not be";
  message = r.payload;
  return "";
}

}  // namespace ls::test
