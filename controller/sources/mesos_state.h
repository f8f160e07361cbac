#pragma once
/// A `/master/state` document (v0, spec/mesos-dns.md section 6, spec/mesos-state.md 3-6) to the same Subscribed event that the
/// operator API's snapshot gives.
///
/// Verdicts B1, B3, B24 of spec/mesos-dns.md: only a text that is no JSON object, or names no leader, is an error. A bad agent,
/// port, status or member is left out alone and is reported. Of a framework with an unusable pid the tasks stay, and nothing is
/// said of its address. Names of members match without case. What is no UTF-8 is repaired in the caller's buffer.
/// Thread: any, nothing is shared. Cost: one pass; the parser's index as at RecordDecoder, given back before it returns.
#include "sources/mesos_json.h"

namespace ls {

/// `text[0..size)`; the buffer has `capacity` >= size + kJsonPadding bytes. RecordDecoder takes such documents too.
Result<Decoded> decode_mesos_state(char* text, size_t size, size_t capacity);
Result<Decoded> decode_mesos_state(std::string& text);

}  // namespace ls
