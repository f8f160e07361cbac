#pragma once
// The real source against the stand-in on loopback, both on the test's own io_context.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>

#include "mesos_standin.h"
#include "sources/mesos.h"
#include "util/log.h"

namespace mesos_source_test {

using namespace std::chrono_literals;
using ls::LeaderChange;
using ls::Millis;
using testing::HasSubstr;
using testing::Not;
namespace asio = boost::asio;

struct RecordingSink : ls::SourceSink {
  std::vector<ls::SourceInfo> connected;
  std::vector<std::string> records, lost;
  std::function<void()> during_record;

  void on_connected(const ls::SourceInfo& info) override {
    EXPECT_EQ(connected.size(), lost.size()) << "connected twice";
    connected.push_back(info);
  }
  void on_record(ls::PaddedRecord r) override {
    EXPECT_EQ(connected.size(), lost.size() + 1) << "a record without a stream";
    records.emplace_back(r.text());
    if (during_record) during_record();
  }
  void on_disconnected(const ls::Error& e) override { lost.push_back(e.text()); }

  size_t count(std::string_view part) const {
    size_t n = 0;
    for (const auto& r : records) n += r.find(part) != std::string::npos;
    return n;
  }
};

class MesosSource : public testing::Test {
 protected:
  MesosSource() {
    ls::log::set_level(ls::log::Level::kError);
    config.connect_timeout = 2s;
    config.response_timeout = 2s;
    config.identity_timeout = 1s;
    config.backoff_min = 5ms;
    config.backoff_max = 20ms;
    options.heartbeat = 500ms;
    config.heartbeat_interval = 500ms;
    dir = std::filesystem::temp_directory_path() / fmt::format("ls-mesos-test-{}", ::getpid());
    std::filesystem::create_directories(dir);
  }
  ~MesosSource() override {
    source.reset();
    standin.reset();
    std::filesystem::remove_all(dir);
  }

  void start_standin(int masters = 1) {
    for (int i = 0; i < masters; ++i) options.listen.push_back("127.0.0.1:0");
    auto s = ls::MesosStandin::listen(io, options);
    ASSERT_TRUE(s) << s.error().text();
    standin = std::move(*s);
    say("agent add A1 10.0.0.11");
    say("framework add F1 marathon");
  }
  void say(std::string_view line) {
    auto r = standin->command(line);
    ASSERT_TRUE(r) << line << ": " << r.error().text();
  }
  void start_source() {
    if (config.masters.empty()) config.masters = {standin->address()};
    auto s = ls::make_mesos_source(io, config, sink);
    ASSERT_TRUE(s) << s.error().text();
    source = std::move(*s);
    source->start();
  }
  bool run_until(const std::function<bool()>& done, Millis limit = 10s) {
    auto end = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.restart();
      io.run_one_for(20ms);
    }
    return true;
  }
  void run_for(Millis d) {
    auto end = std::chrono::steady_clock::now() + d;
    run_until([&] { return std::chrono::steady_clock::now() >= end; }, d + 1s);
  }
  bool subscribed(size_t streams = 1) {
    return run_until([&] { return sink.connected.size() == streams && sink.count("HEARTBEAT") >= streams; });
  }
  std::string file(const std::string& name, std::string_view content) {
    auto path = dir / name;
    std::ofstream(path, std::ios::trunc) << content;
    return path.string();
  }
  std::string error() const { return source->status().last_error; }

  asio::io_context io;
  ls::StandinOptions options;
  ls::MesosConfig config;
  RecordingSink sink;
  std::unique_ptr<ls::MesosStandin> standin;
  std::unique_ptr<ls::Source> source;
  std::filesystem::path dir;
};

}  // namespace mesos_source_test
