#include "scene.h"

#include <fmt/format.h>
#include <malloc.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "bare.h"

namespace ls::converge {
namespace {

constexpr double kLimit_s = 120;
constexpr double kMib = 1 << 20;
/// Of a stream. With what the kernel chooses, thousands on one machine fill what it has for TCP (net.ipv4.tcp_mem), and streams stall.
constexpr int kReceiveBuffer = 64 << 10;

double wall_s() { return double(now_us()) / 1e6; }

size_t room_for(const Options& o) { return size_t((o.rate + 10) * (o.seconds + 4 * kLimit_s) * 4); }

}  // namespace

Scene::Scene(const Options& options, size_t tasks, TlsFiles* tls) : options_(options), tasks_(tasks), tls_(tls), stamps_(room_for(options)) {}

void Scene::run(double rate, const std::function<bool()>& done) {
  std::atomic<bool> over{false};
  std::thread reader([&] {
    fleet_->run([&] { return over || done(); });
    over = true;
  });
  if (rate > 0) feed_->run(*hub_, rate, [&] { return over.load(); });
  reader.join();
}

bool Scene::wait(double rate, const std::function<bool()>& done, double limit_s) {
  const double end = wall_s() + limit_s;
  bool came = false;
  run(rate, [&] { return (came = done()) || wall_s() > end; });
  return came;
}

// ---- from nothing to a hub with followers ----

void Scene::load() {
  const double before = resident_mib();
  feed_ = std::make_unique<Feed>(tasks_, options_.agents, stamps_, options_.plain);
  malloc_trim(0);
  const double state = resident_mib();
  hub::ServerOptions o;
  o.listen = {*Endpoint::parse("127.0.0.1:0")};
  if (tls_) {
    o.cert_file = tls_->file("hub.pem");
    o.key_file = tls_->file("hub.key");
    o.client_ca_file = tls_->file("ca.pem");
  }
  // Called on the hub's thread: that is how its memory is found.
  o.on_follower = [this](const IpAddress&, bool) { hub_heap_ = &heap_of_this_thread(); };
  auto started = hub::Server::start(std::move(o));
  if (!started) throw std::runtime_error(started.error().text());
  hub_ = std::move(*started);
  port_ = hub_->bound().at(0).port;
  while (!(hub_thread_ = thread_named("ls-hub"))) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // it names itself
  feed_->open(*hub_);
  malloc_trim(0);
  fmt::print("  memory: the state of the master's control loop {:.1f} MiB; with the hub's own view {:.1f} more\n", state - before,
             resident_mib() - state);
  first_snapshot();
  join();
}

void Scene::first_snapshot() {
  const double resident = resident_mib(), cpu = hub_cpu(), begun = wall_s();
  Fleet one(port_, 1, tls_ ? tls_->clients() : nullptr, stamps_);
  one.connect({});
  one.run([&] { return one.counts.snapshots > 0 || one.counts.faults > 0 || wall_s() > begun + kLimit_s; });
  const auto status = hub_->status();
  fmt::print("  snapshot: {:.2f} MB, {:.0f} octets a task; made and received in {:.0f} ms, {:.0f} ms of the hub's CPU; resident {:+.1f} MiB\n",
             double(status.snapshot_bytes) / 1e6, double(status.snapshot_bytes) / double(tasks_), (wall_s() - begun) * 1e3,
             (hub_cpu() - cpu) * 1e3, resident_mib() - resident);
  good_ = good_ && one.counts.snapshots == 1;
}

void Scene::join() {
  fleet_ = std::make_unique<Fleet>(port_, options_.agents, tls_ ? tls_->clients() : nullptr, stamps_, kReceiveBuffer);
  while (hub_->status().followers > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const auto status = hub_->status();
  const double resident = resident_mib(), slab = kernel_slab_mib(), buffers = socket_buffers_mib(), cpu = hub_cpu(), begun = wall_s();
  const auto heap = hub_heap_.load()->load();
  fleet_->aim_at(feed_->seq());
  fleet_->connect({status.run, status.seq});
  good_ = wait(0, [&] { return fleet_->in_sync() == options_.agents; }, kLimit_s) && good_;
  const double n = double(options_.agents);
  fmt::print("  {} streams that go on: all in {:.2f} s, {:.0f} us of the hub's CPU each\n", options_.agents, wall_s() - begun, (hub_cpu() - cpu) / n * 1e6);
  fmt::print("  memory of a stream: {:.2f} KiB of the hub's heap; resident {:+.1f} MiB, kernel objects {:+.1f} MiB for both ends of all, "
             "socket buffers {:+.1f} MiB\n",
             double(hub_heap_.load()->load() - heap) / 1024 / n, resident_mib() - resident, kernel_slab_mib() - slab, socket_buffers_mib() - buffers);
  if (!options_.whole) return;
  HubConfig c;
  c.masters = {fmt::format("127.0.0.1:{}", port_)};
  if (tls_) {
    c.tls = true;
    c.ca_file = tls_->file("ca.pem");
    c.cert_file = tls_->file("node.pem");
    c.key_file = tls_->file("node.key");
  }
  const double joined = wall_s();
  whole_ = std::make_unique<WholeAgents>(options_.whole, c, stamps_);
  good_ = wait(0, [&] { return whole_->in_sync(); }, kLimit_s) && good_;
  fmt::print("  {} whole agents, one after the other: snapshot taken in after {:.0f} ms each\n", options_.whole,
             (wall_s() - joined) * 1e3 / double(options_.whole));
}

// ---- changes ----

Found Scene::changes(const char* what, double seconds) {
  double end = wall_s() + std::min(2.0, seconds / 4);
  run(options_.rate, [&] { return wall_s() > end; });  // warm, and the newest batch is on its way
  fleet_->lags.reset();
  if (whole_) whole_->lags.reset();
  fleet_->measuring = true;
  if (whole_) whole_->measuring = true;
  Found f;
  const auto changes = feed_->changes(), records = fleet_->counts.records.load(), bytes = hub_->status().sent_bytes;
  const double cpu = hub_cpu(), feed = feed_->cpu_s(), begun = wall_s();
  double readers = 0;
  end = begun + seconds;
  run(options_.rate, [&] {
    readers = cpu_of_this_thread();  // a thread for this run
    return wall_s() > end;
  });
  f.wall_s = wall_s() - begun;
  f.hub_cpu_s = hub_cpu() - cpu;
  f.changes = feed_->changes() - changes;
  f.records = fleet_->counts.records - records;
  f.bytes = hub_->status().sent_bytes - bytes;
  fleet_->measuring = false;
  if (whole_) whole_->measuring = false;
  f.change_us = f.hub_cpu_s / double(f.changes) * 1e6;
  f.pair_us = f.change_us / double(options_.agents);
  f.write_us = f.hub_cpu_s / double(f.records) * 1e6;
  fmt::print("  {}: {:.1f} changes/s for {:.0f} s, {:.1f} records/s a stream, load {:.2f}\n", what, double(f.changes) / f.wall_s, f.wall_s,
             double(f.records) / double(options_.agents) / f.wall_s, load_average());
  fmt::print("    a stream has it:      {}\n", fleet_->lags.text());
  if (whole_) fmt::print("    a whole agent has it: {}\n", whole_->lags.text());
  fmt::print("    hub's CPU: {:.1f} % of a core; {:.0f} us a change, {:.2f} us a change and stream, {:.2f} us a record and stream\n",
             f.hub_cpu_s / f.wall_s * 100, f.change_us, f.pair_us, f.write_us);
  fmt::print("    sent: {:.0f} octets a change and stream, {:.2f} MB/s in all; control loop {:.1f} us a change; reading and decoding {:.2f} us a record\n",
             double(f.bytes) / double(f.changes) / double(following()), double(f.bytes) / f.wall_s / 1e6,
             (feed_->cpu_s() - feed) / double(f.changes) * 1e6, readers / double(f.records) * 1e6);
  return f;
}

Found Scene::with_stopped_readers() {
  std::unique_ptr<StoppedReaders> stopped;
  const auto before = hub_->status();
  std::thread asking([&] { stopped = std::make_unique<StoppedReaders>(port_, options_.stopped, tls_ ? tls_->clients() : nullptr); });
  wait(options_.rate, [&] { return hub_->status().snapshots >= before.snapshots + options_.stopped; }, kLimit_s);
  asking.join();
  // Less than the hub's patience with a stream that makes no progress (30 s).
  auto f = changes(fmt::format("with {} more that do not read", options_.stopped).c_str(), std::min(options_.seconds, 20.0));
  const auto status = hub_->status();
  fmt::print("    followers {} ({} of them stopped), snapshots sent {}, failed {}\n", status.followers, options_.stopped,
             status.snapshots - before.snapshots, status.failed - before.failed);
  stopped.reset();
  return f;
}

void Scene::reference(const Found& f) const {
  const double per_stream = double(f.records) / double(options_.agents) / f.wall_s;
  const auto octets = size_t(double(f.bytes) / double(f.records));
  const double bare = bare_write_us(options_.agents, octets, std::max(per_stream, 1.0), std::min(options_.seconds, 5.0));
  fmt::print("  reference, now: the kernel alone takes {:.2f} us for one write of {} octets to one of {} sockets; the hub {:.2f} times that\n", bare,
             octets, options_.agents, f.write_us / bare);
}

// ---- everybody at once ----

void Scene::storm(bool resume) {
  const auto before = hub_->status();
  if (whole_) {
    whole_->lags.reset();
    whole_->measuring = true;
  }
  const auto snapshots = fleet_->counts.snapshots.load(), resumed = fleet_->counts.resumed.load(), bytes = fleet_->counts.bytes.load();
  const double cpu = hub_cpu(), begun = wall_s(), resident = resident_mib();
  fleet_->aim_at(feed_->seq());
  fleet_->reconnect(resume ? before.run : "");
  double buffers = 0, peak = 0, half = 0, looked = 0;
  const bool all = wait(
      options_.rate,
      [&] {
        const auto now = wall_s();
        if (now > looked + 0.1) {
          looked = now;
          buffers = std::max(buffers, socket_buffers_mib());
          peak = std::max(peak, resident_mib());
        }
        const auto there = fleet_->in_sync();
        if (!half && there * 2 >= options_.agents) half = now - begun;
        return there == options_.agents;
      },
      kLimit_s * 2);
  const double took = wall_s() - begun, used = hub_cpu() - cpu;
  if (whole_) whole_->measuring = false;
  const auto status = hub_->status();
  fmt::print("  {} streams end and come back at once, {}: half after {:.2f} s, all after {:.2f} s; hub's CPU {:.2f} s, {:.0f} us each; load {:.2f}\n",
             options_.agents, resume ? "and go on where they were" : "and have nothing", half, took, used, used / double(options_.agents) * 1e6,
             load_average());
  fmt::print("    went on {}, snapshots sent {} (made {}), {:.2f} GB at {:.0f} MB/s; socket buffers at most {:.0f} MiB for both ends, resident {:+.1f} MiB\n",
             fleet_->counts.resumed - resumed, fleet_->counts.snapshots - snapshots, status.snapshots_made - before.snapshots_made,
             double(fleet_->counts.bytes - bytes) / 1e9, double(fleet_->counts.bytes - bytes) / 1e6 / took, buffers, peak - resident);
  if (whole_) fmt::print("    agents that stayed have a change meanwhile: {}\n", whole_->lags.text());
  if (!all) fmt::print("    FAILED: {} of them\n", fleet_->in_sync());
  good_ = good_ && all;
}

bool Scene::whole_at_the_end() {
  const auto seq = feed_->seq();
  const double begun = wall_s();
  if (wait(0, [&] { return fleet_->have(seq) == options_.agents; }, kLimit_s)) {
    fmt::print("  every stream has every change {:.2f} s after the last one\n", wall_s() - begun);
  } else {
    fmt::print("  FAILED: {} of {} streams have every change up to {}, of {} at the hub: {}\n", fleet_->have(seq), options_.agents, seq, hub_->status().seq,
               fleet_->text());
    good_ = false;
  }
  const auto status = hub_->status();
  fmt::print("  history: {} changes in {:.2f} MiB; resident {:.1f} MiB with all clients of this process\n", status.history_changes,
             double(status.history_bytes) / kMib, resident_mib());
  const auto faults = fleet_->counts.faults + (whole_ ? whole_->faults() : 0);
  if (faults || status.dropped_behind) {
    fmt::print("  FAILED: {} faults, {} dropped behind\n", faults, status.dropped_behind);
    good_ = false;
  }
  if (whole_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    whole_->end();
    if (!whole_->all_have(feed_->tasks())) {
      fmt::print("  FAILED: the states of the whole agents are not that of the feed\n");
      good_ = false;
    }
  }
  return good_;
}

}  // namespace ls::converge
