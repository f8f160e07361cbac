#include "overlay/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

extern char** environ;

namespace ls::overlay {
namespace {

using End = CommandResult::End;
constexpr char kUsualPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(errno, "make a pipe");
  Pipe p{UniqueFd(fds[0]), UniqueFd(fds[1])};
  // Below 3 they would be overwritten when the child arranges its standard descriptors.
  for (auto* fd : {&p.read, &p.write}) {
    if (fd->get() > 2) continue;
    int higher = fcntl(fd->get(), F_DUPFD_CLOEXEC, 3);
    if (higher < 0) return fail(errno, "move a pipe");
    fd->reset(higher);
  }
  return p;
}

std::string path_of_environment() {
  const char* path = std::getenv("PATH");
  return path && *path ? path : kUsualPath;
}

/// The file that the name means; empty: there is none.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return access(name.c_str(), F_OK) == 0 ? name : std::string();
  auto path = path_of_environment();
  for (size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find(':', at), path.size());
    auto folder = path.substr(at, end - at);
    at = end + 1;
    // A relative folder would depend on where this process happens to be.
    if (!folder.starts_with('/')) continue;
    auto file = folder + "/" + name;
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

std::vector<std::string> child_environment() {
  std::vector<std::string> out{"PATH=" + path_of_environment(), "LC_ALL=C"};
  for (char** e = environ; *e; e++)
    if (std::strncmp(*e, "HOME=", 5) == 0 || std::strncmp(*e, "DOCKER_", 7) == 0) out.emplace_back(*e);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& t : texts) out.push_back(t.data());
  out.push_back(nullptr);
  return out;
}

/// In the child: CAP_NET_ADMIN survives the exec. Needs it in the permitted set; without it the command says what it may not do.
void keep_net_admin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) return;
  data[0].inheritable |= 1u << CAP_NET_ADMIN;
  if (syscall(SYS_capset, &header, data) != 0) return;
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

/// In the child: only calls that are safe after a fork of a process with threads. Never returns.
[[noreturn]] void become(const char* file, char** argv, char** env, int in, int out, int error, int failure, pid_t parent, bool net_admin) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int err = 0;
  if (getppid() != parent) _exit(127);  // it died before the line above
  if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(error, 2) < 0) err = errno;
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; s++) sigaction(s, &usual, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // Libraries may have opened something without O_CLOEXEC; `failure` has it and closes at the exec.
  if (failure > 3) syscall(SYS_close_range, 3u, unsigned(failure - 1), 0u);
  syscall(SYS_close_range, unsigned(failure + 1), ~0u, 0u);
  if (net_admin) keep_net_admin();
  if (!err) {
    execve(file, argv, env);
    err = errno;
  }
  (void)!write(failure, &err, sizeof err);
  _exit(127);
}

/// The running child. Its group is killed and it is reaped at the end of life of this value, at the latest.
class Child {
 public:
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { end(); }
  int pidfd() const { return pidfd_.get(); }
  /// Kills the group, waits for the leader; how the leader ended.
  int end() {
    if (pid_ <= 0) return status_;
    // The leader is not reaped yet, so its number is still the group's and nobody else's.
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);
    while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status_;
  }
  /// Whether the leader has ended by itself; it stays to be reaped.
  bool ended() const {
    siginfo_t info{};
    return waitid(P_PID, id_t(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
  }

 private:
  pid_t pid_;
  UniqueFd pidfd_;
  int status_ = 0;
};

/// Reads what is there; closes at the end. False: it is too long.
bool take(UniqueFd& from, std::string& into) {
  char buffer[16384];
  while (from) {
    ssize_t n = read(from.get(), buffer, sizeof buffer);
    if (n > 0) {
      if (into.size() + size_t(n) > kMaxCommandOutput) return false;
      into.append(buffer, size_t(n));
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      from.reset();
    } else if (errno == EAGAIN) {
      break;
    }
  }
  return true;
}

void give(UniqueFd& to, std::string_view& input) {
  while (to && !input.empty()) {
    ssize_t n = write(to.get(), input.data(), input.size());
    if (n > 0) input.remove_prefix(size_t(n));
    else if (n < 0 && errno == EAGAIN) return;
    else if (n < 0 && errno != EINTR) break;
  }
  to.reset();
}

/// SIGPIPE of this thread is held back while a child may close its input, and taken away if one came. Signal handlers of the process stay as they are.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoPipeSignal() {
    timespec none{};
    if (!sigismember(&before_, SIGPIPE)) sigtimedwait(&pipe_, nullptr, &none);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;

 private:
  sigset_t pipe_{}, before_{};
};

struct Talk {
  UniqueFd in, out, error;
  std::string_view input;
};

