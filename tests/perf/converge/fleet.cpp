#include "fleet.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "sources/recordio.h"
#include "util/unique_fd.h"

namespace ls::converge {
namespace {

constexpr size_t kScratch = 256 << 10;
/// Longer records are snapshots; records of changes hold at most 2,000 tasks.
constexpr size_t kThrownAway = 1 << 20;
constexpr size_t kDigits = 20;

}  // namespace

class Fleet::Stream {
 public:
  Stream(Fleet& fleet, size_t number) : fleet_(fleet), number_(number) {}
  ~Stream() { SSL_free(ssl_); }

  void connect(const hub::Position& from);
  void disconnect();
  void turn();
  std::optional<uint64_t> at() const { return begun_ ? at_ : std::nullopt; }

 private:
  enum class Phase { kAway, kConnecting, kHandshake, kHead, kRecords };
  /// Octets that came, 0: none now, or the stream is over.
  size_t receive(char* to, size_t most);
  void watch(int how, uint32_t what);
  void handshake();
  void ask();
  void head();
  void records();
  void take(std::string_view bytes);
  void take_length(std::string_view& bytes);
  void take_record(const PaddedRecord& text);
  void reached(uint64_t seq);
  void lose(const char* why, bool fault);

  Fleet& fleet_;
  const size_t number_;
  UniqueFd fd_;
  SSL* ssl_ = nullptr;
  Phase phase_ = Phase::kAway;
  hub::Position from_;
  std::string text_;  ///< of the answer's head, then of a length line, as far as it is there
  RecordIoReader reader_;
  uint64_t left_ = 0;   ///< octets of this record still to come
  bool thrown_ = false;  ///< it is thrown away
  bool begun_ = false, in_sync_ = false;
  std::optional<uint64_t> at_;  ///< nothing: a snapshot was thrown away, the next record tells
};

void Fleet::Stream::connect(const hub::Position& from) {
  disconnect();
  from_ = from;
  fd_ = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd_) throw std::runtime_error(fmt::format("socket {}: {}", number_, strerror(errno)));
  if (fleet_.receive_buffer_) setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &fleet_.receive_buffer_, sizeof(int));
  int on = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  linger reset{1, 0};  // no socket stays behind for a minute
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(fleet_.port_);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  phase_ = Phase::kConnecting;
  if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) return lose("connect", true);
  watch(EPOLL_CTL_ADD, EPOLLOUT);
}

void Fleet::Stream::watch(int how, uint32_t what) {
  epoll_event e{.events = what, .data = {.ptr = this}};
  if (epoll_ctl(fleet_.epoll_, how, fd_.get(), &e) != 0) throw std::runtime_error(fmt::format("epoll: {}", strerror(errno)));
}

void Fleet::Stream::disconnect() {
  if (in_sync_) fleet_.in_sync_.fetch_sub(1, std::memory_order_relaxed);
  begun_ = in_sync_ = thrown_ = false;
  at_.reset();
  left_ = 0;
  text_.clear();
  reader_ = RecordIoReader();
  SSL_free(std::exchange(ssl_, nullptr));
  fd_.reset();
  phase_ = Phase::kAway;
}

void Fleet::Stream::lose(const char* why, bool fault) {
  if (fault && fleet_.counts.faults++ < 5) fmt::print(stderr, "stream {}: {}\n", number_, why);
  fleet_.counts.lost++;
  disconnect();
}

void Fleet::Stream::turn() {
  if (phase_ == Phase::kConnecting) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error) return lose(strerror(error), true);
    watch(EPOLL_CTL_MOD, EPOLLIN);
    if (!fleet_.tls_) return ask();
    ssl_ = SSL_new(fleet_.tls_);
    SSL_set_fd(ssl_, fd_.get());
    SSL_set_connect_state(ssl_);
    phase_ = Phase::kHandshake;
  }
  if (phase_ == Phase::kHandshake) return handshake();
  if (phase_ == Phase::kHead) return head();
  if (phase_ == Phase::kRecords) return records();
}

