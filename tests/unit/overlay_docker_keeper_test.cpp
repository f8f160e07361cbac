// The keeper's thread: what makes it look, when it looks again, and how it ends.
#include <gmock/gmock.h>

#include <atomic>

#include "overlay/docker_keeper.h"
#include "overlay_command_support.h"
#include "util/guarded.h"

namespace ls::overlay {
namespace {

using test::Folder;
using test::runs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

IpNetwork net(const std::string& text) { return IpNetwork::parse(text).value(); }
DockerNetwork network(const std::string& name = "dcos") { return {name, net("9.0.0.128/25"), std::nullopt, 1420}; }

/// Reports by number, waited for.
class Reports {
 public:
  DockerKeeper::Report taker() {
    return [this](DockerReport&& r) { all_.with([&](auto& v) { v.push_back(std::move(r)); }); };
  }
  /// The report of that number, 0 first.
  DockerReport wait(size_t number) {
    for (int i = 0; i < 12'000; i++) {
      auto found = all_.with([&](auto& v) { return v.size() > number ? std::optional(v[number]) : std::nullopt; });
      if (found) return *found;
      usleep(5'000);
    }
    ADD_FAILURE() << "no report " << number;
    return {};
  }
  size_t count() {
    return all_.with([](auto& v) { return v.size(); });
  }

 private:
  Guarded<std::vector<DockerReport>> all_;
};

/// Answers from a list by the first words of the command; writes down what was asked.
class Standin final : public CommandRunner {
 public:
  struct Shared {
    std::vector<std::string> asked;
    std::string rules;                                              // of iptables -S
    std::string inspect_error = "Error: No such network: x\n";      // empty: not asked for
    CommandResult::End end = CommandResult::End::kExited;
  };
  explicit Standin(Guarded<Shared>& shared) : shared_(shared) {}
  Result<CommandResult> run(const Command& c) override {
    return shared_.with([&](Shared& s) {
      std::string text;
      for (auto& a : c.argv) text += (text.empty() ? "" : " ") + a;
      s.asked.push_back(text + (c.net_admin ? " +net_admin" : ""));
      CommandResult r;
      r.end = s.end;
      if (text.find("-restore") != text.npos) {
        s.rules += c.input;
      } else if (text.find("tables") != text.npos) {
        r.out = s.rules;
      } else if (text.find("inspect") != text.npos) {
        r.status = 1;
        r.error = s.inspect_error;
      }
      return r;
    });
  }

