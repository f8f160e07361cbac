#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <map>
#include <set>

#include "registration_node.h"
#include "sources/registrations.h"

namespace ls {
namespace {

using api::Node;
using namespace std::chrono_literals;

class Follower : public testing::Test {
 protected:
  void follow(std::vector<uint16_t> ports, std::filesystem::path file = {}, Millis wait = 1s) {
    FollowerOptions o;
    for (auto p : ports) o.masters.push_back("127.0.0.1:" + std::to_string(p));
    o.file = std::move(file);
    o.times.backoff_min = o.times.backoff_max = 20ms;
    o.save_every = 10ms;
    o.times.retry_first = 100ms;
    o.times.wait = wait;
    have_.clear();
    auto f = RegistrationFollower::make(io_, o, [this](const std::string& zone, RecordDelta d) {
      auto& zone_records = have_[zone];
      for (auto& r : d.add) zone_records.insert(r);
      for (auto& r : d.remove) {
        auto it = zone_records.find(r);
        ASSERT_NE(it, zone_records.end());
        zone_records.erase(it);
      }
    });
    ASSERT_TRUE(f) << f.error().text();
    follower_ = std::move(*f);
    follower_->start();
  }
  bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 2000; i++) {
      if (done()) return true;
      io_.restart();
      io_.run_for(5ms);
    }
    return false;
  }
  size_t count() { return have_["reg.thisdcos.directory"].size(); }
  void TearDown() override {
    if (follower_) follower_->stop();
    io_.restart();
    io_.run_for(20ms);
    follower_.reset();
  }

  boost::asio::io_context io_;
  std::map<std::string, std::multiset<Record>> have_;
  std::unique_ptr<RegistrationFollower> follower_;
  api::TempDir dir_;
};

TEST_F(Follower, TakesOverEveryChange) {
  Node master(true);
  master.start();
  master.put("a", "10.0.0.1");
  follow({master.port});
  ASSERT_TRUE(eventually([&] { return count() == 1; }));
  master.put("b", "10.0.0.2");
  ASSERT_TRUE(eventually([&] { return count() == 2; }));
  master.put("a", "10.0.0.9");
  ASSERT_TRUE(eventually([&] { return have_["reg.thisdcos.directory"].contains(address_record(relative_name("a").value(), api::ip("10.0.0.9"), 5)); }));
  EXPECT_EQ(count(), 2u);
  api::call(master.path, "DELETE", "/v1/zones/reg.thisdcos.directory/records/b/A");
  ASSERT_TRUE(eventually([&] { return count() == 1; }));
  EXPECT_TRUE(follower_->status().connected);
  EXPECT_EQ(follower_->status().failures, 0u);
}

TEST_F(Follower, KeepsWhatItHasWithoutAMaster) {
  Node master(true);
  master.start();
  master.put("a", "10.0.0.1");
  auto file = std::filesystem::path(dir_ / "copy");
  follow({master.port}, file);
  ASSERT_TRUE(eventually([&] { return count() == 1 && std::filesystem::exists(file); }));
  master.stop();
  ASSERT_TRUE(eventually([&] { return follower_->status().failures > 3; }));
  EXPECT_EQ(count(), 1u);
  EXPECT_FALSE(follower_->status().connected);
  follower_->stop();
  follow({master.port}, file);
  EXPECT_EQ(count(), 1u) << "from the disk, before anybody answers";
  EXPECT_TRUE(follower_->status().from_file);
  master.start();
  master.put("b", "10.0.0.2");
  ASSERT_TRUE(eventually([&] { return count() == 2; }));
  EXPECT_FALSE(follower_->status().from_file);
}

