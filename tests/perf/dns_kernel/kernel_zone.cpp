#include "kernel_zone.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <sys/mman.h>

#include <bit>
#include <numeric>
#include <random>

#include "common.h"
#include "dns_tc.skel.h"
#include "dns_xdp.skel.h"
#include "question.h"

namespace dk {
namespace {

constexpr uint32_t kService = 0;
constexpr int kFirstBucket = 5;  // as datapath/dns_tables.cpp
constexpr uint32_t kZone = LS_DNS_SPACE_ZONE | 0x1234, kReady = LS_DNS_SPACE_READY | 1;

int map_of(bpf_object* o, const char* name) {
  int fd = bpf_object__find_map_fd_by_name(o, name);
  must(fd >= 0, name);
  return fd;
}

/// The places of entries: what datapath/dns_tables.h does, without ever giving anything up.
class Places {
 public:
  Places(bpf_object* o, const ls_dns_conf& conf, uint32_t segments) : conf_(conf) {
    buckets_ = map<ls_dns_bucket>(map_of(o, "ls_dns_bucket"), conf.bucket_mask + 1);
    data_ = map<ls_dns_segment>(map_of(o, "ls_dns_data"), segments);
    end_ = uint64_t(segments) * LS_DNS_SEGMENT;
  }
  ~Places() {
    munmap(buckets_, sizeof(ls_dns_bucket) * (conf_.bucket_mask + 1));
    munmap(data_, sizeof(ls_dns_segment) * (end_ / LS_DNS_SEGMENT));
  }
  Places(const Places&) = delete;

  uint64_t hash(uint32_t space, uint16_t aux, const std::string& key) const {
    uint64_t h = ls_dns_hash_begin(conf_.key, space, aux);
    for (size_t i = 0; i < key.size(); i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, key.data() + i, std::min<size_t>(8, key.size() - i));
      h = ls_dns_hash_word(h, word, conf_.key[1]);
    }
    return ls_dns_hash_end(h, uint32_t(key.size()), conf_.key[1]);
  }

  void put(uint32_t space, uint16_t aux, const std::string& key, uint8_t sets, const std::vector<uint8_t>& body) {
    const size_t octets = LS_DNS_BODY(key.size()) + body.size();
    next_ = (next_ + LS_DNS_UNIT - 1) / LS_DNS_UNIT * LS_DNS_UNIT;
    if (next_ % LS_DNS_SEGMENT + octets > LS_DNS_SEGMENT) next_ = (next_ / LS_DNS_SEGMENT + 1) * LS_DNS_SEGMENT;
    must(next_ + octets < end_, "room for entries");
    ls_dns_entry e{};
    e.space = space;
    e.aux = aux;
    e.key_octets = uint8_t(key.size());
    e.octets = uint16_t(octets);
    e.sets = sets;
    uint8_t* to = data_[next_ / LS_DNS_SEGMENT].octets + next_ % LS_DNS_SEGMENT;
    std::memcpy(to, &e, sizeof e);
    std::memcpy(to + sizeof e, key.data(), key.size());
    std::memcpy(to + LS_DNS_BODY(key.size()), body.data(), body.size());
    const uint64_t h = hash(space, aux, key);
    const uint64_t slot = LS_DNS_SLOT(h, next_ / LS_DNS_UNIT);
    next_ += octets;
    __u64 *first = buckets_[ls_dns_bucket1(h, conf_.bucket_mask)].slot, *second = buckets_[ls_dns_bucket2(h, conf_.bucket_mask)].slot;
    const auto used = [](const __u64* bucket) { return std::count_if(bucket, bucket + LS_DNS_WAYS, [](__u64 w) { return w != 0; }); };
    __u64* bucket = used(first) < kFirstBucket || used(first) <= used(second) ? first : second;
    for (int i = 0; i < LS_DNS_WAYS; i++)
      if (bucket[i] == 0) {
        bucket[i] = slot;
        return;
      }
    must(false, "a free slot");
  }

