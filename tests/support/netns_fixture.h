#pragma once
/// NetnsFixture: a test in a network and mount namespace of its own, with a bpffs of its own and a cgroup v2
/// group of its own, all of which are gone when the test ends. Needs root; without it the test is reported as
/// skipped. The process itself moves (each test into new namespaces), so what a test does to "lo" or to
/// routes is nobody else's.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace ls::test {

class NetnsFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_EQ(unshare(CLONE_NEWNET | CLONE_NEWNS), 0) << std::strerror(errno);
    ASSERT_EQ(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0) << std::strerror(errno);
    std::string dir = (std::filesystem::temp_directory_path() / "ls-bpffs-XXXXXX").string();
    ASSERT_NE(mkdtemp(dir.data()), nullptr) << std::strerror(errno);
    bpffs_ = dir;
    chmod(bpffs_.c_str(), 0755);
    ASSERT_EQ(mount("bpf", bpffs_.c_str(), "bpf", 0, nullptr), 0) << std::strerror(errno);
    run("ip link set lo up");
  }

  void TearDown() override {
    if (!bpffs_.empty()) {
      umount2(bpffs_.c_str(), MNT_DETACH);
      rmdir(bpffs_.c_str());
    }
    for (auto it = groups_.rbegin(); it != groups_.rend(); ++it) {
      if (rmdir(it->c_str()) != 0 && errno != ENOENT)
        ADD_FAILURE() << "group stays: " << *it << ": " << std::strerror(errno);
    }
  }

  /// Mount point of cgroup v2, empty when there is none.
  static std::string cgroup2_mount() {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string line; std::getline(mounts, line);) {
      std::istringstream words(line);
      std::string device, where, type;
      if (words >> device >> where >> type && type == "cgroup2") return where;
    }
    return {};
  }

  /// A new group: below `parent`, or below the mount with a name nobody else has. Removed at the end.
  std::string make_group(const std::string& parent = {}, const std::string& name = "inner") {
    std::string path = parent.empty() ? new_top_group() : parent + "/" + name;
    if (mkdir(path.c_str(), 0755) != 0) ADD_FAILURE() << "make " << path << ": " << std::strerror(errno);
    groups_.push_back(path);
    return path;
  }

  static void run(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }
  static std::string output(const std::string& command) {
    std::string out;
    FILE* p = popen(command.c_str(), "r");
    for (int c; p && (c = fgetc(p)) != EOF;) out += char(c);
    if (p) pclose(p);
    return out;
  }
  static void add_veth(const std::string& a, const std::string& b) {
    run(fmt::format("ip link add {} type veth peer name {}", a, b));
  }
  static int ifindex(const std::string& device) { return int(if_nametoindex(device.c_str())); }

  /// Runs `body` in a child; returns the wait status. The child never returns into the test.
  static int in_child(const std::function<int()>& body) {
    pid_t pid = fork();
    if (pid == 0) _exit(body());
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
  }

  const std::string& bpffs() const { return bpffs_; }

 private:
  /// Also removes what a test that crashed before left behind: its number is in the name and its process is
  /// gone.
  static std::string new_top_group() {
    static int count = 0;
    auto mount = cgroup2_mount();
    std::error_code ignored;
    for (auto& e : std::filesystem::directory_iterator(mount, ignored)) {
      int pid = 0, n = 0;
      if (std::sscanf(e.path().filename().c_str(), "ls-test-%d-%d", &pid, &n) != 2 || kill(pid, 0) == 0)
        continue;
      for (auto& inner : std::filesystem::directory_iterator(e.path(), ignored)) {
        if (inner.is_directory()) rmdir(inner.path().c_str());
      }
      rmdir(e.path().c_str());
    }
    return fmt::format("{}/ls-test-{}-{}", mount, getpid(), count++);
  }

  std::string bpffs_;
  std::vector<std::string> groups_;
};

}  // namespace ls::test
