#pragma once
/// Least privilege: the daemon needs three capabilities and nothing else of root (ecosystem.md section 3,
/// tried on 6.18).
///
/// Threading: capabilities belong to a thread and are inherited by threads made later, so call `reduce` from
/// the main thread before any other is started. Cost: a few system calls, once. What root did not give up
/// cannot be had back: files that only root can open are opened before.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"

namespace ls {

struct Capability {
  unsigned number;        ///< of linux/capability.h
  std::string_view name;  ///< "CAP_BPF"
  std::string_view why;   ///< what fails without it
};

/// The capabilities the daemon runs with.
std::span<const Capability> needed_capabilities();

/// Those of needed_capabilities() that this thread cannot use now.
Result<std::vector<Capability>> missing_capabilities();

/// Keeps exactly needed_capabilities() and sets no_new_privs. As root with `user` not empty, changes to that
/// user, its group and its supplementary groups first; as another user, `user` must be empty or the current
/// one. Fails, naming what is missing and what for, when a needed capability is not there; nothing was
/// changed then.
///
/// kForLoading also keeps CAP_PERFMON if it is there. It is not needed: without it the verifier guards the programs against
/// speculation by their own author with fences, and a packet costs two to three times as much (docs/design/05-performance.md); the
/// DNS programs, whose offsets in packets vary, it then refuses, and the process answers. It matters only while programs are loaded; give_up_loading() ends it.
enum class Keep { kNeeded, kForLoading };
Result<> reduce_privileges(const std::string& user, Keep keep = Keep::kNeeded);
/// True when CAP_PERFMON was there to be given up.
Result<bool> give_up_loading();

/// A sentence when any local user may load BPF programs (kernel.unprivileged_bpf_disabled = 0), else empty.
/// `file` is /proc/sys/kernel/unprivileged_bpf_disabled except in tests.
std::string unprivileged_bpf_warning(const std::string& file = "/proc/sys/kernel/unprivileged_bpf_disabled");

/// Each attachment holds a descriptor: a machine with 500 containers needs more than the 1024 that a process starts with.
void raise_file_limit();

}  // namespace ls
