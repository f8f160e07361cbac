// Recordings of a real Mesos master, and files that are broken.
#include "sources/replay.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
namespace fs = std::filesystem;

struct Sink : ls::SourceSink {
  std::vector<ls::SourceInfo> connected;
  std::vector<std::string> records, lost;
  int ends = 0;
  std::function<void()> during_record;
  void on_connected(const ls::SourceInfo& i) override { connected.push_back(i); }
  void on_record(ls::PaddedRecord r) override {
    records.emplace_back(r.text());
    if (during_record) during_record();
  }
  void on_disconnected(const ls::Error& e) override { lost.push_back(e.text()); }
  void on_end_of_recording() override { ++ends; }
};

std::string slurp(const fs::path& p) {
  std::ifstream in(p, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

struct Indexed {
  double t = 0;
  size_t offset = 0, length = 0;
  std::string type;
};
std::vector<Indexed> index_of(const fs::path& p) {
  std::ifstream in(p);
  std::string line;
  std::vector<Indexed> out;
  while (std::getline(in, line)) {
    auto j = nlohmann::json::parse(line);
    out.push_back({j["t"], j["offset"], j["length"], j["type"]});
  }
  return out;
}

const char* const kStreams[] = {"standalone/stream-json", "zookeeper/04-leader1.stream-json",
                                "zookeeper/06-leader2.stream-json", "zookeeper/09-leader3.stream-json"};

class Replay : public testing::Test {
 protected:
  Replay() {
    dir = fs::temp_directory_path() / fmt::format("ls-replay-test-{}", ::getpid());
    fs::create_directories(dir);
  }
  ~Replay() override { fs::remove_all(dir); }
  static fs::path captures() { return fs::path(LS_SHARED_DIR) / "spec/captures"; }
  static bool have_captures() { return fs::exists(captures() / "standalone"); }

  ls::SourceStatus play(ls::ReplayConfig config) {
    auto s = ls::make_replay_source(io, std::move(config), sink);
    EXPECT_TRUE(s) << s.error().text();
    (*s)->start();
    EXPECT_TRUE(sink.connected.empty()) << "a call from start()";
    io.restart();
    io.run();
    return (*s)->status();
  }
  std::string file(const std::string& name, std::string_view content) {
    std::ofstream(dir / name, std::ios::binary | std::ios::trunc) << content;
    return (dir / name).string();
  }

  boost::asio::io_context io;
  Sink sink;
  fs::path dir;
};

TEST_F(Replay, EveryRecordOfTheCapturesBothWays) {
  if (!have_captures()) GTEST_SKIP() << std::size(kStreams) << " captures are not here";
  for (std::string name : kStreams) {
    auto index = index_of(captures() / (name + ".index"));
    std::string text = slurp(captures() / (name + ".recordio"));
    ASSERT_FALSE(index.empty());
    for (const char* kind : {".recordio", ".http"}) {
      sink = {};
      auto status = play({.file = (captures() / (name + kind)).string()});
      ASSERT_EQ(sink.records.size(), index.size()) << name << kind;
      for (size_t i = 0; i < index.size(); ++i) {
        ASSERT_EQ(sink.records[i], text.substr(index[i].offset, index[i].length)) << name << kind << " " << i;
        EXPECT_THAT(sink.records[i], testing::StartsWith("{\"type\":\"" + index[i].type + "\""));
      }
      EXPECT_TRUE(status.connected);  // the state lives on
      EXPECT_TRUE(status.complete);
      EXPECT_EQ(status.bytes, text.size());
      EXPECT_EQ(status.records, index.size());
      EXPECT_EQ(sink.ends, 1);
      EXPECT_TRUE(sink.lost.empty());
      ASSERT_EQ(sink.connected.size(), 1u);
      EXPECT_EQ(sink.connected[0].leader, ls::LeaderChange::kFirst);
    }
  }
}

TEST_F(Replay, RecordedSpeedTimesAFactor) {
  if (!have_captures()) GTEST_SKIP() << "1 capture is not here";
  std::string name = "zookeeper/06-leader2.stream-json";
  auto index = index_of(captures() / (name + ".index"));
  std::vector<double> at;
  auto began = std::chrono::steady_clock::now();
  sink.during_record = [&] {
    at.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  };
  play({.file = (captures() / (name + ".recordio")).string(), .speed = 4});
  ASSERT_EQ(at.size(), index.size());
  for (size_t i = 0; i < at.size(); ++i) {
    EXPECT_GE(at[i], index[i].t / 4 - 0.001) << i;
    EXPECT_LE(at[i], index[i].t / 4 + 2) << i;
  }
}

TEST_F(Replay, AFileCutAtEveryByteSaysWhereItEnds) {
  const std::string all = "3\nabc10\n0123456789";  // borders at 0, 5, 18
  for (size_t n = 0; n <= all.size(); ++n) {
    sink = {};
    auto status = play({.file = file("cut.recordio", all.substr(0, n))});
    bool border = n == 0 || n == 5 || n == all.size();
    EXPECT_EQ(status.connected, border) << n;
    EXPECT_EQ(sink.lost.empty(), border) << n;
    EXPECT_EQ(sink.records.size(), n == all.size() ? 2u : n >= 5 ? 1u : 0u);
    if (!border) {
      EXPECT_THAT(sink.lost[0], HasSubstr("cut.recordio"));
      EXPECT_THAT(sink.lost[0], HasSubstr(fmt::format("ends at byte {} in the middle of record {}, which begins at byte {}",
                                                      n, n < 5 ? 0 : 1, n < 5 ? 0 : 5)));
      EXPECT_EQ(status.last_error, sink.lost[0]);
    }
  }
}

TEST_F(Replay, HttpFramingCutAtEveryByte) {
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n";
  const std::string all = head + "5\r\n3\nabc\r\n2\r\n1\n\r\n1\r\nd\r\n0\r\n\r\n";
  size_t after_abc = head.size() + 10;
  for (size_t n = 6; n <= all.size(); ++n) {
    sink = {};
    auto status = play({.file = file("cut.http", all.substr(0, n))});
    // A killed master closes between chunks: a fair end when no record is open either. Chunks two and three are one record.
    bool border = n == after_abc || n == head.size() || n == all.size() || n == all.size() - 5;
    EXPECT_EQ(status.connected, border) << n;
    if (!border) {
      EXPECT_THAT(status.last_error, HasSubstr("ends at byte")) << n;
    }
  }
  EXPECT_EQ(sink.records, (std::vector<std::string>{"abc", "d"}));
}

TEST_F(Replay, BadHttpRecordings) {
  auto problem = [&](std::string_view content) {
    sink = {};
    return play({.file = file("bad.http", content)}).last_error;
  };
  EXPECT_THAT(problem("HTTP/1.1 307 Temporary Redirect\r\n\r\n"), HasSubstr("\"HTTP/1.1 307 Temporary Redirect\", not 200"));
  EXPECT_THAT(problem("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\r\n"), HasSubstr("application/x-protobuf"));
  std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_THAT(problem(head + "zz\r\n"), HasSubstr("\"zz\" is not a chunk size"));
  EXPECT_THAT(problem(head + "3\r\n1\naX\r\n"), HasSubstr("behind the end of a chunk"));
  EXPECT_THAT(problem(head + "0\r\n\r\nx"), HasSubstr("behind the last chunk"));
  EXPECT_THAT(problem(head + "ffffffffffffffffff\r\n"), HasSubstr("is not a chunk size"));
  EXPECT_THAT(problem(head + std::string(20'000, '1')), HasSubstr("longer than 16 KB"));
}

TEST_F(Replay, GarbageNamesRecordAndByte) {
  auto status = play({.file = file("bad.recordio", "1\na{}")});
  EXPECT_EQ(sink.records, std::vector<std::string>{"a"});
  EXPECT_FALSE(status.connected);
  EXPECT_THAT(status.last_error, HasSubstr("record 1 at byte 3 of the stream: '{' in its length"));
}

TEST_F(Replay, IndexAndFileMustAgree) {
  std::string f = file("a.recordio", "1\na1\nb");
  auto with = [&](std::string_view index) {
    file("a.index", index);
    sink = {};
    return play({.file = f, .speed = 1000}).last_error;
  };
  EXPECT_EQ(with("{\"t\":0,\"length\":1}\n{\"t\":0.1,\"length\":1}\n"), "");
  EXPECT_THAT(with("{\"t\":0,\"length\":1}\n"), HasSubstr("record 1 is not in the index"));
  EXPECT_THAT(with("{\"t\":0,\"length\":1}\n{\"t\":0.1,\"length\":2}\n"), HasSubstr("record 1 has 1 bytes, by the index 2"));
  EXPECT_THAT(with("{\"t\":0,\"length\":1}\n{\"t\":0.1,\"length\":1}\n{\"t\":0.1,\"length\":1}\n"),
              HasSubstr("has 2 records, its index 3"));
  for (const char* bad : {"x\n", "{}\n", "{\"t\":-1,\"length\":1}\n", "{\"t\":2,\"length\":1}\n{\"t\":1,\"length\":1}\n"}) {
    file("a.index", bad);
    auto s = ls::make_replay_source(io, {.file = f, .speed = 1}, sink);
    ASSERT_FALSE(s) << bad;
    EXPECT_THAT(s.error().text(), HasSubstr("a.index line"));
  }
}

TEST_F(Replay, RefusedAtOnce) {
  EXPECT_FALSE(ls::make_replay_source(io, {.file = (dir / "none").string()}, sink));
  std::string f = file("noindex.recordio", "1\na");
  auto s = ls::make_replay_source(io, {.file = f, .speed = 1}, sink);
  ASSERT_FALSE(s);
  EXPECT_THAT(s.error().text(), HasSubstr("noindex.index: No such file"));
  EXPECT_FALSE(ls::make_replay_source(io, {.file = f, .speed = -1}, sink));
}

TEST_F(Replay, TheEndMayCountAsALostStream) {
  auto status = play({.file = file("a.recordio", "1\na"), .disconnect_at_end = true});
  EXPECT_FALSE(status.connected);
  EXPECT_TRUE(status.complete);
  ASSERT_EQ(sink.lost.size(), 1u);
  EXPECT_THAT(sink.lost[0], HasSubstr("the recording is over"));
}

TEST_F(Replay, StopIsTheLastCallAndOthersGetTheirTurn) {
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "1\nx";
  auto s = ls::make_replay_source(io, {.file = file("many.recordio", many)}, sink);
  ASSERT_TRUE(s);
  (*s)->start();
  sink.during_record = [&] {
    if (sink.records.size() == 500) (*s)->stop();
  };
  io.run_one();
  EXPECT_LT(sink.records.size(), 200u);
  io.run();
  EXPECT_EQ(sink.records.size(), 500u);
  EXPECT_EQ(sink.ends, 0);
}

}  // namespace
