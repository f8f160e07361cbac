// What the store goes through: sudden death, damage, a full disk, racing writers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "store/store.h"
#include "store_support.h"
#include "util/unique_fd.h"

namespace ls {
namespace {

bool is(const Error& e, int err) { return e.code == std::error_code(err, std::generic_category()); }

/// Puts and says so, one number a put, until it is killed.
[[noreturn]] void writer(const std::filesystem::path& file, int to, uint64_t from) {
  auto s = open_file_store(file);
  if (!s) _exit(1);
  for (uint64_t i = from;; i++) {
    auto key = "k" + std::to_string(i % 500);
    auto v = (*s)->put("a", key, std::to_string(i));
    if (!v) _exit(2);
    uint64_t said[2] = {i, *v};
    if (write(to, said, sizeof said) != sizeof said) _exit(3);
  }
}

TEST(FileStoreFaults, WhatWasConfirmedSurvivesSigkill) {
  StoreDir dir;
  auto file = dir.path() / "store.db";
  std::mt19937 random(7);
  uint64_t next = 0, last_version = 0, confirmed_puts = 0;
  for (int round = 0; round < 12; round++) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    UniqueFd read_end(ends[0]), write_end(ends[1]);
    pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) writer(file, write_end.get(), next);
    write_end.reset();
    // Killed after a number of confirmed puts, at whatever moment of the next one.
    uint64_t want = 1 + random() % 400, said[2] = {};
    uint64_t got = 0, newest = 0, version = 0;
    bool killed = false;
    while (read(read_end.get(), said, sizeof said) == sizeof said) {
      newest = said[0];
      version = said[1];
      if (++got >= want && !killed) killed = kill(pid, SIGKILL) == 0;
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status)) << "round " << round << " ended by itself with " << status;
    ASSERT_GT(version, last_version) << "versions never repeat";
    confirmed_puts += got;

    auto s = open_file_store(file);
    ASSERT_TRUE(s) << s.error().text();
    // Key i % 500 holds the newest confirmed i, or the one that was under way.
    for (uint64_t i = newest > 499 ? newest - 499 : 0; i <= newest; i++) {
      auto r = (*s)->get("a", "k" + std::to_string(i % 500));
      ASSERT_TRUE(r && *r) << i;
      auto held = std::stoull((*r)->value);
      EXPECT_TRUE(held == i || (held == newest + 1 && held % 500 == i % 500)) << i << " holds " << held;
    }
    last_version = version;
    next = newest + 1;
  }
  RecordProperty("confirmed_puts", int(confirmed_puts));
  EXPECT_GT(confirmed_puts, 500u);
}

using Contents = std::vector<std::pair<std::string, std::string>>;

Result<Contents> contents(const std::filesystem::path& file) {
  LS_ASSIGN(auto s, open_file_store(file));
  LS_ASSIGN(auto list, s->list("a"));
  Contents out;
  for (auto& r : list) out.push_back({r.key, r.value});
  return out;
}

TEST(FileStoreFaults, DamageIsNamedOrHarmlessAndNeverOverwritten) {
  StoreDir dir;
  auto file = dir.path() / "store.db";
  Contents good;
  {
    auto s = open_file_store(file);
    ASSERT_TRUE(s);
    for (int i = 0; i < 60; i++) {
      auto key = "key" + std::to_string(100 + i), value = "value " + std::string(size_t(i * 7 % 90), 'v');
      ASSERT_TRUE((*s)->put("a", key, value));
      good.push_back({key, value});
    }
  }
  const auto whole = read_file(file);
  ASSERT_FALSE(std::filesystem::exists(file.string() + "-wal")) << "the log ends with a clean end";
  int named = 0, harmless = 0;
  for (size_t at = 0; at < whole.size(); at += at < 600 ? 1 : 37) {
    for (char bit : {char(0x01), char(0x80)}) {
      auto bad = whole;
      bad[at] = char(bad[at] ^ bit);
      write_file(file, bad);
      auto got = contents(file);
      if (got) {
        EXPECT_EQ(*got, good) << "offset " << at;
        harmless++;
      } else {
        EXPECT_NE(got.error().text().find(file.string()), std::string::npos) << got.error().text();
        EXPECT_EQ(read_file(file), bad) << "offset " << at << ": " << got.error().text();
        named++;
      }
      for (auto* suffix : {"-wal", "-journal", "-shm"}) std::filesystem::remove(file.string() + suffix);
    }
  }
  for (size_t size = 0; size < whole.size(); size += 997) {
    write_file(file, whole.substr(0, size));
    auto got = contents(file);
    EXPECT_FALSE(got) << "cut to " << size;
    EXPECT_EQ(read_file(file), whole.substr(0, size));
    for (auto* suffix : {"-wal", "-journal", "-shm"}) std::filesystem::remove(file.string() + suffix);
  }
  RecordProperty("named", named);
  RecordProperty("harmless", harmless);
  EXPECT_GT(named, 300);
}

