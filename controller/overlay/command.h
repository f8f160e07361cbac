#pragma once
/// Running somebody else's command: no shell, a time limit, a bounded answer, and nothing of it left behind.
///
/// Thread: any; one command at a time for each ProcessRunner. It blocks: never on the control loop. stop() may be called from any thread.
/// Cost: a fork, an exec, and what the command does.
/// The child is the leader of a process group of its own. When it has ended, in whatever way, the whole group is killed, so that helpers which
/// it started do not outlive it; only what makes a session of its own escapes. It is killed too when this process dies. No SIGTERM is sent first: the
/// commands of this folder talk to a daemon or make one transaction, and have nothing to tidy up.
/// It inherits standard input, output and error (pipes of ours), no other descriptor, no blocked signal, and of the environment only
/// PATH, HOME and DOCKER_*. LC_ALL is C, because messages are read.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "util/clock.h"
#include "util/result.h"
#include "util/unique_fd.h"

namespace ls::overlay {

inline constexpr size_t kMaxCommandOutput = 1 << 20;  ///< octets of standard output and of standard error each; a large node's iptables rules fit

struct Command {
  std::vector<std::string> argv;  ///< the first: a path, or a name that is looked for in PATH
  std::string input;              ///< on standard input; at most 1 MiB is useful
  Millis limit{15'000};           ///< from the start to the end of the output
  /// The command may change networks even if this process is not root: CAP_NET_ADMIN, and nothing else, is passed on. Without it
  /// a command of another user than root has no capability.
  bool net_admin = false;
};

struct CommandResult {
  enum class End : uint8_t {
    kExited,    ///< `status` is its exit code
    kSignal,    ///< `status` is the signal that ended it
    kTimeout,   ///< it was killed after the limit
    kTooLong,   ///< it was killed because it said more than kMaxCommandOutput
    kStopped,   ///< it was killed, or not started, because of stop()
    kNotFound,  ///< there is no such program
  };
  End end = End::kExited;
  int status = 0;
  std::string out, error;  ///< what was said until then
  bool good() const { return end == End::kExited && status == 0; }
  /// "exit code 1: Error response from daemon: ...": how it ended and the first line of its complaint, printable, at most 300 octets.
  std::string text() const;
};

/// Printable ASCII of a text that somebody else wrote, in one line and at most `most` octets; other octets become '?'.
std::string printable(std::string_view text, size_t most = 200);

class CommandRunner {
 public:
  virtual ~CommandRunner() = default;
  /// Errors: the command could not be started though it is there (no memory, no permission).
  virtual Result<CommandResult> run(const Command&) = 0;
  /// Ends what runs now; whatever is asked later ends at once.
  virtual void stop() {}
};

class ProcessRunner final : public CommandRunner {
 public:
  /// Errors: no descriptor is left.
  static Result<ProcessRunner> make();
  Result<CommandResult> run(const Command&) override;
  void stop() override;

 private:
  explicit ProcessRunner(UniqueFd stop) : stop_(std::move(stop)) {}
  UniqueFd stop_;  ///< eventfd, never read
};

}  // namespace ls::overlay
