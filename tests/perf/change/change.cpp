// change_bench [--quick]
//
// What the change of one task costs on its way from the text of the record to the kernel's tables, in clusters of 100 to
// 100,000 tasks; what a snapshot of such a cluster costs, and its peak memory; and how long 5,000 services of 10 backends take
// to load. Everything in one process: RecordDecoder, ClusterState, VipDeriver, SvcTables on real maps of its own. Times are CPU
// time of the thread. No time is asserted; it fails when the tables are not what the text says.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>

#include "cluster_text.h"
#include "datapath/maglev.h"
#include "datapath/svc_tables.h"
#include "derive/vips.h"
#include "sources/mesos_json.h"
#include "state/cluster_state.h"

namespace {

using namespace ls;
using namespace ls::perf;

constexpr int kSkipped = 77;

[[noreturn]] void die(const std::string& why) {
  fmt::print(stderr, "change_bench: {}\n", why);
  std::exit(1);
}
void must(bool ok, const std::string& why) {
  if (!ok) die(why);
}

double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}
double cpu_us() { return seconds_of(CLOCK_THREAD_CPUTIME_ID) * 1e6; }
double wall_us() { return seconds_of(CLOCK_MONOTONIC) * 1e6; }

double memory_mb(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + ":")) return std::atof(line.c_str() + key.size() + 1) / 1000;
  return 0;
}

/// The five maps of SvcTables, sized for so many services of ten backends.
class Maps {
 public:
  explicit Maps(uint32_t services) {
    uint32_t backends = services * kTasksPerService * 2 + 4096;
    uint32_t ring = ring_slots(kTasksPerService);
    uint32_t blocks = services * ((ring + LS_RING_BLOCK_SLOTS - 1) / LS_RING_BLOCK_SLOTS);
    make(BPF_MAP_TYPE_HASH, "ls_svc", sizeof(ls_svc_key), sizeof(ls_svc_ref), services + 64, 0);
    make(BPF_MAP_TYPE_ARRAY, "ls_svc_tab", 4, sizeof(ls_svc), services + 64, BPF_F_MMAPABLE);
    make(BPF_MAP_TYPE_ARRAY, "ls_ring", 4, sizeof(ls_ring_block), blocks + blocks / 10 + 65536, BPF_F_MMAPABLE);
    make(BPF_MAP_TYPE_ARRAY, "ls_be", 4, sizeof(ls_be), backends, BPF_F_MMAPABLE);
    make(BPF_MAP_TYPE_PERCPU_ARRAY, "ls_be_stat", 4, sizeof(ls_be_stat), backends, 0);
  }
  SvcTables tables() const {
    auto maps = SvcMaps::open([this](std::string_view name) -> Result<UniqueFd> {
      return UniqueFd(fcntl(fds_.at(std::string(name)).get(), F_DUPFD_CLOEXEC, 0));
    });
    must(bool(maps), "maps");
    auto tables = SvcTables::adopt(std::move(*maps), {});
    must(bool(tables), "adopt");
    return std::move(*tables);
  }

 private:
  void make(bpf_map_type type, const char* name, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags) {
    LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
    int fd = bpf_map_create(type, name, key, value, entries, &opts);
    must(fd >= 0, fmt::format("{}: {}", name, std::strerror(errno)));
    fds_[name] = UniqueFd(fd);
  }
  std::map<std::string, UniqueFd> fds_;
};

struct Parts {
  double decode = 0, state = 0, derive = 0, tables = 0;
  double total() const { return decode + state + derive + tables; }
};

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + long(v.size() / 2), v.end());
  return v[v.size() / 2];
}
double percentile(std::vector<double> v, double p) {
  std::sort(v.begin(), v.end());
  return v[std::min(v.size() - 1, size_t(double(v.size()) * p))];
}
Parts median(const std::vector<Parts>& all) {
  auto of = [&](double Parts::*m) {
    std::vector<double> v;
    for (auto& p : all) v.push_back(p.*m);
    return median(v);
  };
  return {of(&Parts::decode), of(&Parts::state), of(&Parts::derive), of(&Parts::tables)};
}

/// What a child process measured at one size, sent to the parent as it is.
struct Row {
  double text_mb = 0, peak_mb = 0, kept_mb = 0;
  Parts snapshot;
  double snapshot_wall = 0;
  Parts health, replace;
  double health_total = 0, health_p99 = 0, replace_total = 0, replace_p99 = 0;
};