TEST(FileStoreFaults, DamagedLogGivesAPrefixOrAnError) {
  StoreDir dir;
  auto file = dir.path() / "store.db", wal = dir.path() / "store.db-wal";
  {
    // Killed, so that the log stays.
    pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      auto s = open_file_store(file);
      for (int i = 0; s && i < 30; i++) {
        if (!(*s)->put("a", "key" + std::to_string(100 + i), "v")) _exit(1);
      }
      raise(SIGKILL);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  const auto main = read_file(file), log = read_file(wal);
  ASSERT_GT(log.size(), 4096u);
  size_t whole = 0;
  for (size_t at = 0; at < log.size(); at += at < 64 ? 1 : 1501) {
    auto bad = log;
    bad[at] = char(bad[at] ^ 0x10);
    write_file(file, main);
    write_file(wal, bad);
    auto got = contents(file);
    if (!got) continue;
    for (size_t i = 0; i < got->size(); i++) EXPECT_EQ((*got)[i].first, "key" + std::to_string(100 + i)) << "offset " << at;
    whole += got->size() == 30;
  }
  write_file(file, main);
  write_file(wal, log);
  auto got = contents(file);
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(got->size(), 30u) << "nothing is lost from an undamaged log";
}

TEST(FileStoreFaults, AFullDiskRefusesAndChangesNothing) {
  StoreDir dir;
  pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    // A mount namespace of its own: the small file system is seen by this child alone and goes with it.
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(77);
    if (mount("tmpfs", dir.path().c_str(), "tmpfs", 0, "size=256k") != 0) _exit(77);
    auto check = [](bool ok, int code) {
      if (!ok) _exit(code);
    };
    auto file = dir.path() / "store.db";
    auto s = open_file_store(file);
    check(bool(s), 1);
    Contents good;
    bool full = false;
    for (int i = 0; i < 2000 && !full; i++) {
      auto key = "key" + std::to_string(10000 + i);
      auto v = (*s)->put("a", key, std::string(500, 'x'));
      if (v) {
        good.push_back({key, std::string(500, 'x')});
      } else {
        check(is(v.error(), ENOSPC), 2);
        full = true;
      }
    }
    check(full && good.size() > 20, 3);
    // A changed value is refused as well, and the old one stays.
    auto changed = (*s)->put("a", good[0].first, std::string(20000, 'y'));
    check(!changed, 4);
    auto now = (*s)->list("a");
    check(now && now->size() == good.size(), 5);
    for (size_t i = 0; i < good.size(); i++) check((*now)[i].key == good[i].first && (*now)[i].value == good[i].second, 6);
    // The same after an end: nothing half written.
    s->reset();
    auto again = contents(file);
    check(bool(again), 7);
    check(*again == good, 8);
    // With room again it goes on.
    check(mount("tmpfs", dir.path().c_str(), "tmpfs", MS_REMOUNT, "size=4m") == 0, 9);
    auto reopened = open_file_store(file);
    check(bool(reopened), 10);
    check(bool((*reopened)->put("a", "after", "z")), 11);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no mount namespace for this user";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(FileStoreFaults, OfRacingWritersOneWins) {
  StoreDir dir;
  auto file = dir.path() / "store.db";
  { ASSERT_TRUE(open_file_store(file)); }
  // The store has one owner at a time, so the race is between processes that take turns and hold what they read before. None waits
  // for the others in vain: one that finds the store held waits for its owner.
  for (int round = 0; round < 20; round++) {
    uint64_t version = 0;
    {
      auto s = open_file_store(file);
      ASSERT_TRUE(s) << s.error().text();
      auto now = (*s)->get("a", "k");
      ASSERT_TRUE(now);
      if (*now) version = (*now)->version;
    }
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    UniqueFd wait_end(ends[0]), go_end(ends[1]);
    int won = 0;
    std::vector<pid_t> pids;
    for (int i = 0; i < 6; i++) {
      pid_t pid = fork();
      ASSERT_GE(pid, 0);
      if (pid == 0) {
        go_end.reset();
        char c;
        if (read(wait_end.get(), &c, 1) != 0) _exit(5);
        auto s = open_file_store(file);
        if (!s) _exit(is(s.error(), EBUSY) ? 3 : 4);
        auto v = (*s)->put("a", "k", std::to_string(i), version);
        if (v) _exit(0);
        _exit(is(v.error(), EEXIST) ? 1 : 2);
      }
      pids.push_back(pid);
    }
    go_end.reset();  // all of them begin now
    for (auto pid : pids) {
      int status = 0;
      ASSERT_EQ(waitpid(pid, &status, 0), pid);
      ASSERT_TRUE(WIFEXITED(status));
      EXPECT_LE(WEXITSTATUS(status), 1);
      won += WEXITSTATUS(status) == 0;
    }
    EXPECT_EQ(won, 1) << "round " << round;
  }
}

TEST(FileStoreFaults, ManyMakersMakeOneStore) {
  for (int round = 0; round < 10; round++) {
    StoreDir dir;
    auto file = dir.path() / "store.db";
    std::vector<pid_t> pids;
    for (int i = 0; i < 6; i++) {
      pid_t pid = fork();
      ASSERT_GE(pid, 0);
      if (pid == 0) {
        auto s = open_file_store(file);
        _exit(!s ? 1 : (*s)->put("a", std::to_string(i), "v", 0) ? 0 : 2);
      }
      pids.push_back(pid);
    }
    for (auto pid : pids) {
      int status = 0;
      ASSERT_EQ(waitpid(pid, &status, 0), pid);
      EXPECT_EQ(status, 0) << "round " << round;
    }
    auto s = open_file_store(file);
    ASSERT_TRUE(s);
    EXPECT_EQ((*s)->list("a").value().size(), 6u);
  }
}

}  // namespace
}  // namespace ls
