#pragma once
/// Reads the configuration: loadstar.toml, then conf.d/*.toml beside it in the order of their names; a later
/// value wins.
///
/// Errors: all of them are collected, in the order of the files; `config` is only to be used when there is
/// none. A file with broken TOML syntax gives one Problem for the place where the syntax breaks, the other
/// files are still read. Threading: any thread; reads files, blocks. No exception leaves. Cost: start and
/// reload only.
#include <span>

#include "app/settings.h"

namespace ls {

struct ConfigText {
  std::string name;  ///< path, as it shall stand in messages
  std::string toml;
};

struct LoadedConfig {
  Config config;
  std::vector<Problem> problems;
  std::vector<std::string> files;  ///< those that were read, in order
  bool good() const { return problems.empty(); }
};

/// Files on disk. Also checks that files the configuration names can be read.
LoadedConfig load_config(const std::filesystem::path& main_file);

/// The same for texts, without looking at any disk: syntax, names, types, ranges, and the rules between
/// settings.
LoadedConfig parse_config(std::span<const ConfigText> texts);

/// The problems as lines, and a closing line with their number: what `loadstard --check` prints.
std::string report(const LoadedConfig& loaded);

/// The known name nearest to `name`: fewest inserted, deleted, changed or swapped characters; nullopt when
/// none is near.
std::optional<std::string_view> nearest(std::string_view name, std::span<const std::string_view> known);

}  // namespace ls
