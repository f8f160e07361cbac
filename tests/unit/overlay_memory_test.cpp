// What a node keeps of the allocator over a restart.
#include "app/overlay_memory.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "overlay_link_world.h"
#include "sources/registrations.h"

namespace ls {
namespace {

using namespace std::chrono_literals;
using overlay::ip;

overlay::Allocation allocation(uint8_t n) {
  overlay::Allocation a;
  a.node = IpAddress::from_v4(0x0a000000u + n);
  a.id = "node-" + std::to_string(n);
  a.vtep = {{IpAddress::from_v4(0x2c800000u + n), 20}, {}, {0x70, 0xb3, 0xd5, 0x80, 0, n}};
  overlay::Share s;
  s.overlay = "dcos";
  s.v4 = overlay::net("9.0." + std::to_string(n) + ".0/24");
  s.mesos_bridge = true;
  a.shares = {s};
  return a;
}
OverlayMemory memory(uint8_t nodes, uint64_t version = 7) {
  auto plan = overlay::plan_of(overlay::raw_plan());
  OverlayMemory m;
  m.answer = overlay::RegistrationAnswer{allocation(1), {"a note"}, plan, "allocator"};
  m.feed.emplace();
  m.feed->at = {"run", version, "allocator"};
  m.feed->plan = plan;
  for (uint8_t n = 1; n <= nodes; n++) m.feed->nodes.push_back(allocation(n));
  return m;
}
void expect_same(const OverlayMemory& a, const OverlayMemory& b) {
  EXPECT_EQ(a.answer, b.answer);
  ASSERT_EQ(a.feed.has_value(), b.feed.has_value());
  if (!a.feed) return;
  EXPECT_EQ(a.feed->at, b.feed->at);
  EXPECT_EQ(a.feed->plan, b.feed->plan);
  EXPECT_EQ(a.feed->nodes, b.feed->nodes);
}

TEST(OverlayMemory, ReadsBackWhatWasWritten) {
  StoreDir dir;
  auto file = dir.path() / "overlay-nodes";
  EXPECT_EQ(load_overlay_memory(file).error().code, std::errc::no_such_file_or_directory);
  auto whole = memory(3), answer_only = memory(0), feed_only = memory(2);
  answer_only.feed.reset();
  feed_only.answer.reset();
  for (auto& m : {whole, answer_only, feed_only, OverlayMemory{}}) {
    ASSERT_TRUE(save_overlay_memory(file, m));
    auto back = load_overlay_memory(file);
    ASSERT_TRUE(back) << back.error().text();
    expect_same(*back, m);
  }
  EXPECT_EQ(whole.held()->at, whole.feed->at);
  EXPECT_EQ(whole.held()->plan, whole.feed->plan);
  EXPECT_FALSE(answer_only.held());
  EXPECT_FALSE(save_overlay_memory("/proc/none/nodes", whole));
}

TEST(OverlayMemory, DamageAtEveryOctetIsSeen) {
  StoreDir dir;
  auto file = dir.path() / "overlay-nodes";
  ASSERT_TRUE(save_overlay_memory(file, memory(2)));
  auto whole = read_file(file);
  for (size_t at = 0; at < whole.size(); at++) {
    for (char bit : {char(1), char(0x40)}) {
      auto bad = whole;
      bad[at] = char(bad[at] ^ bit);
      write_file(file, bad);
      auto back = load_overlay_memory(file);
      ASSERT_FALSE(back) << at;
      EXPECT_EQ(back.error().code, std::errc::illegal_byte_sequence) << at;
    }
  }
  for (size_t size = 0; size < whole.size(); size++) {
    write_file(file, whole.substr(0, size));
    ASSERT_FALSE(load_overlay_memory(file)) << size;
  }
  write_file(file, whole + "x");
  EXPECT_FALSE(load_overlay_memory(file));
  write_file(file, whole);
  EXPECT_TRUE(load_overlay_memory(file));
}

TEST(OverlayMemory, WhatIsNotOursIsNotRead) {
  StoreDir dir;
  auto file = dir.path() / "overlay-nodes";
  dns::RegistrationFeed other;
  other.at = {"abc", 1, 1};
  ASSERT_TRUE(save_feed(file, other));
  EXPECT_EQ(load_overlay_memory(file).error().code, std::errc::illegal_byte_sequence);
  auto part = memory(1);
  part.feed->full = false;
  ASSERT_TRUE(save_overlay_memory(file, part));
  EXPECT_FALSE(load_overlay_memory(file)) << "a part is not all there is";
  std::filesystem::remove(file);
  std::filesystem::create_symlink("/etc/passwd", file);
  EXPECT_FALSE(load_overlay_memory(file));
}

/// A process that writes without an end is killed somewhere: there is always a whole file, one that was written.
TEST(OverlayMemory, ACrashBetweenWritesLeavesTheOneBefore) {
  StoreDir dir;
  auto file = dir.path() / "overlay-nodes";
  ASSERT_TRUE(save_overlay_memory(file, memory(1, 1)));
  uint64_t last = 1;
  for (int round = 0; round < 20; round++) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    auto child = fork();
    if (child == 0) {
      for (uint64_t v = last + 1;; v++) {
        (void)save_overlay_memory(file, memory(uint8_t(1 + v % 3), v));
        if (write(ready[1], "x", 1) != 1) _exit(1);
      }
    }
    char one;
    for (int writes = 0; writes <= round % 4; writes++) ASSERT_EQ(read(ready[0], &one, 1), 1);
    usleep(unsigned(round * 37 % 400));
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    close(ready[0]);
    close(ready[1]);
    auto back = load_overlay_memory(file);
    ASSERT_TRUE(back) << back.error().text();
    EXPECT_GT(back->feed->at.version, last);
    last = back->feed->at.version;
    expect_same(*back, memory(uint8_t(1 + last % 3), last));
  }
}

class MemoryWriter : public LinkTest {
 protected:
  std::filesystem::path file_ = dir_.path() / "overlay-nodes";
  bool holds(size_t nodes) {
    auto m = load_overlay_memory(file_);
    return m && m->feed && m->feed->nodes.size() == nodes;
  }
};

TEST_F(MemoryWriter, KeepsEveryChangeAndTheLastAtTheEnd) {
  OverlayMemoryWriter writer(io_, file_, {}, 5ms);
  auto begin = memory(2);
  auto changes = *begin.feed;
  changes.full = false;
  writer.fed(changes);
  pass(30ms);
  EXPECT_FALSE(std::filesystem::exists(file_)) << "changes of nothing";
  writer.allocated(*begin.answer);
  writer.fed(*begin.feed);
  ASSERT_TRUE(eventually([&] { return holds(2); }));
  expect_same(*load_overlay_memory(file_), begin);
  changes.at.version = 8;
  changes.nodes = {allocation(5)};
  changes.removed = {ip("10.0.0.1")};
  changes.plan.vtep_mtu = 1400;
  writer.fed(changes);
  ASSERT_TRUE(eventually([&] { return load_overlay_memory(file_)->feed->at.version == 8; }));
  auto back = load_overlay_memory(file_);
  EXPECT_EQ(back->feed->nodes, (std::vector{allocation(2), allocation(5)}));
  EXPECT_EQ(back->feed->plan, changes.plan);
  std::filesystem::remove(file_);
  writer.allocated(*begin.answer);
  pass(50ms);
  EXPECT_FALSE(std::filesystem::exists(file_)) << "the same again is no reason to write";
  auto full = memory(1, 9);
  writer.fed(*full.feed);
  writer.stop();
  expect_same(*load_overlay_memory(file_), full);
}

TEST_F(MemoryWriter, ADiskThatFailsIsTriedAgain) {
  auto folder = dir_.path() / "gone";
  file_ = folder / "overlay-nodes";
  OverlayMemoryWriter writer(io_, file_, {}, 5ms);
  writer.fed(*memory(2).feed);
  ASSERT_TRUE(eventually([&] { return !writer.error().empty(); }));
  std::filesystem::create_directory(folder);
  ASSERT_TRUE(eventually([&] { return holds(2) && writer.error().empty(); }));
  writer.stop();
}

TEST_F(MemoryWriter, ANodeThatRestartsWithoutAMasterHasItsPeers) {
  AllocatingMaster master;
  master.start();
  master.add("10.0.0.9");
  std::optional<OverlayMemoryWriter> writer;
  auto run = [&](OverlayMemory begin) {
    auto o = options({master.address()});
    o.held = begin.held();
    writer.emplace(io_, file_, std::move(begin), 5ms);
    auto events = copy_.events();
    auto keep = events;
    events.allocated = [&, keep](overlay::RegistrationAnswer&& a) {
      writer->allocated(a);
      keep.allocated(std::move(a));
    };
    events.fed = [&, keep](overlay::AllocationFeed&& f) {
      writer->fed(f);
      keep.fed(std::move(f));
    };
    link_ = std::move(*make_overlay_link(io_, clock_, std::move(o), std::move(events)));
    link_->start();
    say("10.0.0.1");
  };
  run({});
  ASSERT_TRUE(eventually([&] { return copy_.own && copy_.nodes.size() == 2; }));
  auto own = copy_.own->allocation;
  end();
  writer->stop();
  master.stop();
  auto kept = load_overlay_memory(file_);
  ASSERT_TRUE(kept) << kept.error().text();
  EXPECT_EQ(kept->answer->allocation, own);
  EXPECT_EQ(kept->feed->nodes.size(), 2u);
  // A master that comes back says only what changed since then, if it is the same run, and everything if not.
  run(*kept);
  pass(50ms);
  EXPECT_EQ(copy_.fulls, 1);
  master.start();
  ASSERT_TRUE(eventually([&] { return copy_.fulls == 2; }));
  end();
  master.add("10.0.0.7");
  writer->stop();
  run(*load_overlay_memory(file_));
  ASSERT_TRUE(eventually([&] { return copy_.share("10.0.0.7") != ""; }));
  EXPECT_EQ(copy_.fulls, 2);
  end();
  writer->stop();
  EXPECT_TRUE(holds(3));
}

}  // namespace
}  // namespace ls
