// overlay-prog [ROUNDS] [REPEAT]: ns per run of the overlay's programs with 4 to 65,536 peers, a random peer for each packet, by
// prog-test-run; and the time that teaching them takes. A row a line, as JSON. "net" is less what choosing the peer costs.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include "overlay_bench.h"

using namespace ls;
using namespace ls::test;

int main(int argc, char** argv) {
  if (auto why = Bench::reason(); !why.empty()) {
    std::printf("{\"skipped\": \"%s\"}\n", why.c_str());
    return 77;
  }
  int rounds = argc > 1 ? std::atoi(argv[1]) : 15, repeat = argc > 2 ? std::atoi(argv[2]) : 100'000;
  const Bytes mac{2, 0, 0, 0, 0, 1};
  OverlayBench bench({.entries = 262144});
  bench.container("9.0.0.5", 1, mac, mac);
  bench.container("fd01:b::5", 1, mac, mac);
  auto v4 = eth().ip("9.0.0.5", "9.0.1.5").udp(4000, 53).payload("0123456789").bytes();
  auto v6 = eth().ip("fd01:b::5", "fd01:b:0:0:1::5").udp(4000, 53).payload("0123456789").bytes();
  auto median = [](std::vector<uint32_t> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  };
  uint32_t there = 3;
  for (uint32_t peers : {4u, 256u, 4000u, 65535u}) {
    std::vector<overlay::Allocation> all;
    for (uint32_t n = 1; n <= peers + 1; n++) all.push_back(overlay_node(n));
    auto begin = std::chrono::steady_clock::now();
    auto done = bench.tables().sync(all);
    double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    if (!done) {
      std::fprintf(stderr, "%s\n", done.error().text().c_str());
      return 1;
    }
    std::printf("{\"peers\": %u, \"new\": %u, \"teach_ms\": %.2f", peers, peers + 1 - there, ms);
    there = peers + 1;
    std::map<std::string, std::vector<uint32_t>> ns;
    auto all_drops = bench.drops_total();
    for (int r = 0; r < rounds; r++) {
      for (auto name : {"none4", "out4", "port4", "none6", "out6", "port6"}) {
        auto program = std::string("cost_") + name;
        ns[name].push_back(bench.cost(program.c_str(), program.back() == '4' ? v4 : v6, peers, repeat));
      }
    }
    for (auto& [name, values] : ns) {
      int base = int(median(ns[name.back() == '4' ? "none4" : "none6"]));
      std::printf(", \"%s\": %u, \"%s_net\": %d, \"%s_min\": %u", name.c_str(), median(values), name.c_str(), int(median(values)) - base,
                  name.c_str(), *std::min_element(values.begin(), values.end()));
    }
    std::printf(", \"dropped\": %llu}\n", static_cast<unsigned long long>(bench.drops_total() - all_drops));
    std::fflush(stdout);
  }
}
