/// ls-dns-upstream ADDRESS PORT [LINE]...: a scripted upstream (dns_upstream.h). Each LINE, and each line of standard input, changes its
/// behaviour ("delay 20"); "counters" prints them, "quit" or the end of input ends it. Prints "ready ADDRESS PORT" when bound.
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "dns_upstream.h"

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: ls-dns-upstream ADDRESS PORT [LINE]...\n");
    return 2;
  }
  ls::test::UpstreamScript script;
  std::string error;
  for (int i = 3; i < argc; i++) {
    if (ls::test::apply_line(argv[i], script, error)) continue;
    std::fprintf(stderr, "%s\n", error.c_str());
    return 2;
  }
  ls::test::DnsUpstream upstream(argv[1], static_cast<uint16_t>(std::stoul(argv[2])), script);
  std::cout << "ready " << upstream.address() << ' ' << upstream.port() << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    if (line == "counters") {
      std::cout << to_line(upstream.counts()) << std::endl;
    } else if (ls::test::apply_line(line, script, error)) {
      upstream.set(script);
      std::cout << "ok" << std::endl;
    } else {
      std::cout << "error " << error << std::endl;
    }
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "ls-dns-upstream: %s\n", e.what());
  return 1;
}
