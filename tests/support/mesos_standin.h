#pragma once
/// A Mesos stand-in: masters that speak enough of the v1 operator API for the real source to subscribe to, steered by
/// one-line commands (tests/support/README.md lists them). As a library for tests that share one io_context with
/// it, and as the program ls-mesos-standin. It is no Mesos: it schedules nothing and knows what it was told.
/// Thread: the io_context's.
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "util/clock.h"
#include "util/result.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct StandinOptions {
  std::vector<std::string> listen;  ///< one master each, "ADDR:PORT"; port 0: any. The first one leads at the start
  Millis heartbeat{15'000};
  size_t chunk_size = 0;            ///< bytes of an HTTP chunk; 0: one record a chunk, as Mesos does
  std::string principal, secret;    ///< basic authentication
  std::string token;                ///< Authorization: token=...; either is enough when both are set
  std::string cert_file, key_file;  ///< TLS when set
  std::string client_ca_file;       ///< client certificates signed by this are required
};

class MesosStandin {
 public:
  static Result<std::unique_ptr<MesosStandin>> listen(boost::asio::io_context& io, StandinOptions options);
  ~MesosStandin();

  /// "ADDR:PORT" of master 1...
  std::string address(size_t master = 1) const;
  size_t subscribers() const;
  /// Runs one command that does not wait (all but sleep and wait) and gives what it prints.
  Result<std::string> command(std::string_view line);
  /// Runs a script line by line, sleep and wait included; `done` gets the first error or what the last line printed.
  void run(std::string script, std::function<void(Result<std::string>)> done);

  static std::string_view help();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
  explicit MesosStandin(std::shared_ptr<Impl> impl);
};

}  // namespace ls
