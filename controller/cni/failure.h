#pragma once
/// What a failed operation of loadstar-cni is to its caller: the error object of CNI. Plain values, thread: any.
/// Codes: spec/cni.md, section 1.3; 100 and above are this plugin's own.
#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "util/result.h"

namespace ls::cni {

enum class Code : int {
  kVersion = 1,         ///< version of the configuration not known, or too old for the operation
  kUnsupported = 2,     ///< a field that would have to be acted on; the message names key and value
  kUnknown = 3,         ///< refused before anything was touched; no DEL needed
  kEnvironment = 4,     ///< a variable, named
  kIo = 5,              ///< standard input, a state file, a device
  kDecode = 6,          ///< no JSON, or not of the right types
  kConfig = 7,          ///< a configuration that cannot work
  kNamespace = 8,       ///< no network namespace at the path, or the plugin's own
  kTryAgain = 11,       ///< the controller is not ready, a lock or the whole operation took too long
  kNotAvailable = 50,   ///< STATUS: no ADD can succeed
  kDegraded = 51,       ///< STATUS: the same, and what there is may suffer
  kExhausted = 100,     ///< no free address
  kUnreachable = 101,   ///< the controller cannot be reached
  kDelegate = 102,      ///< a delegate failed
  kPortMapping = 103,   ///< a host port cannot be mapped
};

struct Failure {
  Code code = Code::kIo;
  std::string msg;      ///< one sentence
  std::string details;  ///< may be empty
};

template <class T = void>
using Outcome = tl::expected<T, Failure>;

inline tl::unexpected<Failure> refuse(Code code, std::string msg, std::string details = {}) {
  return tl::make_unexpected(Failure{code, std::move(msg), std::move(details)});
}
inline tl::unexpected<Failure> refuse(Code code, const Error& e) { return refuse(code, e.text()); }

}  // namespace ls::cni
