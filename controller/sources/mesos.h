#pragma once
/// The event stream of the leading Mesos master: SUBSCRIBE of the v1 operator API, JSON in RecordIO over
/// HTTP/1.1 (spec/mesos-operator-stream.md, spec/mesos-state.md sections 2, 8, 9, 11).
///
/// One attempt: ask one master of the list who leads (GET_MASTER), follow at most 3 redirects with the same
/// body and credentials, then SUBSCRIBE on the very connection whose leader answered, so that identity and
/// stream are of one process. 404, 503, a redirect loop and a refused connection all mean "not yet": the next
/// master is asked; when all were asked, wait. The wait is exponential from backoff_min to backoff_max with a
/// random half, and starts over after a stream that delivered a record. Every received byte counts as life;
/// three silent heartbeat intervals end the stream. There is no resume in the protocol: each stream begins
/// with a snapshot.
///
/// Thread: the control loop's (see source.h). Memory: one record and 64 KB. Logs: source_connect_failed once
/// for each round over all masters; everything else goes to the sink. Secrets are read from their files at
/// each round, so that they can be replaced, and are in no log, error or status.
#include <memory>
#include <string>
#include <vector>

#include "sources/source.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct MesosConfig {
  std::vector<std::string> masters;  ///< "host:port"; port 5050 when left out. May be empty with `found`
  bool found = false;                ///< masters are found by somebody else (set_masters); those above are the last resort
  bool tls = false;
  std::string ca_file;              ///< PEM; empty: the system's
  std::string cert_file, key_file;  ///< client certificate, PEM; both or none
  std::string principal;            ///< basic authentication, with secret_file
  std::string secret_file;          ///< one line end at its end is not part of the secret
  std::string token_file;           ///< Authorization: token=...; not together with principal
  Millis connect_timeout{5'000};    ///< name look-up, TCP and TLS each
  Millis response_timeout{30'000};  ///< until the head of the answer
  Millis identity_timeout{5'000};   ///< for GET_MASTER, which the stream can do without
  Millis backoff_min{2'000}, backoff_max{30'000};
  Millis heartbeat_interval{15'000};  ///< assumed until SUBSCRIBED says otherwise
  uint64_t record_limit = RecordIoReader::kDefaultLimit;
};

/// Errors: no master (unless they are found), an address that cannot be read, a file that cannot be read or holds no certificate or
/// key.
Result<std::unique_ptr<Source>> make_mesos_source(boost::asio::io_context& io, MesosConfig config,
                                                  SourceSink& sink);

}  // namespace ls
