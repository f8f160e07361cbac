#include "kernel_zone.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>

#include <bit>
#include <numeric>

#include "common.h"
#include "dns_tc.skel.h"
#include "dns_xdp.skel.h"
#include "question.h"
#include "store.h"

namespace dk {

struct KernelZone::Zone {
  explicit Zone(ls::datapath::DnsTables tables) : store(std::move(tables)) {}
  ls::Epoch epoch;
  ls::dns::ZoneTable table{epoch};
  Store store;
  ls::dns::KernelMirror mirror{store, epoch, {}};
};

namespace {

constexpr uint32_t kService = 0;

int map_of(bpf_object* o, const char* name) {
  int fd = bpf_object__find_map_fd_by_name(o, name);
  must(fd >= 0, name);
  return fd;
}

/// The zone as the process has it.
std::shared_ptr<const ls::dns::Routes> routes_of(ls::dns::ZoneTable& table) {
  ls::dns::ZoneView v;
  v.apex = *ls::DnsName::parse("mesos");
  v.table = std::shared_ptr<const ls::dns::ZoneTable>(std::shared_ptr<void>(), &table);  // KernelZone keeps it
  v.ttl = 60;
  v.soa.mname = *ls::DnsName::parse("ns1.mesos");
  v.soa.rname = *ls::DnsName::parse("root.mesos");
  v.name_servers = {v.soa.mname};
  v.rules.strip_star_labels = true;
  v.rules.recursion_available = true;
  v.rules.rotation = ls::dns::Rotation::kRoundRobin;
  return std::make_shared<const ls::dns::Routes>(std::vector{v}, std::vector<ls::dns::ForwardGroup>{});
}

ls::RecordDelta records(uint32_t names) {
  ls::RecordDelta out;
  for (uint32_t n = 0; n < names; n++) {
    out.add.push_back(ls::address_record(host_key(n), ls::IpAddress::from_v4(DK_FIRST_ADDRESS + n)));
    out.add.push_back(ls::srv_record(service_key(n), 0, 1, uint16_t(20000 + n % 10000), host_key(n)));
  }
  return out;
}

ls::UniqueFd copy_of(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  must(copy >= 0, "dup");
  return ls::UniqueFd(copy);
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
  conf_.service[kService].udp_max = 1232;
  auto buckets = ls::MmapArray<ls_dns_bucket>::adopt(copy_of(map_of(objects_[0], "ls_dns_bucket")));
  auto data = ls::MmapArray<ls_dns_segment>::adopt(copy_of(map_of(objects_[0], "ls_dns_data")));
  must(buckets && data, "map the tables");
  const uint64_t key[2] = {conf_.key[0], conf_.key[1]};
  auto tables = ls::datapath::DnsTables::adopt({std::move(*buckets), std::move(*data)}, key, [] {});  // nobody reads yet
  must(tables.has_value(), "tables");
  zone_ = std::make_unique<Zone>(std::move(*tables));
  zone_->table.apply(records(names));
  zone_->mirror.set_routes(ls::dns::ServiceKind::kAuthority, routes_of(zone_->table));
  zone_->mirror.settled();
  must(zone_->mirror.view().no_room == 0 && zone_->mirror.view().incomplete_zones == 0, "room in the tables");
  const auto suffixes = zone_->mirror.suffixes(ls::dns::ServiceKind::kAuthority);
  std::copy(suffixes.begin(), suffixes.end(), conf_.service[kService].suffixes);
  const std::string apex("\5mesos", 7);  // as app/dns_kernel_store.h shows the way to the only view of a length
  conf_.service[kService].view[apex.size()] = zone_->store.tables().place({LS_DNS_SPACE_VIEW + kService, 0, apex});
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
