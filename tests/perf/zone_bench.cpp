// From a /master/state document of 50,000 tasks to the records of the Mesos domain: CPU seconds and memory by phase; and what one
// task's change costs at 100, 10,000 and 100,000 tasks, which must not depend on how many others there are.
// Usage: zone_bench [--quick]. Only the quick run is a test, and it asserts no times.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <time.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "derive/mesos_masters.h"
#include "derive/mesos_zone.h"
#include "sources/mesos_state.h"
#include "state/cluster_state.h"

namespace ls {
namespace {

double cpu_s() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

double status_mib(const char* field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(field)) return double(std::stoul(line.substr(std::strlen(field) + 1))) / 1024;
  return 0;
}

/// The shape of what Mesos-DNS was measured with: ten frameworks, a hundred tasks an agent, two resource ports, a discovery with one
/// named port, addresses in the newest status.
std::string state_text(size_t tasks) {
  const size_t agents = std::max<size_t>(tasks / 100, 1), frameworks = std::min<size_t>(tasks, 10);
  std::string out = R"({"version":"1.11.0","id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11","leader":"master@10.9.0.11:5050","slaves":[)";
  for (size_t a = 0; a < agents; a++)
    out += fmt::format(
        R"({}{{"id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-S{}","hostname":"10.9.{}.{}","pid":"slave(1)@10.9.{}.{}:5051","active":true,"port":5051,"attributes":{{}},"resources":{{"cpus":8.0,"mem":30000.0,"disk":100000.0,"ports":"[1025-2180, 2182-3887]"}},"version":"1.11.0"}})",
        a ? "," : "", a, a / 250, a % 250 + 1, a / 250, a % 250 + 1);
  out += R"(],"recovered_slaves":[],"frameworks":[)";
  for (size_t f = 0; f < frameworks; f++) {
    out += fmt::format(
        R"({}{{"id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-{:04}","name":"{}","hostname":"10.9.0.11","pid":"scheduler-{}@10.9.0.11:{}","active":true,"connected":true,"user":"root","role":"*","checkpoint":true,"failover_timeout":604800.0,"tasks":[)",
        f ? "," : "", f, f ? fmt::format("team-{}", f) : "marathon", f, 15000 + f);
    bool first = true;
    for (size_t t = f; t < tasks; t += frameworks) {
      const size_t a = t % agents, service = t / 5;
      out += fmt::format(
          R"({}{{"id":"service-{}.group.instance-{:08x}-7c1d-11e9-9a1e-70b3d5800001.app.{}","name":"service-{}.group","framework_id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-{:04}","executor_id":"","slave_id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-S{}","state":"TASK_RUNNING","resources":{{"cpus":0.5,"mem":128.0,"disk":0.0,"gpus":0.0,"ports":"[{}-{}]"}},"role":"*","statuses":[{{"state":"TASK_STARTING","timestamp":1500000000.25,"container_status":{{"container_id":{{"value":"da87d8aa-98f1-4fc3-a260-f92c116fc926"}},"network_infos":[{{"ip_addresses":[{{"protocol":"IPv4","ip_address":"9.{}.{}.{}"}}],"name":"dcos"}}]}}}},{{"state":"TASK_RUNNING","timestamp":1500000000.5,"healthy":true,"container_status":{{"container_id":{{"value":"da87d8aa-98f1-4fc3-a260-f92c116fc926"}},"network_infos":[{{"ip_addresses":[{{"protocol":"IPv4","ip_address":"9.{}.{}.{}"}}],"name":"dcos"}}]}}}}],"labels":[{{"key":"team","value":"a"}}],"discovery":{{"visibility":"FRAMEWORK","name":"service-{}.group","ports":{{"ports":[{{"number":8080,"name":"http","protocol":"tcp","labels":{{"labels":[{{"key":"VIP_0","value":"/service-{}:80"}}]}}}}]}}}},"container":{{"type":"MESOS","network_infos":[{{"name":"dcos"}}]}}}})",
          first ? "" : ",", service, t, t, service, f, a, 31000 + t % 500 * 2, 31001 + t % 500 * 2, t / 65536, t / 256 % 256, t % 256,
          t / 65536, t / 256 % 256, t % 256, service, service);
      first = false;
    }
    out += R"(],"completed_tasks":[],"unreachable_tasks":[],"offers":[]})";
  }
  return out + R"(],"completed_frameworks":[],"orphan_tasks":[],"unregistered_frameworks":[]})";
}

struct Cluster {
  FakeClock clock;
  ClusterState state;
  MesosZone zone{MesosZoneOptions{}};
};

bool from_state(size_t tasks) {
  std::string text = state_text(tasks);
  malloc_trim(0);
  std::printf("%zu tasks: document of %.1f MB, resident before %.1f MiB (document and program)\n", tasks, double(text.size()) / 1e6,
              status_mib("VmRSS"));
  Cluster c;
  double at = cpu_s(), begun = at;
  auto phase = [&](const char* name) {
    double now = cpu_s();
    std::printf("  %-14s %.3f s CPU, resident %.1f MiB\n", name, now - at, status_mib("VmRSS"));
    at = cpu_s();
  };
  auto decoded = decode_mesos_state(text);
  phase("decode");
  if (!decoded) return std::fprintf(stderr, "%s\n", decoded.error().text().c_str()), false;
  std::string().swap(text);
  StateDelta delta = c.state.apply(std::move(decoded->event), c.clock.now());
  phase("state");
  size_t made = 0;
  c.zone.apply(delta, [&](RecordDelta&& piece) { made += piece.add.size(); });
  phase("records");
  std::printf("  all            %.3f s CPU for %zu records, peak %.1f MiB\n", cpu_s() - begun, made, status_mib("VmHWM"));
  delta = {};
  malloc_trim(0);
  std::printf("  steady         %.1f MiB (state and roster; the records belong to the zone table)\n", status_mib("VmRSS"));
  at = cpu_s();
  auto listed = c.zone.enumerate("mesos", true);
  phase("enumerate");
  return made > tasks * 4 && !listed.empty();
}

bool one_change(size_t tasks, int rounds) {
  std::string text = state_text(tasks);
  auto decoded = decode_mesos_state(text);
  if (!decoded) return false;
  Cluster c;
  c.zone.apply(c.state.apply(std::move(decoded->event), c.clock.now()));
  std::vector<TaskPtr> some;
  c.state.for_each_task([&](const TaskPtr& t) {
    if (some.size() < 64) some.push_back(t);
  });
  size_t made = 0;
  double begun = cpu_s();
  for (int i = 0; i < rounds; i++) {
    const Task& t = *some[size_t(i) % some.size()];
    TaskUpdated u;
    u.framework_id = t.framework_id;
    u.task_id = t.id;
    u.state = i / int(some.size()) % 2 ? MesosState::kRunning : MesosState::kKilling;
    RecordDelta d = c.zone.apply(c.state.apply(std::move(u), c.clock.now()));
    made += d.add.size() + d.remove.size();
  }
  std::printf("one task's change at %6zu tasks: %.2f us CPU, %zu records\n", tasks, (cpu_s() - begun) / rounds * 1e6, made / size_t(rounds));
  return made > 0;
}

}  // namespace
}  // namespace ls

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  bool ok = ls::from_state(quick ? 500 : 50000);
  for (size_t tasks : quick ? std::vector<size_t>{100} : std::vector<size_t>{100, 10000, 100000})
    ok = ls::one_change(tasks, quick ? 1000 : 50000) && ok;
  return ok ? 0 : 1;
}
