// The watchdog's judgement: answers, the text of the resolver file, rounds and restarts in fake time, and files on a real disk.
#include "app/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/config.h"
#include "dns_standin.h"

namespace ls::watchdog {
namespace {

using test::Behaviour;
using test::DnsStandin;
using testing::HasSubstr;

Endpoint at(const char* text) { return *Endpoint::parse(text); }
std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// -- answers --

TEST(Answer, OnlyTheRealOneCounts) {
  auto question = probe_question(0x1234);
  EXPECT_EQ(question.size(), 31u);
  auto good = test::dns_reply(question, Behaviour::kAnswer);
  EXPECT_EQ(answer_fault(question, good), "");
  EXPECT_EQ(answer_fault(question, test::dns_reply(question, Behaviour::kEmpty)), "the answer is empty");
  EXPECT_EQ(answer_fault(question, test::dns_reply(question, Behaviour::kWrongId)), "the answer has another id");
  EXPECT_EQ(answer_fault(question, test::dns_reply(question, Behaviour::kWrongQuestion)), "the answer is to another question");
  EXPECT_EQ(answer_fault(question, test::dns_reply(question, Behaviour::kServfail)), "SERVFAIL");
  EXPECT_EQ(answer_fault(question, question), "what came is no answer");
  EXPECT_EQ(answer_fault(question, ""), "the answer is too short");
  for (size_t i = 0; i < question.size() + 11; i++) EXPECT_NE(answer_fault(question, good.substr(0, i)), "") << i;
  auto upper = good;
  upper[13] = 'R';
  EXPECT_EQ(answer_fault(question, upper), "");
}

TEST(Probe, EveryKindOfServerAtOnce) {
  DnsStandin good(Behaviour::kAnswer), silent(Behaviour::kSilent), empty(Behaviour::kEmpty), wrong(Behaviour::kWrongId),
      udp(Behaviour::kUdpOnly), tcp(Behaviour::kTcpOnly), junk(Behaviour::kJunk), late(Behaviour::kWrongIdThenRight),
      servfail(Behaviour::kServfail);
  Endpoint closed;
  {
    DnsStandin gone(Behaviour::kAnswer);
    closed = gone.endpoint();
  }
  std::vector<Endpoint> all{good.endpoint(), silent.endpoint(), empty.endpoint(), wrong.endpoint(),    udp.endpoint(),
                            tcp.endpoint(),  junk.endpoint(),   late.endpoint(),  servfail.endpoint(), closed};
  auto got = probe(all, Millis(300));
  ASSERT_EQ(got.size(), all.size());
  std::vector<Health> health;
  for (size_t i = 0; i < all.size(); i++) {
    EXPECT_EQ(got[i].server, all[i]);
    health.push_back(got[i].health());
  }
  using enum Health;
  EXPECT_EQ(health, (std::vector{kUp, kDown, kDown, kDown, kDegraded, kDown, kDown, kUp, kDown, kDown}));
  EXPECT_TRUE(got[5].tcp);
  EXPECT_EQ(got[1].udp_error, "no answer in time");
  EXPECT_EQ(got[2].udp_error, "the answer is empty");
  EXPECT_EQ(got[3].tcp_error, "the answer has another id");
  EXPECT_EQ(got[8].udp_error, "SERVFAIL");
  EXPECT_EQ(got[9].udp_error, "Connection refused");
  EXPECT_EQ(got[9].tcp_error, "Connection refused");
  EXPECT_EQ(silent.questions(), 2);
}

TEST(Probe, NoServersNoWait) { EXPECT_TRUE(probe({}, Millis(60'000)).empty()); }

TEST(Probe, AddressThatIsNotThere) {
  std::vector<Endpoint> one{at("[100::1]:53")};  // discard prefix, RFC 6666: no route or no answer
  auto got = probe(one, Millis(100));
  EXPECT_EQ(got[0].health(), Health::kDown);
  EXPECT_FALSE(got[0].udp_error.empty());
}

// -- the text --

TEST(ResolvConfText, LocalFirstThenUpstreams) {
  std::vector<Endpoint> local{at("198.51.100.2:53"), at("198.51.100.1:53")}, up{at("8.8.8.8:53"), at("[fd01::5]:53")};
  auto text = *resolv_conf_text(local, up, "");
  EXPECT_TRUE(is_ours(text));
  EXPECT_THAT(text, testing::EndsWith("options timeout:1\noptions attempts:3\nnameserver 198.51.100.2\nnameserver 198.51.100.1\n"));
  EXPECT_THAT(*resolv_conf_text({}, up, "a.example b.example"),
              testing::EndsWith("options attempts:3\nsearch a.example b.example\nnameserver 8.8.8.8\nnameserver fd01::5\n"));
}

TEST(ResolvConfText, NothingUsableNothingWritten) {
  std::vector<Endpoint> other{at("8.8.8.8:5353")};
  EXPECT_EQ(resolv_conf_text({}, {}, "x"), std::nullopt);
  EXPECT_EQ(resolv_conf_text(other, other, "x"), std::nullopt);
  // At most three, each once.
  std::vector<Endpoint> many{at("1.1.1.1:53"), at("1.1.1.1:53"), at("1.1.1.2:53"), at("1.1.1.3:53"), at("1.1.1.4:53")};
  EXPECT_THAT(*resolv_conf_text({}, many, ""), testing::EndsWith("nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n"));
}

// -- files --

class Files : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/loadstar-watchdog-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
    std::filesystem::create_directory(dir_ / "kept");
    std::filesystem::create_directory(dir_ / "etc");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  ResolvConf conf() const { return {dir_ / "etc/resolv.conf", dir_ / "kept/before"}; }
  std::filesystem::path path() const { return dir_ / "etc/resolv.conf"; }
  size_t files_in_etc() const {
    return size_t(std::distance(std::filesystem::directory_iterator(dir_ / "etc"), std::filesystem::directory_iterator()));
  }
  std::string text(const char* server) const { return *resolv_conf_text(std::vector{at(server)}, {}, ""); }
  std::filesystem::path dir_;
};

TEST_F(Files, MissingFileIsMadeAndNothingIsKept) {
  auto done = conf().write(text("1.1.1.1:53"));
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_TRUE(done->changed);
  EXPECT_EQ(slurp(path()), text("1.1.1.1:53"));
  struct stat st;
  ASSERT_EQ(::stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0644u);
  EXPECT_FALSE(*conf().restore());
}

TEST_F(Files, SameTextIsNotWrittenAgain) {
  ASSERT_TRUE(conf().write(text("1.1.1.1:53")));
  struct stat before, after;
  ::stat(path().c_str(), &before);
  auto done = conf().write(text("1.1.1.1:53"));
  ::stat(path().c_str(), &after);
  EXPECT_FALSE(done->changed);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(Files, DifferenceModeCopyAndRestore) {
  std::ofstream(path()) << "# mine\nnameserver 9.9.9.9\n";
  ::chmod(path().c_str(), 0640);
  ASSERT_TRUE(conf().write(text("1.1.1.1:53")));
  auto done = conf().write(text("1.1.1.2:53"));
  EXPECT_EQ(done->removed, "nameserver 1.1.1.1");
  EXPECT_EQ(done->added, "nameserver 1.1.1.2");
  struct stat st;
  ::stat(path().c_str(), &st);
  EXPECT_EQ(st.st_mode & 0777, 0640u);
  EXPECT_TRUE(*conf().restore());
  EXPECT_EQ(slurp(path()), "# mine\nnameserver 9.9.9.9\n");
  EXPECT_FALSE(*conf().restore());
  EXPECT_EQ(files_in_etc(), 1u);
}

// Somebody else wrote the file after us: that is what comes back, and a file that is not ours is never taken away.
TEST_F(Files, NewestForeignFileIsKept) {
  std::ofstream(path()) << "nameserver 9.9.9.1\n";
  ASSERT_TRUE(conf().write(text("1.1.1.1:53")));
  std::ofstream(path()) << "nameserver 9.9.9.2\n";
  ASSERT_TRUE(conf().write(text("1.1.1.1:53")));
  EXPECT_EQ(slurp(dir_ / "kept/before"), "nameserver 9.9.9.2\n");
  std::ofstream(path()) << "nameserver 9.9.9.3\n";
  EXPECT_FALSE(*conf().restore());
  EXPECT_EQ(slurp(path()), "nameserver 9.9.9.3\n");
}

TEST_F(Files, WithoutACopyNothingIsReplaced) {
  std::ofstream(path()) << "nameserver 9.9.9.9\n";
  ResolvConf conf(path(), dir_ / "none/before");
  auto done = conf.write(text("1.1.1.1:53"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), HasSubstr("before it is replaced"));
  EXPECT_EQ(slurp(path()), "nameserver 9.9.9.9\n");
}

TEST_F(Files, LinksAreFollowedAndStay) {
  std::filesystem::create_directory(dir_ / "run");
  std::ofstream(dir_ / "run/real") << "nameserver 9.9.9.9\n";
  std::filesystem::create_symlink("../run/link", path());
  std::filesystem::create_symlink("real", dir_ / "run/link");
  ASSERT_TRUE(conf().write(text("1.1.1.1:53")));
  EXPECT_TRUE(std::filesystem::is_symlink(path()));
  EXPECT_EQ(slurp(dir_ / "run/real"), text("1.1.1.1:53"));
  EXPECT_TRUE(*conf().restore());
  EXPECT_EQ(slurp(path()), "nameserver 9.9.9.9\n");
  // A link to nothing: its target is made.
  std::filesystem::remove(dir_ / "run/real");
  ASSERT_TRUE(conf().write(text("1.1.1.1:53")));
  EXPECT_TRUE(std::filesystem::is_regular_file(dir_ / "run/real"));
  // A circle.
  std::filesystem::remove(dir_ / "run/link");
  std::filesystem::create_symlink("link", dir_ / "run/link");
  auto done = conf().write(text("1.1.1.1:53"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), HasSubstr("Too many levels of symbolic links"));
}

TEST_F(Files, DirectoryPipeAndMissingFolder) {
  std::filesystem::create_directory(path());
  auto done = conf().write(text("1.1.1.1:53"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), HasSubstr("Is a directory"));
  std::filesystem::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_THAT(conf().write(text("1.1.1.1:53")).error().text(), HasSubstr("is no plain file"));
  std::filesystem::remove_all(dir_ / "etc");
  EXPECT_FALSE(conf().write(text("1.1.1.1:53")));
}

// -- rounds --

class FakeUnits final : public Units {
 public:
  Result<UnitState> state(const std::string&) override {
    asked++;
    if (broken) return fail(ETIMEDOUT, "systemctl show");
    return now;
  }
  Result<> restart(const std::string& unit) override {
    restarts.push_back(unit);
    if (broken_restart) return fail("no such unit");
    return {};
  }
  UnitState now = UnitState::kActive;
  bool broken = false, broken_restart = false;
  int asked = 0;
  std::vector<std::string> restarts;
};

class Rounds : public Files {
 protected:
  void SetUp() override {
    Files::SetUp();
    options_.servers = {at("198.51.100.1:53"), at("198.51.100.2:53"), at("198.51.100.3:53")};
    options_.upstreams = {at("8.8.8.8:53"), at("8.8.4.4:53")};
    options_.unit = "loadstard.service";
    start();
  }
  void start() {
    dog_.emplace(options_, conf(), clock_, units_,
                 [this](auto servers, Millis timeout) {
                   std::vector<ProbeResult> out;
                   bool all = true;
                   for (size_t i = 0; i < servers.size(); i++) {
                     ProbeResult r;
                     r.server = servers[i];
                     r.udp = udp_[i];
                     r.tcp = tcp_[i];
                     all = all && r.udp && r.tcp;
                     out.push_back(r);
                   }
                   if (!all) clock_.advance(timeout);  // a silent address takes the whole time
                   return out;
                 },
                 [this](auto&) { shuffles_++; });
  }
  void all(bool up) {
    for (int i = 0; i < 3; i++) udp_[i] = tcp_[i] = up;
  }
  /// Time goes to the next round, as the main loop does it.
  void round() {
    if (auto wait = std::chrono::ceil<Millis>(dog_->next() - clock_.now()); wait.count() > 0) clock_.advance(wait);
    dog_->round();
  }
  void rounds(int n) {
    while (n-- > 0) round();
  }
  std::vector<std::string> servers() const {
    std::vector<std::string> out;
    std::istringstream in(slurp(path()));
    for (std::string word, value; in >> word;) {
      if (word == "nameserver" && in >> value) out.push_back(value);
    }
    return out;
  }
  using Names = std::vector<std::string>;
  FakeClock clock_;
  FakeUnits units_;
  Options options_;
  bool udp_[3] = {true, true, true}, tcp_[3] = {true, true, true};
  int shuffles_ = 0;
  std::optional<Watchdog> dog_;
};

TEST_F(Rounds, AnsweringAddressesAndDegradedOnesLast) {
  round();
  EXPECT_EQ(servers(), (Names{"198.51.100.1", "198.51.100.2", "198.51.100.3"}));
  tcp_[0] = false;
  udp_[1] = false;
  round();
  EXPECT_EQ(servers(), (Names{"198.51.100.3", "198.51.100.1"}));
  EXPECT_EQ(units_.asked, 0);
}

// The worst moment to die is right after the answer. From then to the resolver file without the dead addresses.
TEST_F(Rounds, DeadDaemonCostsLessThanTenSeconds) {
  round();
  auto died = clock_.now();
  all(false);
  round();
  EXPECT_EQ(servers(), (Names{"8.8.8.8", "8.8.4.4"}));
  EXPECT_LE(clock_.now() - died, Millis(10'000));
  EXPECT_EQ(clock_.now() - died, options_.interval + options_.timeout);
  // And back.
  all(true);
  round();
  EXPECT_EQ(servers().size(), 3u);
  EXPECT_EQ(servers()[0], "198.51.100.1");
}

TEST_F(Rounds, OneOrderAnOutage) {
  all(false);
  rounds(5);
  EXPECT_EQ(shuffles_, 1);
  EXPECT_EQ(dog_->status().writes, 1u);
  all(true);
  round();
  all(false);
  round();
  EXPECT_EQ(shuffles_, 2);
}

TEST_F(Rounds, NothingUsableKeepsTheFile) {
  options_.upstreams = {at("8.8.8.8:5353")};
  start();
  std::ofstream(path()) << "nameserver 9.9.9.9\n";
  all(false);
  rounds(3);
  EXPECT_EQ(slurp(path()), "nameserver 9.9.9.9\n");
}

TEST_F(Rounds, FileLeftAloneWhenNotWanted) {
  options_.write_file = false;
  start();
  rounds(2);
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(Rounds, RestartAfterFailuresWithDoublingPause) {
  all(false);
  std::vector<int> at_round;
  for (int i = 1; i <= 200; i++) {
    round();
    if (units_.restarts.size() > at_round.size()) at_round.push_back(i);
  }
  // 3 rounds, then pauses of 15, 30, 60, 120, 240, 300, 300 s in rounds of 5 s; the failures count anew after each.
  EXPECT_EQ(at_round, (std::vector<int>{3, 6, 12, 24, 48, 96, 156}));
  EXPECT_EQ(units_.restarts[0], "loadstard.service");
  EXPECT_EQ(dog_->status().restarts, 7u);
}

TEST_F(Rounds, PauseStartsAnewOnlyAfterAnswersForAsLong) {
  all(false);
  rounds(6);  // two restarts, the pause is 30 s
  ASSERT_EQ(units_.restarts.size(), 2u);
  all(true);
  rounds(2);
  all(false);
  rounds(3);
  EXPECT_EQ(units_.restarts.size(), 2u);  // flapping: 30 s have not passed
  all(true);
  rounds(8);
  all(false);
  rounds(2);
  EXPECT_EQ(units_.restarts.size(), 2u);
  round();
  EXPECT_EQ(units_.restarts.size(), 3u);
}

TEST_F(Rounds, NeverWhileStartingNorWhenStopped) {
  all(false);
  for (auto state : {UnitState::kChanging, UnitState::kStopped}) {
    units_.now = state;
    rounds(100);
    EXPECT_TRUE(units_.restarts.empty()) << to_text(state);
  }
  units_.now = UnitState::kActive;
  rounds(2);
  EXPECT_TRUE(units_.restarts.empty());
  round();
  EXPECT_EQ(units_.restarts.size(), 1u);
}

TEST_F(Rounds, FailedUnitIsStarted) {
  all(false);
  units_.now = UnitState::kFailed;
  rounds(3);
  EXPECT_EQ(units_.restarts.size(), 1u);
}

TEST_F(Rounds, OneAnswerIsEnough) {
  all(false);
  tcp_[1] = true;
  rounds(20);
  EXPECT_TRUE(units_.restarts.empty());
  // TCP alone is no server for a resolver file, and the order stays.
  EXPECT_EQ(servers(), (Names{"8.8.8.8", "8.8.4.4"}));
  EXPECT_EQ(shuffles_, 1);
}

TEST_F(Rounds, BrokenServiceManagerNeverStopsTheFile) {
  round();
  all(false);
  units_.broken = true;
  rounds(10);
  EXPECT_TRUE(units_.restarts.empty());
  EXPECT_EQ(servers(), (Names{"8.8.8.8", "8.8.4.4"}));
  EXPECT_THAT(dog_->status().last_error, HasSubstr("systemctl show"));
  units_.broken = false;
  units_.broken_restart = true;
  rounds(3);
  EXPECT_EQ(units_.restarts.size(), 1u);
  EXPECT_EQ(dog_->status().last_error, "no such unit");
  EXPECT_EQ(dog_->status().restarts, 0u);
}

TEST_F(Rounds, RestartSwitchedOff) {
  options_.restart = false;
  start();
  all(false);
  rounds(10);
  EXPECT_EQ(units_.asked, 0);
  EXPECT_TRUE(units_.restarts.empty());
}

TEST_F(Rounds, FileThatCannotBeWrittenIsReportedAndTriedAgain) {
  std::filesystem::create_directory(path());
  rounds(3);
  EXPECT_THAT(dog_->status().last_error, HasSubstr("Is a directory"));
  EXPECT_EQ(dog_->status().errors, 3u);
  std::filesystem::remove(path());
  round();
  EXPECT_EQ(servers().size(), 3u);
  EXPECT_EQ(dog_->status().last_error, "");
}

TEST_F(Rounds, StatusIsJson) {
  udp_[1] = false;
  round();
  auto j = nlohmann::json::parse(dog_->status().json());
  EXPECT_EQ(j["addresses"].size(), 3u);
  EXPECT_EQ(j["addresses"][1]["health"], "down");
  EXPECT_EQ(j["rounds"], 1);
  Status odd;
  odd.last_error = "a \"quoted\"\n\\ text";
  EXPECT_EQ(nlohmann::json::parse(odd.json())["last_error"], odd.last_error);
}

// -- from the configuration --

TEST(WatchdogOptions, FromSettings) {
  Config c;
  c.resolver.upstreams = {"8.8.8.8", "[fd01::5]:5353"};
  auto o = options_from(c);
  EXPECT_EQ(o.servers.size(), 3u);  // IPv4 of resolver.listen
  EXPECT_EQ(o.upstreams, (std::vector{at("8.8.8.8:53"), at("[fd01::5]:5353")}));
  EXPECT_EQ(o.unit, "loadstard.service");
  c.resolver.listen = {at("0.0.0.0:53")};
  EXPECT_EQ(options_from(c).servers, std::vector{at("127.0.0.1:53")});
  c.resolver.listen = {at("[fd01::1]:53")};
  EXPECT_EQ(options_from(c).servers, std::vector{at("[fd01::1]:53")});
  EXPECT_TRUE(wanted(c));
  c.node.roles = {Role::kMaster};
  EXPECT_FALSE(wanted(c));
}

TEST(WatchdogOptions, FaultsOfOtherPartsDoNotStopIt) {
  auto problems = [](const std::string& toml) {
    ConfigText text{"a.toml", toml};
    return parse_config({&text, 1}).problems;
  };
  EXPECT_TRUE(usable(problems("[lb]\nflows = 1\n")));
  EXPECT_FALSE(usable(problems("[watchdog]\ninterval = 1\n")));
  EXPECT_FALSE(usable(problems("[watchdog]\nwrite_resolv_cnf = false\n")));
  EXPECT_FALSE(usable(problems("[resolver]\nupstreams = [\"x\"]\n")));
  EXPECT_FALSE(usable(problems("[lb\n")));
}

TEST(UnitStates, OfSystemd) {
  EXPECT_EQ(parse_unit_state("active"), UnitState::kActive);
  EXPECT_EQ(parse_unit_state("activating"), UnitState::kChanging);
  EXPECT_EQ(parse_unit_state("reloading"), UnitState::kChanging);
  EXPECT_EQ(parse_unit_state("inactive"), UnitState::kStopped);
  EXPECT_EQ(parse_unit_state("failed"), UnitState::kFailed);
  EXPECT_EQ(parse_unit_state(""), std::nullopt);
}

class Systemctl : public Files {
 protected:
  std::string script(const std::string& body) {
    auto path = dir_ / "systemctl";
    std::ofstream(path) << "#!/bin/sh\n" << body;
    ::chmod(path.c_str(), 0755);
    return path;
  }
};

TEST_F(Systemctl, StateRestartAndFaults) {
  SystemctlUnits good(script("echo \"$@\" >> " + (dir_ / "log").native() + "\necho activating\n"));
  EXPECT_EQ(*good.state("a.service"), UnitState::kChanging);
  EXPECT_TRUE(good.restart("a.service"));
  EXPECT_EQ(slurp(dir_ / "log"), "show --property=ActiveState --value -- a.service\nrestart --no-block -- a.service\n");
  SystemctlUnits bad(script("echo 'Access denied' >&2\nexit 4\n"));
  EXPECT_THAT(bad.restart("a.service").error().text(), HasSubstr("Access denied"));
  SystemctlUnits odd(script("echo purple\n"));
  EXPECT_FALSE(odd.state("a.service"));
  EXPECT_FALSE(SystemctlUnits("/nonexistent/systemctl").state("a.service"));
}

TEST_F(Systemctl, OneThatHangsIsEnded) {
  SystemctlUnits slow(script("exec sleep 60\n"));
  auto got = slow.state("a.service");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code.value(), ETIMEDOUT);
}

}  // namespace
}  // namespace ls::watchdog
