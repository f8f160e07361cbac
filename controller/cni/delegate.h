#pragma once
/// Running somebody else's plugin: found in CNI_PATH, the same environment, the configuration on its standard input, its standard error
/// passed on. Thread: the owner's. Ends the child when the deadline passes.
#include <string>

#include "cni/failure.h"

namespace ls::cni {

inline constexpr size_t kMaxOutput = 1 << 20;  ///< octets of a delegate's standard output

struct DelegateOutput {
  int status = 0;      ///< exit code; 128 + signal when it was killed
  std::string output;  ///< standard output
};

/// Code 7 when no folder of `path` has it (and 4 when `path` is empty), 102 when it cannot be run, 11 when the deadline passed.
Outcome<DelegateOutput> run_delegate(const std::string& type, const std::string& path, const std::string& command, const std::string& input);
/// The same, with a non-zero exit as code 102 and what the delegate said in the details.
Outcome<std::string> call_delegate(const std::string& type, const std::string& path, const std::string& command, const std::string& input);

}  // namespace ls::cni
