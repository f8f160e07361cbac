// Kernel memory of DNS answers: the zones of a cluster, as DnsNode makes them, in the maps.
//
//   dns-kernel-memory [TASKS]
//
// A `/master/state` document of TASKS tasks (100,000) goes through decoding, derivation and zone tables to KernelMirror and DnsTables, on real
// maps that nothing reads. It prints what came of it by space, and the smallest sizes of the maps (powers of two of buckets, then
// segments of 1 MiB) in which everything finds room, with the memory the kernel counts for them. Root.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>

#include "../zone_cluster.h"
#include "common.h"
#include "dns/kernel_mirror.h"
#include "dns/standard_routes.h"
#include "sources/mesos_state.h"
#include "store.h"

namespace {

using namespace ls;
using dk::must;
using dk::Store;

int array(const char* name, size_t value, uint32_t count) {
  LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
  const int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, 4, uint32_t(value), count, &opts);
  must(fd >= 0, name);
  return fd;
}

double mib_of(int fd) {
  std::ifstream in("/proc/self/fdinfo/" + std::to_string(fd));
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("memlock:")) return double(std::stoull(line.substr(8))) / (1 << 20);
  return 0;
}

struct Result {
  dns::KernelMirrorView mirror;
  datapath::DnsTablesView tables;
  double buckets_mib = 0, data_mib = 0, cpu_s = 0;
  uint32_t data_segments = 0;
  std::map<std::string, std::pair<uint64_t, uint64_t>> kinds;  ///< entries, octets
  bool all() const { return mirror.no_room == 0 && tables.refused == 0 && mirror.incomplete_zones == 0; }
};

Result try_sizes(Cluster& c, const std::shared_ptr<const dns::Routes>& resolver, const std::shared_ptr<const dns::Routes>& authority,
                 uint32_t buckets, uint32_t segments) {
  const int b = array("dk_bucket", sizeof(ls_dns_bucket), buckets), d = array("dk_data", sizeof(ls_dns_segment), segments);
  Result r;
  r.data_segments = segments;
  r.buckets_mib = mib_of(b);
  r.data_mib = mib_of(d);
  auto bucket_map = MmapArray<ls_dns_bucket>::adopt(UniqueFd(b));
  auto data_map = MmapArray<ls_dns_segment>::adopt(UniqueFd(d));
  must(bucket_map && data_map, "map the arrays");
  const uint64_t key[2] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b};
  auto tables = datapath::DnsTables::adopt({std::move(*bucket_map), std::move(*data_map)}, key, [] {});  // nobody reads
  must(tables.has_value(), "adopt");
  Store store(std::move(*tables));
  const double begin = dk::seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  dns::KernelMirror mirror(store, c.epoch, {});
  if (authority) mirror.set_routes(dns::ServiceKind::kAuthority, authority);
  mirror.set_routes(dns::ServiceKind::kResolver, resolver);
  mirror.settled();
  r.cpu_s = dk::seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begin;
  r.mirror = mirror.view();
  r.tables = store.tables().view();
  store.tables().for_each([&](const ls_dns_entry& e, std::string_view) {
    const char* kind = e.space & LS_DNS_SPACE_ZONE ? (e.flags & LS_DNS_EMPTY ? "names, only names below" : "names") :
                       e.space & LS_DNS_SPACE_READY ? "ready answers" : "views";
    auto& [count, octets] = r.kinds[kind];
    count++;
    octets += e.octets;
  });
  return r;
}

