#pragma once
/// One HTTP/1.1 connection to a master, plain or TLS, as coroutines. Internal to sources/; Beast stays in its
/// .cpp. Thread: the io_context's. Every wait has a limit; close() may be called at any time and ends what is
/// waiting.
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "sources/master_address.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls {

/// Certificates and checks of a TLS client; loading reads the files.
class TlsClient {
 public:
  struct Files {
    std::string ca_file, cert_file, key_file;
  };
  static Result<std::shared_ptr<TlsClient>> load(const Files& files);
  ~TlsClient();

 private:
  friend class HttpLink;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  TlsClient();
};

struct HttpHead {
  unsigned status = 0;
  std::string location, content_type, www_authenticate;
  Millis retry_after{0};  ///< of Retry-After in seconds, at most an hour; a date counts as 0
};

class HttpLink {
 public:
  explicit HttpLink(boost::asio::any_io_executor executor);
  ~HttpLink();

  /// Name look-up, TCP and, with `tls`, handshake with the host's name or address verified; `limit` for each.
  boost::asio::awaitable<Result<>> connect(const MasterAddress& to, std::shared_ptr<TlsClient> tls,
                                           Millis limit);
  /// Sends a JSON call and waits for the head of the answer.
  boost::asio::awaitable<Result<HttpHead>> post(const std::string& path, const std::string& body,
                                                const std::string& authorization, Millis limit);
  /// Asks for `path` and waits for the head of the answer. `authorization`: the header's value; empty: none.
  boost::asio::awaitable<Result<HttpHead>> get(const std::string& path, Millis limit, const std::string& authorization = std::string());
  /// The rest of the body, at most `most` bytes of it.
  boost::asio::awaitable<Result<std::string>> read_text(size_t most, Millis limit);
  /// The next bytes of the body, valid until the next call. Empty: the answer ended in good order.
  boost::asio::awaitable<Result<std::string_view>> read_some(Millis limit);
  /// True when the answer was read to its end and the peer keeps the connection.
  bool reusable() const;
  void close();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls
