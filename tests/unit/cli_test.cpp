#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "api/server.h"
#include "api_fake.h"
#include "cli/table.h"

namespace ls {
namespace {

using namespace api;
using Json = nlohmann::json;
using namespace std::chrono_literals;
using testing::HasSubstr;

struct Ran {
  int code = -1;
  std::string out, err;
};

std::string content(const std::string& path) {
  std::ifstream f(path);
  return {std::istreambuf_iterator<char>(f), {}};
}

/// Runs the real program; `args` goes through a shell.
Ran run(const TempDir& dir, const std::string& args) {
  auto out = dir / "out", err = dir / "err";
  int rc = system((std::string(LS_CLI) + " " + args + " >" + out + " 2>" + err).c_str());
  return {WIFEXITED(rc) ? WEXITSTATUS(rc) : -1, content(out), content(err)};
}

class Cli : public testing::Test {
 protected:
  void SetUp() override {
    auto r = Server::start({.socket = path_, .group = {}}, provider_);
    ASSERT_TRUE(r) << r.error().text();
    server_ = std::move(*r);
  }
  Ran cli(const std::string& args) { return run(dir_, "-s " + path_ + " " + args); }

  TempDir dir_;
  const std::string path_ = dir_ / "api.sock";
  FakeProvider provider_;
  std::unique_ptr<Server> server_;
};

TEST_F(Cli, StatusBeginsWithTheHeadline) {
  auto r = cli("status");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.err, "");
  EXPECT_EQ(r.out, R"(READY: 3 VIPs, 4 backends, in sync, source mesos 10.0.0.1:5050

version    1.2.3, up 3 min 5 s
node       10.0.0.7 (agent)
source     mesos 10.0.0.1:5050, connected since 2 min 50 s, last message 2 s ago, 42 events
start-up   +config_ok +kernel_probed +maps_adopted +source_connected +in_sync +reconciled +serving
tables     3 VIPs; backends: 3 active, 1 draining, 0 dead
reconcile  lb: 12 runs, 1 errors, last took 1.2 ms, 3 drift repaired, full read-back 30 s ago

missing in this kernel
  FEATURE  OK  DETAIL
  tcx      no  needs kernel 6.6
)");
}

TEST_F(Cli, StatusOfADaemonThatIsNotReady) {
  auto s = ready_status();
  s.ready = false;
  for (size_t i = 3; i < 7; i++) s.startup[i] = {s.startup[i].name, false, 12};
  s.source.connected = false;
  s.source.last_error = "connect: Connection refused";
  s.problems = {{"marathon/web.1", "discovery.ports[1].labels[VIP_0]", "port 70000 is above 65535"}};
  s.problem_count = 9;
  s.warnings = {"rp_filter is 1 on eth0"};
  s.attachments.push_back({"lo", "lo", "clsact", 12, AttachState::kForeign, "program 12 (cil_x) is there"});
  s.maps[0].entries = 65000;
  provider_.set(s);
  auto r = cli("status");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.out, testing::StartsWith("NOT READY: 3 of 7: waiting for source_connected, last error connect: Connection "
                                         "refused, since 12 s, 1 warning, 9 problems, 1 attachment failed\n"));
  EXPECT_THAT(r.out, HasSubstr("+maps_adopted -source_connected"));
  EXPECT_THAT(r.out, HasSubstr(R"(
warnings
  rp_filter is 1 on eth0

left out (1 of 9 shown)
  TASK            FIELD                             WHY
  marathon/web.1  discovery.ports[1].labels[VIP_0]  port 70000 is above 65535

attachments in trouble
  DEVICE  HOOK  METHOD  PROGRAM  STATE    WHY
  lo      lo    clsact       12  foreign  program 12 (cil_x) is there
)"));
  EXPECT_THAT(r.out, HasSubstr("maps over 80 %\n  MAP     ENTRIES  CAPACITY\n  ls_svc    65000     65536\n"));
  EXPECT_THAT(cli("status -o wide").out, HasSubstr("eth0    uplink_in  clsact       77  attached  -\n"));
  auto j = cli("status -o json");
  EXPECT_EQ(j.code, 1);
  EXPECT_EQ(Json::parse(j.out)["ready"], false);
}

TEST_F(Cli, VipList) {
  auto r = cli("vip ls");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, R"(NAME          SERVICE             ACTIVE  DRAINING  FLOWS
-             10.99.0.1:5432/tcp       1         0      7
web.marathon  11.0.0.1:80/tcp          1         1     17
web.marathon  [fd01:c::1]:80/tcp       1         0      0
)");
  EXPECT_EQ(cli("vip ls -o wide").out,
            R"(NAME          SERVICE             ACTIVE  DRAINING  FLOWS  NUMBER  RING  LABEL      FRAMEWORK  DNS NAME
-             10.99.0.1:5432/tcp       1         0      7       3   251  10.99.0.1  -          -
web.marathon  11.0.0.1:80/tcp          1         1     17       1   251  web        marathon   web.marathon.l4lb.thisdcos.directory
web.marathon  [fd01:c::1]:80/tcp       1         0      0       2   251  web        marathon   web.marathon.l4lb.thisdcos.directory
)");
  EXPECT_EQ(Json::parse(cli("-o json vip ls").out).size(), 3u);
}

