#pragma once
/// The commands of loadstar(1): each asks the API once and prints. Thread: the program's only one.
/// Output: what was asked for on stdout, remarks and errors on stderr.
#include <cstdint>
#include <string>

#include "api/client.h"

namespace ls::cli {

/// Exit codes (ecosystem.md section 2).
enum Exit : int {
  kGood = 0,
  kNotGood = 1,     ///< the asked-for thing is not good, or not there
  kUsage = 2,
  kNoDaemon = 3,    ///< the daemon cannot be reached or understood
};

enum class Output { kTable, kWide, kJson };

struct Context {
  std::string socket;
  Output output = Output::kTable;
  std::string watchdog = "/run/loadstar-watchdog/state.json";  ///< what the watchdog of this machine writes
};

struct FlowOptions {
  std::string vip, backend, state, limit;  ///< empty: not given
};
struct MonitorOptions {
  bool drops = false, fresh = false, dns = false;  ///< --drops, --new, --dns
  std::string types, vip, backend, hook;
  std::string name, result;  ///< of DNS questions; ask for them
  bool json = false;
  uint64_t count = 0;  ///< ends after so many events; 0: never
};

int status(const Context&);
int vip_ls(const Context&);
int vip_show(const Context&, const std::string& vip);
int backend_ls(const Context&, const std::string& vip);
int flow_ls(const Context&, const FlowOptions&);
int map_ls(const Context&);
int map_usage(const Context&);
int map_dump(const Context&, const std::string& name, const std::string& limit, bool all);
int drops(const Context&, bool all);
int stats(const Context&, bool all);
int monitor(const Context&, const MonitorOptions&);
int metrics(const Context&);
int health(const Context&);
int version(const Context&);

}  // namespace ls::cli
