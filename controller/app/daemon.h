#pragma once
/// Daemon: the wiring. Owns the control loop and everything on it, the admin thread through api::Server.
///
/// Start: probe the kernel, adopt or make maps, load programs; attach at once when the kernel still holds the tables of the
/// process before, else when the first state has been written. Then the source feeds changes until a signal ends it.
/// End: SIGTERM and SIGINT leave maps, programs and links where they are; traffic goes on. Only purge removes.
/// SIGHUP: log level and reconcile interval are read anew.
///
/// Reconciling: every change at once; a comparison with the kernel every 3 s (less often when it takes long: at most 1 % of the
/// time), and a complete one, attachments included, every reconcile.interval.
#include <memory>

#include "app/config.h"
#include "util/result.h"

namespace ls {

class Daemon {
 public:
  Daemon(Config config, std::filesystem::path config_file);
  ~Daemon();
  /// Returns when the daemon was asked to end, or with why it could not start.
  Result<> run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls
