// SPDX-License-Identifier: Apache-2.0
/// ls-dial: the client of the network tests. Each mode prints JSON lines (events while it runs, a summary
/// last); times `t` are CLOCK_MONOTONIC milliseconds. Exit code 0: ran (whatever it saw), 2: could not run.
#pragma once
#include <csignal>
#include <map>
#include <string>

#include "wire.h"

namespace lab {

struct Options {
  std::string mode;
  std::string address;
  uint16_t port = 0;
  std::map<std::string, std::string> values;  // --key value
  Endpoint target;

  bool has(const char* key) const { return values.count(key) != 0; }
  std::string get(const char* key, const char* fallback) const {
    const auto it = values.find(key);
    return it == values.end() ? fallback : it->second;
  }
  long number(const char* key, long fallback) const {
    const auto it = values.find(key);
    return it == values.end() ? fallback : std::atol(it->second.c_str());
  }
};

/// Set by SIGTERM and SIGINT: the steady modes then print their summary and end.
extern volatile std::sig_atomic_t stopping;

/// A JSON object on one line of stdout, written when it goes out of scope.
class Line {
 public:
  Line() : out_("{") {}
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;
  ~Line() {
    std::printf("%s}\n", out_.c_str());
    std::fflush(stdout);
  }
  Line& add(const char* key, const std::string& value) {
    std::string quoted = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return raw(key, quoted + '"');
  }
  Line& add(const char* key, const char* value) { return add(key, std::string(value)); }
  Line& add(const char* key, bool value) { return raw(key, value ? "true" : "false"); }
  Line& add(const char* key, int value) { return raw(key, std::to_string(value)); }
  Line& add(const char* key, uint64_t value) { return raw(key, std::to_string(value)); }
  Line& add(const char* key, double value) {
    char buf[32];
    std::snprintf(buf, sizeof(buf), "%.3f", value);
    return raw(key, buf);
  }
  Line& add(const char* key, const std::map<std::string, uint64_t>& counts) {
    std::string object = "{";
    for (const auto& [name, n] : counts) {
      object += (object.size() > 1 ? ", \"" : "\"") + name + "\": " + std::to_string(n);
    }
    return raw(key, object + "}");
  }

 private:
  Line& raw(const char* key, const std::string& value) {
    out_ += (out_.size() > 1 ? ", \"" : "\"") + std::string(key) + "\": " + value;
    return *this;
  }
  std::string out_;
};

int run_once(const Options& o);     // N attempts, a line each
int run_stream(const Options& o);   // K TCP flows with data back to back, or idle
int run_big(const Options& o);      // one long transfer, every byte compared
int run_udpflow(const Options& o);  // one UDP socket, a datagram every gap
int run_trace(const Options& o);    // a datagram with a small TTL, the ICMP error as the socket sees it

}  // namespace lab
