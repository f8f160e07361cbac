// In a child process, because what is given up cannot be had back.
#include "app/privileges.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <map>

namespace ls {
namespace {

/// Runs `fn` in a child and gives back what it returned.
std::string in_child(const std::function<std::string()>& fn) {
  int fds[2];
  if (::pipe(fds) != 0) return "pipe failed";
  auto pid = ::fork();
  if (pid == 0) {
    auto text = fn();
    auto n = ::write(fds[1], text.data(), text.size());
    ::_exit(n == ssize_t(text.size()) ? 0 : 1);
  }
  ::close(fds[1]);
  std::string out;
  char buf[4096];
  for (ssize_t n; (n = ::read(fds[0], buf, sizeof buf)) > 0;) out.append(buf, size_t(n));
  ::close(fds[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? out : out + "(child failed)";
}

/// The lines of /proc/self/status that say what this process may do.
std::string rights() {
  std::string out;
  std::ifstream in("/proc/self/status");
  for (std::string row; std::getline(in, row);) {
    for (auto key : {"Uid:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:"}) {
      if (row.starts_with(key)) out += row + "\n";
    }
  }
  return out;
}

// CAP_NET_BIND_SERVICE 10, CAP_NET_ADMIN 12, CAP_BPF 39 of linux/capability.h.
constexpr const char* kThree = "0000008000001400";

bool has_all() {
  auto missing = missing_capabilities();
  return missing && missing->empty() && ::geteuid() == 0;
}

TEST(Privileges, RootKeepsExactlyThree) {
  if (!has_all()) GTEST_SKIP() << "needs root";
  auto got = in_child([] {
    auto done = reduce_privileges("");
    return done ? rights() : done.error().text();
  });
  EXPECT_NE(got.find(std::string("CapPrm:\t") + kThree), got.npos) << got;
  EXPECT_NE(got.find(std::string("CapEff:\t") + kThree), got.npos) << got;
  EXPECT_NE(got.find(std::string("CapBnd:\t") + kThree), got.npos) << got;
  EXPECT_NE(got.find("NoNewPrivs:\t1"), got.npos) << got;
}

TEST(Privileges, ChangesUserAndKeepsTheThree) {
  if (!has_all()) GTEST_SKIP() << "needs root";
  auto got = in_child([] {
    auto done = reduce_privileges("nobody");
    if (!done) return done.error().text();
    auto missing = missing_capabilities();
    return rights() + (missing && missing->empty() ? "none missing" : "missing");
  });
  EXPECT_EQ(got.find("Uid:\t0"), got.npos) << got;
  EXPECT_NE(got.find(std::string("CapEff:\t") + kThree), got.npos) << got;
  EXPECT_NE(got.find("CapBnd:\t0000000000000000"), got.npos) << got;
  EXPECT_NE(got.find("NoNewPrivs:\t1"), got.npos) << got;
  EXPECT_NE(got.find("none missing"), got.npos) << got;
}

TEST(Privileges, SaysWhatIsMissingAndWhatFor) {
  if (!has_all()) GTEST_SKIP() << "needs root";
  auto got = in_child([] {
    // An ordinary user without capabilities.
    if (::setresuid(65534, 65534, 65534) != 0) return std::string("setresuid failed");
    auto before = rights();
    auto done = reduce_privileges("");
    return (done ? "no error" : done.error().text()) +
           (before == rights() ? "; nothing changed" : "; changed");
  });
  EXPECT_EQ(got,
            "missing CAP_BPF (to load programs and make maps), CAP_NET_ADMIN (to attach programs to devices "
            "and cgroups), "
            "CAP_NET_BIND_SERVICE (to listen on ports below 1024); start as root, or with the unit, which "
            "grants them: "
            "Operation not permitted; nothing changed");
}

TEST(Privileges, AnOrdinaryUserWithTheThreeIsEnough) {
  if (!has_all()) GTEST_SKIP() << "needs root";
  auto got = in_child([] {
    auto first = reduce_privileges("nobody");
    if (!first) return first.error().text();
    auto again = reduce_privileges("");  // as the unit starts it: no root, three capabilities
    if (!again) return again.error().text();
    auto same = reduce_privileges("nobody");
    return same ? std::string("ok") : same.error().text();
  });
  EXPECT_EQ(got, "ok");
}

TEST(Privileges, UnknownUserChangesNothing) {
  if (!has_all()) GTEST_SKIP() << "needs root";
  auto got = in_child([] {
    auto before = rights();
    auto done = reduce_privileges("no-such-user-here");
    return (done ? "no error" : done.error().text()) +
           (before == rights() ? "; nothing changed" : "; changed");
  });
  EXPECT_EQ(got, "no such user: no-such-user-here; nothing changed");
}

TEST(Privileges, WarnsWhenEverybodyMayLoadPrograms) {
  auto path = "/tmp/loadstar-unpriv-" + std::to_string(::getpid());
  for (auto& [content, warns] :
       std::map<std::string, bool>{{"0\n", true}, {"1\n", false}, {"2\n", false}, {"", false}}) {
    std::ofstream(path) << content;
    EXPECT_EQ(!unprivileged_bpf_warning(path).empty(), warns) << content;
  }
  ::unlink(path.c_str());
  EXPECT_EQ(unprivileged_bpf_warning(path), "") << "a kernel without the file";
}

// The unit grants what the code asks for, and CAP_PERFMON for the moment of loading; no more.
TEST(Privileges, UnitGrantsTheSameCapabilities) {
  std::ifstream in(LS_SOURCE_DIR "/dist/loadstard.service");
  std::string want;
  for (auto& c : needed_capabilities()) want += std::string(c.name) + " ";
  want += "CAP_PERFMON";
  std::map<std::string, std::string> lines;
  for (std::string row; std::getline(in, row);) {
    if (auto eq = row.find('='); eq != row.npos) lines[row.substr(0, eq)] = row.substr(eq + 1);
  }
  EXPECT_EQ(lines["AmbientCapabilities"], want);
  EXPECT_EQ(lines["CapabilityBoundingSet"], want);
}

}  // namespace
}  // namespace ls
