#include "app/machine_check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "api/socket_file.h"
#include "app/privileges.h"
#include "bpf/pin.h"
#include "bpf/probe.h"
#include "datapath/cgroup_group.h"

namespace ls {
namespace {

using Findings = std::vector<MachineFinding>;

std::string read_file(const char* path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

bool writable(const std::filesystem::path& folder) {
  return ::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

/// The nearest folder on the way to `path` that is there.
std::filesystem::path nearest_folder(std::filesystem::path path) {
  std::error_code ec;
  while (!std::filesystem::exists(path, ec) && path.has_relative_path()) path = path.parent_path();
  return path;
}

/// Process that works with the pinned objects now, if there is one.
std::optional<int> running_daemon(const std::string& pin) {
  struct stat st {};
  if (::stat(pin.c_str(), &st) != 0) return {};
  return lock_holder(read_file("/proc/locks"), major(st.st_dev), minor(st.st_dev), st.st_ino);
}

void check_kernel(const Config& config, Findings& out) {
  auto kernel = bpf::probe_kernel();
  if (!kernel.bpf.available) {
    out.push_back(
        {true, fmt::format("the kernel ({}) lets nobody use BPF: {}", kernel.kernel, kernel.bpf.reason)});
    return;
  }
  if (!kernel.ring_buffer.available)
    out.push_back({true, fmt::format("the kernel ({}) is too old: {}",
                                     kernel.kernel, kernel.ring_buffer.reason)});
  if (config.lb.socket) {
    for (auto* f : {&kernel.cgroup_links, &kernel.sk_storage}) {
      if (!f->available)
        out.push_back(
            {false,
             fmt::format("lb.socket: connections of this machine are not balanced when they are made: {}: {}",
                         f->name, f->reason)});
    }
    if (auto group = datapath::CgroupGroup::open(config.lb.cgroup); !group)
      out.push_back({false, "lb.cgroup: " + group.error().text()});
  }
  if (auto text = unprivileged_bpf_warning(); !text.empty()) out.push_back({false, text});
}

void check_pins(const Config& config, Findings& out) {
  std::string pin = config.bpf.pin;
  constexpr auto kHelp =
      "systemd-tmpfiles --create loadstar.conf makes /sys/fs/bpf/loadstar for the user of the unit";
  if (auto r = bpf::require_bpffs(pin); !r) {
    bool closed = r.error().code.value() == EACCES;  // systemd mounts it for root only
    out.push_back(
        {true, fmt::format("bpf.pin: {}{}{}", r.error().text(), closed ? "; " : "", closed ? kHelp : "")});
  } else if (auto folder = nearest_folder(pin); !writable(folder)) {
    out.push_back(
        {true, fmt::format("bpf.pin: user {} may not write to {}; {}", ::geteuid(), folder.native(), kHelp)});
  }
}

void check_socket(const Config& config, Findings& out) {
  auto& path = config.api.socket;
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0 && !S_ISSOCK(st.st_mode))
    out.push_back(
        {true, fmt::format("api.socket: {} is no socket; remove it or name another", path.native())});
  auto folder = path.parent_path();
  std::error_code ec;
  bool there = std::filesystem::is_directory(folder, ec);
  if (!writable(there ? folder : folder.parent_path()))
    out.push_back(
        {true,
         fmt::format("api.socket: user {} may not make {} (the unit makes the folder, RuntimeDirectory=)",
                     ::geteuid(), path.native())});
  if (config.api.group.empty()) return;
  if (auto group = api::group_number(config.api.group); !group)
    out.push_back({true, "api.group: " + group.error().text()});
}

void check_store(const Config& config, Findings& out) {
  auto folder = config.store.path.parent_path();
  if (auto there = nearest_folder(folder); !writable(there))
    out.push_back({false, fmt::format("store.path: user {} may not write to {}: nothing is kept over a "
                                      "restart (the unit makes the folder, StateDirectory=)",
                                      ::geteuid(), there.native())});
}

void check_ports(const Config& config, Findings& out) {
  std::vector<OpenPort> open;
  for (auto [file, protocol] : {std::pair{"/proc/net/tcp", Protocol::kTcp},
                                {"/proc/net/tcp6", Protocol::kTcp},
                                {"/proc/net/udp", Protocol::kUdp},
                                {"/proc/net/udp6", Protocol::kUdp}}) {
    auto some = open_ports(read_file(file), protocol);
    open.insert(open.end(), some.begin(), some.end());
  }
  auto look = [&](const char* setting, const std::vector<Endpoint>& wanted,
                  std::initializer_list<Protocol> protocols) {
    for (auto& at : wanted) {
      for (auto p : protocols) {
        if (is_taken(open, p, at))
          out.push_back(
              {false, fmt::format("{}: {} {} is taken by another program; it is tried again until that ends",
                                  setting, to_text(p), at.text())});
      }
    }
  };
  look("api.listen", config.api.listen, {Protocol::kTcp});
  if (config.node.has_role(Role::kMaster)) {
    look("authority.listen", config.authority.listen, {Protocol::kUdp, Protocol::kTcp});
    look("authority.http_listen", config.authority.http_listen, {Protocol::kTcp});
    look("hub_server.listen", config.hub_server.listen, {Protocol::kTcp});
  }
  if (config.node.has_role(Role::kAgent))
    look("resolver.listen", config.resolver.listen, {Protocol::kUdp, Protocol::kTcp});
}

std::optional<unsigned long> hex(std::string_view text) {
  if (text.empty() || text.size() > 8) return {};
  unsigned long value = 0;
  for (char c : text) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
    if (digit < 0) return {};
    value = value * 16 + unsigned(digit);
  }
  return value;
}

/// "0100007F:0035": words of four bytes as this machine has them, then the port.
std::optional<Endpoint> proc_address(const std::string& text) {
  auto colon = text.find(':');
  if (colon != 8 && colon != 32) return {};
  uint8_t bytes[16];
  for (size_t i = 0; i < colon; i += 8) {
    auto word = hex(std::string_view(text).substr(i, 8));
    if (!word) return {};
    auto native = uint32_t(*word);
    std::memcpy(bytes + i / 2, &native, 4);
  }
  auto port = hex(std::string_view(text).substr(colon + 1));
  if (!port || *port > 0xffff) return {};
  if (colon == 32) return Endpoint{IpAddress::from_bytes(bytes), uint16_t(*port)};
  uint32_t v4 = uint32_t(bytes[0]) << 24 | uint32_t(bytes[1]) << 16 | uint32_t(bytes[2]) << 8 | bytes[3];
  return Endpoint{IpAddress::from_v4(v4), uint16_t(*port)};
}

}  // namespace

std::vector<OpenPort> open_ports(std::string_view proc_text, Protocol protocol) {
  // Numbers of include/net/tcp_states.h: a TCP socket listens, a UDP socket is not connected.
  std::string waiting = protocol == Protocol::kTcp ? "0A" : "07";
  std::vector<OpenPort> out;
  std::istringstream lines{std::string(proc_text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string number, local, remote, state;
    if (!(words >> number >> local >> remote >> state) || state != waiting) continue;
    if (auto at = proc_address(local)) out.push_back({protocol, *at});
  }
  return out;
}

bool is_taken(const std::vector<OpenPort>& open, Protocol protocol, const Endpoint& wanted) {
  for (auto& o : open) {
    if (o.protocol != protocol || o.at.port != wanted.port) continue;
    bool one_family = o.at.address.is_v4() == wanted.address.is_v4();
    if (o.at.address == wanted.address || (o.at.address.is_zero() && (one_family || !o.at.address.is_v4())) ||
        (wanted.address.is_zero() && one_family))
      return true;
  }
  return false;
}

std::optional<int> lock_holder(std::string_view locks, unsigned major, unsigned minor, uint64_t inode) {
  auto file = fmt::format("{:02x}:{:02x}:{}", major, minor, inode);
  std::istringstream lines{std::string(locks)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string number, kind, how, access, at;
    int process = 0;
    if ((words >> number >> kind >> how >> access >> process >> at) && kind == "FLOCK" && at == file)
      return process;
  }
  return {};
}

std::vector<MachineFinding> check_machine(const Config& config) {
  Findings out;
  if (auto r = reduce_privileges(config.node.user, Keep::kForLoading); !r) {
    out.push_back({true, r.error().text()});
    return out;
  }
  check_kernel(config, out);
  check_pins(config, out);
  check_socket(config, out);
  check_store(config, out);
  if (auto other = running_daemon(config.bpf.pin)) {
    out.push_back(
        {false,
         fmt::format("process {} works with {}: a second daemon would not start, and ports are not looked at",
                     *other, config.bpf.pin.native())});
  } else {
    check_ports(config, out);
  }
  return out;
}

std::string report(const std::vector<MachineFinding>& findings) {
  std::string out;
  size_t fatal = 0;
  for (auto& f : findings) {
    fatal += f.fatal;
    out += fmt::format("machine: {}{}\n", f.fatal ? "" : "note: ", f.text);
  }
  auto notes = findings.size() - fatal;
  return out + (fatal ? fmt::format("machine: {} problem{}: loadstard would not start\n", fatal,
                                    fatal == 1 ? "" : "s")
                      : fmt::format("machine: nothing keeps loadstard from starting{}\n",
                                    notes ? fmt::format(", {} note{}", notes, notes == 1 ? "" : "s") : ""));
}

}  // namespace ls