TEST_F(Cli, VipShow) {
  auto r = cli("vip show 11.0.0.1:80");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, R"(11.0.0.1:80/tcp  web.marathon
  dns name  web.marathon.l4lb.thisdcos.directory
  label     web
  framework marathon
  kernel    service 1, ring of 251 slots
  BACKEND         AGENT     WEIGHT  STATE     NUMBER  FLOWS TC  FLOWS SOCK  TASK
  10.0.0.7:31001  10.0.0.7       1  active         1        10           2  web.1
  10.0.0.8:31002  10.0.0.8       0  draining       2         5           0  web.2
)");
  EXPECT_THAT(cli("vip show web.marathon").out, HasSubstr("[fd00::8]:31002"));
  EXPECT_THAT(cli("vip show '[fd01:c::1]:80/tcp' -o json").out, HasSubstr("\"ip\":\"fd00::8\""));
}

TEST_F(Cli, WhatIsNotThereIsExitCode1) {
  auto r = cli("vip show nope.marathon");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: there is no VIP 'nope.marathon'\n");
  EXPECT_EQ(r.out, "");
  r = cli("map dump nope");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: no map is named 'nope'\n");
  provider_.broken = true;
  r = cli("drops");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: read ls_drops: Operation not permitted\n");
}

TEST_F(Cli, TenantsCannotWriteToTheTerminal) {
  auto r = cli("vip show 10.99.0.1");
  EXPECT_EQ(r.out.find('\x1b'), r.out.npos);
  EXPECT_THAT(r.out, HasSubstr("db?[31m"));
}

TEST_F(Cli, BackendAndFlowLists) {
  EXPECT_EQ(cli("backend ls --vip web.marathon:80/tcp").out,
            R"(BACKEND          SERVICE             VIP           WEIGHT  STATE     FLOWS
10.0.0.7:31001   11.0.0.1:80/tcp     web.marathon       1  active       12
10.0.0.8:31002   11.0.0.1:80/tcp     web.marathon       0  draining      5
[fd00::8]:31002  [fd01:c::1]:80/tcp  web.marathon       1  active        0
)");
  EXPECT_EQ(cli("flow ls").out, R"(CLIENT          SERVICE             BACKEND         STATE             IDLE
10.1.0.2:40000  11.0.0.1:80/tcp     10.0.0.7:31001  established     500 ms
10.1.0.2:40001  11.0.0.1:80/tcp     10.0.0.8:31002  closing      1 min 5 s
10.1.0.3:5353   10.99.0.1:5432/udp  10.0.0.9:5432   udp                3 s
)");
  auto r = cli("flow ls --limit 1 --vip web.marathon -o wide");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.out, HasSubstr("       1  no       web.marathon\n"));
  EXPECT_EQ(r.err, "loadstar: only 1 flows are shown, there are more (option --limit)\n");
  EXPECT_THAT(cli("flow ls --backend '#4' --state udp").out, HasSubstr("10.1.0.3:5353"));
}

TEST_F(Cli, Maps) {
  EXPECT_EQ(cli("map ls").out, R"(NAME       TYPE     ENTRIES  CAPACITY   MEMORY
ls_svc     hash           3     65536  4.0 MiB
ls_be      array         90       100  3.1 KiB
ls_events  ringbuf        -   1048576  1.0 MiB
)");
  EXPECT_EQ(cli("map usage").out, R"(NAME    ENTRIES  CAPACITY    USED  STATE
ls_be        90       100  90.0 %  nearly full
ls_svc        3     65536   0.0 %  ok
)");
  auto r = cli("map dump ls_be --limit 1");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(Json::parse(r.out)["value"]["port"], 31001);
  EXPECT_THAT(r.err, HasSubstr("more entries"));
  EXPECT_EQ(std::ranges::count(cli("map dump ls_be --all").out, '\n'), 5);
}