 private:
  template <class T>
  static T* map(int fd, size_t count) {
    void* at = mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(at != MAP_FAILED, "mmap");
    return static_cast<T*>(at);
  }
  const ls_dns_conf& conf_;
  ls_dns_bucket* buckets_;
  ls_dns_segment* data_;
  uint64_t next_ = LS_DNS_UNIT, end_;
};

template <class T>
void append(std::vector<uint8_t>& out, const T& value) {
  auto* p = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), p, p + sizeof value);
}

std::vector<uint8_t> host_body(uint32_t number) {
  std::vector<uint8_t> out;
  const size_t body = LS_DNS_BODY(host_key(number).size());
  append(out, ls_dns_set{htons(1), LS_DNS_FORM_A, 1, 0, uint16_t(body + sizeof(ls_dns_set)), 0, 0});
  append(out, htonl(DK_FIRST_ADDRESS + number));
  append(out, uint32_t{0});
  return out;
}

std::vector<uint8_t> service_body(uint32_t number, uint64_t target_hash) {
  std::vector<uint8_t> out;
  const size_t body = LS_DNS_BODY(service_key(number).size()), at = body + sizeof(ls_dns_set);
  append(out, ls_dns_set{htons(33), LS_DNS_FORM_SRV, 1, 0, uint16_t(at), 0, 0});
  append(out, uint16_t(at + 8));
  out.resize(out.size() + 6);
  const std::string target = host_key(number);
  ls_dns_srv srv{};
  srv.target_hash = target_hash;
  const uint16_t front[3] = {0, htons(1), htons(uint16_t(20000 + number % 10000))};
  std::memcpy(srv.front, front, 6);
  srv.name_octets = uint8_t(target.size());
  srv.flags = LS_DNS_SRV_BELOW;
  append(out, srv);
  out.insert(out.end(), target.begin(), target.end());
  out.resize(LS_DNS_PADDED(out.size()));
  return out;
}

std::vector<uint8_t> view_body() {
  ls_dns_view v{};
  v.zone = kZone;
  v.ready = kReady;
  v.flags = LS_DNS_VIEW_COMPLETE | LS_DNS_VIEW_SRV_ADDITIONAL | LS_DNS_VIEW_ROUND_ROBIN | LS_DNS_VIEW_STRIP_STARS | LS_DNS_VIEW_RA;
  v.ttl = 60;
  v.soa_ttl = 60;
  v.soa_negative_ttl = 1;
  std::vector<uint8_t> soa{3, 'n', 's', '1', 0xc0, 0, 4, 'r', 'o', 'o', 't', 0xc0, 0};
  v.soa_pointer[0] = 4;
  v.soa_pointer[1] = 11;
  for (uint32_t n : {1u, 60u, 180u, 86400u, 1u}) append(soa, htonl(n));
  v.soa_octets = uint16_t(soa.size());
  std::copy(soa.begin(), soa.end(), v.soa);
  std::vector<uint8_t> out;
  append(out, v);
  return out;
}

}  // namespace

