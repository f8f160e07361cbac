// Commands of others: what they get, how long they may run, and that nothing of them stays.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <thread>

#include "overlay_command_support.h"

namespace ls::overlay {
namespace {

using End = CommandResult::End;
using test::Folder;
using test::run;
using test::runs;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class OverlayCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    auto r = ProcessRunner::make();
    ASSERT_TRUE(r);
    runner_ = std::make_unique<ProcessRunner>(std::move(*r));
    before_ = test::open_descriptors();
  }
  void TearDown() override {
    EXPECT_EQ(test::open_descriptors(), before_) << "descriptors leak";
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    EXPECT_EQ(errno, ECHILD);
  }
  CommandResult sh(const std::string& body, Millis limit = Millis(60'000), std::string input = {}) {
    return run(*runner_, {"sh", "-c", body}, limit, std::move(input));
  }
  /// Waits until the number of a process is in the file.
  pid_t number_in(const std::string& name) {
    for (int i = 0; i < 2000; i++) {
      auto text = folder_.read(name);
      if (text.find('\n') != text.npos) return pid_t(std::stoi(text));
      usleep(5'000);
    }
    ADD_FAILURE() << name << " was not written";
    return -1;
  }
  static void expect_gone(pid_t pid) {
    for (int i = 0; i < 2000 && runs(pid); i++) usleep(5'000);
    EXPECT_FALSE(runs(pid)) << pid;
  }

  Folder folder_;
  std::unique_ptr<ProcessRunner> runner_;
  size_t before_ = 0;
};

TEST_F(OverlayCommand, GivesCodeOutputAndErrors) {
  auto r = sh("cat; echo said; echo wrong >&2; exit 3", Millis(60'000), "given\n");
  EXPECT_EQ(r.end, End::kExited);
  EXPECT_EQ(r.status, 3);
  EXPECT_EQ(r.out, "given\nsaid\n");
  EXPECT_EQ(r.error, "wrong\n");
  EXPECT_EQ(r.text(), "exit code 3: wrong");
  EXPECT_FALSE(r.good());
  EXPECT_TRUE(sh("true").good());
}

TEST_F(OverlayCommand, ArgumentsPassNoShell) {
  auto r = run(*runner_, {"printf", "%s|", "a b", "$(id)", "; rm -rf x", ""});
  EXPECT_EQ(r.out, "a b|$(id)|; rm -rf x||");
}

TEST_F(OverlayCommand, AChildThatTakesNoInputIsFine) {
  auto r = sh("exec <&-; echo done", Millis(60'000), std::string(1 << 20, 'x'));
  EXPECT_EQ(r.out, "done\n");
  EXPECT_TRUE(r.good());
}

TEST_F(OverlayCommand, ASignalIsTold) {
  auto r = sh("kill -9 $$");
  EXPECT_EQ(r.end, End::kSignal);
  EXPECT_EQ(r.status, SIGKILL);
}

TEST_F(OverlayCommand, WhatIsNotThereIsSaid) {
  EXPECT_EQ(run(*runner_, {"no-such-command-of-this-test"}).end, End::kNotFound);
  EXPECT_EQ(run(*runner_, {folder_.at("nothing")}).end, End::kNotFound);
  // A script whose interpreter is missing is as good as missing.
  folder_.write("odd", "#!/no/such/interpreter\n");
  chmod(folder_.at("odd").c_str(), 0755);
  EXPECT_EQ(run(*runner_, {folder_.at("odd")}).end, End::kNotFound);
  folder_.write("text", "no program");
  chmod(folder_.at("text").c_str(), 0644);
  auto r = runner_->run({{folder_.at("text")}, {}, Millis(1000)});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code.value(), EACCES);
  EXPECT_FALSE(runner_->run({{}, {}, Millis(1000)}));
  EXPECT_FALSE(runner_->run({{"echo", std::string("a\0b", 3)}, {}, Millis(1000)}));
}

TEST_F(OverlayCommand, OneThatWillNotEndIsKilledWithAllItStarted) {
  auto program = folder_.program("stubborn", R"(
trap '' TERM HUP INT
sh -c 'trap "" TERM; echo $$ > '$d'/child; while :; do sleep 1; done' &
( sleep 1000 & echo $! > $d/grandchild; wait ) &
echo begun
echo $$ > $d/self
while :; do sleep 1; done
)");
  // Long enough for the shells to write their numbers, on a busy machine too.
  auto r = run(*runner_, {program}, Millis(3000));
  EXPECT_EQ(r.end, End::kTimeout);
  EXPECT_EQ(r.out, "begun\n");
  expect_gone(number_in("self"));
  expect_gone(number_in("child"));
  expect_gone(number_in("grandchild"));
}

TEST_F(OverlayCommand, AHelperThatHoldsThePipesIsNotWaitedFor) {
  auto r = sh("sleep 1000 & echo $! > " + folder_.at("helper") + "; echo said; exit 0");
  EXPECT_TRUE(r.good());
  EXPECT_EQ(r.out, "said\n");
  expect_gone(number_in("helper"));
}

TEST_F(OverlayCommand, OutputIsBounded) {
  auto r = sh("yes | head -c 3000000; sleep 1000");
  EXPECT_EQ(r.end, End::kTooLong);
  EXPECT_LE(r.out.size(), kMaxCommandOutput);
  EXPECT_EQ(sh("yes >&2").end, End::kTooLong);
  EXPECT_EQ(sh("head -c 1048576 /dev/zero").out.size(), kMaxCommandOutput);
}

TEST_F(OverlayCommand, TheEnvironmentIsSmall) {
  setenv("DOCKER_HOST", "unix:///x.sock", 1);
  setenv("LS_SECRET", "secret", 1);
  setenv("LD_PRELOAD_OF_TEST", "x", 1);
  auto lines = test::lines_of(run(*runner_, {"env"}).out);
  unsetenv("DOCKER_HOST");
  unsetenv("LS_SECRET");
  unsetenv("LD_PRELOAD_OF_TEST");
  EXPECT_THAT(lines, Contains("DOCKER_HOST=unix:///x.sock"));
  EXPECT_THAT(lines, Contains("LC_ALL=C"));
  EXPECT_THAT(lines, Contains(StartsWith("PATH=")));
  EXPECT_THAT(lines, Each(Not(HasSubstr("LS_SECRET"))));
  EXPECT_THAT(lines, Each(Not(HasSubstr("LD_PRELOAD_OF_TEST"))));
}

TEST_F(OverlayCommand, NoDescriptorAndNoSignalMaskIsInherited) {
  int careless = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  auto fds = run(*runner_, {"ls", "/proc/self/fd"}).out;  // and the folder itself, which ls has open
  auto mask = sh("grep -E 'Sig(Blk|Ign)' /proc/self/status").out;
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ::close(careless);
  EXPECT_EQ(fds, "0\n1\n2\n3\n");
  EXPECT_THAT(mask, AllOf(HasSubstr("SigBlk:\t0000000000000000"), HasSubstr("SigIgn:\t0000000000000000")));
}

TEST_F(OverlayCommand, IsALeaderOfItsOwnGroup) {
  auto words = sh("cut -d' ' -f1,5 /proc/$$/stat").out;
  EXPECT_EQ(words.substr(0, words.find(' ')) + "\n", words.substr(words.find(' ') + 1));
}

TEST_F(OverlayCommand, StopEndsWhatRunsAndWhatComes) {
  std::thread other([this] {
    number_in("running");
    runner_->stop();
  });
  auto r = sh("echo $$ > " + folder_.at("running") + "; sleep 1000");
  other.join();
  EXPECT_EQ(r.end, End::kStopped);
  expect_gone(number_in("running"));
  EXPECT_EQ(sh("echo never > " + folder_.at("later")).end, End::kStopped);
  EXPECT_FALSE(folder_.has("later"));
}

TEST_F(OverlayCommand, DiesWithTheProcessThatStartedIt) {
  pid_t pid = fork();
  if (pid == 0) {
    auto r = ProcessRunner::make();
    (void)r->run({{"sh", "-c", "echo $$ > " + folder_.at("orphan") + "; exec sleep 1000"}, {}, Millis(600'000)});
    _exit(0);
  }
  pid_t child = number_in("orphan");
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  expect_gone(child);
}

TEST_F(OverlayCommand, OneCapabilityIsPassedOnIfItIsAskedFor) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  auto file = folder_.at("caps");
  chmod(file.substr(0, file.rfind('/')).c_str(), 0755);
  folder_.write("caps", "");
  chmod(file.c_str(), 0666);
  pid_t pid = fork();
  if (pid == 0) {
    // As the daemon does: another user, some capabilities, none of them inheritable, no new privileges.
    prctl(PR_SET_KEEPCAPS, 1);
    if (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(1);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    data[0].effective = data[0].permitted = 1u << CAP_NET_ADMIN | 1u << CAP_NET_BIND_SERVICE;
    if (syscall(SYS_capset, &header, data) != 0) _exit(2);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    auto runner = ProcessRunner::make();
    for (bool keep : {true, false}) {
      auto r = runner->run({{"grep", "CapEff", "/proc/self/status"}, {}, Millis(60'000), keep});
      if (r) std::ofstream(file, std::ios::app) << r->out;
    }
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(test::lines_of(folder_.read("caps")), ElementsAre("CapEff:\t0000000000001000", "CapEff:\t0000000000000000"));
}

TEST(OverlayCommandText, IsPrintableAndShort) {
  EXPECT_EQ(printable("a\nb\x1b[31m\xff", 20), "a b?[31m?");
  EXPECT_EQ(printable(std::string(50, 'x'), 10), "xxxxxxx...");
  EXPECT_EQ(printable("", 10), "");
}

}  // namespace
}  // namespace ls::overlay
