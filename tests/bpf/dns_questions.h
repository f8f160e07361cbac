#pragma once
/// Questions made up at random: names that are there, names like them, and messages and frames that are damaged in one or more places.
/// The same seed gives the same questions. Thread: one.
#include <random>
#include <string>
#include <vector>

#include "dns_bench.h"
#include "dns_lab.h"

namespace ls::test {

class DnsQuestions {
 public:
  /// `names`: absolute, in wire form.
  DnsQuestions(uint64_t seed, std::vector<Bytes> names) : random_(seed), names_(std::move(names)) {}

  struct One {
    Bytes frame;
    const char* src;  ///< who asks, as far as the frame was not damaged
    bool damaged;     ///< the frame around the message
  };
  const One& next();
  uint64_t below(uint64_t n) { return random_() % n; }

 private:
  bool one_in(uint64_t n) { return below(n) == 0; }
  Bytes name();
  void opt(Bytes& message);
  void damage(Bytes& b, size_t from);
  std::mt19937_64 random_;
  std::vector<Bytes> names_;
  Bytes message_;
  One one_;
};

/// All names of all views: apexes, names, and names that are not there. Those that are there `times` times.
std::vector<Bytes> names_of(const dns::Routes& routes, Epoch::Reader& reader, int times = 1);

}  // namespace ls::test
