#pragma once
/// Plans, requests and a store that fails, for the overlay's tests.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "overlay/allocator.h"
#include "store/store.h"

namespace ls::overlay {

inline IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
inline IpNetwork net(std::string_view text) { return *IpNetwork::parse(text); }

inline RawPlan raw_plan() {
  RawPlan p;
  p.vtep_subnet = "44.128.0.0/20";
  p.vtep_subnet6 = "fd01:a::/64";
  p.vtep_mac_oui = "70:B3:D5:00:00:00";
  RawOverlay dcos, dcos6;
  dcos.name = "dcos";
  dcos.subnet = "9.0.0.0/8";
  dcos.prefix = 24;
  dcos6.name = "dcos6";
  dcos6.subnet6 = "fd01:b::/64";
  dcos6.prefix6 = 80;
  p.overlays = {dcos, dcos6};
  return p;
}

inline Plan plan_of(const RawPlan& raw) {
  auto plan = check_plan(raw);
  EXPECT_TRUE(plan) << plan.error().text();
  return plan.value_or(Plan{});
}

inline RegisterRequest request(std::string_view node) {
  RegisterRequest q;
  q.node = ip(node);
  return q;
}

inline const Share* share_of(const Allocation& a, std::string_view overlay) {
  for (auto& s : a.shares) {
    if (s.overlay == overlay) return &s;
  }
  return nullptr;
}

/// A store whose owner dies or whose disk is full. The records outlive it.
class FaultyStore final : public Store {
 public:
  explicit FaultyStore(Store& under) : under_(under) {}
  struct Killed {};  ///< thrown in place of the process ending

  int fail_from = -1;   ///< this write and all after it fail, counted from 0; -1: none
  int kill_before = -1, kill_after = -1;
  int writes = 0;

  Result<std::vector<StoredRecord>> list(std::string_view area) override { return under_.list(area); }
  Result<std::optional<StoredRecord>> get(std::string_view area, std::string_view key) override { return under_.get(area, key); }
  Result<uint64_t> put(std::string_view area, std::string_view key, std::string_view value, std::optional<uint64_t> expected) override {
    return write<Result<uint64_t>>([&] { return under_.put(area, key, value, expected); });
  }
  Result<> erase(std::string_view area, std::string_view key, std::optional<uint64_t> expected) override {
    return write<Result<>>([&] { return under_.erase(area, key, expected); });
  }

 private:
  template <class R, class F>
  R write(F f) {
    int n = writes++;
    if (n == kill_before) throw Killed{};
    if (fail_from >= 0 && n >= fail_from) return fail(ENOSPC, "write the record");
    auto r = f();
    if (n == kill_after) throw Killed{};
    return r;
  }
  Store& under_;
};

/// The one promise of all: nothing has two owners, everything lies in its pool, and the pools count what is there.
inline void expect_sound(const Allocator& a) {
  std::set<IpAddress> vteps;
  std::set<IpNetwork> blocks;
  auto plan = a.plan();
  size_t v4_blocks = 0;
  for (auto* n : a.nodes()) {
    auto& v = n->allocation.vtep;
    EXPECT_TRUE(vteps.insert(v.v4.address).second) << v.v4.text() << " twice";
    EXPECT_TRUE(plan.vtep4.contains(v.v4.address));
    if (v.v6) {
      EXPECT_TRUE(vteps.insert(v.v6->address).second) << v.v6->text() << " twice";
    }
    for (auto& s : n->allocation.shares) {
      for (auto* b : {&s.v4, &s.v6}) {
        if (!*b) continue;
        EXPECT_TRUE(blocks.insert(**b).second) << (*b)->text() << " twice";
        bool inside = false;
        for (auto& o : plan.overlays) {
          for (auto* p : {&o.v4, &o.v6}) {
            if (o.name == s.overlay && *p) inside = inside || ((*p)->network.contains((*b)->address) && (*b)->prefix == long_prefix((*b)->address, (*p)->share));
          }
        }
        EXPECT_TRUE(inside) << (*b)->text() << " is no block of " << s.overlay;
        v4_blocks++;
      }
    }
  }
  Number used = 0, vtep_used = 0;
  for (auto& u : a.usage()) {
    EXPECT_TRUE(u.size == u.used + u.held + u.free);
    if (!u.overlay.empty()) used += u.used;
    if (u.overlay.empty() && u.pool == plan.vtep4) vtep_used = u.used;
  }
  EXPECT_EQ(uint64_t(used), v4_blocks);
  EXPECT_EQ(uint64_t(vtep_used), a.size());
}

}  // namespace ls::overlay