 private:
  Guarded<Shared>& shared_;
};

DockerWanted wanted(std::vector<DockerNetwork> n, bool filter = false) {
  DockerWanted w;
  w.networks = std::move(n);
  if (filter) w.filter.shares = {net("9.0.0.0/24")};
  return w;
}

TEST(OverlayDockerKeeper, DelaysGrowAndAreForgotten) {
  DockerKeeperOptions o;
  DockerReport bad, good;
  bad.retrying = true;
  std::vector<int64_t> seconds;
  Millis last{0};
  for (int i = 0; i < 9; i++) {
    last = next_docker_delay(o, bad, last);
    seconds.push_back(last.count() / 1000);
  }
  EXPECT_THAT(seconds, ElementsAre(5, 10, 20, 40, 80, 160, 300, 300, 300));
  EXPECT_EQ(next_docker_delay(o, good, last), Millis(300'000));
  EXPECT_EQ(next_docker_delay(o, bad, Millis(0)), Millis(5'000));
}

TEST(OverlayDockerKeeper, APassGoesThroughAll) {
  Guarded<Standin::Shared> shared;
  Standin runner(shared);
  auto r = run_docker_pass(runner, {}, wanted({network("one"), network("two")}));
  ASSERT_EQ(r.networks.size(), 2u);
  EXPECT_EQ(r.networks[0].line(), "one: made");
  EXPECT_EQ(r.networks[1].line(), "two: made");
  EXPECT_FALSE(r.retrying);
  EXPECT_EQ(shared.with([](auto& s) { return s.asked.size(); }), 4u);
}

TEST(OverlayDockerKeeper, ASilentDaemonIsAskedOnce) {
  Guarded<Standin::Shared> shared;
  shared.with([](auto& s) { s.inspect_error = "Cannot connect to the Docker daemon\n"; });
  Standin runner(shared);
  auto r = run_docker_pass(runner, {}, wanted({network("one"), network("two"), network("three")}));
  ASSERT_EQ(r.networks.size(), 3u);
  for (auto& n : r.networks) EXPECT_EQ(n.state, DockerState::kNoAnswer);
  EXPECT_EQ(r.networks[2].name, "three");
  EXPECT_TRUE(r.retrying);
  EXPECT_EQ(r.failures, 1u);
  EXPECT_EQ(shared.with([](auto& s) { return s.asked.size(); }), 1u);
}

TEST(OverlayDockerKeeper, TheFilterIsWrittenWithTheRightToDoSo) {
  Guarded<Standin::Shared> shared;
  shared.with([](auto& s) { s.rules = "-P FORWARD DROP\n-N DOCKER-USER\n"; });
  Standin runner(shared);
  auto r = run_docker_pass(runner, {}, wanted({}, true));
  EXPECT_EQ(r.repaired, 1u);
  EXPECT_THAT(r.warnings, IsEmpty());
  EXPECT_THAT(shared.with([](auto& s) { return s.asked; }),
              ElementsAre("iptables -w -S +net_admin", "iptables-restore -w --noflush +net_admin", "iptables -w -t raw -S PREROUTING +net_admin"));
}

TEST(OverlayDockerKeeper, WarnsOfAPolicyAndOfRawRules) {
  Guarded<Standin::Shared> shared;
  shared.with([](auto& s) { s.rules = "-P FORWARD DROP\n"; });
  Standin runner(shared);
  auto w = wanted({}, true);
  w.filter.bridges = {"d-dcos", "d-other"};
  auto r = run_docker_pass(runner, {}, w);
  ASSERT_EQ(r.warnings.size(), 1u);
  EXPECT_THAT(r.warnings[0], HasSubstr("policy of FORWARD is DROP"));
  shared.with([](auto& s) { s.rules = "-N DOCKER-USER\n-A PREROUTING -d 9.0.0.130/32 ! -i d-dcos -j DROP\n-A PREROUTING -d 9.0.0.131/32 ! -i d-dcos -j DROP\n"; });
  r = run_docker_pass(runner, {}, w);
  ASSERT_EQ(r.warnings.size(), 1u);
  EXPECT_THAT(r.warnings[0], HasSubstr("behind d-dcos"));
  // Rules that cannot be read are told and tried again.
  shared.with([](auto& s) { s.end = CommandResult::End::kTimeout; });
  r = run_docker_pass(runner, {}, w);
  EXPECT_TRUE(r.retrying);
  EXPECT_EQ(r.failures, 1u);
  EXPECT_THAT(r.warnings[0], HasSubstr("no end within the time limit"));
  // Without the command there is nothing to do.
  shared.with([](auto& s) { s.end = CommandResult::End::kNotFound; });
  r = run_docker_pass(runner, {}, w);
  EXPECT_FALSE(r.retrying);
  EXPECT_THAT(r.warnings, IsEmpty());
}

TEST(OverlayDockerKeeper, LooksWhenSomethingElseIsWantedAndAgainWhenItFailed) {
  Guarded<Standin::Shared> shared;
  Reports reports;
  DockerKeeperOptions o;
  o.retry_min = Millis(1);
  o.retry_max = Millis(2);
  o.again = Millis(3'600'000);
  DockerKeeper keeper(o, std::make_unique<Standin>(shared), reports.taker());
  keeper.want(wanted({network("one")}));
  EXPECT_EQ(reports.wait(0).networks.at(0).line(), "one: made");
  keeper.want(wanted({network("one")}));  // nothing new
  keeper.want(wanted({network("two")}));
  EXPECT_EQ(reports.wait(1).networks.at(0).line(), "two: made");
  shared.with([](auto& s) { s.inspect_error = "error during connect\n"; });
  keeper.look_again();
  auto failed = reports.wait(2);
  EXPECT_TRUE(failed.retrying);
  // Tried again and again by itself; failures add up.
  EXPECT_GE(reports.wait(5).failures, 4u);
  shared.with([](auto& s) { s.inspect_error = "No such network\n"; });
  size_t healed = 6;
  while (healed < 10'000 && reports.wait(healed).retrying) healed++;
  EXPECT_EQ(reports.wait(healed).networks.at(0).line(), "two: made");
  keeper.want(wanted({network("three")}));
  size_t last = 0;
  while (last < 10'000 && reports.wait(last).networks.at(0).name != "three") last++;
  EXPECT_EQ(reports.wait(last).networks.at(0).line(), "three: made");
}

TEST(OverlayDockerKeeper, LooksAgainWithoutBeingTold) {
  Guarded<Standin::Shared> shared;
  Reports reports;
  DockerKeeperOptions o;
  o.again = Millis(1);
  DockerKeeper keeper(o, std::make_unique<Standin>(shared), reports.taker());
  keeper.want(wanted({network("one")}));
  EXPECT_EQ(reports.wait(3).networks.at(0).state, DockerState::kMade);
}

TEST(OverlayDockerKeeper, EndsWhileDockerHangs) {
  Folder folder;
  Reports reports;
  auto before = test::open_descriptors();
  DockerKeeperOptions o;
  o.docker.binary = folder.program("docker", "trap '' TERM\nsleep 1000 & echo $! > $d/grandchild\necho $$ > $d/self\nwait\nsleep 1000\n");
  o.docker.limit = Millis(3'600'000);
  pid_t self = -1, grandchild = -1;
  {
    auto keeper = DockerKeeper::make(o, reports.taker());
    ASSERT_TRUE(keeper);
    (*keeper)->want(wanted({network()}));
    for (int i = 0; i < 12'000 && folder.read("self").find('\n') == std::string::npos; i++) usleep(5'000);
    self = std::stoi(folder.read("self"));
    grandchild = std::stoi(folder.read("grandchild"));
    EXPECT_TRUE(runs(self));
  }
  for (int i = 0; i < 2000 && (runs(self) || runs(grandchild)); i++) usleep(5'000);
  EXPECT_FALSE(runs(self));
  EXPECT_FALSE(runs(grandchild));
  EXPECT_EQ(reports.count(), 0u);
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(OverlayDockerKeeper, EndsWithoutHavingBeenAsked) {
  Reports reports;
  auto keeper = DockerKeeper::make({}, reports.taker());
  ASSERT_TRUE(keeper);
  keeper->reset();
  EXPECT_EQ(reports.count(), 0u);
}

}  // namespace
}  // namespace ls::overlay
