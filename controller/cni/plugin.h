#pragma once
/// The operations of loadstar-cni (spec/cni.md, 1.4), from a checked request to the text for standard output.
/// Thread: the process has one. Errors: whatever ADD did before it failed is undone.
#include <string>
#include <string_view>

#include "cni/config.h"
#include "cni/leases.h"
#include "cni/request.h"

namespace ls::cni {

/// The rest of the time for undoing after the deadline of an operation.
inline constexpr std::chrono::milliseconds kUndoTime{5000};

/// What is printed on success; empty for DEL, CHECK, GC and STATUS.
Outcome<std::string> run_request(const Request& q, std::string_view program);

/// A whole call: exit code, and in `out` the one document for standard output.
int run_plugin(const Environment& e, std::string_view input, std::string_view program, std::string& out);

}  // namespace ls::cni
