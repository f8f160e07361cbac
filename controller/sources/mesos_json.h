#pragma once
/// One record of the Mesos v1 operator API (JSON) to an event of state/. Also reads the answer to GET_STATE, with or without its
/// `type`, and a `/master/state` document (sources/mesos_state.h) as a Subscribed event.
///
/// Threading: one decoder a thread. Cost: one pass over the text; the text is read where it lies, and only the strings that
/// are kept are copied. Beside the result, the parser's index takes up to about four bytes for each bracket, colon, comma and
/// string of the text; it is given back after a record above kKeepIndexBytes.
/// Errors: a text that is no JSON object is an error. Anything unreadable inside leaves out that field, port or task alone and is reported as
/// a problem. Unknown fields, states and types, and numbers of any size, are not errors. Text that is not UTF-8, or has bare control
/// characters, is repaired in the caller's buffer first, so that one tenant's label cannot hide a cluster.
/// Source: spec/mesos-operator-stream.md 5, spec/mesos-state.md 3-9.
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "state/events.h"
#include "util/result.h"

namespace ls {

/// The buffer must be this much longer than the text; what is in there does not matter.
inline constexpr size_t kJsonPadding = 64;

/// Something that was left out of a record.
struct DecodeProblem {
  std::string item;   ///< "task <framework id>/<task id>", "agent <id>", "event"
  std::string field;  ///< "statuses[1].timestamp"
  std::string why;
  bool operator==(const DecodeProblem&) const = default;
};

struct Decoded {
  Event event;
  std::vector<DecodeProblem> problems;  ///< the first kMaxProblems
  size_t problem_count = 0;
};

class RecordDecoder {
 public:
  static constexpr size_t kMaxProblems = 100;
  static constexpr size_t kKeepIndexBytes = 4 << 20;  ///< texts up to this size reuse the parser's memory

  RecordDecoder();
  ~RecordDecoder();
  RecordDecoder(RecordDecoder&&) noexcept;
  RecordDecoder& operator=(RecordDecoder&&) noexcept;

  /// `text[0..size)` is the record; the buffer has `capacity` >= size + kJsonPadding bytes. Below 4 GiB.
  Result<Decoded> decode(char* text, size_t size, size_t capacity);
  /// Grows `text`'s capacity when needed, its size stays.
  Result<Decoded> decode(std::string& text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls
