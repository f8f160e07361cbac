#include "util/zone_names.h"

#include <fmt/format.h>

#include <algorithm>

namespace ls {
namespace {

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  return out;
}

std::optional<std::string> name_fault(std::string_view name, bool underscore) {
  auto bad = [&](std::string_view why) { return fmt::format("\"{}\" is no domain name: {}", name.substr(0, 260), why); };
  if (name.empty()) return bad("it is empty");
  // RFC 1035 section 2.3.4: 255 octets with the length octets and the root.
  if (name.size() > 253) return bad("it is longer than 253 characters");
  size_t label = 0;
  for (char c : name) {
    if (c == '.') {
      if (label == 0) return bad("a label is empty");
      label = 0;
      continue;
    }
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                (c == '_' && underscore);
    if (!good) {
      return bad(underscore ? "only letters, digits, hyphens, underscores and dots may be in it"
                            : "only letters, digits, hyphens and dots may be in it");
    }
    if (++label > 63) return bad("a label is longer than 63 characters");
  }
  if (label == 0) return bad("it ends with a dot");
  return std::nullopt;
}

constexpr std::string_view kDirectory = "thisdcos.directory";
// Labels directly below thisdcos.directory whose zones loadstar makes itself.
constexpr std::string_view kMade[] = {"l4lb", "mesos", "dcos", "thisnode", "dclb"};
constexpr std::string_view kBuiltIn[] = {"zk", "spartan", "localhost", kDirectory, "thisdcos.global", "dcos.directory"};

}  // namespace

std::optional<std::string> domain_fault(std::string_view name) { return name_fault(name, false); }

std::optional<std::string> zone_fault(std::string_view name) { return name_fault(name, true); }

bool within_zone(std::string_view name, std::string_view zone) {
  return name == zone || (name.size() > zone.size() && name.ends_with(zone) && name[name.size() - zone.size() - 1] == '.');
}

std::optional<std::string> static_zone_fault(std::string_view written) {
  if (auto why = name_fault(written, true)) return why;
  auto name = lower_case(written);
  if (!within_zone(name, kDirectory) || name == kDirectory) {
    return fmt::format("\"{}\" does not lie below {}", written, kDirectory);
  }
  for (auto label : kMade) {
    auto made = fmt::format("{}.{}", label, kDirectory);
    if (within_zone(name, made)) return fmt::format("\"{}\" belongs to {}, which loadstar makes itself", written, made);
  }
  return std::nullopt;
}

std::optional<std::string_view> built_in_zone(std::string_view name) {
  for (auto zone : kBuiltIn) {
    if (within_zone(name, zone)) return zone;
  }
  return std::nullopt;
}

std::optional<std::string> cluster_id_fault(std::string_view text) {
  constexpr std::string_view kAlphabet = "ybndrfg8ejkmcpqxot1uwisza345h769";
  if (text.empty()) return std::nullopt;
  if (text.size() != 52) return fmt::format("a cluster id has 52 characters, this one {}", text.size());
  for (char c : text) {
    if (kAlphabet.find(c) == kAlphabet.npos) return fmt::format("'{}' is no character of z-base-32", c);
  }
  return std::nullopt;
}

}  // namespace ls
