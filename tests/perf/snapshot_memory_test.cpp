// A snapshot of 100,000 tasks through the real source: its text exists once. The stand-in is a process of its own, so
// that the memory of this one is the source's.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sources/mesos.h"

namespace {

using namespace std::chrono_literals;

/// Kilobytes of a line of /proc/self/status.
long status_kb(const std::string& key) {
  std::ifstream in("/proc/self/status");
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with(key + ":")) return std::atol(line.c_str() + key.size() + 1);
  }
  return -1;
}

class StandinProcess {
 public:
  explicit StandinProcess(const std::string& script) {
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      ::execl(LS_STANDIN, LS_STANDIN, "--listen", "127.0.0.1:0", "--script", script.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(out[1]);
    FILE* f = ::fdopen(out[0], "r");
    char text[100] = {};
    if (f && std::fscanf(f, "listening %99s", text) == 1) address = text;
    if (f) std::fclose(f);
  }
  ~StandinProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  std::string address;

 private:
  pid_t pid_ = -1;
};

struct Sink : ls::SourceSink {
  ls::PaddedRecord snapshot;
  ls::Instant connected{}, arrived{};
  std::vector<std::string> lost;
  void on_connected(const ls::SourceInfo&) override { connected = std::chrono::steady_clock::now(); }
  void on_record(ls::PaddedRecord r) override {
    if (snapshot.size() > 0) return;
    snapshot = std::move(r);
    arrived = std::chrono::steady_clock::now();
  }
  void on_disconnected(const ls::Error& e) override { lost.push_back(e.text()); }
};

TEST(SnapshotMemory, OneCopyOf100000Tasks) {
  if (!std::getenv("LS_LONG")) GTEST_SKIP() << "set LS_LONG to run it";
  auto script = std::filesystem::temp_directory_path() / fmt::format("ls-bulk-{}.txt", ::getpid());
  std::ofstream(script) << "bulk 100000 1000 5000\n";
  StandinProcess standin(script.string());
  ASSERT_FALSE(standin.address.empty());

  boost::asio::io_context io;
  Sink sink;
  ls::MesosConfig config;
  config.masters = {standin.address};
  auto source = ls::make_mesos_source(io, config, sink);
  ASSERT_TRUE(source);
  std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM starts over
  long before_kb = status_kb("VmRSS");
  (*source)->start();
  auto end = std::chrono::steady_clock::now() + 120s;
  while (sink.snapshot.size() == 0 && std::chrono::steady_clock::now() < end) io.run_one_for(100ms);
  long peak_kb = status_kb("VmHWM");
  std::filesystem::remove(script);

  double size_mb = static_cast<double>(sink.snapshot.size()) / 1e6;
  double grown_mb = static_cast<double>(peak_kb - before_kb) * 1024 / 1e6;
  double took_s = std::chrono::duration<double>(sink.arrived - sink.connected).count();
  fmt::print("record {:.1f} MB, peak memory grew by {:.1f} MB ({:.2f} x), {:.2f} s from the answer to the record\n", size_mb,
             grown_mb, grown_mb / size_mb, took_s);
  EXPECT_TRUE(sink.lost.empty());
  EXPECT_GE(size_mb, 130);
  EXPECT_LT(grown_mb, 1.5 * size_mb);
  EXPECT_EQ(sink.snapshot.text().substr(0, 20), R"({"type":"SUBSCRIBED")");
  (*source)->stop();
}

}  // namespace
