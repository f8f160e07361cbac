/// What it costs to make the kernel hold a set of services, and to change one backend among them. Needs root
/// (BPF maps), touches nothing else. Prints a table; times are wall and CPU of this thread, the median of
/// several rounds.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>

#include "datapath/maglev.h"
#include "datapath/svc_tables.h"

namespace {

using namespace ls;

int make(bpf_map_type type, const char* name, uint32_t key, uint32_t value, uint32_t entries,
         uint32_t flags) {
  LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
  return bpf_map_create(type, name, key, value, entries, &opts);
}

double cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) / 1e6;
}
double wall_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Cost {
  double wall = 0, cpu = 0;
};
template <class F>
Cost cost_of(F&& f) {
  double w = wall_ms(), c = cpu_ms();
  f();
  return {wall_ms() - w, cpu_ms() - c};
}
Cost median(std::vector<Cost> all) {
  auto mid = [&](double Cost::*m) {
    std::sort(all.begin(), all.end(), [&](auto& a, auto& b) { return a.*m < b.*m; });
    return all[all.size() / 2].*m;
  };
  return {mid(&Cost::wall), mid(&Cost::cpu)};
}

std::vector<Service> services(uint32_t n, uint32_t backends) {
  std::vector<Service> out(n);
  uint32_t b = 0;
  for (uint32_t i = 0; i < n; i++) {
    out[i].key = {IpAddress::from_v4(0x0b000001 + i), 80, Protocol::kTcp};
    for (uint32_t j = 0; j < backends; j++, b++) {
      Backend x;
      x.address = IpAddress::from_v4(0x0a000000 + b / 50);
      x.port = uint16_t(2000 + b % 50);
      out[i].backends.push_back(x);
    }
  }
  return out;
}

Result<ApplyStats> must(Result<ApplyStats> r) {
  if (!r || r->left_out) {
    fmt::print(stderr, "failed: {}\n", r ? r->problems.at(0) : r.error().text());
    std::exit(1);
  }
  return r;
}

struct Row {
  Cost load, change, nothing, adopt;
};

Row measure(uint32_t n_services, uint32_t backends) {
  uint32_t all = n_services * backends;
  std::map<std::string, UniqueFd> fds;
  fds["ls_svc"] =
      UniqueFd(make(BPF_MAP_TYPE_HASH, "ls_svc", sizeof(ls_svc_key), sizeof(ls_svc_ref), n_services + 16, 0));
  fds["ls_svc_tab"] =
      UniqueFd(make(BPF_MAP_TYPE_ARRAY, "ls_svc_tab", 4, sizeof(ls_svc), n_services + 64, BPF_F_MMAPABLE));
  uint32_t blocks = n_services * ((ring_slots(backends) + 15) / 16);
  fds["ls_ring"] = UniqueFd(make(BPF_MAP_TYPE_ARRAY, "ls_ring", 4, sizeof(ls_ring_block),
                                 blocks + blocks / 10 + 65536, BPF_F_MMAPABLE));
  fds["ls_be"] =
      UniqueFd(make(BPF_MAP_TYPE_ARRAY, "ls_be", 4, sizeof(ls_be), all + all / 4 + 1024, BPF_F_MMAPABLE));
  fds["ls_be_stat"] =
      UniqueFd(make(BPF_MAP_TYPE_PERCPU_ARRAY, "ls_be_stat", 4, sizeof(ls_be_stat), all + all / 4 + 1024, 0));
  for (auto& [name, fd] : fds) {
    if (!fd) {
      fmt::print(stderr, "make {}: {}\n", name, std::strerror(errno));
      std::exit(1);
    }
  }
  MapOpener opener = [&](std::string_view name) -> Result<UniqueFd> {
    return UniqueFd(fcntl(fds.at(std::string(name)).get(), F_DUPFD_CLOEXEC, 0));
  };
  Row row;
  auto want = services(n_services, backends);
  auto tables = SvcTables::adopt(std::move(*SvcMaps::open(opener)), {});
  row.load = cost_of([&] { (void)must(tables->sync(want)); });
  std::vector<Cost> changes, nothing;
  for (uint32_t i = 0; i < 101; i++) {
    auto& s = want[(i * 7919u) % n_services];
    s.backends[i % backends].port = uint16_t(30000 + i);
    VipDelta d{{s}, {}};
    changes.push_back(cost_of([&] { (void)must(tables->apply(d)); }));
  }
  row.change = median(changes);
  for (int i = 0; i < 5; i++) nothing.push_back(cost_of([&] { (void)must(tables->sync(want)); }));
  row.nothing = median(nothing);
  row.adopt = cost_of([&] {
    auto again = SvcTables::adopt(std::move(*SvcMaps::open(opener)), {});
    auto st = must(again->sync(want));
    if (st->changed()) fmt::print(stderr, "a restart changed something\n");
  });
  return row;
}

}  // namespace

int main() {
  fmt::print("milliseconds: wall (CPU); ring blocks are memory the kernel already holds\n");
  fmt::print("{:>9} {:>9} | {:>20} | {:>20} | {:>20} | {:>20}\n", "services", "backends", "load all",
             "one backend changed", "sync, nothing to do", "restart and sync");
  auto cell = [](Cost c) { return fmt::format("{:.3f} ({:.3f})", c.wall, c.cpu); };
  for (uint32_t n : {10u, 100u, 1000u, 5000u, 10000u}) {
    auto r = measure(n, 10);
    fmt::print("{:>9} {:>9} | {:>20} | {:>20} | {:>20} | {:>20}\n", n, n * 10, cell(r.load), cell(r.change),
               cell(r.nothing), cell(r.adopt));
  }
  fmt::print("\none service of many backends\n");
  for (uint32_t n : {2u, 10u, 100u, 1000u}) {
    auto r = measure(1, n);
    fmt::print("{:>9} {:>9} | {:>20} | {:>20} | {:>20} | {:>20}\n", 1, n, cell(r.load), cell(r.change),
               cell(r.nothing), cell(r.adopt));
  }
}