void Fleet::Stream::handshake() {
  ERR_clear_error();
  const int n = SSL_do_handshake(ssl_);
  if (n == 1) return ask();
  const int e = SSL_get_error(ssl_, n);
  if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) lose("handshake", true);
}

void Fleet::Stream::ask() {
  auto request = fmt::format("GET /v1/hub?node=agent-{}", number_);
  if (!from_.run.empty()) request += fmt::format("&run={}&after={}", from_.run, from_.seq);
  request += " HTTP/1.1\r\nHost: hub\r\n\r\n";
  // A new socket takes so little at once.
  const auto n = ssl_ ? ssize_t(SSL_write(ssl_, request.data(), int(request.size()))) : send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL);
  if (n != ssize_t(request.size())) return lose("request", true);
  phase_ = Phase::kHead;
  head();
}

size_t Fleet::Stream::receive(char* to, size_t most) {
  if (ssl_) {
    ERR_clear_error();
    const int n = SSL_read(ssl_, to, int(most));
    if (n > 0) return size_t(n);
    const int e = SSL_get_error(ssl_, n);
    if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) lose("the stream ended", false);
    return 0;
  }
  // What is thrown away is not even copied: an agent's machine would do that, not ours.
  const bool skip = thrown_ && left_ > 0;
  const auto n = recv(fd_.get(), to, skip ? size_t(std::min<uint64_t>(left_, 16 << 20)) : most, skip ? MSG_TRUNC : 0);
  if (n > 0) return size_t(n);
  if (n == 0 || (errno != EAGAIN && errno != EINTR)) lose("the stream ended", false);
  return 0;
}

void Fleet::Stream::head() {
  char bytes[4096];
  while (phase_ == Phase::kHead) {
    const auto n = receive(bytes, sizeof bytes);
    if (!n) return;
    text_.append(bytes, n);
    const auto end = text_.find("\r\n\r\n");
    if (end == text_.npos) continue;
    if (!text_.starts_with("HTTP/1.1 200")) return lose("refused", true);
    const auto rest = text_.substr(end + 4);
    text_.clear();
    phase_ = Phase::kRecords;
    take(rest);
  }
  if (phase_ == Phase::kRecords) records();
}

void Fleet::Stream::records() {
  auto& scratch = fleet_.scratch_;
  // Then others have a turn. What is left in the socket is told again; what is left inside of OpenSSL is not.
  do {
    const bool skip = thrown_ && left_ > 0 && !ssl_;
    const auto n = receive(scratch.data(), scratch.size());
    if (!n) return;
    fleet_.counts.bytes.fetch_add(n, std::memory_order_relaxed);
    if (skip) {
      left_ -= n;
      take({});
    } else {
      take({scratch.data(), n});
    }
  } while (phase_ == Phase::kRecords && ssl_ && SSL_has_pending(ssl_));
}

void Fleet::Stream::take(std::string_view bytes) {
  while (phase_ == Phase::kRecords) {
    if (thrown_ && left_ == 0) {
      thrown_ = false;
      fleet_.counts.snapshots++;
      begun_ = true;
    }
    if (bytes.empty()) return;
    if (left_ == 0) {
      take_length(bytes);
      continue;
    }
    auto part = bytes.substr(0, left_);
    bytes.remove_prefix(part.size());
    left_ -= part.size();
    if (thrown_) continue;
    auto record = reader_.next(part);
    if (!record) return lose(record.error().text().c_str(), true);
    if (*record) take_record(**record);
  }
}

