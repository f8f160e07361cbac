#include "cni/overlay_state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "cni/fields.h"
#include "util/unique_fd.h"

namespace ls::cni {
namespace {

using Json = nlohmann::json;

Outcome<std::string> read_file(const std::filesystem::path& file) {
  UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT)
    return refuse(Code::kTryAgain, "this node has no overlay yet", fmt::format("{} is not there; loadstard writes it", file.native()));
  if (!fd) return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "open " + file.native()});
  std::string out;
  char buffer[8192];
  for (ssize_t n; (n = read(fd.get(), buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "read " + file.native()});
    out.append(buffer, size_t(n));
    if (out.size() > kMaxInput) return refuse(Code::kIo, fmt::format("{} has more than {} octets", file.native(), kMaxInput));
  }
  return out;
}

Outcome<OverlayHalf> half_of_entry(const Fields& e, const std::string& overlay) {
  auto state = e.object("state");
  if (!state) return tl::make_unexpected(state.error());
  if (*state) {
    Fields s(**state, e.name("state"));
    auto status = s.text("status"), error = s.text("error");
    if (!status) return tl::make_unexpected(status.error());
    if (!error) return tl::make_unexpected(error.error());
    if (*status && **status != "STATUS_OK")
      return refuse(Code::kTryAgain, fmt::format("overlay {} is not set up on this node: {}", overlay, **status), error->value_or(""));
  }
  auto bridge = e.object("mesos_bridge");
  if (!bridge) return tl::make_unexpected(bridge.error());
  if (!*bridge) return refuse(Code::kConfig, fmt::format("overlay {} has no half for Mesos on this node", overlay));
  Fields b(**bridge, e.name("mesos_bridge"));
  OverlayHalf out;
  auto name = b.text("name");
  if (!name) return tl::make_unexpected(name.error());
  out.bridge = name->value_or("m-" + overlay);
  if (!valid_interface_name(out.bridge)) return refuse(Code::kConfig, fmt::format("{} \"{}\" is no name of a device", b.name("name"), out.bridge));
  for (auto key : {"ip", "ip6"}) {
    auto text = b.text(key);
    if (!text) return tl::make_unexpected(text.error());
    if (!*text || (*text)->empty()) continue;
    auto network = IpNetwork::parse(**text);
    if (!network || (*text)->find('/') == std::string::npos) return refuse(Code::kDecode, fmt::format("{} \"{}\" is no network", b.name(key), **text));
    auto range = range_of(*network);
    if (!range) return tl::make_unexpected(range.error());
    out.ranges.push_back(*range);
  }
  if (out.ranges.empty()) return refuse(Code::kConfig, fmt::format("overlay {} has no half for Mesos on this node", overlay));
  return out;
}

}  // namespace

Outcome<OverlayHalf> parse_overlay_half(std::string_view text, const std::string& what, const std::string& overlay) {
  auto json = parse_object(text, what);
  if (!json) return tl::make_unexpected(json.error());
  Fields top(**json, "");
  auto list = top.list("overlays");
  if (!list) return tl::make_unexpected(list.error());
  if (*list) {
    for (size_t i = 0; i < (*list)->size(); i++) {
      auto& entry = (**list)[i];
      if (!entry.is_object()) return top.wrong("overlays", "a list of objects");
      Fields e(entry, fmt::format("overlays[{}]", i));
      auto info = e.object("info");
      if (!info) return tl::make_unexpected(info.error());
      if (!*info) continue;
      auto name = Fields(**info, e.name("info")).text("name");
      if (!name) return tl::make_unexpected(name.error());
      if (*name && **name == overlay) return half_of_entry(e, overlay);
    }
  }
  return refuse(Code::kConfig, fmt::format("overlay {} is not known on this node", overlay));
}

Outcome<OverlayHalf> read_overlay_half(const std::filesystem::path& file, const std::string& overlay) {
  auto text = read_file(file);
  if (!text) return tl::make_unexpected(text.error());
  return parse_overlay_half(*text, file.native(), overlay);
}

}  // namespace ls::cni
