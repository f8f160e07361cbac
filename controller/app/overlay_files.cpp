#include "app/overlay_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "util/unique_fd.h"

namespace ls {
namespace {

constexpr mode_t kMode = 0644;  // containers' runtimes read them as other users

std::optional<std::string> read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

Result<> write_beside(const std::filesystem::path& path, const std::string& text) {
  auto beside = path;
  beside += ".new";
  UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kMode));
  if (!fd) return fail(errno, "open " + beside.string());
  auto failed = [&](std::string doing) {
    int err = errno;
    ::unlink(beside.c_str());
    return fail(err, std::move(doing));
  };
  if (::fchmod(fd.get(), kMode) != 0) return failed("set the mode of " + beside.string());
  for (std::string_view rest = text; !rest.empty();) {
    ssize_t n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write " + beside.string());
    rest.remove_prefix(size_t(n));
  }
  if (::fdatasync(fd.get()) != 0) return failed("synchronise " + beside.string());
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed("rename to " + path.string());
  return {};
}

/// True when it was written.
Result<bool> keep_file(const std::filesystem::path& path, const std::string& text) {
  if (read_file(path) == text) return false;
  std::error_code ec;
  std::filesystem::create_directories(path.parent_path(), ec);
  if (ec) return fail(ec.value(), "make the folder " + path.parent_path().string());
  LS_TRY(write_beside(path, text));
  return true;
}

/// A configuration as this daemon writes it, of one kind or the other.
bool is_ours(const std::string& text, const std::string& overlay) {
  auto json = nlohmann::json::parse(text, nullptr, false);
  auto is = [](const nlohmann::json& j, const char* key, const std::string& value) {
    return j.is_object() && j.contains(key) && j[key].is_string() && j[key] == value;
  };
  if (!is(json, "name", overlay)) return false;
  if (is(json, "type", "loadstar-cni")) return json.contains("ipam") && is(json["ipam"], "overlay", overlay);
  return is(json, "type", "mesos-cni-port-mapper") && json.contains("delegate") && is(json["delegate"], "bridge", "m-" + overlay);
}

}  // namespace

std::filesystem::path overlay_state_file(const Config& config) { return config.store.path.parent_path() / "overlay-agent.json"; }

OverlayFiles overlay_files(const Config& config, const overlay::Allocation& self, std::string state_text, uint32_t mtu) {
  OverlayFiles out;
  out.state = overlay_state_file(config);
  out.state_text = std::move(state_text);
  if (config.overlay.cni == CniKind::kOff) return out;
  for (auto& share : self.shares) {
    auto file = config.overlay.cni == CniKind::kOriginal
                    ? overlay::cni_file(share, mtu, config.overlay.cni_data_dir.string())
                    : overlay::own_cni_file(share, {.mtu = config.overlay.mtu ? mtu : 0,
                                                    .data_dir = config.overlay.cni_data_dir.string(),
                                                    .state_file = out.state.string(),
                                                    .pin = config.bpf.pin.string()});
    if (file) out.cni.push_back({share.overlay, config.overlay.cni_dir / file->name, std::move(file->text)});
    else out.gone.push_back({share.overlay, config.overlay.cni_dir / (share.overlay + ".conf"), {}});
  }
  return out;
}

OverlayFilesWritten write_overlay_files(const OverlayFiles& files) {
  OverlayFilesWritten out;
  auto keep = [&](const std::filesystem::path& path, const std::string& text) -> std::string {
    auto written = keep_file(path, text);
    if (!written) return written.error().text();
    out.written += *written;
    return {};
  };
  out.state_error = keep(files.state, files.state_text);
  for (auto& c : files.cni) out.by_name[c.overlay] = keep(c.path, c.text);
  for (auto& c : files.gone) {
    if (auto text = read_file(c.path); text && is_ours(*text, c.overlay) && ::unlink(c.path.c_str()) != 0)
      out.by_name[c.overlay] = "remove " + c.path.string() + ": " + strerror(errno);
  }
  return out;
}

}  // namespace ls
