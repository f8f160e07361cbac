#include "datapath/svc_tables.h"

#include <algorithm>

#include "svc_fixture.h"

namespace ls::test {
namespace {

TEST_F(SvcTablesTest, MakesServicesAndRemovesThem) {
  Kernel k;
  auto t = adopt(k);
  std::vector<Service> want{service(1, {1, 2, -3}), service(2, {1}), service(1, {5, 6}, Protocol::kUdp),
                            service(3, {-7})};
  auto st = sync(t, want);
  EXPECT_EQ(st.services_added, 4u);
  EXPECT_EQ(st.backends_added, 7u);
  EXPECT_EQ(st.rings_written, 3u);
  EXPECT_TRUE(st.died.empty());
  expect_shown(k, want);
  auto gone = number_of(k, 1, 2);
  st = apply(t, {}, {key_of(2), key_of(99)});
  EXPECT_EQ(st.services_removed, 1u);
  EXPECT_EQ(st.died, std::vector<uint32_t>{gone});
  want.erase(want.begin() + 1);
  expect_shown(k, want);
}

TEST_F(SvcTablesTest, WhatIsRightIsNotTouched) {
  Kernel k;
  auto t = adopt(k);
  std::vector<Service> want{service(1, {1, 2, 3}), service(2, {4}), service(3, {-5})};
  sync(t, want);
  ApplyStats st;
  EXPECT_EQ(count_writes([&] { st = sync(t, want); }), 0);
  EXPECT_EQ(st.services_unchanged, 3u);
  EXPECT_FALSE(st.changed());
  EXPECT_EQ(count_writes([&] { st = apply(t, want); }), 0);
  // A new controller finds its predecessor's work and leaves it alone too.
  auto again = adopt(k);
  EXPECT_EQ(count_writes([&] { st = sync(again, want); }), 0);
  EXPECT_EQ(st.services_unchanged, 3u);
}

TEST_F(SvcTablesTest, WritesBackendsThenRingThenWordThenEntry) {
  Kernel k;
  auto t = adopt(k);
  sync(t, {});
  std::vector<std::string> order;
  set_map_write_hook_for_tests([&](const std::string& map) {
    if (order.empty() || order.back() != map) order.push_back(map);
    return 0;
  });
  apply(t, {service(1, {1, 2})});
  EXPECT_EQ(order, (std::vector<std::string>{"ls_be", "ls_ring", "ls_svc_tab", "ls_svc"}));
  order.clear();
  apply(t, {}, {key_of(1)});
  EXPECT_EQ(order, (std::vector<std::string>{"ls_svc", "ls_svc_tab", "ls_be", "ls_svc_tab"}));
}

TEST_F(SvcTablesTest, KeepsNumbersAcrossChangesAndRestarts) {
  Kernel k;
  auto t = adopt(k);
  sync(t, {service(1, {1, 2, 3})});
  auto n1 = number_of(k, 1, 1), n2 = number_of(k, 2, 1), n3 = number_of(k, 3, 1);
  auto st = apply(t, {service(1, {1, 3, 4})});
  EXPECT_EQ(st.died, std::vector<uint32_t>{n2});
  EXPECT_EQ(number_of(k, 1, 1), n1);
  auto before = k.open().be[n3].state;
  auto again = adopt(k);
  std::vector<Service> want{service(1, {3, 4, 5})};
  st = sync(again, want);
  EXPECT_EQ(st.died, std::vector<uint32_t>{n1});
  EXPECT_EQ(number_of(k, 3, 1), n3);
  EXPECT_EQ(k.open().be[n3].state, before) << "same generation";
  EXPECT_EQ(LS_BE_STATE(k.open().be[n1].state), uint32_t(LS_BE_DEAD));
  expect_shown(k, want);
}

TEST_F(SvcTablesTest, WeightZeroDrainsAndComesBack) {
  Kernel k;
  auto t = adopt(k);
  sync(t, {service(1, {1, 2})});
  auto n = number_of(k, 1, 1);
  auto st = apply(t, {service(1, {-1, 2})});
  EXPECT_TRUE(st.died.empty());
  EXPECT_EQ(st.backends_reweighted, 1u);
  EXPECT_EQ(number_of(k, 1, 1), n);
  expect_shown(k, {service(1, {-1, 2})});
  apply(t, {service(1, {-1, -2})});
  EXPECT_EQ(k.open().tab[k.open().be[n].svc].ring, 0u);
  expect_shown(k, {service(1, {-1, -2})});
  apply(t, {service(1, {1, -2})});
  EXPECT_EQ(number_of(k, 1, 1), n);
  expect_shown(k, {service(1, {1, -2})});
}

TEST_F(SvcTablesTest, ANumberRestsAndComesBackWithAnotherGeneration) {
  Kernel k({.be = 4});  // numbers 1, 2, 3
  auto t = adopt(k);
  sync(t, {service(1, {1, 2, 3})});
  int graces = graces_;
  auto n1 = number_of(k, 1, 1);
  uint32_t old = k.open().be[n1].state;
  apply(t, {service(1, {2, 3})});
  uint32_t dead = k.open().be[n1].state;
  EXPECT_EQ(LS_BE_STATE(dead), uint32_t(LS_BE_DEAD));
  EXPECT_EQ(LS_BE_GEN(dead), LS_BE_GEN(old)) << "flows still recognise it";
  auto st = apply(t, {service(1, {2, 3, 4})});
  EXPECT_EQ(st.left_out, 1u) << "it still rests";
  ASSERT_EQ(st.problems.size(), 1u);
  EXPECT_NE(st.problems[0].find("ls_be is full"), std::string::npos) << st.problems[0];
  expect_shown(k, {service(1, {2, 3})});
  EXPECT_EQ(graces_, graces);
  clock_.advance(Millis(60'000));
  st = apply(t, {service(1, {2, 3, 4})});
  EXPECT_EQ(st.left_out, 0u);
  EXPECT_EQ(graces_, graces + 1) << "only after a grace period";
  EXPECT_EQ(number_of(k, 4, 1), n1);
  EXPECT_EQ(LS_BE_GEN(k.open().be[n1].state), LS_BE_GEN(old) + 1);
  expect_shown(k, {service(1, {2, 3, 4})});
}

TEST_F(SvcTablesTest, AServiceNumberRestsWhileADeadBackendNamesIt) {
  Kernel k({.tab = 3, .be = 8});  // two services
  auto t = adopt(k);
  sync(t, {service(1, {1}), service(2, {2})});
  apply(t, {}, {key_of(1)});
  auto st = apply(t, {service(3, {3})});
  EXPECT_EQ(st.left_out, 1u);
  EXPECT_NE(st.problems.at(0).find("ls_svc_tab is full"), std::string::npos);
  expect_shown(k, {service(2, {2})});
  clock_.advance(Millis(60'000));
  st = sync(t, {service(2, {2}), service(3, {3})});
  EXPECT_EQ(st.left_out, 0u);
  expect_shown(k, {service(2, {2}), service(3, {3})});
}

TEST_F(SvcTablesTest, AFullRingTableNeverKeepsADeadBackend) {
  Kernel k({.ring_blocks = 438 + 1});  // one ring of several backends, one of a single one
  auto t = adopt(k);
  auto st = sync(t, {service(1, {1, 2, 3}), service(2, {4}), service(3, {5, 6})});
  EXPECT_EQ(st.left_out, 1u);
  EXPECT_EQ(st.services_added, 2u);
  expect_shown(k, {service(1, {1, 2, 3}), service(2, {4})});
  // No room for a second ring: in place. 3 stays, 2 goes, 7 comes.
  auto word = k.open().tab[1].ring;
  st = apply(t, {service(1, {1, 3, 7})});
  EXPECT_EQ(st.left_out, 1u) << "reported";
  EXPECT_EQ(k.open().tab[1].ring, word);
  expect_shown(k, {service(1, {1, 3, 7}), service(2, {4})});
  // A ring of one place cannot grow, but what it names is alive.
  apply(t, {service(2, {8, 9})});
  std::string broken;
  auto seen = look(k.open(), broken, true);
  EXPECT_EQ(broken, "");
  EXPECT_EQ(seen[key_of(2)].ring.size(), 1u);
  // Room appears: the next sync makes it right.
  apply(t, {}, {key_of(1)});
  sync(t, {service(2, {8, 9})});
  expect_shown(k, {service(2, {8, 9})});
}

TEST_F(SvcTablesTest, ScatteredFreeBlocksAreJoined) {
  Kernel k({.svc = 1024, .tab = 1024, .ring_blocks = 1100, .be = 2048});
  auto t = adopt(k);
  std::vector<Service> want;
  for (uint32_t i = 1; i <= 600; i++) want.push_back(service(i, {int(i)}));
  sync(t, want);  // 600 rings of one block each
  std::vector<ServiceKey> gone;
  for (uint32_t i = 1; i <= 600; i++) {
    if (i % 4) gone.push_back(key_of(i));
  }
  apply(t, {}, gone);
  std::erase_if(want, [](auto& s) { return uint32_t(s.key.address.v4() & 0xffff) % 4; });
  auto st = apply(
      t, {service(700, {1, 2}), service(701, {3, 4})});  // 876 of 950 free blocks, no run of 438 but one
  EXPECT_EQ(st.left_out, 0u) << st.problems.at(0);
  want.push_back(service(700, {1, 2}));
  want.push_back(service(701, {3, 4}));
  expect_shown(k, want);
  EXPECT_FALSE(sync(t, want).changed());
}

TEST_F(SvcTablesTest, AFullServiceMapLeavesOneOutAndGoesOn) {
  Kernel k({.svc = 2});
  auto t = adopt(k);
  auto st = sync(t, {service(1, {1}), service(2, {2}), service(3, {3}), service(1, {1}, Protocol::kUdp)});
  EXPECT_EQ(st.services_added, 2u);
  EXPECT_EQ(st.left_out, 2u);
  EXPECT_NE(st.problems.at(0).find("update ls_svc"), std::string::npos) << st.problems[0];
  expect_shown(k, {service(1, {1}), service(2, {2})});
  st = apply(t, {service(3, {3})}, {key_of(1)});
  EXPECT_EQ(st.left_out, 0u) << "the removal made room";
  expect_shown(k, {service(2, {2}), service(3, {3})});
}

TEST_F(SvcTablesTest, AnEntryThatCannotBeErasedRefusesAndIsTriedAgain) {
  Kernel k;
  auto t = adopt(k);
  sync(t, {service(1, {1})});
  set_map_write_hook_for_tests([](const std::string& map) { return map == "ls_svc" ? EBUSY : 0; });
  auto st = apply(t, {}, {key_of(1)});
  set_map_write_hook_for_tests(nullptr);
  EXPECT_EQ(st.left_out, 1u);
  EXPECT_EQ(st.died.size(), 1u);
  std::string broken;
  EXPECT_TRUE(look(k.open(), broken, true)[key_of(1)].ring.empty());
  EXPECT_EQ(broken, "");
  st = sync(t, {});
  EXPECT_EQ(st.services_removed, 1u);
  expect_shown(k, {});
}

TEST_F(SvcTablesTest, SyncRepairsWhatOthersBroke) {
  Kernel k;
  auto t = adopt(k);
  std::vector<Service> want{service(1, {1, 2, 3}), service(2, {4, 5}), service(3, {6})};
  sync(t, want);
  auto n4 = number_of(k, 4, 2);
  auto id = k.open().be[n4].svc;
  struct Damage {
    const char* what;
    std::function<void(SvcMaps&)> hit;
    uint32_t ApplyStats::Repaired::*counter;
  };
  std::vector<Damage> all{
      {"entry deleted", [](SvcMaps& m) { ASSERT_TRUE(m.svc.erase(to_abi(key_of(2)))); },
       &ApplyStats::Repaired::svc_entries},
      {"entry of another", [](SvcMaps& m) { ASSERT_TRUE(m.svc.put(to_abi(key_of(2)), {1})); },
       &ApplyStats::Repaired::svc_entries},
      {"entry of nobody", [](SvcMaps& m) { ASSERT_TRUE(m.svc.put(to_abi(key_of(77)), {1})); },
       &ApplyStats::Repaired::stale},
      {"ring slot", [&](SvcMaps& m) { m.ring.edit(LS_RING_FIRST(m.tab[id].ring) + 100, 1)[0].be[3] = 1; },
       &ApplyStats::Repaired::rings},
      {"ring word", [&](SvcMaps& m) { m.tab.publish(id, &ls_svc::ring, 0); },
       &ApplyStats::Repaired::tab_entries},
      {"service entry", [&](SvcMaps& m) { m.tab.write(id, ls_svc{}); }, &ApplyStats::Repaired::tab_entries},
      {"backend entry", [&](SvcMaps& m) { m.be.write(n4, ls_be{}); }, &ApplyStats::Repaired::backends},
      {"backend state", [&](SvcMaps& m) { m.be.publish(n4, &ls_be::state, 0x9903); },
       &ApplyStats::Repaired::backends},
      {"backend of nobody", [&](SvcMaps& m) { m.be.write(200, m.be[n4]); }, &ApplyStats::Repaired::stale},
      {"service of nobody", [&](SvcMaps& m) { m.tab.write(60, m.tab[id]); }, &ApplyStats::Repaired::stale},
  };
  for (auto& d : all) {
    auto maps = k.open();
    d.hit(maps);
    auto st = sync(t, want);
    EXPECT_EQ(st.repaired.*d.counter, 1u) << d.what;
    EXPECT_EQ(st.repaired.total(), 1u) << d.what;
    expect_shown(k, want, d.what);
    EXPECT_EQ(number_of(k, 4, 2), n4) << d.what;
    EXPECT_FALSE(sync(t, want).changed()) << d.what;
    // The same damage found by a controller that has just started.
    d.hit(maps);
    auto fresh = adopt(k);
    st = sync(fresh, want);
    expect_shown(k, want, std::string(d.what) + ", after a restart");
    t = std::move(fresh);
    sync(t, want);
    n4 = number_of(k, 4, 2);
    id = k.open().be[n4].svc;
  }
}

TEST_F(SvcTablesTest, TwoRingsInOnePlaceAreTakenApart) {
  Kernel k;
  auto t = adopt(k);
  std::vector<Service> want{service(1, {1, 2}), service(2, {3, 4})};
  sync(t, want);
  auto m = k.open();
  m.tab.publish(2, &ls_svc::ring, m.tab[1].ring);
  auto again = adopt(k);
  sync(again, want);
  expect_shown(k, want);
}

TEST_F(SvcTablesTest, TheSameBackendTwiceIsOne) {
  Kernel k;
  auto t = adopt(k);
  sync(t, {service(1, {-1, 1, 2})});
  expect_shown(k, {service(1, {1, 2})});
}

TEST_F(SvcTablesTest, UsageAddsUp) {
  Kernel k;
  auto t = adopt(k);
  sync(t, {service(1, {1, 2}), service(2, {3})});
  apply(t, {service(1, {1, 4})});
  EXPECT_EQ(t.services().used, 2u);
  EXPECT_EQ(t.backends().used, 3u);
  EXPECT_EQ(t.backends().resting, 1u);
  EXPECT_EQ(t.ring_blocks().used, 439u);
  EXPECT_EQ(t.ring_blocks().resting, 438u);
  EXPECT_EQ(t.ring_blocks().capacity, 4096u);
}

}  // namespace
}  // namespace ls::test
