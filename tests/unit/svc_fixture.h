#pragma once
/// What the tests of SvcTables share: services by short text, a reader that looks at the maps as a program
/// does.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "bpf_maps.h"
#include "datapath/abi_convert.h"
#include "datapath/maglev.h"
#include "datapath/svc_tables.h"

namespace ls::test {

inline ServiceKey key_of(uint32_t n, Protocol proto = Protocol::kTcp) {
  return {IpAddress::from_v4(0x0b000000 + n), 80, proto};
}

/// Backend `n` of weight 1, or of weight 0 when negative.
inline Backend backend_of(int n) {
  Backend b;
  b.address = IpAddress::from_v4(0x0a000000 + uint32_t(std::abs(n)));
  b.port = 8080;
  b.weight = n > 0;
  return b;
}
inline Service service(uint32_t n, std::vector<int> backends, Protocol proto = Protocol::kTcp) {
  Service s;
  s.key = key_of(n, proto);
  for (int b : backends) s.backends.push_back(backend_of(b));
  return s;
}

/// What a client can observe of one service.
struct Seen {
  std::map<Endpoint, std::string> backends;  // live ones, with their state
  std::map<Endpoint, uint32_t> ring;         // slots
  uint64_t ring_order = 0;                   // of the endpoints, slot by slot
  uint32_t counted = 0, active = 0;
  bool operator==(const Seen&) const = default;
};
using SeenAll = std::map<ServiceKey, Seen>;

class Kernel {
 public:
  explicit Kernel(LbSizes sizes = {}) : sizes_(sizes) { add_lb_maps(maps_, sizes); }
  SvcMaps open() const {
    auto m = SvcMaps::open(maps_.opener());
    EXPECT_TRUE(m) << m.error().text();
    return std::move(*m);
  }
  const MapSet& maps() const { return maps_; }
  const LbSizes& sizes() const { return sizes_; }

