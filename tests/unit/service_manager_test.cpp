// Against a real notify socket, the way systemd listens on one.
#include "app/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>

#include "util/unique_fd.h"

namespace ls {
namespace {

class ServiceManagerTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = "/tmp/loadstar-notify-" + std::to_string(::getpid());
    ::unlink(path_.c_str());
    fd_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    ASSERT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
    ::unlink(path_.c_str());
  }
  /// The next datagram, empty when there is none.
  std::string received() {
    char buf[4096];
    auto n = ::recv(fd_.get(), buf, sizeof buf, 0);
    return n > 0 ? std::string(buf, size_t(n)) : "";
  }
  std::string path_;
  UniqueFd fd_;
};

TEST_F(ServiceManagerTest, SaysWhatItIsDoing) {
  ServiceManager m;
  m.status("NOT READY: 1 of 7");
  EXPECT_EQ(received(), "STATUS=NOT READY: 1 of 7");
  m.status("NOT READY: 1 of 7");
  EXPECT_EQ(received(), "") << "an unchanged status is not sent again";
  m.ready("READY");
  EXPECT_EQ(received(), "READY=1\nSTATUS=READY");
  m.reloading();
  EXPECT_TRUE(received().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  m.stopping("SIGTERM");
  EXPECT_EQ(received(), "STOPPING=1\nSTATUS=SIGTERM");
}

TEST_F(ServiceManagerTest, TextOfAnErrorCannotForgeAMessage) {
  ServiceManager m;
  m.status("bad\nREADY=1");
  EXPECT_EQ(received(), "STATUS=bad READY=1");
}

TEST_F(ServiceManagerTest, WatchdogIsPettedOnlyWhenAllLoopsHaveBeaten) {
  ServiceManager m;
  auto& control = m.add_loop("control");
  auto& admin = m.add_loop("admin");
  EXPECT_EQ(m.pet(), (std::vector<std::string>{"control", "admin"}));
  ServiceManager::beat(control);
  EXPECT_EQ(m.pet(), std::vector<std::string>{"admin"});
  EXPECT_EQ(received(), "");
  std::thread([&] { ServiceManager::beat(admin); }).join();
  EXPECT_TRUE(m.pet().empty());
  EXPECT_EQ(received(), "WATCHDOG=1");
  // Each round needs a new sign of life of everybody.
  ServiceManager::beat(control);
  EXPECT_EQ(m.pet(), std::vector<std::string>{"admin"});
  EXPECT_EQ(received(), "");
}

TEST_F(ServiceManagerTest, WatchdogIntervalIsHalfOfWhatTheUnitSays) {
  ServiceManager m;
  EXPECT_EQ(m.watchdog_interval(), std::nullopt);
  ::setenv("WATCHDOG_USEC", "10000000", 1);
  EXPECT_EQ(m.watchdog_interval(), Millis(5000));
  ::setenv("WATCHDOG_PID", "1", 1);  // meant for another process
  EXPECT_EQ(m.watchdog_interval(), std::nullopt);
}

TEST_F(ServiceManagerTest, WorksWithoutAServiceManager) {
  ::unsetenv("NOTIFY_SOCKET");
  ServiceManager m;
  m.ready("READY");
  m.status("x");
  m.stopping("x");
  EXPECT_TRUE(m.pet().empty());
  EXPECT_EQ(received(), "");
  ::setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
  m.status("y");
}

}  // namespace
}  // namespace ls
