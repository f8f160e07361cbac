#pragma once
/// zk::Election: who of several equal processes leads, by ephemeral sequential nodes below a folder: the lowest number leads.
///
/// A candidate's node holds `value`, by which the others find it. Whoever becomes leader raises the version of the node `term` in the same
/// folder by one and reads nothing older; that version is the term, and every write of the leader checks it (fence()), so that one
/// who was deposed and does not know it yet writes nothing.
///
/// Lost connection: the leader steps down at once (it cannot know whether its session lives), the others wait for the session's end.
/// Every candidate watches the folder, for all of them must know who leads: candidates are few (masters), not thousands.
///
/// A node's name begins with a random text of this object, so that one whose creation was not answered is found again and not made twice;
/// a list of the folder is read after a sync. A candidate whose node somebody removed steps down and comes back at the end of the line.
///
/// Threads: on_change is called on the session's thread, which must not wait, and from none after stop() has returned; it must not call
/// stop(). Errors: what goes wrong is tried again after `retry`, and shown in state().
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "zk/session.h"

namespace ls::zk {

struct ElectionOptions {
  std::string folder;  ///< "/loadstar/leader"; made when it is not there, with all above it
  std::string value;   ///< of this candidate, "10.0.0.1:62080"
  Millis retry{1'000};
};

struct ElectionState {
  bool leading = false;
  int32_t term = 0;    ///< of this leader; 0 while it does not lead
  std::string leader;  ///< value of whom the directory named first when it was last read; empty: not known
  std::vector<std::string> candidates;  ///< values, leader first
  std::string last_error;
  bool operator==(const ElectionState&) const = default;
};

class Election {
 public:
  using OnChange = std::function<void(const ElectionState&)>;
  /// The session must live longer, and its owner passes its states on to session_changed().
  Election(Session& session, ElectionOptions options, OnChange on_change);
  ~Election();
  void start();
  /// Gives the place up, if the connection stands. No call after it.
  void stop();
  /// Steps down at once if it leads in `term`, and comes back at the end of the line after `pause`: this leader cannot work. Any thread.
  void resign(int32_t term, std::string why, Millis pause);
  void session_changed(SessionState state, int64_t id);  ///< session's thread
  ElectionState state() const;                            ///< any thread
  /// The step that every multi() of the leader of `term` begins with.
  Op fence(int32_t term) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls::zk
