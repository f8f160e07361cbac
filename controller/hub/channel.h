#pragma once
/// A connected TCP socket that never blocks, with or without TLS in front of it. Internal to hub/.
/// Thread: one. SIGPIPE must be blocked on it: OpenSSL writes without MSG_NOSIGNAL.
#include <memory>
#include <string>
#include <string_view>

#include "util/result.h"

struct ssl_ctx_st;
struct ssl_st;

namespace ls::hub {

/// Certificates of the server; loading reads the files.
class ServerTls {
 public:
  /// `client_ca_file` may be empty: nobody is asked for a certificate.
  static Result<std::shared_ptr<ServerTls>> load(const std::string& cert_file, const std::string& key_file, const std::string& client_ca_file);
  ~ServerTls();
  ServerTls(const ServerTls&) = delete;
  ServerTls& operator=(const ServerTls&) = delete;

 private:
  friend class Channel;
  ServerTls() = default;
  ssl_ctx_st* context_ = nullptr;
};

/// The socket belongs to the caller and outlives this.
class Channel {
 public:
  enum class State { kDone, kRead, kWrite, kClosed };  ///< done, or again when the socket can be read or written, or over
  Channel(int socket, const ServerTls* tls);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// Until kDone nothing else may be called.
  State handshake();
  struct Moved {
    State state;
    size_t bytes;  ///< of kDone only, more than 0
  };
  Moved read(char* to, size_t size);
  /// After kClosed of read(): the connection was given up because nothing was acknowledged (TCP_USER_TIMEOUT), the other side did not end it.
  bool given_up() const { return given_up_; }
  /// After kRead and kWrite the next call must begin with the same octets.
  Moved write(std::string_view bytes);
  /// Two texts in one call, where that can be done.
  Moved write(std::string_view first, std::string_view second);

  /// Nothing more is written; the other side is told.
  void finish();

 private:
  State verdict(int result);
  const int socket_;
  ssl_st* ssl_ = nullptr;
  bool given_up_ = false;
};

}  // namespace ls::hub
