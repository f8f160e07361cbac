#include "dns/upstreams.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <unordered_map>

#include "dns/upstream_stats.h"
#include "util/guarded.h"

namespace ls::dns {

std::string_view to_text(UpstreamEvent event) {
  static constexpr std::array<std::string_view, kUpstreamEvents> kNames{
      "good", "timeout", "refused", "servfail", "malformed", "unreachable", "mismatch", "truncated"};
  return kNames[static_cast<size_t>(event)];
}

namespace {

// One lock an upstream, held for some tens of nanoseconds: what is counted belongs together (a share of two counts).
struct Upstream {
  Upstream(const Endpoint& e, Millis half_life) : endpoint(e) {
    guarded_.with([&](std::optional<UpstreamStats>& s) { s.emplace(half_life); });
  }

  template <class F>
  decltype(auto) with(F&& f) {
    return guarded_.with([&](std::optional<UpstreamStats>& s) -> decltype(auto) { return f(*s); });
  }

  const Endpoint endpoint;
  std::atomic<bool> aside{false};

 private:
  Guarded<std::optional<UpstreamStats>> guarded_;
};

}  // namespace

struct Upstreams::Impl {
  Options options;
  Guarded<std::unordered_map<Endpoint, uint32_t>> numbers;
  std::array<std::atomic<Upstream*>, kMaxUpstreams> list{};
  std::atomic<uint32_t> count{0};
  std::atomic<uint64_t> lost{0}, loops{0};

  explicit Impl(Options o) : options(o) {}
  ~Impl() {
    for (auto& u : list) delete u.load();
  }
  Upstream& at(uint32_t number) const { return *list[number].load(std::memory_order_acquire); }

  template <class F>
  void change(uint32_t number, F&& f) {
    Upstream& u = at(number);
    bool aside = u.with([&](UpstreamStats& s) {
      f(s);
      return s.aside();
    });
    u.aside.store(aside, std::memory_order_relaxed);
  }
};

Upstreams::Upstreams(Options options) : impl_(std::make_unique<Impl>(options)) {}
Upstreams::~Upstreams() = default;

uint32_t Upstreams::number(const Endpoint& endpoint) {
  return impl_->numbers.with([&](auto& numbers) {
    if (auto it = numbers.find(endpoint); it != numbers.end()) return it->second;
    uint32_t n = impl_->count.load(std::memory_order_relaxed);
    if (n == kMaxUpstreams) {
      impl_->lost.fetch_add(1, std::memory_order_relaxed);
      return n - 1;
    }
    impl_->list[n].store(new Upstream(endpoint, impl_->options.half_life), std::memory_order_release);
    impl_->count.store(n + 1, std::memory_order_release);
    numbers.emplace(endpoint, n);
    return n;
  });
}

Endpoint Upstreams::endpoint(uint32_t number) const { return impl_->at(number).endpoint; }

Upstreams::Choice Upstreams::choose(std::span<const uint32_t> group, Instant now, uint64_t random) {
  struct Candidate {
    uint32_t number;
    bool aside, probe;
    double expected_ms;
    uint64_t tie;
  };
  std::vector<Candidate> candidates;
  candidates.reserve(group.size());
  for (uint32_t number : group) {
    bool loop = false;
    Candidate c{number, false, false, 0, random *= 6364136223846793005ull};
    random += 1442695040888963407ull;
    impl_->at(number).with([&](UpstreamStats& s) {
      loop = s.looping(now);
      c.aside = s.aside();
      c.expected_ms = s.expected_ms(now);
    });
    if (!loop) candidates.push_back(c);
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    if (a.aside != b.aside) return b.aside;
    if (a.expected_ms != b.expected_ms) return a.expected_ms < b.expected_ms;
    return a.tie >> 32 < b.tie >> 32;
  });
  Choice choice;
  size_t well = std::count_if(candidates.begin(), candidates.end(), [](const Candidate& c) { return !c.aside; });
  // Nobody works: all are asked, since the next answer may come from any of them.
  size_t first = well ? std::min(impl_->options.parallel, well) : candidates.size();
  for (size_t i = 0; i < candidates.size(); i++) {
    const Candidate& c = candidates[i];
    if (i < first) {
      choice.now.push_back(c.number);
    } else {
      choice.later.push_back(c.number);
      // One measuring question at a time is enough.
      if (choice.probe.empty() && impl_->at(c.number).with([&](UpstreamStats& s) { return s.claim_probe(now); }))
        choice.probe.push_back(c.number);
    }
  }
  return choice;
}

Millis Upstreams::patience(std::span<const uint32_t> asked) const {
  // The slowest of those asked has its p95; one that was never heard of gets the upper part of what networks need.
  constexpr double kUnknownMs = 200;
  double ms = 0;
  bool any = false;
  for (uint32_t number : asked) {
    auto p95 = impl_->at(number).with([](const UpstreamStats& s) { return s.p95_ms(); });
    if (!p95) continue;
    any = true;
    ms = std::max(ms, *p95);
  }
  if (!any) ms = kUnknownMs;
  return std::clamp(Millis(static_cast<int64_t>(std::ceil(ms))), impl_->options.retry_min, impl_->options.retry_max);
}

void Upstreams::asked(uint32_t number, Instant now) {
  impl_->at(number).with([&](UpstreamStats& s) { s.asked(now); });
}

void Upstreams::result(uint32_t number, UpstreamEvent event, std::chrono::nanoseconds took, Instant now) {
  impl_->change(number, [&](UpstreamStats& s) {
    if (event == UpstreamEvent::kGood)
      s.good(took, now);
    else
      s.failed(event, now);
  });
}

void Upstreams::excused(uint32_t number, UpstreamEvent event) {
  impl_->at(number).with([&](UpstreamStats& s) { s.excused(event); });
}

void Upstreams::dropped(uint32_t number) {
  impl_->at(number).with([](UpstreamStats& s) { s.settle(); });
}

void Upstreams::note(uint32_t number, UpstreamEvent event) {
  impl_->at(number).with([&](UpstreamStats& s) { s.note(event); });
}

bool Upstreams::aside(uint32_t number) const { return impl_->at(number).aside.load(std::memory_order_relaxed); }

std::optional<uint64_t> Upstreams::loop_probe(uint32_t number, Instant now, uint64_t random) {
  return impl_->at(number).with([&](UpstreamStats& s) { return s.loop_probe(now, random); });
}

bool Upstreams::loop_seen(uint64_t token, Instant now) {
  for (uint32_t i = 0; i < impl_->count.load(std::memory_order_acquire); i++) {
    if (!impl_->at(i).with([&](UpstreamStats& s) { return s.loop_seen(token, now); })) continue;
    impl_->loops.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  return false;
}

uint64_t Upstreams::loops() const { return impl_->loops.load(std::memory_order_relaxed); }
uint64_t Upstreams::lost() const { return impl_->lost.load(std::memory_order_relaxed); }

std::vector<UpstreamView> Upstreams::view(Instant now) const {
  std::vector<UpstreamView> all(impl_->count.load(std::memory_order_acquire));
  for (uint32_t i = 0; i < all.size(); i++) {
    all[i].endpoint = impl_->at(i).endpoint;
    impl_->at(i).with([&](UpstreamStats& s) { s.fill(all[i], now); });
  }
  return all;
}

}  // namespace ls::dns
