// The three capabilities are enough for what the daemon does to the kernel: make and pin maps, load programs,
// attach them to a device and to a cgroup. Tried as user nobody, in namespaces and a cgroup of this test's
// own.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>

#include "app/privileges.h"

namespace ls {
namespace {

constexpr uid_t kNobody = 65534;
constexpr int kTcxIngress = 46;  // BPF_TCX_INGRESS of kernel 6.6; Debian 12's header is older

/// Where the cgroup v2 hierarchy is mounted; empty when it is not.
std::string cgroup2() {
  std::ifstream in("/proc/self/mounts");
  for (std::string device, where, type, rest; in >> device >> where >> type && std::getline(in, rest);) {
    if (type == "cgroup2") return where;
  }
  return "";
}

std::string failed(const char* what) {
  return std::string(what) + ": " + std::strerror(errno);
}

/// mov r0, VALUE; exit
int load(bpf_prog_type type, bpf_attach_type attach, int value) {
  const bpf_insn code[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, value}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
  return bpf_prog_load(type, "ls_test", "GPL", code, std::size(code), &opts);
}

/// Everything as nobody; the empty string when all of it worked.
std::string as_nobody(const std::string& bpffs, const std::string& group) {
  if (auto done = reduce_privileges("nobody"); !done) return done.error().text();
  if (::geteuid() != kNobody) return "still another user";
  auto pin = bpffs + "/loadstar";
  int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ls_test", 4, 8, 1, nullptr);
  if (map < 0) return failed("make a map");
  if (bpf_obj_pin(map, (pin + "/map").c_str()) < 0) return failed("pin the map");
  if (bpf_obj_get((pin + "/map").c_str()) < 0) return failed("open the pinned map");
  int connect4 = load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, 1);
  if (connect4 < 0) return failed("load a cgroup program");
  int dir = ::open(group.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return failed("open the cgroup");
  int link = bpf_link_create(connect4, dir, BPF_CGROUP_INET4_CONNECT, nullptr);
  if (link < 0) return failed("attach to the cgroup");
  if (bpf_obj_pin(link, (pin + "/connect4").c_str()) < 0) return failed("pin the link");
  int tc = load(BPF_PROG_TYPE_SCHED_CLS, bpf_attach_type(0), -1);
  if (tc < 0) return failed("load a tc program");
  constexpr int kLoopback = 1;  // ifindex of lo in every network namespace
  int tcx = bpf_link_create(tc, kLoopback, bpf_attach_type(kTcxIngress), nullptr);
  if (tcx < 0 && errno != EINVAL) return failed("attach to a device");  // EINVAL: a kernel before tcx
  // And what must not work any more.
  if (::setuid(0) == 0) return "could become root again";
  return "";
}

/// Runs `fn` in a child and gives back what it returned.
std::string in_child(const std::function<std::string()>& fn) {
  int fds[2];
  if (::pipe(fds) != 0) return failed("pipe");
  auto pid = ::fork();
  if (pid == 0) {
    auto text = fn();
    auto n = ::write(fds[1], text.data(), text.size());
    ::_exit(n == ssize_t(text.size()) ? 0 : 1);
  }
  ::close(fds[1]);
  std::string got;
  char buf[1024];
  for (ssize_t n; (n = ::read(fds[0], buf, sizeof buf)) > 0;) got.append(buf, size_t(n));
  ::close(fds[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? got : got + "(child failed)";
}

TEST(PrivilegesKernel, ThreeCapabilitiesAreEnoughForMapsProgramsAndLinks) {
  auto missing = missing_capabilities();
  if (::geteuid() != 0 || !missing || !missing->empty()) GTEST_SKIP() << "needs root";
  auto root = cgroup2();
  if (root.empty()) GTEST_SKIP() << "no cgroup v2 mounted";
  auto group = root + "/loadstar-privileges-" + std::to_string(::getpid());
  if (::mkdir(group.c_str(), 0755) != 0)
    GTEST_SKIP() << "cannot make " << group << ": " << std::strerror(errno);
  char bpffs[] = "/tmp/loadstar-bpffs-XXXXXX";
  ASSERT_NE(::mkdtemp(bpffs), nullptr);

  auto got = in_child([&]() -> std::string {
    if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) return failed("unshare");
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return failed("make mounts private");
    if (::mount("bpf", bpffs, "bpf", 0, "mode=0700") != 0) return failed("mount bpffs");
    // What dist/loadstar.tmpfiles.conf does on a machine.
    auto pin = std::string(bpffs) + "/loadstar";
    if (::chmod(bpffs, 0711) != 0 || ::mkdir(pin.c_str(), 0750) != 0) return failed("make the folder");
    if (::chown(pin.c_str(), kNobody, kNobody) != 0) return failed("give the folder away");
    return as_nobody(bpffs, group);
  });
  ::rmdir(group.c_str());
  ::rmdir(bpffs);
  EXPECT_EQ(got, "");
}

/// The product's own programs: without CAP_PERFMON the verifier follows what a CPU would speculate, and
/// refuses arithmetic on packet pointers with a register (verifier.c, retrieve_ptr_limit).
class OwnPrograms : public testing::TestWithParam<const char*> {};

TEST_P(OwnPrograms, LoadWithThreeCapabilities) {
  auto missing = missing_capabilities();
  if (::geteuid() != 0 || !missing || !missing->empty()) GTEST_SKIP() << "needs root";
  auto path = std::string(LS_BPF_DIR "/") + GetParam() + ".bpf.o";
  auto got = in_child([&]() -> std::string {
    auto* object =
        bpf_object__open_file(path.c_str(), nullptr);  // before: nobody may not reach the build folder
    if (!object) return failed("open");
    if (auto done = reduce_privileges("nobody"); !done) return done.error().text();
    return bpf_object__load(object) == 0 ? "" : failed("load");
  });
  EXPECT_EQ(got, "");
}

INSTANTIATE_TEST_SUITE_P(All, OwnPrograms, testing::Values("lb_sock", "lb_tc"));

}  // namespace
}  // namespace ls
