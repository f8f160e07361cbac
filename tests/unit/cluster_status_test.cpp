// HubFeed and what the status says of it: a real hub on loopback, watched by a service manager that nobody listens to.
#include "app/cluster_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <thread>

#include "app/hub_feed.h"

namespace ls {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class ClusterStatus : public testing::Test {
 protected:
  void start(std::vector<Endpoint> listen) {
    config.hub_server.listen = std::move(listen);
    config.hub_server.anyone = true;
    auto r = feed.start(config, manager, [](const IpAddress&, bool) {});
    ASSERT_TRUE(r) << r.error().text();
  }
  api::StatusView described() {
    api::StatusView v;
    describe_cluster(v, config, nullptr, feed, clock.now());
    return v;
  }
  boost::asio::io_context io;
  SystemClock clock;
  Config config;
  ServiceManager manager;
  HubFeed feed{io, clock};
};

TEST_F(ClusterStatus, NothingWhereThereIsNothing) {
  start({});
  auto v = described();
  EXPECT_FALSE(v.hub);
  EXPECT_FALSE(v.agents);
  EXPECT_TRUE(v.warnings.empty());
  EXPECT_TRUE(manager.pet().empty()) << "a hub that is not served cannot stand still";
}

TEST_F(ClusterStatus, TheHubThatIsServed) {
  start({*Endpoint::parse("127.0.0.1:0")});
  auto v = described();
  ASSERT_TRUE(v.hub);
  EXPECT_EQ(v.hub->run.size(), 16u);
  EXPECT_EQ(v.hub->max_followers, config.hub_server.max_followers);
  EXPECT_EQ(v.hub->history_limit, config.hub_server.history.bytes);
  ASSERT_EQ(v.hub->listen.size(), 1u);
  EXPECT_THAT(v.hub->listen[0], testing::StartsWith("127.0.0.1:"));
  EXPECT_FALSE(v.hub->token);
  ASSERT_TRUE(v.agents);
  EXPECT_EQ(v.agents->watched, 0u);
  EXPECT_FALSE(v.agents->isolated);
  EXPECT_TRUE(v.warnings.empty());
}

TEST_F(ClusterStatus, AnAddressThatCannotBeBoundIsAWarning) {
  start({*Endpoint::parse("192.0.2.1:62081")});  // TEST-NET-1: no machine has it
  auto v = described();
  ASSERT_TRUE(v.hub);
  EXPECT_TRUE(v.hub->listen.empty());
  EXPECT_THAT(v.warnings, ElementsAre(HasSubstr("listen on 192.0.2.1:62081")));
}

TEST_F(ClusterStatus, TheHubsThreadIsWatched) {
  start({*Endpoint::parse("127.0.0.1:0")});
  EXPECT_THAT(manager.pet(), ElementsAre("hub")) << "nothing was heard of it yet";
  bool alive = false;
  for (int i = 0; i < 2000 && !alive; i++) {
    feed.tick({}, false);
    alive = manager.pet().empty();
    if (!alive) std::this_thread::sleep_for(5ms);
  }
  EXPECT_TRUE(alive);
  EXPECT_THAT(manager.pet(), ElementsAre("hub")) << "one beat is good for one time";
}

}  // namespace
}  // namespace ls