 private:
  MapSet maps_;
  LbSizes sizes_;
};

/// Reads the maps as a program does: entry, number, word, slots, backends. Reports every rule that is broken.
/// `repaired`: the tables are at rest, so that nothing may lie about that belongs to nobody.
inline SeenAll look(const SvcMaps& m, std::string& broken, bool at_rest) {
  SeenAll out;
  std::set<uint32_t> ids, members;
  auto wrong = [&](const ServiceKey& k, const std::string& what) { broken += k.text() + ": " + what + "\n"; };
  auto walked = m.svc.for_each([&](const ls_svc_key& raw, const ls_svc_ref& ref) {
    auto key = from_abi(raw);
    if (!key || ref.id == 0 || ref.id >= m.tab.size()) {
      broken += "an ls_svc entry that leads nowhere\n";
      return;
    }
    auto& svc = m.tab[ref.id];
    if (!(svc.flags & LS_SVC_USED) || !same_key(svc.key, raw)) {
      wrong(*key, "its number is another's");
      return;
    }
    ids.insert(ref.id);
    auto& seen = out[*key];
    seen.counted = svc.backends;
    seen.active = svc.active;
    uint32_t slots = LS_RING_SLOTS(svc.ring), first = LS_RING_FIRST(svc.ring);
    if (uint64_t(first) * 16 + slots > uint64_t(m.ring.size()) * 16) {
      wrong(*key, "its ring is outside ls_ring");
      return;
    }
    for (uint32_t i = 0; i < slots; i++) {
      uint32_t n = m.ring[first + i / 16].be[i % 16];
      if (n == 0 || n >= m.be.size()) {
        wrong(*key, "a slot names no backend");
        break;
      }
      auto& b = m.be[n];
      if (b.svc != ref.id || b.proto != uint8_t(key->protocol)) {
        wrong(*key, "a slot names backend " + std::to_string(n) + " of another service");
        break;
      }
      if (!be_is_live(b.state)) {
        wrong(*key, "a slot names a backend that is " + std::string(be_state_text(b.state)));
        break;
      }
      if (at_rest && LS_BE_STATE(b.state) != LS_BE_ACTIVE) wrong(*key, "a slot names a draining backend");
      seen.ring[endpoint_of(b)]++;
      seen.ring_order = seen.ring_order * 31 + std::hash<Endpoint>{}(endpoint_of(b));
    }
  });
  if (!walked) broken += walked.error().text();
  for (uint32_t n = 1; n < m.be.size(); n++) {
    auto& b = m.be[n];
    if (!be_is_live(b.state)) continue;
    if (b.svc < m.tab.size() && ids.contains(b.svc)) {
      auto& seen = out[*from_abi(m.tab[b.svc].key)];
      if (!seen.backends.emplace(endpoint_of(b), be_state_text(b.state)).second && at_rest)
        broken += "a backend twice\n";
    } else if (at_rest) {
      broken += "backend " + std::to_string(n) + " is live and belongs to nothing\n";
    }
  }
  if (at_rest) {
    for (uint32_t id = 1; id < m.tab.size(); id++) {
      if (m.tab[id].flags && !ids.contains(id))
        broken += "ls_svc_tab " + std::to_string(id) + " belongs to nothing\n";
    }
  }
  return out;
}

/// What the kernel should show for a set of services.
inline SeenAll shown(const std::vector<Service>& want) {
  SeenAll out;
  for (auto& s : want) {
    auto& seen = out[s.key];
    std::vector<RingMember> ring;
    std::vector<Endpoint> by_number{{}};
    for (auto& b : s.backends) {
      seen.backends[b.endpoint()] = b.weight ? "active" : "draining";
      if (!b.weight) continue;
      ring.push_back({ring_hash(b.endpoint()), uint32_t(by_number.size())});
      by_number.push_back(b.endpoint());
    }
    seen.counted = uint32_t(seen.backends.size());
    seen.active = uint32_t(ring.size());
    std::vector<uint32_t> slots(ring_slots(seen.active));
    if (!ring.empty()) build_ring(ring, slots);
    for (uint32_t n : slots) {
      seen.ring[by_number[n]]++;
      seen.ring_order = seen.ring_order * 31 + std::hash<Endpoint>{}(by_number[n]);
    }
  }
  return out;
}

inline void expect_shown(const Kernel& k, const std::vector<Service>& want, const std::string& when = "") {
  std::string broken;
  auto seen = look(k.open(), broken, true);
  EXPECT_EQ(broken, "") << when;
  EXPECT_TRUE(seen == shown(want)) << when << ": " << seen.size() << " services instead of " << want.size();
}

class SvcTablesTest : public testing::Test {
 protected:
  void SetUp() override { LS_NEED_BPF(); }
  void TearDown() override { set_map_write_hook_for_tests(nullptr); }
  SvcTables::Options options() {
    return {.clock = &clock_, .backend_quarantine = Millis(60'000), .grace = [this] { graces_++; }};
  }
  SvcTables adopt(const Kernel& k) {
    auto t = SvcTables::adopt(k.open(), options());
    EXPECT_TRUE(t) << t.error().text();
    return std::move(*t);
  }
  ApplyStats sync(SvcTables& t, const std::vector<Service>& want) {
    auto st = t.sync(want);
    EXPECT_TRUE(st) << st.error().text();
    return std::move(*st);
  }
  static ApplyStats apply(SvcTables& t, std::vector<Service> upsert, std::vector<ServiceKey> remove = {}) {
    auto st = t.apply({std::move(upsert), std::move(remove)});
    EXPECT_TRUE(st) << st.error().text();
    return std::move(*st);
  }
  static uint32_t number_of(const Kernel& k, int backend, uint32_t svc_n) {
    auto m = k.open();
    for (uint32_t n = 1; n < m.be.size(); n++) {
      if (be_is_live(m.be[n].state) && endpoint_of(m.be[n]) == backend_of(backend).endpoint() &&
          same_key(m.tab[m.be[n].svc].key, to_abi(key_of(svc_n))))
        return n;
    }
    return 0;
  }
  static int count_writes(const std::function<void()>& f) {
    int n = 0;
    set_map_write_hook_for_tests([&](const std::string&) { return n++, 0; });
    f();
    set_map_write_hook_for_tests(nullptr);
    return n;
  }
  FakeClock clock_;
  int graces_ = 0;
};

}  // namespace ls::test
