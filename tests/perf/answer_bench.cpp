// Nanoseconds for one answer: parse, route, look up, compose. No socket. One thread; run it on an otherwise quiet CPU.
#include <ctime>

#include <cstdio>
#include <random>

#include "../support/dns_world.h"

namespace {

using namespace ls;
using namespace ls::dns;

std::vector<uint8_t> packet(std::string_view name, RrType type) {
  std::vector<uint8_t> out{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1};
  const DnsName wire = test::name_of(name);
  out.insert(out.end(), wire.wire().begin(), wire.wire().end());
  const auto t = static_cast<uint16_t>(type);
  for (const int b : {t >> 8, t & 0xff, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}) out.push_back(static_cast<uint8_t>(b));
  return out;
}

double cpu_ns() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return 1e9 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec);
}

/// Asks in a random order, best of several runs: other programs only make it slower.
double measure(test::DnsWorld& world, const std::vector<std::vector<uint8_t>>& questions) {
  const Routes& routes = world.routes();
  std::vector<uint8_t> out(4096);
  std::mt19937 random(1);
  std::vector<uint32_t> order(1 << 16);
  for (auto& i : order) i = static_cast<uint32_t>(random() % questions.size());
  double best = 1e18;
  size_t octets = 0;
  for (int run = 0; run < 8; ++run) {
    const double start = cpu_ns();
    for (size_t batch = 0; batch < order.size(); batch += 32) {
      Epoch::Guard guard(world.reader);
      for (size_t i = batch; i < batch + 32; ++i) {
        Query query;
        if (parse_query(questions[order[i]], query).outcome != ParseOutcome::kGood) std::abort();
        const Route route = routes.find(query.folded());
        AnswerLimits limits;
        limits.random = order[i] * 0x9e3779b97f4a7c15ull;
        octets += answer_from_zone(query, *route.zone, routes, limits, out).size;
      }
    }
    best = std::min(best, (cpu_ns() - start) / static_cast<double>(order.size()));
  }
  if (octets == 0) std::abort();
  return best;
}

}  // namespace

int main() {
  std::printf("%9s %10s %8s %8s %8s %8s\n", "names", "bytes/name", "A", "SRV", "NXDOMAIN", "NODATA");
  for (const uint32_t names : {1u, 10'000u, 100'000u, 143'000u}) {
    test::DnsWorld world;
    AnswerRules rules = test::mesos_rules();
    ZoneTable& table = world.zone("mesos", rules);
    for (const char* other : {"spartan", "localhost", "zk", "thisdcos.directory", "l4lb.thisdcos.directory"}) world.zone(other);
    RecordDelta delta;
    std::vector<std::vector<uint8_t>> a, srv, none, nodata;
    for (uint32_t i = 0; i < names; ++i) {
      const std::string task = "service-" + std::to_string(i);
      const std::string name = task + ".marathon", service = "_" + task + "._tcp.marathon";
      delta.add.push_back(address_record(*relative_name(name), IpAddress::from_v4(0x0a000000 + i)));
      if (i % 4 == 0) {
        delta.add.push_back(srv_record(*relative_name(service), 0, 1, 31000, *relative_name(name)));
        srv.push_back(packet(service + ".mesos", RrType::kSrv));
      }
      a.push_back(packet(name + ".mesos", RrType::kA));
      nodata.push_back(packet(name + ".mesos", RrType::kAaaa));
      none.push_back(packet("x" + task + ".marathon.mesos", RrType::kA));
    }
    const double before = cpu_ns();
    table.apply(delta);
    const double load = cpu_ns() - before;
    std::printf("%9u %10zu %8.0f %8.0f %8.0f %8.0f   load %.1f ms\n", names, table.bytes() / table.names(), measure(world, a), measure(world, srv),
                measure(world, none), measure(world, nodata), load / 1e6);
  }
}
