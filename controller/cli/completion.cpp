#include "cli/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace ls::cli {
namespace {

/// In single quotes for a shell.
std::string shell_word(std::string_view text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// Fish knows \' inside single quotes and not the closing and opening of the others.
std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (auto& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

/// Calls `visit(path, command)` for every command, the root first; `path` is "loadstar vip ls".
void walk(const CommandInfo& c, const std::string& path,
          const std::function<void(const std::string&, const CommandInfo&)>& visit) {
  visit(path, c);
  for (auto& sub : c.commands) walk(sub, path + " " + sub.name, visit);
}

/// Own options and, below the root, those of the root that the command does not have itself (help).
std::vector<OptionInfo> options_at(const CommandInfo& root, const CommandInfo& c) {
  auto all = c.options;
  if (&c == &root) return all;
  for (auto& o : root.options) {
    if (std::none_of(c.options.begin(), c.options.end(), [&](auto& own) { return own.names == o.names; })) all.push_back(o);
  }
  return all;
}

/// Lines of `case` that follow the words on the command line down the tree.
std::string descend_cases(const CommandInfo& root) {
  std::string out;
  walk(root, root.name, [&](const std::string& path, const CommandInfo& c) {
    for (auto& sub : c.commands) out += fmt::format("      {}) at={} ;;\n", shell_word(path + " " + sub.name), shell_word(path + " " + sub.name));
  });
  return out;
}

/// For bash and zsh alike: what may stand behind an option, by place. Options of the root may stand anywhere. A value
/// that is neither a path nor one of a few gives no proposal.
std::string value_cases(const CommandInfo& root, std::string_view files, std::string_view nothing) {
  std::string out;
  walk(root, root.name, [&](const std::string& path, const CommandInfo& c) {
    auto at = &c == &root ? "*" : shell_word(path);
    for (auto& o : c.options) {
      if (!o.takes_value || o.names.empty()) continue;
      std::string patterns;
      for (auto& n : o.names) patterns += (patterns.empty() ? "" : "|") + at + shell_word(" " + n);
      auto act = o.takes_file ? std::string(files) : o.choices.empty() ? std::string(nothing) : "list=" + shell_word(joined(o.choices));
      out += fmt::format("    {}) {} ;;\n", patterns, act);
    }
  });
  return out;
}

std::vector<std::string> words_at(const CommandInfo& root, const CommandInfo& c) {
  std::vector<std::string> words;
  for (auto& sub : c.commands) words.push_back(sub.name);
  for (auto& o : options_at(root, c)) {
    words.insert(words.end(), o.names.begin(), o.names.end());
    if (o.names.empty()) words.insert(words.end(), o.choices.begin(), o.choices.end());
  }
  return words;
}

std::string bash(const CommandInfo& root) {
  std::string words;
  walk(root, root.name, [&](const std::string& path, const CommandInfo& c) {
    words += fmt::format("    {}) list={} ;;\n", shell_word(path), shell_word(joined(words_at(root, c))));
  });
  return fmt::format(R"(# bash completion for {0}, made by: {0} completion bash
_{0}() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} at={0} list='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at ${{COMP_WORDS[i]}}" in
{1}    esac
  done
  case "$at $prev" in
{2}  esac
  [[ $list ]] || case "$at" in
{3}  esac
  COMPREPLY=($(compgen -W "$list" -- "$cur"))
}}
complete -F _{0} {0}
)",
                     root.name, descend_cases(root),
                     value_cases(root, "COMPREPLY=($(compgen -f -- \"$cur\")); return", "COMPREPLY=(); return"), words);
}

std::string zsh(const CommandInfo& root) {
  std::string words;
  walk(root, root.name, [&](const std::string& path, const CommandInfo& c) {
    words += fmt::format("    {}) described=(", shell_word(path));
    auto add = [&](std::string name, const std::string& help) {
      for (size_t i = 0; (i = name.find(':', i)) != name.npos; i += 2) name.insert(i, "\\");  // ends the name for _describe
      words += "\n        " + shell_word(name + ":" + help);
    };
    for (auto& sub : c.commands) add(sub.name, sub.help);
    for (auto& o : options_at(root, c)) {
      for (auto& n : o.names) add(n, o.help);
      if (o.names.empty()) {
        for (auto& choice : o.choices) add(choice, o.help);
      }
    }
    words += ") ;;\n";
  });
  return fmt::format(R"(#compdef {0}
# zsh completion for {0}, made by: {0} completion zsh
_{0}() {{
  local prev=${{words[CURRENT-1]}} at={0} list='' i
  local -a described
  for ((i = 2; i < CURRENT; i++)); do
    case "$at ${{words[i]}}" in
{1}    esac
  done
  case "$at $prev" in
{2}  esac
  if [[ -n $list ]]; then
    compadd -- ${{=list}}
    return
  fi
  case "$at" in
{3}  esac
  _describe {0} described
}}
if [[ $funcstack[1] == _{0} ]]; then
  _{0} "$@"
else
  compdef _{0} {0}
fi
)",
                     root.name, descend_cases(root), value_cases(root, "_files; return", "return"), words);
}

std::string fish(const CommandInfo& root) {
  std::string lines;
  walk(root, root.name, [&](const std::string& path, const CommandInfo& c) {
    auto at = fmt::format("complete -c {} -n {}", root.name, fish_quoted("test (__" + root.name + "_at) = '" + path + "'"));
    for (auto& sub : c.commands) lines += fmt::format("{} -f -a {} -d {}\n", at, sub.name, fish_quoted(sub.help));
    for (auto& o : c.options) {
      // Options of the root may stand anywhere, so they carry no condition.
      auto line = &c == &root && !o.names.empty() ? "complete -c " + root.name : at;
      for (auto& n : o.names) line += n.starts_with("--") ? " -l " + n.substr(2) : " -s " + n.substr(1);
      if (o.names.empty()) {
        line += " -f -a " + fish_quoted(joined(o.choices));
      } else if (o.takes_value) {
        line += o.takes_file ? " -r -F" : o.choices.empty() ? " -x" : " -x -a " + fish_quoted(joined(o.choices));
      }
      lines += line + " -d " + fish_quoted(o.help) + "\n";
    }
  });
  return fmt::format(R"(# fish completion for {0}, made by: {0} completion fish
function __{0}_at
  set -l at {0}
  for word in (commandline -opc)[2..-1]
    switch "$at $word"
{1}    end
  end
  echo $at
end
complete -c {0} -f
{2})",
                     root.name,
                     [&] {
                       std::string cases;
                       walk(root, root.name, [&](const std::string& path, const CommandInfo& c) {
                         for (auto& sub : c.commands) {
                           auto below = fish_quoted(path + " " + sub.name);
                           cases += fmt::format("      case {}\n        set at {}\n", below, below);
                         }
                       });
                       return cases;
                     }(),
                     lines);
}

}  // namespace

std::string completion_script(std::string_view shell, const CommandInfo& root) {
  return shell == "zsh" ? zsh(root) : shell == "fish" ? fish(root) : bash(root);
}

}  // namespace ls::cli
