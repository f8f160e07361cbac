#include "zookeeper_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "util/unique_fd.h"

namespace {

constexpr auto kJar = "/usr/share/java/zookeeper.jar";
constexpr auto kStart = std::chrono::seconds(60);

[[noreturn]] void give_up(const std::string& what) { throw std::runtime_error("ZooKeeper for tests: " + what); }

sockaddr_in loopback(uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

uint16_t free_port() {
  ls::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto a = loopback(0);
  socklen_t size = sizeof a;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&a), size) || getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size)) give_up(strerror(errno));
  return ntohs(a.sin_port);
}

ls::UniqueFd dial(uint16_t port, timeval limit) {
  ls::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto a = loopback(port);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a)) fd.reset();
  return fd;
}

void put(std::vector<uint8_t>& out, uint64_t value, int octets) {
  while (octets--) out.push_back(uint8_t(value >> 8 * octets));
}

/// The password of a session: the server makes it from the session's number by java.util.Random (SessionTrackerImpl and ZooKeeperServer
/// of ZooKeeper 3.8), so that another client can take the session over.
std::vector<uint8_t> password_of(int64_t id) {
  uint64_t seed = ((uint64_t(id) ^ 0xB3415C00ull) ^ 0x5DEECE66Dull) & ((1ull << 48) - 1);
  std::vector<uint8_t> out;
  for (int i = 0; i < 4; i++) {
    seed = (seed * 0x5DEECE66Dull + 0xB) & ((1ull << 48) - 1);
    auto n = uint32_t(seed >> 16);
    for (int b = 0; b < 4; b++) out.push_back(uint8_t(n >> 8 * b));
  }
  return out;
}

}  // namespace

ZookeeperServer& ZookeeperServer::shared() {
  static ZookeeperServer server;
  return server;
}

ZookeeperServer::ZookeeperServer() {
  if (access(kJar, R_OK)) give_up(std::string(kJar) + " is not there: apt-get install zookeeper (scripts/setup)");
  std::string name = std::filesystem::temp_directory_path() / "ls-zookeeper-XXXXXX";
  if (!mkdtemp(name.data())) give_up(strerror(errno));
  dir_ = name;
  port_ = free_port();
  std::ofstream(dir_ / "zoo.cfg") << "tickTime=100\nmaxSessionTimeout=60000\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\nmaxClientCnxns=0\n"
                                  << "dataDir=" << name << "/data\nclientPortAddress=127.0.0.1\nclientPort=" << port_ << "\n";
  try {
    start();
  } catch (...) {
    kill();
    std::filesystem::remove_all(dir_);
    throw;
  }
}

ZookeeperServer::~ZookeeperServer() {
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}

std::string ZookeeperServer::address() const { return "127.0.0.1:" + std::to_string(port_); }

std::string ZookeeperServer::url(const std::string& path, const std::string& login) const {
  return "zk://" + (login.empty() ? "" : login + "@") + address() + path;
}

std::string ZookeeperServer::ask(const char* word) const {
  auto fd = dial(port_, {0, 300'000});  // a server that starts may take a question and never answer it
  if (!fd || write(fd.get(), word, strlen(word)) < 0) return {};
  std::string out;
  char part[1024];
  for (ssize_t n; (n = read(fd.get(), part, sizeof part)) > 0;) out.append(part, size_t(n));
  return out;
}

void ZookeeperServer::start() {
  std::filesystem::create_directories(dir_ / "data");
  const std::string config = dir_ / "zoo.cfg", log = dir_ / "log";
  // A small heap and the quick compiler: half the time to start. Without forceSync no test waits for a disk.
  std::vector<const char*> words{"java", "-Xmx64m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dzookeeper.forceSync=no", "-cp", kJar,
                                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", config.c_str(), nullptr};
  pid_ = fork();
  if (pid_ < 0) give_up(strerror(errno));
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(out, 1);
    dup2(out, 2);
    execvp("java", const_cast<char**>(words.data()));
    _exit(127);
  }
  auto end = std::chrono::steady_clock::now() + kStart;
  while (ask("srvr").find("Mode:") == std::string::npos) {
    int status;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      std::ifstream said(log);
      give_up("the server ended: " + std::string(std::istreambuf_iterator<char>(said), {}));
    }
    if (std::chrono::steady_clock::now() > end) give_up("the server does not serve");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void ZookeeperServer::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void ZookeeperServer::pause() {
  ::kill(pid_, SIGSTOP);
  waitpid(pid_, nullptr, WUNTRACED);
}

void ZookeeperServer::resume() { ::kill(pid_, SIGCONT); }

void ZookeeperServer::forget() {
  kill();
  std::filesystem::remove_all(dir_ / "data");
  start();
}

void ZookeeperServer::close_session(int64_t id) {
  auto fd = dial(port_, {30, 0});
  std::vector<uint8_t> words;
  put(words, 45, 4);                 // length
  put(words, 0, 4);                  // version of the protocol
  put(words, 0, 8);                  // the newest change seen: none
  put(words, 10'000, 4);             // time-out
  put(words, uint64_t(id), 8);
  put(words, 16, 4);
  auto password = password_of(id);
  words.insert(words.end(), password.begin(), password.end());
  words.push_back(0);  // not read-only
  uint8_t answer[41];
  if (!fd || write(fd.get(), words.data(), words.size()) < 0 || recv(fd.get(), answer, sizeof answer, MSG_WAITALL) != ssize_t(sizeof answer))
    give_up("no greeting");
  int64_t got = 0;
  for (int i = 12; i < 20; i++) got = got << 8 | answer[i];
  if (got != id) give_up("the session cannot be taken over");
  std::vector<uint8_t> close;
  put(close, 8, 4);
  put(close, 1, 4);              // number of the question
  put(close, uint32_t(-11), 4);  // closeSession
  if (write(fd.get(), close.data(), close.size()) < 0) give_up("the session cannot be closed");
  uint8_t rest[64];
  while (read(fd.get(), rest, sizeof rest) > 0) {
  }
}