TEST_F(Follower, AMasterWithoutNewsIsKnownToBeThereAtOnce) {
  Node master(true);
  master.start();
  master.put("a", "10.0.0.1");
  auto file = dir_ / "copy";
  follow({master.port}, file);
  ASSERT_TRUE(eventually([&] { return count() == 1 && std::filesystem::exists(file); }));
  follower_->stop();
  follow({master.port}, file, 3600s);
  EXPECT_TRUE(follower_->status().from_file);
  ASSERT_TRUE(eventually([&] { return follower_->status().connected; })) << "the master would hold a question that waits for 30 s";
  EXPECT_FALSE(follower_->status().from_file);
  EXPECT_EQ(count(), 1u);
  master.put("b", "10.0.0.2");
  ASSERT_TRUE(eventually([&] { return count() == 2; })) << "the next question waits";
}

TEST_F(Follower, AnotherStoreDoesNotEmptyIt) {
  Node first(true), second(true);
  first.start();
  second.start();
  first.put("a", "10.0.0.1");
  follow({first.port, second.port});
  ASSERT_TRUE(eventually([&] { return count() == 1; }));
  first.stop();
  ASSERT_TRUE(eventually([&] { return follower_->status().refused > 1; }));
  EXPECT_EQ(count(), 1u);
  first.put("b", "10.0.0.2");
  first.start();
  first.put("b", "10.0.0.2");
  ASSERT_TRUE(eventually([&] { return count() == 2; })) << "back at the first";
}

TEST_F(Follower, ALaterMasterServesWhenThereIsNoCopyAndTheFirstIsTriedAgain) {
  Node first(true), second(true);
  second.start();
  second.put("b", "10.0.0.2");
  follow({first.port, second.port});
  ASSERT_TRUE(eventually([&] { return count() == 1; }));
  first.start();
  first.put("a", "10.0.0.1");
  first.put("c", "10.0.0.1");
  ASSERT_TRUE(eventually([&] { return count() == 2; }));
}

TEST_F(Follower, AMasterThatRestartsIsFollowedOn) {
  Node master(true);
  master.start();
  master.put("a", "10.0.0.1");
  follow({master.port});
  ASSERT_TRUE(eventually([&] { return count() == 1; }));
  master.stop();
  master.provider.registry_.reset();
  master.start();
  master.put("b", "10.0.0.1");
  ASSERT_TRUE(eventually([&] { return count() == 2; }));
}

TEST(FollowerOptions, MastersAreChecked) {
  boost::asio::io_context io;
  EXPECT_FALSE(RegistrationFollower::make(io, {}, nullptr));
  FollowerOptions o;
  o.masters = {"10.0.0.1:x"};
  EXPECT_FALSE(RegistrationFollower::make(io, o, nullptr));
}

TEST(FeedFile, DamageAtEveryOctetIsSeen) {
  api::TempDir dir;
  std::filesystem::path file(dir / "copy");
  EXPECT_EQ(load_feed(file).error().code, std::errc::no_such_file_or_directory);
  dns::RegistrationFeed feed;
  feed.at = {"abc", 3, 9};
  dns::Registration r;
  r.zone = "reg.thisdcos.directory";
  r.name = "web";
  r.data = {"10.0.0.1"};
  r.ttl = 5;
  feed.registrations = {r, r};
  feed.registrations[1].name = "two";
  ASSERT_TRUE(save_feed(file, feed));
  auto back = load_feed(file);
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(back->registrations, feed.registrations);
  std::ifstream in(file, std::ios::binary);
  std::string whole{std::istreambuf_iterator<char>(in), {}};
  for (size_t at = 0; at < whole.size(); at++) {
    for (char bit : {char(1), char(0x40)}) {
      auto bad = whole;
      bad[at] = char(bad[at] ^ bit);
      std::ofstream(file, std::ios::binary) << bad;
      EXPECT_FALSE(load_feed(file)) << at;
    }
  }
  for (size_t size = 0; size < whole.size(); size++) {
    std::ofstream(file, std::ios::binary) << whole.substr(0, size);
    EXPECT_FALSE(load_feed(file)) << size;
  }
  EXPECT_FALSE(save_feed("/proc/none/copy", feed));
}

}  // namespace
}  // namespace ls