class Pipeline {
 public:
  explicit Pipeline(uint32_t services) : maps_(services), tables_(maps_.tables()) { must(bool(tables_.sync({})), "first sync"); }

  Parts snapshot(std::string& text, uint32_t services) {
    Parts p = run(text, true);
    must(deriver_.service_count() == services, fmt::format("{} services instead of {}", deriver_.service_count(), services));
    return p;
  }
  /// One record that must change exactly one service.
  Parts change(std::string text) { return run(text, false); }

  void check() {
    auto stats = tables_.sync(deriver_.full().services);
    must(bool(stats) && !stats->changed() && !stats->left_out, "the kernel's tables are not what the cluster's text says");
  }

 private:
  Parts run(std::string& text, bool whole) {
    Parts p;
    double t0 = cpu_us();
    auto decoded = decoder_.decode(text);
    must(bool(decoded) && decoded->problem_count == 0, "a record could not be read");
    if (whole) std::string().swap(text);  // as the daemon does: the text is not needed while it is applied
    double t1 = cpu_us();
    StateDelta delta = state_.apply(std::move(decoded->event), clock_.now());
    double t2 = cpu_us();
    VipDelta vips = deriver_.apply(delta);
    double t3 = cpu_us();
    auto stats = whole ? tables_.sync(deriver_.full().services) : tables_.apply(vips);
    double t4 = cpu_us();
    must(bool(stats) && stats->left_out == 0, "tables");
    must(whole || vips.upsert.size() + vips.remove.size() == 1, fmt::format("{} services changed", vips.upsert.size()));
    p.decode = t1 - t0;
    p.state = t2 - t1;
    p.derive = t3 - t2;
    p.tables = t4 - t3;
    return p;
  }

  Maps maps_;
  SvcTables tables_;
  RecordDecoder decoder_;
  ClusterState state_;
  VipDeriver deriver_;
  SystemClock clock_;
};

Row measure(uint32_t tasks, uint32_t changes) {
  Row row;
  uint32_t services = tasks / kTasksPerService;
  Pipeline pipeline(services);
  std::string text = snapshot_text(tasks);
  text.reserve(text.size() + kJsonPadding);
  row.text_mb = double(text.size()) / 1e6;
  std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM starts over
  double before = memory_mb("VmRSS"), wall = wall_us();
  row.snapshot = pipeline.snapshot(text, services);
  row.snapshot_wall = wall_us() - wall;
  row.peak_mb = memory_mb("VmHWM") - before;
  row.kept_mb = memory_mb("VmRSS") - before + row.text_mb;
  pipeline.check();

  std::vector<Parts> health, replace;
  std::vector<double> health_total, replace_total;
  auto task_of = [&](uint32_t i) { return uint32_t(uint64_t(i) * 2654435761u % tasks); };
  for (uint32_t i = 0; i < changes; i++) {
    uint32_t task = task_of(i);
    for (bool healthy : {false, true}) {
      health.push_back(pipeline.change(health_text(task, healthy)));
      health_total.push_back(health.back().total());
    }
  }
  for (uint32_t i = 0; i < changes; i++) {
    uint32_t task = task_of(i);
    for (auto& record : {killed_text(task), added_text(task, uint16_t(30000 + i % 30000))}) {
      replace.push_back(pipeline.change(record));
      replace_total.push_back(replace.back().total());
    }
  }
  pipeline.check();
  row.health = median(health);
  row.replace = median(replace);
  row.health_total = median(health_total);
  row.health_p99 = percentile(health_total, 0.99);
  row.replace_total = median(replace_total);
  row.replace_p99 = percentile(replace_total, 0.99);
  return row;
}

/// In a process of its own, so that the peak of one size is not the next one's start.
Row measure_apart(uint32_t tasks, uint32_t changes) {
  int ends[2];
  must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    Row row = measure(tasks, changes);
    _exit(write(ends[1], &row, sizeof row) == ssize_t(sizeof row) ? 0 : 1);
  }
  close(ends[1]);
  Row row;
  bool whole = read(ends[0], &row, sizeof row) == ssize_t(sizeof row);
  int status = 0;
  waitpid(child, &status, 0);
  close(ends[0]);
  must(whole && status == 0, fmt::format("the run with {} tasks failed", tasks));
  return row;
}

