#pragma once
/// What `loadstard --check --machine` says about this machine: whatever would make a start fail, and what a
/// start would go on without. The unit runs it before each start, so that the journal has a sentence instead
/// of a failed call.
///
/// It looks and takes nothing: no port is bound, no lock taken, nothing pinned, so that it may be run at any
/// time beside a daemon that works. Only small programs of BPF are loaded and thrown away at once
/// (bpf/probe.h).
///
/// Thread: main, before any other: check_machine() gives up privileges as a start does, and the process is to
/// end after it. Cost: some ten system calls, ten small program loads, four files of /proc/net. Errors: are
/// the answer. Ports: host order.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/settings.h"
#include "util/address.h"

namespace ls {

struct MachineFinding {
  bool fatal = false;  ///< a start would end with it; otherwise it goes on without what is named
  std::string text;    ///< one sentence: what, and what to do
};

std::vector<MachineFinding> check_machine(const Config& config);

/// The findings as lines, and a closing line with their numbers.
std::string report(const std::vector<MachineFinding>& findings);

/// A socket that waits for packets or connections.
struct OpenPort {
  Protocol protocol{};
  Endpoint at;
};
/// From the text of /proc/net/tcp, tcp6, udp or udp6. Lines that cannot be read are left out.
std::vector<OpenPort> open_ports(std::string_view proc_text, Protocol protocol);
/// Those of `open` that keep `wanted` from being bound. An IPv6 socket without an address counts for IPv4 as
/// well.
bool is_taken(const std::vector<OpenPort>& open, Protocol protocol, const Endpoint& wanted);
/// Who holds a lock (flock) on the file, from the text of /proc/locks (proc_locks(5)).
std::optional<int> lock_holder(std::string_view locks, unsigned major, unsigned minor, uint64_t inode);

}  // namespace ls
