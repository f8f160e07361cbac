#pragma once
/// Plays a recorded event stream: a `.recordio` file, or an `.http` file with the answer as it came over the
/// socket (told apart by their first bytes). The index beside it, same name with `.index` for the last
/// ending, says when each record came: one JSON line a record, `t` in seconds, `length` in bytes
/// (spec/captures/README.md).
///
/// Thread: the control loop's (see source.h); the file is read in 64 KB pieces on that thread, and after 64
/// records others get their turn. Errors at run time (file cut in the middle of a record, bad framing, index
/// and file disagree) end the stream with on_disconnected, naming file and offset; nothing is tried again.
#include <memory>
#include <string>

#include "sources/source.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct ReplayConfig {
  std::string file;
  double speed = 0.0;  ///< 0: as fast as it can. Else a factor on the recorded times, which needs the index:
                       ///< 1 is the recorded speed
  bool disconnect_at_end =
      false;  ///< true: the end counts as a lost stream; false: the state it made lives on
  uint64_t record_limit = RecordIoReader::kDefaultLimit;
};

/// Errors: the file, or with a speed its index, cannot be opened or read; a negative speed.
Result<std::unique_ptr<Source>> make_replay_source(boost::asio::io_context& io, ReplayConfig config,
                                                   SourceSink& sink);

}  // namespace ls
