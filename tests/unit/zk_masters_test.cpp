// The masters' directory in a real ZooKeeper: what becomes a list, what leaves the last one in force.
#include "sources/zk_masters.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "zk_session_support.h"

namespace ls {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using zk::code;
using Texts = std::vector<std::string>;

struct ZkMastersTest : testing::Test {
  ZkMastersTest() : folder("/" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name())) {}

  void start(const std::string& login = "", Millis session = Millis(10'000)) {
    ZkMastersOptions options;
    options.session = {zk::parse_url(server.url(folder, login)).value(), session, Millis(100)};
    options.refresh = Millis(500);
    masters = std::make_unique<ZkMasters>(io, options, [this](const std::vector<MasterAddress>& list) {
      Texts texts;
      for (auto& m : list) texts.push_back(m.text());
      lists.push_back(texts);
    });
    masters->start();
  }
  bool until(const std::function<bool()>& good) {
    auto end = std::chrono::steady_clock::now() + zk::kPatience;
    while (!good()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.restart();
      io.run_for(Millis(5));
    }
    return true;
  }
  bool listed(Texts wanted) {
    return until([&] { return !lists.empty() && lists.back() == wanted; });
  }
  bool says(const std::string& part) {
    return until([&] { return masters->status().last_error.find(part) != std::string::npos; });
  }
  /// So many reads more, so that what would be done had been done.
  bool reads(uint64_t more) {
    auto wanted = masters->status().reads + more;
    return until([&] { return masters->status().reads >= wanted; });
  }
  void make_folder() { ASSERT_TRUE(world.create(folder, "")); }
  /// A master's node; ends with the session of `by`.
  std::string announce(zk::Client& by, int host, const std::string& content = "", const std::string& label = "json.info_") {
    auto info = fmt::format(R"({{"address":{{"hostname":"m{0}","ip":"10.0.0.{0}","port":5050}},"id":"id-{0}","ip":0,"port":5050}})", host);
    return by.create(folder + "/" + label, content.empty() ? info : content, zk::Mode::kEphemeralSequential).value_or("?");
  }

  ZookeeperServer& server = ZookeeperServer::shared();
  const std::string folder;
  zk::Client world{server.url()};
  boost::asio::io_context io;
  std::vector<Texts> lists;
  std::unique_ptr<ZkMasters> masters;
};

TEST_F(ZkMastersTest, TheLeaderFirstAndEachChange) {
  start();
  EXPECT_TRUE(says(folder + " is not there"));
  make_folder();
  EXPECT_TRUE(says("no master in " + folder));
  EXPECT_TRUE(lists.empty());
  world.create(folder + "/log_replicas", "");
  zk::Client two(server.url());
  announce(two, 3);
  EXPECT_TRUE(listed({"10.0.0.3:5050"}));
  EXPECT_EQ(masters->status().last_error, "");
  auto last = std::make_unique<zk::Client>(server.url());
  announce(*last, 2);
  announce(*last, 1);
  EXPECT_TRUE(listed({"10.0.0.3:5050", "10.0.0.1:5050", "10.0.0.2:5050"}));
  (*last)->stop();
  last.reset();
  EXPECT_TRUE(listed({"10.0.0.3:5050"}));
  auto s = masters->status();
  EXPECT_TRUE(s.connected);
  EXPECT_EQ(s.server, server.address());
  EXPECT_THAT(s.masters, ElementsAre(MasterAddress{"10.0.0.3", 5050}));
  // The last one goes: nobody is withdrawn.
  auto told = lists.size();
  two->stop();
  EXPECT_TRUE(says("no master in"));
  EXPECT_TRUE(reads(2));
  EXPECT_EQ(lists.size(), told);
  EXPECT_THAT(masters->status().masters, ElementsAre(MasterAddress{"10.0.0.3", 5050}));
  // It comes back at the same address with another node: that is told, for it has been elected anew.
  announce(world, 3);
  EXPECT_TRUE(until([&] { return lists.size() == told + 1; }));
  EXPECT_EQ(lists.back(), Texts{"10.0.0.3:5050"});
  EXPECT_TRUE(says(""));
}

TEST_F(ZkMastersTest, WhatCannotBeReadHidesNobody) {
  make_folder();
  announce(world, 0, "\x12\x34 protobuf", "info_");
  announce(world, 0, "no JSON");
  announce(world, 4);
  start();
  EXPECT_TRUE(listed({"10.0.0.4:5050"}));
  EXPECT_THAT(masters->status().last_error, HasSubstr("it is no JSON object: no JSON"));
  EXPECT_TRUE(reads(2));
  EXPECT_EQ(lists.size(), 1u) << "nothing has changed";
}

TEST_F(ZkMastersTest, AnEnsembleThatIsAwayLeavesTheListInForce) {
  make_folder();
  announce(world, 1);
  start("", Millis(1'000));
  EXPECT_TRUE(listed({"10.0.0.1:5050"}));
  server.kill();
  EXPECT_TRUE(until([&] { return !masters->status().connected; }));
  EXPECT_THAT(masters->status().masters, ElementsAre(MasterAddress{"10.0.0.1", 5050}));
  server.start();
  EXPECT_TRUE(until([&] { return masters->status().connected; }));
  ASSERT_TRUE(world.connected(2));
  announce(world, 2);
  EXPECT_TRUE(listed({"10.0.0.1:5050", "10.0.0.2:5050"}));

  // It has forgotten everything: another session, an empty directory, then one that is older than the old one was.
  auto told = lists.size();
  server.forget();
  EXPECT_TRUE(says(folder + " is not there"));
  EXPECT_GE(masters->status().expired, 1u);
  EXPECT_EQ(lists.size(), told);
  zk::Client fresh(server.url());
  ASSERT_TRUE(fresh.create(folder, ""));
  announce(fresh, 9);
  EXPECT_TRUE(says("is older than it was")) << masters->status().last_error;
  EXPECT_EQ(lists.size(), told) << "not by one read";
  EXPECT_TRUE(listed({"10.0.0.9:5050"})) << "but when it stays so";
  EXPECT_GE(masters->status().old_reads, 1u);
}

TEST_F(ZkMastersTest, ADirectoryThatMayNotBeRead) {
  zk::Client owner(server.url("/", "mesos:secret"));
  ASSERT_TRUE(owner.create(folder, ""));
  announce(owner, 1);
  start();
  EXPECT_TRUE(says("Permission denied"));
  masters.reset();
  start("mesos:secret");
  EXPECT_TRUE(listed({"10.0.0.1:5050"}));
}

TEST_F(ZkMastersTest, MayGoAtAnyMoment) {
  make_folder();
  announce(world, 1);
  for (int i = 0; i < 10; i++) {
    start();
    std::this_thread::sleep_for(Millis(i));
    masters.reset();
    auto told = lists.size();
    io.restart();
    io.run_for(Millis(1));
    EXPECT_EQ(lists.size(), told) << "no call after the end";
  }
}

}  // namespace
}  // namespace ls
