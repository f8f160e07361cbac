#include "app/privileges.h"

#include <cap-ng.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

#include "util/log.h"

namespace ls {
namespace {

constexpr Capability kNeeded[] = {
    {CAP_BPF, "CAP_BPF", "load programs and make maps"},
    {CAP_NET_ADMIN, "CAP_NET_ADMIN", "attach programs to devices and cgroups"},
    {CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", "listen on ports below 1024"},
};

struct User {
  uid_t uid;
  gid_t gid;
};

Result<User> look_up(const std::string& name) {
  std::vector<char> buf(16384);
  passwd entry{}, *found = nullptr;
  int err = ::getpwnam_r(name.c_str(), &entry, buf.data(), buf.size(), &found);
  if (err) return fail(err, "look up user " + name);
  if (!found) return fail("no such user: " + name);
  return User{entry.pw_uid, entry.pw_gid};
}

/// Reads this thread's capabilities into libcap-ng and says whether CAP_PERFMON is among them.
bool has_perfmon() {
  capng_clear(CAPNG_SELECT_ALL);
  return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_PERFMON);
}

/// Sets libcap-ng's picture of this thread to the needed capabilities, inheritable and ambient left empty.
void want_only_needed(bool perfmon_too) {
  capng_clear(CAPNG_SELECT_ALL);
  if (perfmon_too) capng_update(CAPNG_ADD, capng_type_t(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET), CAP_PERFMON);
  for (auto& c : kNeeded) {
    capng_update(CAPNG_ADD, capng_type_t(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET), c.number);
  }
}

}  // namespace

std::span<const Capability> needed_capabilities() {
  return kNeeded;
}

Result<std::vector<Capability>> missing_capabilities() {
  capng_clear(CAPNG_SELECT_ALL);
  if (capng_get_caps_process() != 0) return fail(errno, "read own capabilities");
  std::vector<Capability> missing;
  for (auto& c : kNeeded) {
    if (!capng_have_capability(CAPNG_EFFECTIVE, c.number)) missing.push_back(c);
  }
  return missing;
}

Result<> reduce_privileges(const std::string& user, Keep keep) {
  LS_ASSIGN(auto missing, missing_capabilities());
  if (!missing.empty()) {
    std::string text = "missing";
    for (auto& c : missing)
      text += fmt::format("{} {} (to {})", &c == &missing.front() ? "" : ",", c.name, c.why);
    return fail(EPERM, text + "; start as root, or with the unit, which grants them");
  }
  std::optional<User> other;
  if (!user.empty()) {
    LS_ASSIGN(other, look_up(user));
    if (other->uid == ::geteuid()) {
      other.reset();
    } else if (::geteuid() != 0) {
      return fail(EPERM, "change to user " + user + " (only root can)");
    }
  }
  // Dropping from the bounding set needs CAP_SETPCAP, which only root has here; for anybody else no_new_privs
  // already keeps execve from gaining anything.
  bool root = ::geteuid() == 0;
  want_only_needed(keep == Keep::kForLoading && has_perfmon());
  if (other) {
    int rc = capng_change_id(int(other->uid), int(other->gid),
                             capng_flags_t(CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING));
    if (rc != 0) return fail(fmt::format("change to user {} (libcap-ng step {})", user, rc));
  } else {
    auto what = capng_select_t(root ? CAPNG_SELECT_BOTH | CAPNG_SELECT_AMBIENT
                                    : CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT);
    if (int rc = capng_apply(what); rc != 0) {
      return fail(errno, fmt::format("give up capabilities (libcap-ng step {})", rc));
    }
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(errno, "set no_new_privs");
  return {};
}

Result<bool> give_up_loading() {
  bool had = has_perfmon();
  if (had) {
    want_only_needed(false);
    if (int rc = capng_apply(capng_select_t(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT)); rc != 0)
      return fail(errno, fmt::format("give up CAP_PERFMON (libcap-ng step {})", rc));
  }
  return had;
}

std::string unprivileged_bpf_warning(const std::string& file) {
  int value = -1;
  std::ifstream in(file);
  if (!(in >> value) || value != 0) return "";
  return "any local user may load BPF programs: set kernel.unprivileged_bpf_disabled = 1";
}

void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) log::warn("file_limit", {{"error", std::string(strerror(errno))}});
}

}  // namespace ls
