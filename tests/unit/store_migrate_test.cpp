// Copies of stores between files and a real ZooKeeper, as loadstard store migrate makes them.
#include "app/store_migrate.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "app/config.h"
#include "app/master_terms.h"
#include "overlay/allocation_record.h"
#include "store_support.h"
#include "zookeeper_fixture.h"

namespace ls {
namespace {

bool is(const Error& e, int err) { return e.code == std::error_code(err, std::generic_category()); }

class StoreMigrate : public testing::Test {
 protected:
  Config config(const std::filesystem::path& folder) {
    Config c;
    c.store.path = folder / "store.db";
    c.store.zookeeper = zk().url(std::string("/") + testing::UnitTest::GetInstance()->current_test_info()->name());
    c.store.session = Millis(2'000);
    return c;
  }
  static ZookeeperServer& zk() { return ZookeeperServer::shared(); }
  void fill(const std::filesystem::path& folder, int names) {
    auto store = open_file_store(folder / "store.db");
    ASSERT_TRUE(store);
    for (int i = 0; i < names; i++) ASSERT_TRUE((*store)->put("dns.registrations", "zone A n" + std::to_string(i), "value " + std::to_string(i)));
    last_ = *(*store)->last_version();
    auto overlay = open_file_store(folder / "overlay.db");
    ASSERT_TRUE((*overlay)->put(overlay::kStoreArea, "plan", "p"));
    ASSERT_TRUE((*overlay)->put(overlay::kStoreArea, "10.0.0.1", "n"));
  }
  StoreDir from_, to_;
  uint64_t last_ = 0;
};

TEST_F(StoreMigrate, ThereAndBack) {
  fill(from_.path(), 100);
  auto there = migrate_stores(config(from_.path()), MigrateTo::kZookeeper);
  ASSERT_TRUE(there) << there.error().text();
  ASSERT_EQ(there->size(), 2u);
  EXPECT_EQ((*there)[0].records + (*there)[1].records, 102u);
  EXPECT_TRUE(migrate_stores(config(from_.path()), MigrateTo::kZookeeper)) << "it is there already";
  auto back = migrate_stores(config(to_.path()), MigrateTo::kFile);
  ASSERT_TRUE(back) << back.error().text();
  auto names = open_file_store(to_.path() / "store.db"), overlay = open_file_store(to_.path() / "overlay.db");
  ASSERT_TRUE(names && overlay);
  EXPECT_EQ((*names)->list("dns.registrations")->size(), 100u);
  EXPECT_EQ((*(*names)->get("dns.registrations", "zone A n7"))->value, "value 7");
  EXPECT_GT((*(*names)->get("dns.registrations", "zone A n7"))->version, last_) << "an ETag of before would fit another content";
  EXPECT_EQ((*(*overlay)->get(overlay::kStoreArea, "plan"))->value, "p");
  EXPECT_EQ(*(*names)->areas(), std::vector<std::string>{"dns.registrations"});
  EXPECT_GT(*(*names)->put("x", "y", "z"), last_) << "what was told of versions stays older";
  // A daemon holds the file, or there is something else.
  auto held = migrate_stores(config(to_.path()), MigrateTo::kZookeeper);
  ASSERT_FALSE(held);
  EXPECT_TRUE(is(held.error(), EBUSY)) << held.error().text();
  names->reset();
  overlay->reset();
  auto full = migrate_stores(config(to_.path()), MigrateTo::kZookeeper);
  ASSERT_FALSE(full);
  EXPECT_TRUE(is(full.error(), EEXIST)) << full.error().text();
  auto other = migrate_stores(config(to_.path()), MigrateTo::kFile);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().text().find("store.db is not empty"), std::string::npos) << other.error().text();
}

TEST_F(StoreMigrate, NotWhileAMasterLeads) {
  fill(from_.path(), 1);
  auto c = config(from_.path());
  MasterTerms master({.session = {.url = *zk::parse_url(c.store.zookeeper)}, .path = zk::parse_url(c.store.zookeeper)->path, .advertise = "10.0.0.1:62080"},
                     [](auto) {}, {});
  master.start();
  for (int i = 0; i < 2000 && !master.status().election.leading; i++) std::this_thread::sleep_for(Millis(5));
  ASSERT_TRUE(master.status().election.leading);
  auto r = migrate_stores(c, MigrateTo::kZookeeper);
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().text().find("10.0.0.1:62080 leads"), std::string::npos) << r.error().text();
  master.stop();
  EXPECT_TRUE(migrate_stores(c, MigrateTo::kZookeeper));
}

TEST_F(StoreMigrate, KilledInTheMiddleTheNextRunCompletes) {
  fill(from_.path(), 1500);
  auto c = config(from_.path());
  int killed = 0;
  for (int pause_ms : {150, 400}) {
    auto child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(migrate_stores(c, MigrateTo::kZookeeper) ? 0 : 1);
    std::this_thread::sleep_for(Millis(pause_ms));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    killed += WIFSIGNALED(status);
  }
  Result<std::vector<MigratedArea>> done = fail("not tried");
  for (int i = 0; i < 2000 && !done; i++) {
    done = migrate_stores(c, MigrateTo::kZookeeper);
    if (done) break;
    ASSERT_TRUE(is(done.error(), EBUSY)) << done.error().text();  // the place of the one that was killed
    std::this_thread::sleep_for(Millis(100));
  }
  ASSERT_TRUE(done) << done.error().text();
  auto back = migrate_stores(config(to_.path()), MigrateTo::kFile);
  ASSERT_TRUE(back);
  EXPECT_EQ((*open_file_store(to_.path() / "store.db"))->list("dns.registrations")->size(), 1500u);
  EXPECT_GT(killed, 0);
}

}  // namespace
}  // namespace ls
