#pragma once
/// A folder with a small program that stands in for a command, and what it leaves behind.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "overlay/command.h"

namespace ls::test {

class Folder {
 public:
  Folder() {
    auto name = (std::filesystem::temp_directory_path() / "ls-command-XXXXXX").string();
    if (!mkdtemp(name.data())) ADD_FAILURE() << "make a folder";
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string at(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(at(name)) << text; }
  std::string read(const std::string& name) const {
    std::ifstream in(at(name));
    return {std::istreambuf_iterator<char>(in), {}};
  }
  bool has(const std::string& name) const { return std::filesystem::exists(at(name)); }
  /// A shell program; $d is this folder.
  std::string program(const std::string& name, const std::string& body) const {
    write(name, "#!/bin/sh\nd='" + path_ + "'\n" + body);
    chmod(at(name).c_str(), 0755);
    return at(name);
  }

 private:
  std::string path_;
};

inline overlay::CommandResult run(overlay::CommandRunner& runner, std::vector<std::string> argv, Millis limit = Millis(60'000), std::string input = {}) {
  auto r = runner.run({std::move(argv), std::move(input), limit});
  if (!r) {
    ADD_FAILURE() << r.error().text();
    return {};
  }
  return *r;
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

/// Whether a process runs; one that nobody has reaped does not.
inline bool runs(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  auto end = text.rfind(')');
  return end != text.npos && end + 2 < text.size() && text[end + 2] != 'Z' && text[end + 2] != 'X';
}

inline size_t open_descriptors() {
  size_t n = 0;
  for ([[maybe_unused]] auto& e : std::filesystem::directory_iterator("/proc/self/fd")) n++;
  return n;
}

}  // namespace ls::test
