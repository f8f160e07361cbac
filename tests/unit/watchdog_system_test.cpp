// The watchdog on a system of its own: mounts, full and read-only disks, and the program itself against servers that are killed.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <linux/fs.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "app/watchdog_file.h"
#include "dns_standin.h"
#include "../support/netns_fixture.h"

namespace ls::watchdog {
namespace {

using testing::HasSubstr;

std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

class WatchdogSystem : public test::NetnsFixture {
 protected:
  void SetUp() override {
    NetnsFixture::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    char name[] = "/tmp/loadstar-watchdog-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
    for (auto sub : {"etc", "kept", "other"}) std::filesystem::create_directory(dir_ / sub);
  }
  void TearDown() override {
    if (!dir_.empty()) {
      ::umount2((dir_ / "etc/resolv.conf").c_str(), MNT_DETACH);
      ::umount2((dir_ / "etc").c_str(), MNT_DETACH);
      std::filesystem::remove_all(dir_);
    }
    NetnsFixture::TearDown();
  }
  std::filesystem::path path() const { return dir_ / "etc/resolv.conf"; }
  ResolvConf conf() const { return {path(), dir_ / "kept/before"}; }
  std::string text(const char* server) const { return *resolv_conf_text(std::vector{*Endpoint::parse(server)}, {}, ""); }
  std::filesystem::path dir_;
};

TEST_F(WatchdogSystem, BindMountIsWrittenInPlace) {
  std::ofstream(dir_ / "other/real") << "nameserver 9.9.9.9\n" << std::string(5000, '#') << "\n";
  std::ofstream(path()) << "";
  ASSERT_EQ(::mount((dir_ / "other/real").c_str(), path().c_str(), nullptr, MS_BIND, nullptr), 0);
  auto done = conf().write(text("1.1.1.1:53"));
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_TRUE(done->in_place);
  EXPECT_EQ(slurp(dir_ / "other/real"), text("1.1.1.1:53"));
  EXPECT_TRUE(*conf().restore());
  EXPECT_EQ(slurp(dir_ / "other/real").size(), 5020u);
  // Nothing is left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_ / "etc"), std::filesystem::directory_iterator()), 1);
}

TEST_F(WatchdogSystem, FullDiskKeepsTheOldFile) {
  ASSERT_EQ(::mount("none", (dir_ / "etc").c_str(), "tmpfs", 0, "size=16k"), 0);
  std::ofstream(path()) << "nameserver 9.9.9.9\n";
  std::ofstream(dir_ / "etc/filler") << std::string(64 << 10, 'x');
  auto done = conf().write(text("1.1.1.1:53"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), HasSubstr("No space left on device"));
  EXPECT_EQ(slurp(path()), "nameserver 9.9.9.9\n");
  std::filesystem::remove(dir_ / "etc/filler");
  EXPECT_TRUE(conf().write(text("1.1.1.1:53")));
}

// In place there is no second file: the old text is put back.
TEST_F(WatchdogSystem, FullDiskUnderABindMountKeepsTheOldText) {
  ASSERT_EQ(::mount("none", (dir_ / "other").c_str(), "tmpfs", 0, "size=16k"), 0);
  std::ofstream(dir_ / "other/real") << "";
  std::ofstream(dir_ / "other/filler") << std::string(64 << 10, 'x');
  std::ofstream(path()) << "";
  ASSERT_EQ(::mount((dir_ / "other/real").c_str(), path().c_str(), nullptr, MS_BIND, nullptr), 0);
  auto done = conf().write(text("1.1.1.1:53"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), HasSubstr("No space left on device"));
  EXPECT_EQ(slurp(path()), "");
  ::umount2(path().c_str(), MNT_DETACH);
  ::umount2((dir_ / "other").c_str(), MNT_DETACH);
}

TEST_F(WatchdogSystem, ReadOnlyDiskIsAClearError) {
  ASSERT_EQ(::mount("none", (dir_ / "etc").c_str(), "tmpfs", 0, nullptr), 0);
  std::ofstream(path()) << "nameserver 9.9.9.9\n";
  ASSERT_EQ(::mount("none", (dir_ / "etc").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  auto done = conf().write(text("1.1.1.1:53"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), HasSubstr("Read-only file system"));
}

TEST_F(WatchdogSystem, ImmutableFileIsAClearError) {
  std::ofstream(path()) << "nameserver 9.9.9.9\n";
  int fd = ::open(path().c_str(), O_RDONLY | O_CLOEXEC);
  int flags = FS_IMMUTABLE_FL;
  if (::ioctl(fd, FS_IOC_SETFLAGS, &flags) != 0) {
    ::close(fd);
    GTEST_SKIP() << "this file system has no immutable files";
  }
  auto done = conf().write(text("1.1.1.1:53"));
  flags = 0;
  ::ioctl(fd, FS_IOC_SETFLAGS, &flags);
  ::close(fd);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), HasSubstr("Operation not permitted"));
  EXPECT_EQ(slurp(path()), "nameserver 9.9.9.9\n");
}

/// The program in this namespace, with servers in a process of their own that can be killed.
class WatchdogProgram : public WatchdogSystem {
 protected:
  void SetUp() override {
    WatchdogSystem::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    for (int i = 1; i <= 3; i++) run(fmt::format("ip addr add 198.51.100.{}/32 dev lo", i));
    std::ofstream(path()) << "# the operator's\nnameserver 192.0.2.99\n";
    std::ofstream(dir_ / "systemctl") << "#!/bin/sh\necho \"$1\" >> " << (dir_ / "systemctl.log").native() << "\necho active\n";
    ::chmod((dir_ / "systemctl").c_str(), 0755);
    std::ofstream(dir_ / "loadstar.toml") << "[node]\naddress = \"10.0.0.1\"\n[source]\nkind = \"replay\"\n[replay]\nfile = \""
                                          << path().native() << "\"\n[resolver]\nupstreams = [\"192.0.2.53\"]\n[watchdog]\n"
                                          << "resolv_conf = \"" << path().native()
                                          << "\"\ninterval = \"1s\"\ntimeout = \"300ms\"\nfailures = 2\nsearch = \"a.example\"\n";
  }
  void TearDown() override {
    for (pid_t p : {servers_, dog_}) {
      if (p > 0) ::kill(p, SIGKILL), ::waitpid(p, nullptr, 0);
    }
    WatchdogSystem::TearDown();
  }
  void start_servers() {
    servers_ = ::fork();
    if (servers_ == 0) {
      test::DnsStandin one(test::Behaviour::kAnswer, "198.51.100.1", 53), two(test::Behaviour::kAnswer, "198.51.100.2", 53),
          three(test::Behaviour::kAnswer, "198.51.100.3", 53);
      for (;;) ::pause();
    }
  }
  void kill_servers() {
    ::kill(servers_, SIGKILL);
    ::waitpid(servers_, nullptr, 0);
    servers_ = 0;
  }
  pid_t start(std::vector<std::string> more = {}) {
    std::vector<std::string> words{LS_WATCHDOG, "--config", (dir_ / "loadstar.toml").native(), "--before", (dir_ / "kept/before").native(),
                                   "--state", (dir_ / "state.json").native(), "--systemctl", (dir_ / "systemctl").native()};
    words.insert(words.end(), more.begin(), more.end());
    pid_t p = ::fork();
    if (p != 0) return p;
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  static int ended(pid_t p) {
    int status = 0;
    ::waitpid(p, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  /// True as soon as the condition holds; false after a time that no working run needs.
  static bool until(const std::function<bool()>& good) {
    for (int i = 0; i < 600; i++) {
      if (good()) return true;
      std::this_thread::sleep_for(Millis(50));
    }
    return false;
  }
  bool has(const char* words) { return slurp(path()).find(words) != std::string::npos; }
  uint64_t rounds() {
    auto j = nlohmann::json::parse(slurp(dir_ / "state.json"), nullptr, false);
    return j.is_discarded() ? 0 : j.value("rounds", uint64_t(0));
  }
  pid_t servers_ = 0, dog_ = 0;
};

TEST_F(WatchdogProgram, FollowsADaemonThatIsKilledAndComesBack) {
  start_servers();
  dog_ = start();
  ASSERT_TRUE(until([&] { return has("search a.example\nnameserver 198.51.100.1\nnameserver 198.51.100.2\nnameserver 198.51.100.3\n"); }))
      << slurp(path());
  EXPECT_EQ(slurp(dir_ / "kept/before"), "# the operator's\nnameserver 192.0.2.99\n");
  // Killed right after a round: the worst moment. One round later the file is right; the one that may run just now is the other.
  auto before = rounds();
  ASSERT_TRUE(until([&] { return rounds() > before; }));
  before = rounds();
  kill_servers();
  ASSERT_TRUE(until([&] { return has("nameserver 192.0.2.53\n"); })) << slurp(path());
  EXPECT_FALSE(has("198.51.100"));
  EXPECT_LE(rounds(), before + 2);
  ASSERT_TRUE(until([&] { return slurp(dir_ / "systemctl.log").find("restart") != std::string::npos; }));
  start_servers();
  ASSERT_TRUE(until([&] { return has("nameserver 198.51.100.1\n"); }));
  ::kill(dog_, SIGHUP);
  auto after = rounds();
  ASSERT_TRUE(until([&] { return rounds() > after; }));
  ::kill(dog_, SIGTERM);
  EXPECT_EQ(ended(std::exchange(dog_, 0)), 0);
  EXPECT_EQ(ended(start({"--restore"})), 0);
  EXPECT_EQ(slurp(path()), "# the operator's\nnameserver 192.0.2.99\n");
}

TEST_F(WatchdogProgram, OnceSaysWhetherAnythingAnswers) {
  EXPECT_EQ(ended(start({"--once"})), 3);
  start_servers();
  EXPECT_TRUE(until([&] { return ended(start({"--once"})) == 0; }));
}

TEST_F(WatchdogProgram, BrokenConfigurationAndWrongArguments) {
  EXPECT_EQ(ended(start({"--bogus"})), 2);
  EXPECT_EQ(ended(start({"stray"})), 2);
  std::ofstream(dir_ / "loadstar.toml") << "[watchdog]\nresolv_cnf = \"/x\"\n";
  EXPECT_EQ(ended(start({"--once"})), 78) << "the exit code that the unit does not start it again after";
}

}  // namespace
}  // namespace ls::watchdog