KernelZone::KernelZone(uint32_t names, uint32_t listen_be, uint16_t port_be) {
  auto* xdp = dns_xdp__open();
  auto* tc = dns_tc__open();
  must(xdp && tc, "open the programs");
  objects_[0] = xdp->obj;
  objects_[1] = tc->obj;
  conf_.bucket_mask = std::bit_ceil(std::max(16u, names * 2 / 4)) - 1;  // half of the slots at most
  const uint32_t segments = 2 + uint32_t(uint64_t(names) * 288 / LS_DNS_SEGMENT);
  for (int i = 0; i < 2; i++) {
    bpf_program* p;
    bpf_object__for_each_program(p, objects_[i]) bpf_program__set_autoload(
        p, std::string_view(bpf_program__name(p)) == (i ? "ls_dns_port" : "ls_dns_xdp"));
    bpf_map* m;
    bpf_object__for_each_map(m, objects_[i]) {
      const std::string name = bpf_map__name(m);
      if (!name.starts_with("ls_")) continue;
      if (i) {  // both programs read the same maps
        bpf_map* other = bpf_object__find_map_by_name(objects_[0], name.c_str());
        if (other) must(bpf_map__reuse_fd(m, bpf_map__fd(other)) == 0, name);
      } else if (name == "ls_dns_bucket") {
        bpf_map__set_max_entries(m, conf_.bucket_mask + 1);
      } else if (name == "ls_dns_data") {
        bpf_map__set_max_entries(m, segments);
      }
    }
    must(bpf_object__load(objects_[i]) == 0, i ? "load dns_tc" : "load dns_xdp");
  }
  xdp_ = bpf_program__fd(bpf_object__find_program_by_name(objects_[0], "ls_dns_xdp"));
  tc_ = bpf_program__fd(bpf_object__find_program_by_name(objects_[1], "ls_dns_port"));
  must(xdp_ >= 0 && tc_ >= 0, "programs");
  conf_.enabled = 1;
  conf_.key[0] = 0x6a09e667f3bcc908;
  conf_.key[1] = 0xbb67ae8584caa73b;
  std::memcpy(conf_.cookie_secret, "0123456789abcdef", 16);
  std::memcpy(conf_.rate_key, "fedcba9876543210", 16);
  conf_.unix_offset_ns = int64_t((seconds_of(CLOCK_REALTIME) - seconds_of(CLOCK_MONOTONIC)) * 1e9);
  conf_.port_be[0] = port_be;
  conf_.service[kService].suffixes[0] = 1u << 7;  // "\5mesos\0"
  conf_.service[kService].udp_max = 1232;
  Places places(objects_[0], conf_, segments);
  std::vector<uint32_t> order(names);
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  for (uint32_t n : order) {
    places.put(kZone, 0, host_key(n), 1, host_body(n));
    places.put(kZone, 0, service_key(n), 1, service_body(n, places.hash(kZone, 0, host_key(n))));
  }
  places.put(LS_DNS_SPACE_VIEW + kService, 0, std::string("\x05mesos\0", 7), 0, view_body());
  ls_dns_listen listen{};
  listen.addr_be[2] = htonl(0xffff);
  listen.addr_be[3] = listen_be;
  listen.port_be = port_be;
  listen.service = kService;
  // In every place, so that the first one looked at has it, whatever the hash of addresses says.
  for (uint32_t i = 0; i < LS_DNS_LISTEN_MAX; i++)
    must(bpf_map_update_elem(map_of(objects_[0], "ls_dns_listen"), &i, &listen, 0) == 0, "ls_dns_listen");
  guard({});
}

KernelZone::~KernelZone() {
  for (auto* o : objects_) bpf_object__close(o);
}

void KernelZone::guard(const Guards& guards) {
  if (guards.acl) {
    ls_dns_acl_key key{};
    key.prefix = 32 + 96 + 8;  // 10.0.0.0/8
    key.service_be = htonl(kService);
    key.addr_be[2] = htonl(0xffff);
    key.addr_be[3] = htonl(0x0a000000);
    uint64_t value = 1;
    must(bpf_map_update_elem(map_of(objects_[0], "ls_dns_acl"), &key, &value, 0) == 0, "ls_dns_acl");
  }
  conf_.service[kService].acl = guards.acl;
  conf_.service[kService].rate_step = guards.rate_step;
  uint32_t zero = 0;
  must(bpf_map_update_elem(map_of(objects_[0], "ls_dns_conf"), &zero, &conf_, 0) == 0, "ls_dns_conf");
}

uint64_t KernelZone::count(int hook, int result) const {
  const int cpus = libbpf_num_possible_cpus();
  must(cpus > 0, "number of CPUs");
  std::vector<uint64_t> values(size_t(cpus), 0);
  uint32_t key = uint32_t(hook * LS_DNS_RESULT_SLOTS + result);
  must(bpf_map_lookup_elem(map_of(objects_[0], "ls_dns_stats"), &key, values.data()) == 0, "ls_dns_stats");
  return std::accumulate(values.begin(), values.end(), uint64_t{0});
}

std::string KernelZone::results() const {
  std::string out;
#define DK_TEXT(name, num, label, text)                          \
  for (int hook = 0; hook < LS_DNS_HOOK_MAX; hook++)             \
    if (uint64_t n = count(hook, num)) out += (out.empty() ? "" : ", ") + std::string(label) + " " + std::to_string(n);
  LS_DNS_RESULTS(DK_TEXT)
#undef DK_TEXT
  return out;
}

}  // namespace dk
