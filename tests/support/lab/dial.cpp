// SPDX-License-Identifier: Apache-2.0
#include "dial.h"

#include <sys/resource.h>

namespace lab {
volatile std::sig_atomic_t stopping = 0;
}

namespace {

constexpr char kUsage[] =
    "usage: ls-dial MODE ADDRESS PORT [--option value]...\n"
    "  once     --proto tcp|udp|udp-free  --count 1  --interval 0 (ms)  --timeout 2000 (ms)  --payload 0 "
    "(bytes)\n"
    "           --source ADDRESS  --source-port PORT  --source-ports-differ 1 (PORT, PORT + 1, ...)\n"
    "           --end fin|rst|server  --http 1  --stop 1 (at the first failure)\n"
    "  stream   --flows 1  --seconds 0 (until SIGTERM)  --chunk 1000 (bytes)  --gap -1 (ms, -1: back to "
    "back)\n"
    "           --idle 1 (never sends)  --quiet 1 (expects no line of the server)  --stall 2000 (ms)  "
    "--timeout 10000 (ms to connect all)\n"
    "  big      --mb 64  --timeout 60000 (ms)\n"
    "  udpflow  --gap 20 (ms)  --seconds 0  --free 1 (not connected)\n"
    "  trace    --ttl 2  --timeout 2000 (ms)\n"
    "Prints JSON lines. `udp-free` and `--free` use sendto on an unconnected socket.\n";

int usage() {
  std::fputs(kUsage, stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc % 2 != 0) return usage();
  lab::Options o;
  o.mode = argv[1];
  o.address = argv[2];
  const long port = std::atol(argv[3]);
  if (port < 1 || port > 65535 || !lab::parse(argv[2], uint16_t(port), o.target)) return usage();
  o.port = uint16_t(port);
  for (int i = 4; i < argc; i += 2) {
    if (std::strncmp(argv[i], "--", 2) != 0) return usage();
    o.values[argv[i] + 2] = argv[i + 1];
  }

  struct sigaction act {};
  act.sa_handler = [](int) { lab::stopping = 1; };
  sigaction(SIGTERM, &act, nullptr);
  sigaction(SIGINT, &act, nullptr);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  if (o.mode == "once") return lab::run_once(o);
  if (o.mode == "stream") return lab::run_stream(o);
  if (o.mode == "big") return lab::run_big(o);
  if (o.mode == "udpflow") return lab::run_udpflow(o);
  if (o.mode == "trace") return lab::run_trace(o);
  return usage();
}
