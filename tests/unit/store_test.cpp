#include "store/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>

#include "fake_ensemble.h"
#include "store/zk_store.h"
#include "store_support.h"

namespace ls {
namespace {

bool is(const Error& e, int err) { return e.code == std::error_code(err, std::generic_category()); }

enum class Kind : uint8_t { kMemory, kFile, kZooKeeper };

/// What every kind of store promises (store/store.h).
class Stores : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    session_.start();
    ensemble_.write("/term", "");
    while (session_.status().state != zk::SessionState::kConnected) std::this_thread::sleep_for(Millis(1));
    open();
  }
  void TearDown() override {
    store_.reset();
    session_.stop();
  }
  void open() {
    store_.reset();
    if (GetParam() == Kind::kMemory) {
      store_ = make_memory_store();
      return;
    }
    auto r = GetParam() == Kind::kFile ? open_file_store(dir_.path() / "store.db") : open_zk_store(session_, {.path = "/l/store", .fence = {.path = "/term", .version = 0}, .on_over = {}});
    ASSERT_TRUE(r) << r.error().text();
    store_ = std::move(*r);
  }
  bool kept() const { return GetParam() != Kind::kMemory; }
  StoreDir dir_;
  zk::FakeEnsemble ensemble_{"contract"};
  zk::Session session_{{.url = ensemble_.url()}};
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, Stores, testing::Values(Kind::kMemory, Kind::kFile, Kind::kZooKeeper), [](auto& i) {
  return i.param == Kind::kMemory ? "Memory" : i.param == Kind::kFile ? "File" : "ZooKeeper";
});

TEST_P(Stores, WhatWasPutIsRead) {
  auto v1 = store_->put("a", "k", "one");
  ASSERT_TRUE(v1) << v1.error().text();
  EXPECT_GT(*v1, 0u);
  std::string odd("\0\xff'\"; DROP TABLE record;--", 26);
  ASSERT_TRUE(store_->put("a", odd, odd));
  ASSERT_TRUE(store_->put("b", "k", ""));
  auto r = store_->get("a", "k");
  ASSERT_TRUE(r && *r);
  EXPECT_EQ((*r)->value, "one");
  EXPECT_EQ((*r)->version, *v1);
  EXPECT_EQ((*store_->get("a", odd))->value, odd);
  EXPECT_EQ((*store_->get("b", "k"))->value, "");
  EXPECT_FALSE(*store_->get("a", "other"));
  EXPECT_FALSE(*store_->get("c", "k"));
  auto list = store_->list("a");
  ASSERT_EQ(list->size(), 2u);
  EXPECT_EQ((*list)[0].key, odd) << "sorted by octets";
  EXPECT_TRUE(store_->list("c")->empty());
}

TEST_P(Stores, CompareAndSet) {
  EXPECT_TRUE(is(store_->put("a", "k", "x", 7).error(), ENOENT));
  auto v1 = store_->put("a", "k", "x", 0);
  ASSERT_TRUE(v1);
  EXPECT_TRUE(is(store_->put("a", "k", "y", 0).error(), EEXIST));
  EXPECT_TRUE(is(store_->put("a", "k", "y", *v1 + 1).error(), EEXIST));
  EXPECT_EQ((*store_->get("a", "k"))->value, "x");
  auto v2 = store_->put("a", "k", "y", *v1);
  ASSERT_TRUE(v2);
  EXPECT_GT(*v2, *v1);
  EXPECT_TRUE(is(store_->erase("a", "k", *v1).error(), EEXIST));
  EXPECT_TRUE(store_->erase("a", "k", *v2));
  EXPECT_TRUE(is(store_->erase("a", "k", *v2).error(), ENOENT));
  EXPECT_TRUE(store_->erase("a", "k")) << "gone already is what was wanted";
}

TEST_P(Stores, VersionsNeverRepeat) {
  uint64_t last = 0;
  for (int i = 0; i < 20; i++) {
    auto v = store_->put("a", "k" + std::to_string(i % 3), std::to_string(i));
    ASSERT_TRUE(v);
    EXPECT_GT(*v, last);
    last = *v;
    ASSERT_TRUE(store_->erase("a", "k" + std::to_string(i % 3)));
    if (kept() && i % 5 == 0) open();
  }
}