TEST_F(Cli, Counters) {
  EXPECT_EQ(cli("drops").out, R"(HOOK     REASON      COUNT  MEANING
port_in  no_backend      7  service has no backend that takes new flows; answered with RST or ICMP
)");
  EXPECT_THAT(cli("drops --all").out, HasSubstr("sock_refused      0"));
  EXPECT_EQ(cli("stats").out, "HOOK     VERDICT  PACKETS  BYTES\nport_in  forward      100  64000\n");
  EXPECT_THAT(cli("metrics").out, HasSubstr("loadstar_ready 1\n"));
}

TEST_F(Cli, Health) {
  auto r = cli("health");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.out, testing::StartsWith("live: ok\n[+] config_ok, 3 min 0 s ago\n"));
  auto s = ready_status();
  s.ready = false;
  provider_.set(s);
  r = cli("health -o json");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.out, "{\"live\":true,\"ready\":false}\n");
}

TEST_F(Cli, Monitor) {
  Ran text, json;
  std::thread t([&] { text = cli("monitor --drops --vip web.marathon -n 2"); });
  auto waits_for = [&](uint32_t mask) {
    for (int i = 0; i < 1000 && provider_.wanted != mask; i++) std::this_thread::sleep_for(5ms);
    return provider_.wanted == mask;
  };
  // With what was refused by an answer: all that `drops` counts.
  constexpr uint32_t kDrops = 1u << LS_EVENT_DROP | 1u << LS_EVENT_REPLY | 1u << LS_EVENT_DEAD;
  ASSERT_TRUE(waits_for(kDrops));
  for (int i = 0; i < 2; i++) provider_.hub.publish(drop_event());
  t.join();
  EXPECT_EQ(text.code, 0);
  auto line = std::string("2023-11-14T22:13:20.123456Z drop  port_in    tcp 10.1.0.2:40000 -> 11.0.0.1:80 (web.marathon)  ") +
              "no_backend: service has no backend that takes new flows; answered with RST or ICMP\n";
  EXPECT_EQ(text.out, line + line);
  ASSERT_TRUE(waits_for(0));
  std::thread j([&] { json = cli("monitor --drops --new --json -n 1"); });
  ASSERT_TRUE(waits_for(kDrops | 1u << LS_EVENT_NEW));
  provider_.hub.publish(drop_event());
  j.join();
  EXPECT_EQ(Json::parse(json.out)["reason"], "no_backend");
}

TEST_F(Cli, MonitorSaysWhenTheDaemonEnds) {
  Ran r;
  std::thread t([&] { r = cli("monitor"); });
  for (int i = 0; i < 1000 && !provider_.wanted; i++) std::this_thread::sleep_for(5ms);
  server_.reset();
  t.join();
  EXPECT_THAT(r.err, testing::AnyOf(HasSubstr("ended the stream"), HasSubstr("loadstard ended")));
}

TEST_F(Cli, WrongUseIsExitCode2) {
  for (auto* args : {"", "nope", "vip", "vip show", "vip ls extra", "-o yaml status", "flow ls --state open", "completion tcsh",
                     "flow ls --limit 0", "flow ls --limit many", "flow ls --backend web", "vip show 11.0.0.1/sctp",
                     "monitor --type nwe", "monitor --hook eth0", "monitor -n x"}) {
    auto r = cli(args);
    EXPECT_EQ(r.code, 2) << args << r.out << r.err;
    EXPECT_NE(r.err, "") << args;
    EXPECT_EQ(r.out, "") << args;
  }
  EXPECT_THAT(cli("flow ls --limit 0").err, HasSubstr("limit"));
  EXPECT_EQ(cli("--help").code, 0);
  EXPECT_THAT(cli("vip show --help").out, HasSubstr("VIP"));
}

TEST(CliAlone, NoDaemonIsExitCode3) {
  TempDir dir;
  for (auto* command : {"status", "vip ls", "vip show x", "backend ls", "flow ls", "map ls", "map usage", "map dump ls_be", "drops",
                        "stats", "monitor", "metrics", "health"}) {
    auto r = run(dir, "-s " + (dir / "none.sock") + " " + command);
    EXPECT_EQ(r.code, 3) << command;
    EXPECT_EQ(r.out, "") << command;
    EXPECT_THAT(r.err, HasSubstr("loadstard does not run, or uses another socket: there is no " + (dir / "none.sock")));
  }
  auto v = run(dir, "-s " + (dir / "none.sock") + " version");
  EXPECT_EQ(v.code, 0);
  EXPECT_EQ(v.out, "loadstar " LS_VERSION "\nloadstard is not reachable\n");
}

