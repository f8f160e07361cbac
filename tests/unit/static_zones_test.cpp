// Zones from settings and zone files.
#include "app/static_zones.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace ls {
namespace {

class StaticZonesTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/loadstar-zones-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string problems(const Config& c) {
    std::string out;
    for (auto& p : read_static_zones(c, "a.toml").problems) out += p.text() + "\n";
    return out;
  }
  std::filesystem::path dir_;
};

TEST_F(StaticZonesTest, SettingAndFileOfOneZoneComeTogether) {
  std::ofstream(dir_ / "reg.zone") << "$ORIGIN reg.thisdcos.directory.\nb A 192.0.2.2\na A 192.0.2.1\n";
  Config c;
  c.resolver.static_zones = {{"reg.thisdcos.directory", {"a A 192.0.2.1", "c CNAME a"}}, {"x.thisdcos.directory", {}}};
  c.resolver.zone_files = {dir_ / "reg.zone"};
  auto got = read_static_zones(c, "a.toml");
  ASSERT_TRUE(got.problems.empty()) << got.problems[0].text();
  EXPECT_EQ(got.zones.size(), 2u);
  EXPECT_EQ(got.zones["reg.thisdcos.directory"].size(), 3u);
  EXPECT_EQ(got.zones["reg.thisdcos.directory"][0].ttl, 5u);
}

TEST_F(StaticZonesTest, FaultsNameSettingZoneAndLine) {
  std::ofstream(dir_ / "bad.zone") << "$ORIGIN mesos.thisdcos.directory.\na A 192.0.2.1\n";
  Config c;
  c.resolver.static_zones = {{"reg.thisdcos.directory", {"a A 192.0.2.1", "a A x"}}};
  c.resolver.zone_files = {dir_ / "bad.zone", dir_ / "none.zone"};
  EXPECT_EQ(problems(c),
            "a.toml: resolver.static_zones: \"reg.thisdcos.directory\": line 2: Syntax error, could not parse the RR's rdata\n"
            "a.toml: resolver.zone_files: \"mesos.thisdcos.directory\" belongs to mesos.thisdcos.directory, which loadstar makes "
            "itself\n"
            "a.toml: resolver.zone_files: " + (dir_ / "none.zone").native() + ": No such file or directory\n");
}

}  // namespace
}  // namespace ls
