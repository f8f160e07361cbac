#pragma once
/// One hub with so many tasks, its feed, and those who follow; and what is measured of them. Prints what it finds.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "feed.h"
#include "fleet.h"
#include "hub/server.h"
#include "measure.h"
#include "tls_files.h"
#include "whole.h"

namespace ls::converge {

struct Options {
  size_t agents = 2000;
  std::vector<size_t> tasks{1000, 10'000, 100'000};  ///< the last one is measured in full
  double rate = 50;
  double seconds = 30;
  size_t whole = 2;    ///< of the agents, with a state of their own; besides `agents`
  size_t stopped = 50;
  bool tls = false;
  bool reference = true;
  bool storm = true;
  bool plain = false;  ///< tasks with little to tell
};

/// Of a span of time with changes.
struct Found {
  double wall_s = 0, hub_cpu_s = 0;
  uint64_t changes = 0, records = 0, writes = 0, bytes = 0;
  double change_us = 0;  ///< CPU of the hub for one change, all streams
  double pair_us = 0;    ///< of it for one stream
  double write_us = 0;   ///< for one record to one stream
};

class Scene {
 public:
  Scene(const Options& options, size_t tasks, TlsFiles* tls);

  void load();     ///< state, hub, the first snapshot, all streams, whole agents; with their cost
  Found changes(const char* what, double seconds);
  Found with_stopped_readers();
  void reference(const Found& found) const;
  void storm(bool resume);
  /// Everybody has everything, nothing was lost on the way. Prints what is wrong.
  bool whole_at_the_end();

 private:
  void first_snapshot();
  void join();
  /// The feed goes on meanwhile, when it is not 0; the streams are read until `done`.
  void run(double rate, const std::function<bool()>& done);
  bool wait(double rate, const std::function<bool()>& done, double limit_s);
  double hub_cpu() const { return cpu_of(hub_thread_); }
  size_t following() const { return options_.agents + options_.whole; }

  const Options& options_;
  const size_t tasks_;
  TlsFiles* const tls_;
  Stamps stamps_;
  std::atomic<std::atomic<int64_t>*> hub_heap_{nullptr};  ///< of the hub's thread
  std::unique_ptr<Feed> feed_;
  std::unique_ptr<hub::Server> hub_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<WholeAgents> whole_;
  uint16_t port_ = 0;
  int hub_thread_ = 0;
  bool good_ = true;
};

}  // namespace ls::converge