void Fleet::Stream::take_length(std::string_view& bytes) {
  const auto end = bytes.find('\n');
  text_ += bytes.substr(0, end);
  bytes.remove_prefix(end == bytes.npos ? bytes.size() : end + 1);
  if (text_.size() > kDigits) return lose("a length of so many digits", true);
  if (end == bytes.npos) return;
  const auto [stop, error] = std::from_chars(text_.data(), text_.data() + text_.size(), left_);
  if (error != std::errc() || stop != text_.data() + text_.size()) return lose("a length that is none", true);
  thrown_ = left_ > kThrownAway;
  if (!thrown_) {
    text_ += '\n';
    std::string_view line = text_;
    if (auto fed = reader_.next(line); !fed) return lose(fed.error().text().c_str(), true);
  }
  text_.clear();
}

void Fleet::Stream::reached(uint64_t seq) {
  at_ = seq;
  if (in_sync_ || !begun_ || seq < fleet_.aim_) return;
  in_sync_ = true;
  fleet_.in_sync_.fetch_add(1, std::memory_order_relaxed);
}

void Fleet::Stream::take_record(const PaddedRecord& text) {
  auto decoded = hub::decode(text.text(), text.allocated());
  if (!decoded) return lose(decoded.error().text().c_str(), true);
  fleet_.counts.records.fetch_add(1, std::memory_order_relaxed);
  if (!*decoded) return;
  auto& record = **decoded;
  if (auto* changes = std::get_if<hub::Changes>(&record)) {
    if (!begun_ || (at_ && changes->first != *at_ + 1)) return lose("a gap in the numbers", true);
    if (fleet_.measuring.load(std::memory_order_relaxed)) fleet_.stamps_.count(fleet_.lags, changes->first, changes->last, now_us());
    reached(changes->last);
  } else if (auto* image = std::get_if<hub::Image>(&record)) {
    fleet_.counts.snapshots++;
    begun_ = true;
    reached(image->seq);
  } else if (auto* beat = std::get_if<hub::Beat>(&record)) {
    if (begun_) reached(beat->seq);
  } else if (auto* hello = std::get_if<hub::Hello>(&record); hello && !hello->snapshot) {
    fleet_.counts.resumed++;
    begun_ = true;
    reached(hello->at.seq);
  }
}

// ---- Fleet ----

Fleet::Fleet(uint16_t port, size_t streams, ssl_ctx_st* tls, const Stamps& stamps, int receive_buffer)
    : port_(port), tls_(tls), stamps_(stamps), receive_buffer_(receive_buffer), epoll_(epoll_create1(EPOLL_CLOEXEC)), scratch_(kScratch, '\0') {
  for (size_t i = 0; i < streams; i++) streams_.push_back(std::make_unique<Stream>(*this, i));
}

Fleet::~Fleet() {
  streams_.clear();
  close(epoll_);
}

void Fleet::connect(const hub::Position& from) {
  for (auto& s : streams_) s->connect(from);
}

void Fleet::reconnect(const std::string& run) {
  std::vector<std::optional<uint64_t>> were;
  for (auto& s : streams_) {
    were.push_back(run.empty() ? std::nullopt : s->at());
    s->disconnect();
  }
  for (size_t i = 0; i < streams_.size(); i++) streams_[i]->connect(were[i] ? hub::Position{run, *were[i]} : hub::Position{});
}

std::string Fleet::text() const {
  size_t known = 0;
  uint64_t least = UINT64_MAX, most = 0;
  for (auto& s : streams_)
    if (auto at = s->at()) known++, least = std::min(least, *at), most = std::max(most, *at);
  return known ? fmt::format("{} have a place, from {} to {}; {} were lost", known, least, most, counts.lost.load()) : "none has a place";
}

size_t Fleet::have(uint64_t seq) const {
  return size_t(std::count_if(streams_.begin(), streams_.end(), [&](auto& s) { return s->at() == seq; }));
}

void Fleet::run(const std::function<bool()>& done) {
  epoll_event events[256];
  while (!done()) {
    const int n = epoll_wait(epoll_, events, 256, 5);
    for (int i = 0; i < n; i++) static_cast<Stream*>(events[i].data.ptr)->turn();
  }
}

}  // namespace ls::converge
