#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "app/last_good.h"
#include "app/zone_keeper.h"

namespace ls {
namespace {

namespace fs = std::filesystem;

class KeptZones : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string dir = (fs::temp_directory_path() / "ls-kept-XXXXXX").string();
    ASSERT_NE(mkdtemp(dir.data()), nullptr);
    dir_ = dir;
  }
  void TearDown() override { fs::remove_all(dir_); }

  static std::vector<Record> records() {
    return {address_record(*relative_name("web.marathon"), *IpAddress::parse("10.0.0.1")),
            address_record(*relative_name("web.marathon"), *IpAddress::parse("fd01::1"), 30),
            srv_record(*relative_name("_web._tcp.marathon"), 0, 1, 80, *relative_name("web.marathon"))};
  }
  std::vector<Record> kept(const std::string& name) {
    auto read = read_zone_file(dir_ / name);
    EXPECT_TRUE(read) << read.error().text();
    if (!read) return {};
    std::sort(read->begin(), read->end());
    return *read;
  }
  static std::vector<Record> sorted(std::vector<Record> all) {
    std::sort(all.begin(), all.end());
    return all;
  }

  fs::path dir_;
  Epoch epoch_;
};

TEST_F(KeptZones, ReadBackWhatWasWritten) {
  auto table = std::make_shared<dns::ZoneTable>(epoch_);
  auto twice = records();
  twice.push_back(twice.front());  // two tasks gave it
  table->replace(twice);
  Epoch::Reader reader(epoch_);
  std::string bytes;
  {
    Epoch::Guard guard(reader);
    bytes = encode_zone(*table);
  }
  ASSERT_TRUE(write_zone_file(dir_ / "mesos", bytes));
  EXPECT_EQ(kept("mesos"), sorted(records()));
}

TEST_F(KeptZones, DamageAtAnyByteIsFound) {
  auto table = std::make_shared<dns::ZoneTable>(epoch_);
  table->replace(records());
  Epoch::Reader reader(epoch_);
  std::string bytes;
  {
    Epoch::Guard guard(reader);
    bytes = encode_zone(*table);
  }
  for (size_t i = 0; i < bytes.size(); i++) {
    auto bad = bytes;
    bad[i] = char(bad[i] ^ 0x20);
    std::ofstream(dir_ / "mesos", std::ios::binary) << bad;
    auto read = read_zone_file(dir_ / "mesos");
    ASSERT_FALSE(read) << "octet " << i;
    EXPECT_EQ(read.error().code.value(), EBADMSG);
    std::ofstream(dir_ / "mesos", std::ios::binary) << bytes.substr(0, i);
    EXPECT_FALSE(read_zone_file(dir_ / "mesos")) << "cut after " << i;
  }
  EXPECT_EQ(read_zone_file(dir_ / "nowhere").error().code.value(), ENOENT);
}

TEST_F(KeptZones, KeeperWritesWhatChangedAtItsEndAndNothingThatIsNotLoaded) {
  auto table = std::make_shared<dns::ZoneTable>(epoch_), empty = std::make_shared<dns::ZoneTable>(epoch_);
  {
    ZoneKeeper keeper(dir_ / "zones", epoch_, {{"mesos", table}, {"l4lb", empty}});
    EXPECT_FALSE(keeper.load("mesos"));
    keeper.start();
    table->apply({records(), {}});
  }
  EXPECT_FALSE(fs::exists(dir_ / "zones" / "l4lb"));
  auto again = std::make_shared<dns::ZoneTable>(epoch_);
  ZoneKeeper keeper(dir_ / "zones", epoch_, {{"mesos", again}});
  auto found = keeper.load("mesos");
  ASSERT_TRUE(found);
  EXPECT_EQ(sorted(*found), sorted(records()));
}

TEST_F(KeptZones, AFolderThatCannotBeWrittenIsAProblemAndNotAnEnd) {
  auto table = std::make_shared<dns::ZoneTable>(epoch_);
  std::ofstream(dir_ / "zones") << "a file";
  {
    ZoneKeeper keeper(dir_ / "zones", epoch_, {{"mesos", table}});
    keeper.start();
    table->apply({records(), {}});
  }
  EXPECT_EQ(fs::file_size(dir_ / "zones"), 6u);
}

}  // namespace
}  // namespace ls
