#include "cni/delegate.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "cni/deadline.h"
#include "cni/request.h"

#include "util/unique_fd.h"

extern char** environ;

namespace ls::cni {
namespace {

tl::unexpected<Failure> failed(const std::string& type, std::string_view what, int error) {
  return refuse(Code::kDelegate, fmt::format("delegate {}: {}: {}", type, what, std::strerror(error)));
}

Outcome<std::string> find_program(const std::string& type, const std::string& path) {
  if (path.empty()) return refuse(Code::kEnvironment, "CNI_PATH is missing", fmt::format("needed to find delegate {}", type));
  size_t at = 0;
  while (at <= path.size()) {
    auto end = std::min(path.find(':', at), path.size());
    auto folder = path.substr(at, end - at);
    if (!folder.empty()) {
      auto file = folder + "/" + type;
      if (access(file.c_str(), X_OK) == 0) return file;
    }
    at = end + 1;
  }
  return refuse(Code::kConfig, fmt::format("delegate {} is not in CNI_PATH {}", type, path));
}

/// The environment of this process with another CNI_COMMAND.
std::vector<std::string> environment_for(const std::string& command) {
  std::vector<std::string> out;
  for (char** e = environ; *e; e++)
    if (std::strncmp(*e, "CNI_COMMAND=", 12) != 0) out.emplace_back(*e);
  out.push_back("CNI_COMMAND=" + command);
  return out;
}

struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(errno, "make a pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

/// Writes the input and reads the output of the child at once; false when the deadline passed or the output is too long.
bool talk(UniqueFd in, UniqueFd out, std::string_view input, std::string& output) {
  fcntl(in.get(), F_SETFL, O_NONBLOCK);
  while (out) {
    pollfd fds[2] = {{out.get(), POLLIN, 0}, {in.get(), POLLOUT, 0}};
    int n = poll(fds, in ? 2 : 1, -1);
    if (Deadline::passed()) return false;
    if (n < 0) continue;
    if (in && fds[1].revents) {
      ssize_t w = write(in.get(), input.data(), input.size());
      if (w > 0) input.remove_prefix(size_t(w));
      if (input.empty() || (w < 0 && errno != EAGAIN && errno != EINTR)) in.reset();
    }
    if (fds[0].revents) {
      char buffer[4096];
      ssize_t r = read(out.get(), buffer, sizeof buffer);
      if (r > 0) output.append(buffer, size_t(r));
      else if (r == 0 || errno != EINTR) out.reset();
      if (output.size() > kMaxOutput) return false;
    }
  }
  return true;
}

}  // namespace

Outcome<DelegateOutput> run_delegate(const std::string& type, const std::string& path, const std::string& command, const std::string& input) {
  auto program = find_program(type, path);
  if (!program) return tl::make_unexpected(program.error());
  auto to = make_pipe(), from = make_pipe();
  if (!to) return refuse(Code::kDelegate, to.error());
  if (!from) return refuse(Code::kDelegate, from.error());
  auto texts = environment_for(command);
  std::vector<char*> env;
  for (auto& t : texts) env.push_back(t.data());
  env.push_back(nullptr);
  char* argv[] = {program->data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to->read.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, from->write.get(), 1);
  signal(SIGPIPE, SIG_IGN);  // a delegate need not read its input; it has its own SIGPIPE again
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t usual;
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  int error = posix_spawn(&pid, program->c_str(), &actions, &attributes, argv, env.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error) return failed(type, "start", error);
  to->read.reset();
  from->write.reset();
  DelegateOutput out;
  bool in_time = talk(std::move(to->write), std::move(from->read), input, out.output);
  if (!in_time) kill(pid, SIGKILL);
  int status = 0;
  pid_t waited;
  do {
    waited = waitpid(pid, &status, 0);
    if (waited < 0 && errno == EINTR && Deadline::passed() && in_time) {
      in_time = false;
      kill(pid, SIGKILL);
    }
  } while (waited < 0 && errno == EINTR);
  if (!in_time && Deadline::passed()) return refuse(Code::kTryAgain, fmt::format("delegate {} did not end in time", type));
  if (!in_time) return refuse(Code::kDelegate, fmt::format("delegate {} said more than {} octets", type, kMaxOutput));
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

Outcome<std::string> call_delegate(const std::string& type, const std::string& path, const std::string& command, const std::string& input) {
  auto r = run_delegate(type, path, command, input);
  if (!r) return tl::make_unexpected(r.error());
  if (r->status == 0) return std::move(r->output);
  auto said = parse_object(r->output, "the delegate's answer");
  std::string details = r->output.substr(0, 500);
  if (said) {
    auto text = [&](const char* key) {
      auto it = (*said)->find(key);
      return it != (*said)->end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    auto it = (*said)->find("code");
    details = fmt::format("code {}: {} {}", it == (*said)->end() ? "?" : it->dump(), text("msg"), text("details"));
  }
  return refuse(Code::kDelegate, fmt::format("delegate {} failed {} with exit code {}", type, command, r->status), details);
}

}  // namespace ls::cni
