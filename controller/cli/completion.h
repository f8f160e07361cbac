#pragma once
/// Shell completion, made from the tree of commands and options that the parser itself uses. Thread: pure.
#include <string>
#include <string_view>
#include <vector>

namespace ls::cli {

struct OptionInfo {
  std::vector<std::string> names;    ///< "-o", "--output"; of a positional: none
  std::string help;
  bool takes_value = false;
  bool takes_file = false;           ///< the value is a path
  std::vector<std::string> choices;  ///< of the value, when it is one of a few
};

struct CommandInfo {
  std::string name, help;
  std::vector<OptionInfo> options;  ///< positionals without choices are left out
  std::vector<CommandInfo> commands;
};

/// `shell`: bash, zsh or fish. Options of the root may stand behind every command.
std::string completion_script(std::string_view shell, const CommandInfo& root);

}  // namespace ls::cli
