#include "feed.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

namespace ls::converge {
namespace {

constexpr const char* kLeader = "6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11";
constexpr size_t kFrameworks = 10;

std::string name_of(size_t task) { return fmt::format("service-{}.group", task / 5); }
std::string id_of(size_t task) { return fmt::format("service-{}.group.instance-{:08x}-7c1d-11e9-9a1e-70b3d5800001.app.{}", task / 5, task, task); }
SharedText framework_of(size_t task) { return SharedText(fmt::format("{}-{:04}", kLeader, task / 5 % kFrameworks)); }
SharedText agent_of(size_t agent) { return SharedText(fmt::format("{}-S{}", kLeader, agent)); }
/// 9.0.0.0/8 for tasks, 10.0.0.0/8 for machines.
IpAddress address(uint32_t net, size_t n) { return IpAddress::from_v4((net << 24) + uint32_t(n % (1 << 24))); }

}  // namespace

Task Feed::task(size_t n) const {
  Task t;
  auto spec = std::make_shared<TaskSpec>();
  spec->name = plain_ ? "service-" + std::to_string(n / 5) : name_of(n);
  spec->runtime = Runtime::kMesos;
  spec->health_check = true;
  if (!plain_) {
    spec->discovered = true;
    spec->port_resources = {{31000 + n % 500 * 2, 31001 + n % 500 * 2}};
    DiscoveryPort port{.number = 8080, .protocol = PortProtocol::kTcp, .named = true, .name = "http", .vips = {}};
    port.vips.push_back({"VIP_0", "/service-" + std::to_string(n / 5) + ":80"});
    spec->ports.push_back(std::move(port));
  }
  t.spec = std::move(spec);
  t.framework_id = framework_of(n);
  t.agent_id = agent_of(n % agents_);
  t.id = id_of(n);
  t.state = MesosState::kStaging;
  return t;
}

TaskUpdated Feed::update(size_t n, MesosState state) const {
  TaskUpdated u;
  u.framework_id = framework_of(n);
  u.task_id = id_of(n);
  u.agent_id = agent_of(n % agents_);
  u.state = state;
  if (state != MesosState::kRunning) return u;
  u.addresses = {address(9, n)};
  u.running_at = 1500000000.5 + double(n);
  u.running.netinfo = u.addresses;
  return u;
}

Feed::Feed(size_t tasks, size_t agents, Stamps& stamps, bool plain) : agents_(agents), plain_(plain), stamps_(stamps) {
  Subscribed s;
  for (size_t a = 0; a < agents; a++)
    s.snapshot.agents.push_back({agent_of(a), address(10, a + 1).text(), fmt::format("slave(1)@{}:5051", address(10, a + 1).text())});
  for (size_t f = 0; f < kFrameworks; f++) s.snapshot.frameworks.push_back({framework_of(f * 5), SharedText(f ? fmt::format("team-{}", f) : "marathon"), {}, {}});
  for (; next_ < tasks; next_++) {
    auto t = task(next_);
    t.state = MesosState::kRunning;
    t.health = Health::kHealthy;
    t.addresses = {address(9, next_)};
    t.set_running(1500000000.5 + double(next_), {.netinfo = t.addresses, .docker = {}, .mesos = {}});
    s.snapshot.tasks.push_back(std::move(t));
  }
  state_.apply(std::move(s), std::chrono::steady_clock::now());
}

void Feed::open(hub::Server& hub) {
  auto all = state_.everything();
  seq_ = all.agents.size() + all.frameworks.size() + all.tasks.size() + all.recovered.size();
  stamps_.begin(seq_);
  hub.change(all, std::chrono::steady_clock::now());
  hub::SourceHealth h;
  h.connected = h.synced = true;
  hub.health(h);
  while (hub.status().seq != seq_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

void Feed::change(hub::Server& hub) {
  const auto received = std::chrono::steady_clock::now();
  Event event = Heartbeat{};
  switch (changes_ % 4) {
    case 0:
      event = update(oldest_++, MesosState::kKilled);
      break;
    case 1:
      event = TaskAdded{task(next_++)};
      break;
    case 2:
      event = update(next_ - 1, MesosState::kRunning);
      break;
    default: {
      auto u = update(next_ - 1, MesosState::kRunning);
      u.healthy = true;
      event = std::move(u);
    }
  }
  auto delta = state_.apply(std::move(event), received);
  const auto count = delta.agents.size() + delta.frameworks.size() + delta.tasks.size() + delta.recovered.size();
  if (count != 1) {
    fmt::print(stderr, "a change of kind {} became {} changes\n", changes_ % 4, count);
    std::abort();
  }
  if (!stamps_.put(++seq_, std::chrono::duration_cast<std::chrono::microseconds>(received.time_since_epoch()).count())) {
    fmt::print(stderr, "more changes than there is room for\n");
    std::abort();
  }
  hub.change(delta, received);
  changes_++;
}

void Feed::run(hub::Server& hub, double rate, const std::function<bool()>& done) {
  std::exponential_distribution<double> pause(rate);
  auto next = std::chrono::steady_clock::now();
  while (!done()) {
    next += std::chrono::nanoseconds(int64_t(pause(random_) * 1e9));
    std::this_thread::sleep_until(next);
    const double begun = cpu_of_this_thread();
    change(hub);
    cpu_s_ += cpu_of_this_thread() - begun;
  }
}

}  // namespace ls::converge
