#pragma once
/// One call of the plugin as a value: the variables of the environment and the JSON object on standard input, checked.
/// Rules and error codes: spec/cni.md, sections 1.1 to 1.3. Pure functions, thread: any. Cost: one parse of the input.
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "cni/failure.h"
#include "cni/version.h"

namespace ls::cni {

enum class Command : unsigned char { kAdd, kDel, kCheck, kGc, kStatus, kVersion };
std::string_view to_text(Command c);

inline constexpr size_t kMaxInput = 1 << 20;      ///< octets on standard input; a configuration has a few hundred
inline constexpr size_t kMaxDepth = 64;           ///< of brackets in it
inline constexpr size_t kMaxContainerId = 255;    ///< octets; the longest name of a folder, which Mesos makes of it
inline constexpr size_t kMaxNetworkName = 200;    ///< octets; it names a file of ours
inline constexpr size_t kMaxInterfaceName = 15;   ///< IFNAMSIZ - 1

/// What of the environment matters. Absent and empty are the same, as for the reference plugins.
struct Environment {
  std::string command, container, netns, ifname, path, args;
  /// `read` is getenv or a test's own.
  static Environment from(const std::function<const char*(const char*)>& read);
};

struct Request {
  Command command = Command::kVersion;
  std::string container, netns, ifname, path;
  std::map<std::string, std::string> args;  ///< CNI_ARGS; only keys that are known, unless IgnoreUnknown was given
  Version version = Version::k010;          ///< of the configuration
  std::string asked_version;                ///< as written; empty: the configuration names none
  std::string network;                      ///< empty only for VERSION
  std::shared_ptr<const nlohmann::json> config;  ///< the whole object
};

/// A JSON object from text: code 6 for anything else, and for more than kMaxInput octets or kMaxDepth brackets.
Outcome<std::shared_ptr<const nlohmann::json>> parse_object(std::string_view text, std::string_view what);
/// The version to label an error with that keeps `input` from becoming a request: the configuration's if it has a known one.
std::string_view version_of(std::string_view input);
/// Everything about one call that can be wrong before anything is touched.
Outcome<Request> parse_request(const Environment& environment, std::string_view input);

/// First letter or digit, then letters, digits, '_', '.', '-'.
bool valid_identifier(std::string_view text, size_t most);
bool valid_interface_name(std::string_view text);

/// {"cniVersion", "code", "msg", "details"}
std::string error_document(std::string_view version, const Failure& f);

}  // namespace ls::cni
