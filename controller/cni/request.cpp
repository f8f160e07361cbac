#include "cni/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace ls::cni {
namespace {

using Json = nlohmann::json;

constexpr std::pair<std::string_view, Command> kCommands[] = {{"ADD", Command::kAdd},       {"DEL", Command::kDel},
                                                              {"CHECK", Command::kCheck},   {"GC", Command::kGc},
                                                              {"STATUS", Command::kStatus}, {"VERSION", Command::kVersion}};

bool letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// Deep nesting costs stack when the value is printed again; nothing that is meant for a plugin is deep.
bool too_deep(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') i++;
      else if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      depth--;
    }
  }
  return false;
}

tl::unexpected<Failure> bad_variable(std::string_view name, std::string_view value, std::string_view rule) {
  return refuse(Code::kEnvironment, fmt::format("{} \"{}\" is not valid", name, value), std::string(rule));
}

Outcome<Command> parse_command(const std::string& text) {
  if (text.empty()) return refuse(Code::kEnvironment, "CNI_COMMAND is missing");
  for (auto& [word, command] : kCommands)
    if (word == text) return command;
  return refuse(Code::kEnvironment, fmt::format("CNI_COMMAND \"{}\" is not known", text), "known are ADD, DEL, CHECK, GC, STATUS, VERSION");
}

Outcome<std::map<std::string, std::string>> parse_args(const std::string& text) {
  std::map<std::string, std::string> out;
  if (text.empty()) return out;
  std::string_view rest = text;
  while (true) {
    auto end = rest.find(';');
    auto pair = rest.substr(0, end);
    auto equal = pair.find('=');
    if (equal == pair.npos || equal == 0) return bad_variable("CNI_ARGS", text, fmt::format("\"{}\" is not KEY=VALUE", pair));
    out[std::string(pair.substr(0, equal))] = pair.substr(equal + 1);
    if (end == rest.npos) break;
    rest.remove_prefix(end + 1);
  }
  bool ignore = false;
  if (auto it = out.find("IgnoreUnknown"); it != out.end()) {
    auto value = it->second;
    std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    if (value == "1" || value == "true") ignore = true;
    else if (value != "0" && value != "false") return bad_variable("CNI_ARGS", text, "IgnoreUnknown is true or false");
  }
  if (!ignore) {
    for (auto& [key, value] : out)
      if (key != "IgnoreUnknown" && key != "IP" && key != "MAC")
        return bad_variable("CNI_ARGS", text, fmt::format("key {} is not known, and IgnoreUnknown=true is not among them", key));
  }
  return out;
}

Outcome<> check_variables(Command command, const Environment& e) {
  bool attachment = command == Command::kAdd || command == Command::kDel || command == Command::kCheck;
  if (!attachment) return {};
  std::string missing;
  auto need = [&](const char* name, const std::string& value) {
    if (value.empty()) missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
  need("CNI_CONTAINERID", e.container);
  if (command != Command::kDel) need("CNI_NETNS", e.netns);
  need("CNI_IFNAME", e.ifname);
  if (!missing.empty()) return refuse(Code::kEnvironment, fmt::format("{} is missing", missing), fmt::format("needed for {}", to_text(command)));
  if (!valid_identifier(e.container, kMaxContainerId))
    return bad_variable("CNI_CONTAINERID", e.container,
                        fmt::format("a letter or digit, then letters, digits, '_', '.', '-'; at most {} octets", kMaxContainerId));
  if (!valid_interface_name(e.ifname))
    return bad_variable("CNI_IFNAME", e.ifname, "1 to 15 octets, not \".\" or \"..\", without '/', ':' and white space");
  if (e.netns.find('\0') != e.netns.npos || e.netns.size() > 4095) return bad_variable("CNI_NETNS", e.netns.substr(0, 80), "no path");
  return {};
}

Outcome<Version> config_version(const Json& config) {
  auto it = config.find("cniVersion");
  if (it == config.end() || it->is_null()) return Version::k010;
  if (!it->is_string()) return refuse(Code::kDecode, "cniVersion is not a text", it->dump());
  auto& text = it->get_ref<const std::string&>();
  if (text.empty()) return Version::k010;
  if (auto v = parse_version(text)) return *v;
  return refuse(Code::kVersion, "the version of the configuration is not supported",
                fmt::format("configuration: {}, plugin: {}", text, all_versions()));
}

}  // namespace

std::string_view to_text(Command c) {
  for (auto& [word, command] : kCommands)
    if (command == c) return word;
  return "?";
}