void report(size_t tasks, Shape shape) {
  std::string text = state_text(tasks, shape);
  auto decoded = decode_mesos_state(text);
  must(decoded.has_value(), "decode");
  Cluster c;
  StateDelta delta = c.state.apply(std::move(decoded->event), c.clock.now());
  c.load(delta);
  c.load_dcos(delta);
  c.name(c.vips.apply(delta));
  c.l4lb.apply({});  // loaded, also without a service
  auto table = [](dns::ZoneTable& t) { return dns::Table(dns::Table(), &t); };  // the cluster keeps them
  dns::ZoneTable empty(c.epoch);
  empty.apply({});
  dns::ResolverSetup setup;
  setup.mesos.domain = *DnsName::parse("mesos");
  setup.mesos.table = table(c.mesos);
  setup.mesos.soa.mname = *DnsName::parse("ns1.mesos");
  setup.mesos.soa.rname = *DnsName::parse("root.ns1.mesos");
  setup.zones = {{"dcos.thisdcos.directory", table(c.dcos)}, {"l4lb.thisdcos.directory", table(c.l4lb)}};
  setup.empty = table(empty);
  setup.cluster_id = "0f2d6d1e-6d3b-4e0c-9f3e-1c2d3e4f5a6b";
  auto resolver = std::make_shared<const dns::Routes>(dns::resolver_routes(setup));
  dns::AuthoritySetup own;
  own.mesos = setup.mesos;
  own.name_server = setup.mesos.soa.mname;
  auto authority = std::make_shared<const dns::Routes>(dns::authority_routes(own));

  const size_t names = c.mesos.names() + c.dcos.names() + c.l4lb.names();
  std::printf("\n%s, %zu tasks: %zu names, %zu records\n", shape == Shape::kPlain ? "plain" : "hard", tasks, names,
              c.mesos.records() + c.dcos.records() + c.l4lb.records());
  for (bool master : {false, true}) {
    const auto with = master ? authority : nullptr;
    // Ample first: what there is. Then the sizes that are just enough.
    Result ample = try_sizes(c, resolver, with, std::bit_ceil(uint32_t(names) * 2), 64 + uint32_t(names * 1024 / LS_DNS_SEGMENT));
    if (!ample.all()) {
      std::printf("  FAIL no room in ample maps: %llu names, %llu zones\n", static_cast<unsigned long long>(ample.mirror.no_room),
                  static_cast<unsigned long long>(ample.mirror.incomplete_zones));
      std::exit(1);
    }
    std::printf("  %s: %llu entries, %.1f MiB, filled in %.2f s of CPU\n", master ? "resolver and authority (a master)" : "resolver (an agent)",
                static_cast<unsigned long long>(ample.tables.entries), double(ample.tables.bytes_used) / (1 << 20), ample.cpu_s);
    for (auto& [kind, n] : ample.kinds)
      std::printf("    %-24s %8llu entries, %5.1f octets each, %7.1f MiB\n", kind.c_str(), static_cast<unsigned long long>(n.first),
                  double(n.second) / double(n.first), double(n.second) / (1 << 20));
    // The one with the other being ample.
    const uint32_t wide = ample.data_segments;
    uint32_t buckets = std::max(2u, std::bit_floor(uint32_t(ample.tables.entries) / LS_DNS_WAYS));
    uint32_t segments = std::max(2u, uint32_t(ample.tables.bytes_used / LS_DNS_SEGMENT) + 1);
    while (!try_sizes(c, resolver, with, buckets, wide).all()) buckets *= 2;
    Result r;
    for (; segments < wide; segments += std::max(1u, segments / 32))
      if (r = try_sizes(c, resolver, with, buckets, segments); r.all()) break;
    std::printf("    %s: %u buckets (%.0f %% of %llu slots) and %u MiB of entries: %.1f + %.1f MiB of kernel memory, %.0f octets a task\n",
                r.all() ? "enough" : "NOT ENOUGH", buckets, 100.0 * double(r.tables.entries) / double(r.tables.slots),
                static_cast<unsigned long long>(r.tables.slots), segments, r.buckets_mib, r.data_mib,
                (r.buckets_mib + r.data_mib) * (1 << 20) / double(tasks));
    // datapath/programs.cpp makes a bucket for six names, and a power of two of buckets.
    const uint32_t by_entries = std::bit_ceil(uint32_t((ample.tables.entries + 5) / 6));
    std::printf("    as settings: dns.kernel_names from %u on (%llu, one for each entry, are %senough), dns.kernel_megabytes from %u on\n",
                buckets / 2 * 6 + 1, static_cast<unsigned long long>(ample.tables.entries), by_entries >= buckets ? "" : "NOT ", segments);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const size_t tasks = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100000;
  for (auto shape : {Shape::kPlain, Shape::kHard}) report(tasks, shape);
  return 0;
}
