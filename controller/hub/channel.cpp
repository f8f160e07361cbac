#include "hub/channel.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>

namespace ls::hub {
namespace {

tl::unexpected<Error> refused(const std::string& doing) {
  char why[256] = "unknown reason";
  if (auto e = ERR_get_error()) ERR_error_string_n(e, why, sizeof why);
  ERR_clear_error();
  return fail(fmt::format("{}: {}", doing, why));
}

}  // namespace

Result<std::shared_ptr<ServerTls>> ServerTls::load(const std::string& cert, const std::string& key, const std::string& ca) {
  ERR_clear_error();
  std::shared_ptr<ServerTls> out(new ServerTls);
  SSL_CTX* c = out->context_ = SSL_CTX_new(TLS_server_method());
  if (!c) return refused("set up TLS");
  SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
  SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // A stream has nothing to send most of the time: its buffers are given back.
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
  if (SSL_CTX_use_certificate_chain_file(c, cert.c_str()) != 1) return refused("read the certificate " + cert);
  if (SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM) != 1) return refused("read the key " + key);
  if (SSL_CTX_check_private_key(c) != 1) return refused(fmt::format("use {} with {}", key, cert));
  if (ca.empty()) return out;
  if (SSL_CTX_load_verify_locations(c, ca.c_str(), nullptr) != 1) return refused("read the certificates of " + ca);
  if (auto* names = SSL_load_client_CA_file(ca.c_str())) SSL_CTX_set_client_CA_list(c, names);
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return out;
}

ServerTls::~ServerTls() { SSL_CTX_free(context_); }

Channel::Channel(int socket, const ServerTls* tls) : socket_(socket) {
  if (!tls) return;
  ssl_ = SSL_new(tls->context_);
  if (!ssl_ || SSL_set_fd(ssl_, socket) != 1) {
    SSL_free(ssl_);
    throw std::bad_alloc();
  }
  SSL_set_accept_state(ssl_);
}

Channel::~Channel() { SSL_free(ssl_); }

Channel::State Channel::verdict(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return State::kRead;
    case SSL_ERROR_WANT_WRITE:
      return State::kWrite;
    default:
      return State::kClosed;
  }
}

Channel::State Channel::handshake() {
  if (!ssl_) return State::kDone;
  ERR_clear_error();
  int n = SSL_do_handshake(ssl_);
  return n == 1 ? State::kDone : verdict(n);
}

Channel::Moved Channel::read(char* to, size_t size) {
  if (ssl_) {
    ERR_clear_error();
    errno = 0;
    int n = SSL_read(ssl_, to, int(std::min<size_t>(size, INT_MAX)));
    if (n > 0) return {State::kDone, size_t(n)};
    given_up_ = errno == ETIMEDOUT;
    return {verdict(n), 0};
  }
  ssize_t n;
  do n = ::recv(socket_, to, size, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n > 0) return {State::kDone, size_t(n)};
  given_up_ = n < 0 && errno == ETIMEDOUT;
  return {n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? State::kRead : State::kClosed, 0};
}

Channel::Moved Channel::write(std::string_view bytes) { return write(bytes, {}); }

Channel::Moved Channel::write(std::string_view first, std::string_view second) {
  if (first.empty()) std::swap(first, second);
  if (ssl_) {
    ERR_clear_error();
    int n = SSL_write(ssl_, first.data(), int(std::min<size_t>(first.size(), INT_MAX)));
    if (n > 0) return {State::kDone, size_t(n)};
    return {verdict(n), 0};
  }
  iovec parts[2] = {{const_cast<char*>(first.data()), first.size()}, {const_cast<char*>(second.data()), second.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = second.empty() ? 1 : 2;
  ssize_t n;
  do n = ::sendmsg(socket_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n > 0) return {State::kDone, size_t(n)};
  return {n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? State::kWrite : State::kClosed, 0};
}

void Channel::finish() {
  ERR_clear_error();
  if (ssl_ && SSL_is_init_finished(ssl_)) SSL_shutdown(ssl_);
  ::shutdown(socket_, SHUT_WR);
}

}  // namespace ls::hub
