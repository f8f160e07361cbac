#pragma once
/// ZookeeperServer: one real ZooKeeper server (Debian's package `zookeeper`) on a loopback port, for unit tests in C++. Half a second to
/// start, some 60 MB; so a test binary shares one and every test takes a folder of its own (tests/support/lab/zookeeper.py has ensembles,
/// in network namespaces).
///
/// Ended by its pid with the binary, also when the binary dies. Its files are removed. What cannot be done ends the test with an
/// exception whose text says why. Thread: one at a time.
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

class ZookeeperServer {
 public:
  /// Started at the first call.
  static ZookeeperServer& shared();

  ZookeeperServer();
  ~ZookeeperServer();
  ZookeeperServer(const ZookeeperServer&) = delete;
  ZookeeperServer& operator=(const ZookeeperServer&) = delete;

  std::string address() const;  ///< "127.0.0.1:PORT"
  /// "zk://[login@]127.0.0.1:PORT/path"
  std::string url(const std::string& path = "/", const std::string& login = "") const;

  void start();   ///< on the data that is there; returns when it serves
  void kill();    ///< as by a power cut
  void pause();   ///< it says nothing any more, connections stay
  void resume();
  void forget();  ///< another start without any data: all nodes and sessions are gone
  /// Ends a client's session from outside, as its time-out would.
  void close_session(int64_t id);

 private:
  std::string ask(const char* word) const;
  std::filesystem::path dir_;
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};
