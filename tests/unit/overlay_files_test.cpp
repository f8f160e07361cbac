// The files by which containers learn of the overlay, and what tells one machine from another.
#include "app/overlay_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "app/overlay_node.h"
#include "store_support.h"

namespace ls {
namespace {

using Json = nlohmann::json;

overlay::Allocation allocation() {
  overlay::Allocation a;
  a.node = *IpAddress::parse("10.0.0.1");
  overlay::Share dcos, six, full;
  dcos.overlay = "dcos";
  dcos.v4 = IpNetwork::parse("9.0.3.0/24");
  dcos.mesos_bridge = dcos.docker_bridge = true;
  six.overlay = "dcos6";
  six.v6 = IpNetwork::parse("fd01:b:0:0:3::/80");
  six.mesos_bridge = true;
  full.overlay = "full";
  full.state = overlay::ShareState::kExhausted;
  full.mesos_bridge = true;
  a.shares = {dcos, six, full};
  return a;
}

Config config_in(const StoreDir& dir) {
  Config c;
  c.store.path = dir.path() / "store.db";
  c.overlay.cni_dir = dir.path() / "cni" / "net";
  return c;
}

TEST(OverlayFiles, EachShareHasItsOwnFile) {
  StoreDir dir;
  auto config = config_in(dir);
  auto files = overlay_files(config, allocation(), "{}\n", 1450);
  ASSERT_EQ(files.cni.size(), 2u) << "one that was not given has none";
  auto written = write_overlay_files(files);
  EXPECT_EQ(written.state_error, "");
  EXPECT_EQ(written.written, 3u);
  auto dcos = Json::parse(read_file(config.overlay.cni_dir / "dcos.conf"));
  EXPECT_EQ(dcos, (Json{{"name", "dcos"}, {"type", "loadstar-cni"}, {"mode", "direct"}, {"ipam", {{"overlay", "dcos"}}},
                        {"overlayState", (dir.path() / "overlay-agent.json").string()}, {"pin", "/sys/fs/bpf/loadstar"}}));
  EXPECT_EQ(Json::parse(read_file(config.overlay.cni_dir / "dcos6.conf"))["ipam"]["overlay"], "dcos6") << "IPv6 alone has one too";
  struct stat st {};
  ASSERT_EQ(stat((config.overlay.cni_dir / "dcos.conf").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0644u);
  auto node = st.st_ino;
  EXPECT_EQ(write_overlay_files(files).written, 0u) << "what is as it should be is not written";
  ASSERT_EQ(stat((config.overlay.cni_dir / "dcos.conf").c_str(), &st), 0);
  EXPECT_EQ(st.st_ino, node);
}

TEST(OverlayFiles, TheOriginalsShapeAndNone) {
  StoreDir dir;
  auto config = config_in(dir);
  config.overlay.cni = CniKind::kOriginal;
  config.overlay.mtu = 1420;
  auto files = overlay_files(config, allocation(), "{}\n", 1420);
  ASSERT_EQ(files.cni.size(), 1u) << "the original has none for IPv6 alone";
  auto json = Json::parse(files.cni[0].text);
  EXPECT_EQ(json["type"], "mesos-cni-port-mapper");
  EXPECT_EQ(json["delegate"]["mtu"], 1420);
  config.overlay.cni = CniKind::kOff;
  EXPECT_TRUE(overlay_files(config, allocation(), "{}\n", 1420).cni.empty());
  config.overlay.cni = CniKind::kLoadstar;
  EXPECT_EQ(Json::parse(overlay_files(config, allocation(), "{}\n", 1420).cni[0].text)["mtu"], 1420);
}

TEST(OverlayFiles, AShareThatIsGoneTakesItsFileWithIt) {
  StoreDir dir;
  auto config = config_in(dir);
  for (auto kind : {CniKind::kOriginal, CniKind::kLoadstar}) {
    config.overlay.cni = kind;
    write_overlay_files(overlay_files(config, allocation(), "{}\n", 1450));
    ASSERT_TRUE(std::filesystem::exists(config.overlay.cni_dir / "dcos.conf"));
    auto lost = allocation();
    lost.shares[0].state = overlay::ShareState::kConflict;
    lost.shares[0].v4.reset();
    auto written = write_overlay_files(overlay_files(config, lost, "{}\n", 1450));
    EXPECT_FALSE(std::filesystem::exists(config.overlay.cni_dir / "dcos.conf"));
    EXPECT_TRUE(written.by_name["dcos"].empty()) << written.by_name["dcos"];
    // Somebody else's of the same name stays.
    write_file(config.overlay.cni_dir / "dcos.conf", R"({"name": "dcos", "type": "bridge"})");
    write_overlay_files(overlay_files(config, lost, "{}\n", 1450));
    EXPECT_TRUE(std::filesystem::exists(config.overlay.cni_dir / "dcos.conf"));
    std::filesystem::remove(config.overlay.cni_dir / "dcos.conf");
  }
}

TEST(OverlayFiles, OneThatCannotBeWrittenIsNamedAndHarmsNoOther) {
  StoreDir dir;
  auto config = config_in(dir);
  std::filesystem::create_directories(config.overlay.cni_dir / "dcos.conf");
  auto written = write_overlay_files(overlay_files(config, allocation(), "{}\n", 1450));
  EXPECT_EQ(written.state_error, "");
  EXPECT_NE(written.by_name["dcos"].find("dcos.conf"), std::string::npos) << written.by_name["dcos"];
  EXPECT_EQ(written.by_name["dcos6"], "");
  EXPECT_FALSE(std::filesystem::exists(config.overlay.cni_dir / "dcos.conf.new")) << "nothing is left beside it";
}

TEST(OverlayNodeId, IsTheMachinesButNotItsOwn) {
  StoreDir dir;
  auto file = dir.path() / "machine-id";
  Config config;
  EXPECT_EQ(overlay_node_id(config, file), "") << "a machine without one is known by its address";
  write_file(file, "0123456789abcdef0123456789abcdef\n");
  auto id = overlay_node_id(config, file);
  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(overlay_node_id(config, file), id);
  EXPECT_NE(id, "0123456789abcdef0123456789abcdef");
  write_file(file, "0123456789abcdef0123456789abcdee\n");
  EXPECT_NE(overlay_node_id(config, file), id);
  write_file(file, "uninitialized\n");
  EXPECT_EQ(overlay_node_id(config, file), "");
  config.node.id = "rack-7";
  EXPECT_EQ(overlay_node_id(config, file), "rack-7");
}

}  // namespace
}  // namespace ls
