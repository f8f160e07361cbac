// The service manager through systemctl(1): a child that gets two seconds.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "app/watchdog.h"
#include "util/unique_fd.h"

namespace ls::watchdog {
namespace {

constexpr Millis kPatience{2'000};
constexpr size_t kMaxOutput = 4096;

/// What the program prints (both channels). An error when it cannot be run, takes too long, or ends with another status than 0.
Result<std::string> run(const std::vector<std::string>& words) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno, "pipe");
  UniqueFd in(ends[0]), out(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), 2);
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  // No pager, no colours, no questions: the environment is made here.
  char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LC_ALL=C", pager[] = "SYSTEMD_PAGER=";
  char* env[] = {path, lang, pager, nullptr};
  pid_t child = 0;
  int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), env);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail(error, words[0]);
  out.reset();
  SystemClock clock;
  auto deadline = clock.now() + kPatience;
  std::string text;
  bool late = false;
  for (;;) {
    auto left = std::chrono::ceil<Millis>(deadline - clock.now()).count();
    if (left <= 0) {
      late = true;
      break;
    }
    pollfd p{in.get(), POLLIN, 0};
    if (::poll(&p, 1, int(left)) <= 0) continue;
    char buf[1024];
    auto n = ::read(in.get(), buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (text.size() < kMaxOutput) text.append(buf, size_t(n));
  }
  if (late) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (late) return fail(ETIMEDOUT, words[0] + " " + words[1]);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return fail(words[0] + " " + words[1] + ": " + text);
  return text;
}

}  // namespace

Result<UnitState> SystemctlUnits::state(const std::string& unit) {
  LS_ASSIGN(auto text, run({program_, "show", "--property=ActiveState", "--value", "--", unit}));
  if (auto state = parse_unit_state(text)) return *state;
  return fail(program_ + " show: unknown state \"" + text + "\"");
}

Result<> SystemctlUnits::restart(const std::string& unit) {
  LS_TRY(run({program_, "restart", "--no-block", "--", unit}));
  return {};
}

}  // namespace ls::watchdog