TEST_P(Stores, SaysWhatItHolds) {
  ASSERT_TRUE(store_->put("b", "k", "1"));
  ASSERT_TRUE(store_->put("", "", ""));
  auto last = store_->put("a", "k", "2");
  ASSERT_TRUE(store_->put("gone", "k", "3"));
  ASSERT_TRUE(store_->erase("gone", "k"));
  EXPECT_EQ(*store_->areas(), (std::vector<std::string>{"", "a", "b"}));
  EXPECT_GT(*store_->last_version(), *last);
  ASSERT_TRUE(store_->skip_versions(1000));
  ASSERT_TRUE(store_->skip_versions(10));
  EXPECT_EQ(*store_->last_version(), 1000u);
  EXPECT_EQ(*store_->put("a", "k", "3"), 1001u);
}

TEST(FileStore, SurvivesReopeningAndHasItsMode) {
  StoreDir dir;
  auto file = dir.path() / "store.db";
  umask(0);
  uint64_t version = 0;
  {
    auto s = open_file_store(file);
    ASSERT_TRUE(s) << s.error().text();
    version = *(*s)->put("a", "k", "v");
    struct stat st {};
    for (auto* suffix : {"", "-wal"}) {
      ASSERT_EQ(stat((file.string() + suffix).c_str(), &st), 0) << suffix;
      EXPECT_EQ(st.st_mode & 07777, 0600u) << suffix;
    }
  }
  chmod(file.c_str(), 0644);
  auto s = open_file_store(file);
  ASSERT_TRUE(s) << s.error().text();
  EXPECT_EQ((*(*s)->get("a", "k"))->version, version);
  struct stat st {};
  ASSERT_EQ(stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  umask(022);
}

TEST(FileStore, OneOwnerAtATime) {
  StoreDir dir;
  auto first = open_file_store(dir.path() / "store.db");
  ASSERT_TRUE(first);
  auto second = open_file_store(dir.path() / "store.db");
  ASSERT_FALSE(second);
  EXPECT_TRUE(is(second.error(), EBUSY)) << second.error().text();
  ASSERT_TRUE((*first)->put("a", "k", "v"));
}

TEST(FileStore, RefusesWhatIsNotItsOwn) {
  StoreDir dir;
  auto file = dir.path() / "store.db";
  EXPECT_TRUE(is(open_file_store(dir.path() / "none" / "store.db").error(), ENOENT));
  std::filesystem::create_directory(file);
  EXPECT_FALSE(open_file_store(file));
  std::filesystem::remove(file);
  for (std::string content : {std::string(), std::string("hello"), std::string(8192, 'x')}) {
    std::ofstream(file) << content;
    auto r = open_file_store(file);
    ASSERT_FALSE(r);
    EXPECT_TRUE(is(r.error(), EILSEQ)) << r.error().text();
    EXPECT_NE(r.error().text().find(file.string()), std::string::npos) << r.error().text();
    EXPECT_EQ(read_file(file), content) << "left as it was";
    std::filesystem::remove(file);
  }
  std::filesystem::create_symlink(dir.path() / "elsewhere.db", file);
  EXPECT_FALSE(open_file_store(file));
  std::filesystem::remove(file);
  // A log whose file was moved away belongs to that file.
  std::ofstream(file.string() + "-wal") << "log";
  auto r = open_file_store(file);
  ASSERT_FALSE(r);
  EXPECT_TRUE(is(r.error(), EEXIST)) << r.error().text();
  EXPECT_EQ(read_file(file.string() + "-wal"), "log");
}

TEST(FileStore, LeftoversOfAnInterruptedCreationAreReplaced) {
  StoreDir dir;
  auto file = dir.path() / "store.db";
  std::ofstream(file.string() + ".new") << "half";
  std::ofstream(file.string() + ".new-journal") << "half";
  auto r = open_file_store(file);
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_TRUE((*r)->put("a", "k", "v"));
}

}  // namespace
}  // namespace ls
