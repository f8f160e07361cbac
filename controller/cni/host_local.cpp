#include "cni/host_local.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "cni/request.h"

namespace ls::cni {
namespace {

constexpr size_t kMaxContent = 1024;  // an identifier and a name of an interface

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string out(kMaxContent, '\0');
  in.read(out.data(), std::streamsize(out.size()));
  out.resize(size_t(in.gcount()));
  return out;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.back() == '\n' || s.back() == '\r' || s.back() == ' ')) s.remove_suffix(1);
  return s;
}

HostLocalLease parse(const IpAddress& address, std::string_view content) {
  auto end = content.find("\r\n");
  HostLocalLease out;
  out.address = address;
  out.container = trim(content.substr(0, end));
  if (end != content.npos) out.ifname = trim(content.substr(end + 2));
  return out;
}

}  // namespace

bool has_host_local(const std::filesystem::path& folder) {
  std::error_code e;
  return std::filesystem::is_directory(folder, e);
}

Outcome<HostLocal> read_host_local(const std::filesystem::path& folder) {
  HostLocal out;
  std::error_code e;
  if (!std::filesystem::is_directory(folder, e)) return out;
  auto list = std::filesystem::directory_iterator(folder, e);
  if (e) return refuse(Code::kIo, fmt::format("read folder {}: {}", folder.native(), e.message()));
  for (auto& entry : list) {
    auto name = entry.path().filename().string();
    if (!entry.is_regular_file(e)) continue;
    if (name.starts_with("last_reserved_ip.")) {
      auto address = IpAddress::parse(trim(content_of(entry.path())));
      if (address && std::none_of(out.last.begin(), out.last.end(), [&](auto& a) { return a.is_v4() == address->is_v4(); })) out.last.push_back(*address);
      continue;
    }
    auto address = IpAddress::parse(name);
    if (!address) continue;
    auto lease = parse(*address, content_of(entry.path()));
    // Nobody can send a DEL for these; the address stays taken all the same, under the name of its file.
    if (!valid_identifier(lease.container, kMaxContainerId)) lease.container = "unknown";
    if (!lease.ifname.empty() && !valid_interface_name(lease.ifname)) lease.ifname.clear();
    if (lease.container == "unknown") lease.ifname = "+" + name.substr(0, 14);
    out.leases.push_back(std::move(lease));
  }
  std::sort(out.leases.begin(), out.leases.end(), [](auto& a, auto& b) { return a.address < b.address; });
  return out;
}

void forget_host_local(const std::filesystem::path& folder, const IpAddress& address, const std::string& container) {
  auto file = folder / address.text();
  std::error_code e;
  if (std::filesystem::is_regular_file(file, e) && parse(address, content_of(file)).container == container) std::filesystem::remove(file, e);
}

}  // namespace ls::cni