TEST_F(Cli, Version) {
  EXPECT_EQ(cli("version").out, "loadstar " LS_VERSION "\nloadstard 1.2.3\n");
  // The environment may name the socket.
  auto out = dir_ / "out2";
  EXPECT_EQ(system(("LOADSTAR_SOCKET=" + path_ + " " LS_CLI " version >" + out).c_str()), 0);
  EXPECT_THAT(content(out), HasSubstr("loadstard 1.2.3"));
}

/// What bash would propose after `line`.
std::string proposals(const TempDir& dir, const std::string& words) {
  auto script = dir / "try.bash", out = dir / "proposals";
  std::ofstream(script) << "source <(" LS_CLI " completion bash)\nCOMP_WORDS=(" << words
                        << ")\nCOMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_loadstar\necho \"${COMPREPLY[*]}\"\n";
  EXPECT_EQ(system(("bash " + script + " >" + out + " 2>&1").c_str()), 0);
  auto text = content(out);
  return text.substr(0, text.find('\n'));
}

TEST(CliAlone, BashCompletion) {
  TempDir dir;
  EXPECT_EQ(proposals(dir, "loadstar ma"), "map");
  EXPECT_EQ(proposals(dir, "loadstar map ''"), "ls usage dump -h --help -s --socket -o --output");
  EXPECT_EQ(proposals(dir, "loadstar vip ls -o ''"), "table wide json");
  EXPECT_EQ(proposals(dir, "loadstar -o wide flow ls --s"), "--state --socket");
  EXPECT_EQ(proposals(dir, "loadstar flow ls --state c"), "closing");
  EXPECT_EQ(proposals(dir, "loadstar flow ls --limit ''"), "");
  EXPECT_EQ(proposals(dir, "loadstar completion z"), "zsh");
  EXPECT_EQ(proposals(dir, "loadstar -s /et"), "/etc");
}

TEST(CliAlone, CompletionScriptsParse) {
  TempDir dir;
  for (auto& [shell, check] : std::vector<std::pair<std::string, std::string>>{
           {"bash", "bash -n"}, {"zsh", "zsh -n"}, {"fish", "fish --no-execute"}}) {
    auto r = run(dir, "completion " + shell);
    ASSERT_EQ(r.code, 0);
    EXPECT_THAT(r.out, HasSubstr("backend"));
    auto file = dir / "script";
    std::ofstream(file) << r.out;
    if (system(("command -v " + shell + " >/dev/null").c_str()) == 0) {
      EXPECT_EQ(system((check + " " + file).c_str()), 0) << shell;
    } else {
      std::cout << shell << " is not installed, its script is not parsed\n";
    }
  }
}

TEST(CliAlone, TheManualPageNamesEveryCommandAndOption) {
  TempDir dir;
  auto page = content(LS_SOURCE_DIR "/docs/man/loadstar.1.scd");
  ASSERT_NE(page, "");
  std::istringstream lines(run(dir, "completion fish").out);
  int seen = 0;
  for (std::string l; std::getline(lines, l);) {
    if (!l.starts_with("complete ")) continue;
    for (std::string key : {" -l ", " -f -a "}) {
      auto at = l.find(key);
      if (at == l.npos || l[at + key.size()] == '\'') continue;
      auto word = l.substr(at + key.size(), l.find(' ', at + key.size()) - at - key.size());
      EXPECT_THAT(page, HasSubstr((key == " -l " ? "--" : "") + word)) << l;
      seen++;
    }
  }
  EXPECT_GT(seen, 30);
}

TEST(Table, AlignsByCharacters) {
  cli::Table t({{"A"}, {"N", cli::Table::Align::kRight}, {"C"}});
  t.row({"z\xc3\xbcrich", "5", "x"});
  t.row({"a", "12345", ""});
  EXPECT_EQ(t.text(" "), " A           N  C\n z\xc3\xbcrich      5  x\n a       12345  -\n");
}

TEST(Table, PrintableHidesControls) {
  EXPECT_EQ(cli::printable("a\nb\x1b[2J\x7f\xc2\x9b" "31m\xc3\xbc"), "a?b?[2J??31m\xc3\xbc");
  EXPECT_EQ(cli::bytes_text(1023), "1023 B");
  EXPECT_EQ(cli::bytes_text(1 << 20), "1.0 MiB");
  EXPECT_EQ(cli::bytes_text((1ull << 30) - 1), "1.0 GiB");
}

}  // namespace
}  // namespace ls