void load_and_change(uint32_t n, int rounds) {
  std::vector<Service> want(n);
  for (uint32_t i = 0; i < n; i++) {
    want[i].key = {IpAddress::from_v4(0x0b000001 + i), 80, Protocol::kTcp};
    for (uint32_t j = 0; j < kTasksPerService; j++) {
      Backend b;
      b.address = IpAddress::from_v4(0x0a000000 + (i * kTasksPerService + j) / kTasksPerAgent);
      b.port = uint16_t(2000 + (i * kTasksPerService + j) % kTasksPerAgent);
      want[i].backends.push_back(b);
    }
  }
  std::vector<double> load_cpu, load_wall, change_cpu, change_wall;
  for (int r = 0; r < rounds; r++) {
    Maps maps(n);
    auto tables = maps.tables();
    double cpu = cpu_us(), wall = wall_us();
    auto loaded = tables.sync(want);
    load_cpu.push_back((cpu_us() - cpu) / 1e3);
    load_wall.push_back((wall_us() - wall) / 1e3);
    must(bool(loaded) && loaded->services_added == n && !loaded->left_out, "load");
    for (uint32_t i = 0; i < 201; i++) {
      auto s = want[i * 7919u % n];
      s.backends[i % s.backends.size()].port = uint16_t(30000 + i);
      std::sort(s.backends.begin(), s.backends.end());
      VipDelta delta{{s}, {}};
      cpu = cpu_us(), wall = wall_us();
      auto changed = tables.apply(delta);
      change_cpu.push_back((cpu_us() - cpu) / 1e3);
      change_wall.push_back((wall_us() - wall) / 1e3);
      must(bool(changed) && changed->services_changed == 1, "one endpoint changed");
    }
  }
  fmt::print("\n{} services x {} backends, {} rounds, milliseconds\n", n, kTasksPerService, rounds);
  fmt::print("{:24} {:>12} {:>12} {:>12}\n", "", "CPU", "wall", "wall, p99");
  fmt::print("{:24} {:12.1f} {:12.1f} {:>12}   to reach: 1000\n", "load all", median(load_cpu), median(load_wall), "");
  fmt::print("{:24} {:12.3f} {:12.3f} {:12.3f}   to reach: 1\n", "one endpoint changed", median(change_cpu),
             median(change_wall), percentile(change_wall, 0.99));
}

void print_changes(const char* title, const std::vector<uint32_t>& sizes, const std::vector<Row>& rows, Parts Row::*parts,
                   double Row::*total, double Row::*p99) {
  fmt::print("\n{}, CPU microseconds, medians\n", title);
  fmt::print("{:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>12}\n", "tasks", "decode", "state", "derive", "tables", "all", "p99",
             "x 100 tasks");
  for (size_t i = 0; i < sizes.size(); i++) {
    auto& p = rows[i].*parts;
    fmt::print("{:>8} {:9.1f} {:9.1f} {:9.1f} {:9.1f} {:9.1f} {:9.1f} {:12.2f}\n", sizes[i], p.decode, p.state, p.derive, p.tables,
               rows[i].*total, rows[i].*p99, rows[i].*total / (rows[0].*total));
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool quick = argc > 1 && std::string(argv[1]) == "--quick";
  if (geteuid() != 0) {
    fmt::print("skipped: BPF maps need root\n");
    return kSkipped;
  }
  std::vector<uint32_t> sizes{100, 1000, 10000};
  if (!quick) sizes.push_back(100000);
  std::vector<Row> rows;
  for (uint32_t n : sizes) rows.push_back(measure_apart(n, quick ? 200 : 2000));
  print_changes("a health check fails or passes again", sizes, rows, &Row::health, &Row::health_total, &Row::health_p99);
  print_changes("a task is killed, or one is added", sizes, rows, &Row::replace, &Row::replace_total, &Row::replace_p99);
  fmt::print("\na snapshot, CPU milliseconds; memory beyond the text, the kernel's maps (mapped) among it\n");
  fmt::print("{:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}\n", "tasks", "text MB", "decode", "state", "derive",
             "tables", "all", "wall", "peak MB", "kept MB");
  for (size_t i = 0; i < sizes.size(); i++) {
    auto& r = rows[i];
    fmt::print("{:>8} {:9.1f} {:9.1f} {:9.1f} {:9.1f} {:9.1f} {:9.1f} {:9.1f} {:10.1f} {:10.1f}\n", sizes[i], r.text_mb,
               r.snapshot.decode / 1e3, r.snapshot.state / 1e3, r.snapshot.derive / 1e3, r.snapshot.tables / 1e3,
               r.snapshot.total() / 1e3, r.snapshot_wall / 1e3, r.peak_mb, r.kept_mb);
  }
  load_and_change(quick ? 500 : 5000, quick ? 1 : 5);
  return 0;
}