Environment Environment::from(const std::function<const char*(const char*)>& read) {
  auto get = [&](const char* name) {
    const char* v = read(name);
    return std::string(v ? v : "");
  };
  return {get("CNI_COMMAND"), get("CNI_CONTAINERID"), get("CNI_NETNS"), get("CNI_IFNAME"), get("CNI_PATH"), get("CNI_ARGS")};
}

bool valid_identifier(std::string_view text, size_t most) {
  if (text.empty() || text.size() > most || !letter_or_digit(text[0])) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return letter_or_digit(c) || c == '_' || c == '.' || c == '-'; });
}

bool valid_interface_name(std::string_view text) {
  if (text.empty() || text.size() > kMaxInterfaceName || text == "." || text == "..") return false;
  return std::none_of(text.begin(), text.end(), [](char c) {
    return c == '/' || c == ':' || c == '\0' || c == ' ' || (c >= '\t' && c <= '\r');
  });
}

Outcome<std::shared_ptr<const Json>> parse_object(std::string_view text, std::string_view what) {
  if (text.size() > kMaxInput) return refuse(Code::kDecode, fmt::format("{} has {} octets, at most {}", what, text.size(), kMaxInput));
  if (too_deep(text)) return refuse(Code::kDecode, fmt::format("{} is nested more than {} deep", what, kMaxDepth));
  auto json = std::make_shared<Json>(Json::parse(text, nullptr, false));
  if (json->is_discarded()) {
    return refuse(Code::kDecode, fmt::format("{} is no JSON", what), text.empty() ? "it is empty" : "");
  }
  if (!json->is_object()) return refuse(Code::kDecode, fmt::format("{} is no JSON object", what));
  return json;
}

std::string_view version_of(std::string_view input) {
  auto config = parse_object(input, "standard input");
  if (!config) return to_text(kNewest);
  auto version = config_version(**config);
  return to_text(version ? *version : kNewest);
}

Outcome<Request> parse_request(const Environment& e, std::string_view input) {
  Request out;
  auto command = parse_command(e.command);
  if (!command) return tl::make_unexpected(command.error());
  out.command = *command;
  if (auto r = check_variables(out.command, e); !r) return tl::make_unexpected(r.error());
  bool version_only = out.command == Command::kVersion;
  if (!version_only) {
    auto args = parse_args(e.args);
    if (!args) return tl::make_unexpected(args.error());
    out.args = std::move(*args);
  }
  bool nothing = std::all_of(input.begin(), input.end(), [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
  if (version_only && nothing) return out;
  auto config = parse_object(input, "standard input");
  if (!config) return tl::make_unexpected(config.error());
  out.config = *config;
  const Json& c = *out.config;
  if (version_only) {
    if (auto it = c.find("cniVersion"); it != c.end() && it->is_string()) out.asked_version = it->get<std::string>();
    return out;
  }
  out.container = e.container;
  out.netns = e.netns;
  out.ifname = e.ifname;
  out.path = e.path;
  auto version = config_version(c);
  if (!version) return tl::make_unexpected(version.error());
  out.version = *version;
  if (auto it = c.find("cniVersion"); it != c.end() && it->is_string()) out.asked_version = it->get<std::string>();
  auto since = [&](Version least) -> Outcome<> {
    if (out.version >= least) return {};
    return refuse(Code::kVersion, fmt::format("{} needs a configuration of version {} or later", to_text(out.command), to_text(least)),
                  fmt::format("configuration: {}, plugin: {}", to_text(out.version), all_versions()));
  };
  Outcome<> old_enough;
  if (out.command == Command::kCheck) old_enough = since(Version::k040);
  if (out.command == Command::kGc || out.command == Command::kStatus) old_enough = since(Version::k110);
  if (!old_enough) return tl::make_unexpected(old_enough.error());
  auto name = c.find("name");
  if (name == c.end()) return refuse(Code::kConfig, "the configuration has no name");
  if (!name->is_string()) return refuse(Code::kDecode, "name is not a text", name->dump());
  out.network = name->get<std::string>();
  if (!valid_identifier(out.network, kMaxNetworkName))
    return refuse(Code::kConfig, fmt::format("name \"{}\" is not valid", out.network),
                  fmt::format("a letter or digit, then letters, digits, '_', '.', '-'; at most {} octets", kMaxNetworkName));
  return out;
}

std::string error_document(std::string_view version, const Failure& f) {
  nlohmann::ordered_json out;
  out["cniVersion"] = version;
  out["code"] = int(f.code);
  out["msg"] = f.msg;
  out["details"] = f.details;
  // Texts may quote what came in the environment, in whatever encoding.
  return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace ls::cni
