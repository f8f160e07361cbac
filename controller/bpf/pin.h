#pragma once
/// Names below a bpffs mount: what keeps a BPF object alive without a process.
/// bpffs holds folders, symbolic links and pins, and refuses a dot in any name (kernel/bpf/inode.c keeps dots
/// for itself), so text that may hold one, such as the interface "eth0.100", goes through pin_name(). Thread:
/// any; nothing here has state. Errors carry the path.
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"
#include "util/unique_fd.h"

namespace ls::bpf {

enum class PinKind { kMap, kProgram, kLink };

/// Fails with a sentence that says how to mount a bpffs when `dir` (or its nearest existing parent) is on
/// none.
Result<> require_bpffs(const std::string& dir);
/// Makes `dir` and its missing parents; sets `mode` on `dir` alone, also when it was there and ours.
Result<> make_pin_dir(const std::string& dir, mode_t mode);
/// Pins and sets the mode (the kernel's own is 0600). EEXIST when the name is taken.
Result<> pin(int fd, const std::string& path, mode_t mode);
/// Opens a pin after looking what it is: EMEDIUMTYPE when it is not of `kind`.
Result<UniqueFd> open_pinned(const std::string& path, PinKind kind);
/// Absent is success.
Result<> unpin(const std::string& path);
bool exists(const std::string& path);
/// Renames a pin or a whole folder, which is one step for everybody who looks.
Result<> move_pin(const std::string& from, const std::string& to);
/// Names in a folder, sorted; an absent folder has none.
Result<std::vector<std::string>> list_pins(const std::string& dir);
/// Removes everything in `dir`, folders in it too, and the folder. Absent is success;
/// refused outside a bpffs.
Result<> remove_pin_dir(const std::string& dir);

/// Takes `dir` for this process until the descriptor is closed; makes it if need be. EBUSY when another process has it.
Result<UniqueFd> lock_pin_dir(const std::string& dir);

/// Any text as a name bpffs takes: '%', '.', '/' and bytes outside printable ASCII become %xx.
std::string pin_name(std::string_view text);

}  // namespace ls::bpf