/// Feeds and reads the child until it ends or must end. nullopt: it ended by itself.
std::optional<End> talk(const Child& child, Talk& t, CommandResult& r, Instant until, int stop) {
  for (;;) {
    auto left = std::chrono::ceil<Millis>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return End::kTimeout;
    // poll ignores negative descriptors.
    std::array<pollfd, 5> fds{{{t.out.get(), POLLIN, 0}, {t.error.get(), POLLIN, 0}, {t.in.get(), POLLOUT, 0}, {child.pidfd(), POLLIN, 0}, {stop, POLLIN, 0}}};
    if (poll(fds.data(), fds.size(), int(std::min<int64_t>(left, 60'000))) < 0 && errno != EINTR) return End::kTimeout;
    if (fds[4].revents) return End::kStopped;
    // Asked before reading: what it said before its end is then in the pipes.
    bool ended = child.ended();
    if (fds[2].revents || (t.in && t.input.empty())) give(t.in, t.input);
    if (!take(t.out, r.out) || !take(t.error, r.error)) return End::kTooLong;
    // Its helpers may hold the pipes for ever; they are not waited for.
    if (ended) return std::nullopt;
  }
}

bool nonblocking(const UniqueFd& fd) { return fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK) == 0; }

/// Commands say what is wrong first, and how they are to be used afterwards. Warnings, of files of the user for instance, may come before it.
std::string_view complaint(std::string_view text) {
  std::string_view first;
  while (!text.empty()) {
    auto end = std::min(text.find_first_of("\r\n"), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t") == line.npos) continue;
    if (first.empty()) first = line;
    if (!line.starts_with("WARNING")) return line;
  }
  return first;
}

}  // namespace

std::string printable(std::string_view text, size_t most) {
  std::string out;
  for (char c : text) {
    if (out.size() == most) {
      out.replace(out.size() - std::min<size_t>(3, out.size()), 3, "...");
      break;
    }
    if (c == '\n' || c == '\t' || c == '\r') c = ' ';
    out += c >= ' ' && c <= '~' ? c : '?';
  }
  return out;
}

std::string CommandResult::text() const {
  std::string how;
  switch (end) {
    case End::kExited: how = fmt::format("exit code {}", status); break;
    case End::kSignal: how = fmt::format("ended by signal {}", status); break;
    case End::kTimeout: how = "no end within the time limit"; break;
    case End::kTooLong: how = fmt::format("more than {} octets of output", kMaxCommandOutput); break;
    case End::kStopped: how = "stopped"; break;
    case End::kNotFound: how = "no such program"; break;
  }
  auto said = complaint(error);
  if (said.empty()) return how;
  return how + ": " + printable(said, 300);
}

Result<ProcessRunner> ProcessRunner::make() {
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return fail(errno, "make an eventfd");
  return ProcessRunner(std::move(fd));
}

void ProcessRunner::stop() {
  uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof one);
}

Result<CommandResult> ProcessRunner::run(const Command& command) {
  CommandResult r;
  if (command.argv.empty()) return fail("run a command: its argv is empty");
  for (auto& a : command.argv)
    if (a.find('\0') != a.npos) return fail(EINVAL, "run " + printable(command.argv[0]) + ": an argument holds a zero octet");
  pollfd stopped{stop_.get(), POLLIN, 0};
  if (poll(&stopped, 1, 0) > 0) {
    r.end = End::kStopped;
    return r;
  }
  auto file = find_program(command.argv[0]);
  if (file.empty()) {
    r.end = End::kNotFound;
    return r;
  }
  auto doing = "run " + printable(file);
  LS_ASSIGN(auto in, make_pipe());
  LS_ASSIGN(auto out, make_pipe());
  LS_ASSIGN(auto error, make_pipe());
  LS_ASSIGN(auto failure, make_pipe());
  if (!nonblocking(in.write) || !nonblocking(out.read) || !nonblocking(error.read)) return fail(errno, doing);
  auto argv_texts = command.argv;
  auto env_texts = child_environment();
  auto argv = pointers(argv_texts), env = pointers(env_texts);
  NoPipeSignal held;
  auto until = std::chrono::steady_clock::now() + command.limit;
  pid_t self = getpid();
  pid_t pid = fork();
  if (pid < 0) return fail(errno, doing);
  if (pid == 0)
    become(file.c_str(), argv.data(), env.data(), in.read.get(), out.write.get(), error.write.get(), failure.write.get(), self, command.net_admin);
  setpgid(pid, pid);  // also here: the group has to be there before it can be killed
  Child child(pid, UniqueFd(int(syscall(SYS_pidfd_open, pid, 0))));
  if (child.pidfd() < 0) return fail(errno, doing);
  in.read.reset();
  out.write.reset();
  error.write.reset();
  failure.write.reset();
  int exec_error = 0;
  ssize_t n;
  do n = read(failure.read.get(), &exec_error, sizeof exec_error);
  while (n < 0 && errno == EINTR);
  if (n == ssize_t(sizeof exec_error)) {
    if (exec_error != ENOENT) return fail(exec_error, doing);
    r.end = End::kNotFound;
    return r;
  }
  Talk t{std::move(in.write), std::move(out.read), std::move(error.read), command.input};
  auto forced = talk(child, t, r, until, stop_.get());
  int status = child.end();
  if (forced) {
    r.end = *forced;
  } else if (WIFEXITED(status)) {
    r.status = WEXITSTATUS(status);
  } else {
    r.end = End::kSignal;
    r.status = WTERMSIG(status);
  }
  return r;
}

}  // namespace ls::overlay
