#include "api/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "api/router.h"
#include "util/log.h"
#include "util/unique_fd.h"

namespace ls::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Local = asio::local::stream_protocol;
using Stream = beast::basic_stream<Local>;
using ErrorCode = boost::system::error_code;

constexpr uint32_t kHeaderBytes = 8 * 1024;
constexpr uint64_t kBodyBytes = 64 * 1024;

/// The socket's file: made so that nobody ever sees it half set up, removed only if it is still this one.
class SocketFile {
 public:
  static Result<SocketFile> listen(const std::string& path, const std::string& group);
  ~SocketFile() {
    struct stat now {};
    if (fd && lstat(path_.c_str(), &now) == 0 && now.st_ino == inode_ && now.st_dev == device_) unlink(path_.c_str());
  }
  SocketFile(SocketFile&&) = default;

  UniqueFd fd;  ///< listening; whoever accepts on it works with a duplicate

 private:
  explicit SocketFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  UniqueFd lock_;  ///< held while we live, so that two starting daemons cannot both find the socket stale
  ino_t inode_ = 0;
  dev_t device_ = 0;
};

Result<> connects_nowhere(const std::string& path, const sockaddr_un& address) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return errno == ENOENT ? Result<>{} : fail(errno, "look at " + path);
  if (!S_ISSOCK(st.st_mode)) return fail(EEXIST, path + " is not a socket, it is left alone");
  UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail(errno, "make a socket");
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN) {
    return fail(EADDRINUSE, "another process listens on " + path);
  }
  return errno == ECONNREFUSED ? Result<>{} : fail(errno, "ask who listens on " + path);
}

Result<> set_owner(const std::string& path, const std::string& group) {
  if (!group.empty()) {
    std::vector<char> buffer(16384);
    struct group entry {};
    struct group* found = nullptr;
    if (int err = getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found)) {
      return fail(err, "look up the group " + group);
    }
    if (!found) return fail("there is no group '" + group + "' to own " + path);
    if (chown(path.c_str(), uid_t(-1), found->gr_gid) != 0) return fail(errno, "give " + path + " to the group " + group);
  }
  if (chmod(path.c_str(), 0660) != 0) return fail(errno, "set the mode of " + path);
  return {};
}

Result<SocketFile> SocketFile::listen(const std::string& path, const std::string& group) {
  if (path.empty() || path.size() > 100) {  // sun_path holds 108, our temporary name is longer by 4
    return fail(ENAMETOOLONG, "the API socket's path '" + path + "' must have 1 to 100 bytes");
  }
  if (auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) {
    if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return fail(errno, "make " + folder.string());
  }
  SocketFile file(path);
  auto lock_path = path + ".lock";
  file.lock_ = UniqueFd(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.lock_) return fail(errno, "open " + lock_path);
  if (flock(file.lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(errno == EWOULDBLOCK ? EADDRINUSE : errno, "another process holds " + lock_path);
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  LS_TRY(connects_nowhere(path, address));

  // Made beside and renamed: under its own name it has mode and group and listens from the first moment.
  auto beside = path + ".new";
  unlink(beside.c_str());
  file.fd = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!file.fd) return fail(errno, "make a socket");
  sockaddr_un temporary{};
  temporary.sun_family = AF_UNIX;
  beside.copy(temporary.sun_path, sizeof temporary.sun_path - 1);
  if (bind(file.fd.get(), reinterpret_cast<sockaddr*>(&temporary), sizeof temporary) != 0) {
    return fail(errno, "bind " + beside);
  }
  LS_TRY(set_owner(beside, group));
  if (::listen(file.fd.get(), 128) != 0) return fail(errno, "listen on " + beside);
  struct stat st {};
  if (lstat(beside.c_str(), &st) != 0) return fail(errno, "look at " + beside);
  if (rename(beside.c_str(), path.c_str()) != 0) return fail(errno, "rename " + beside + " to " + path);
  file.inode_ = st.st_ino;
  file.device_ = st.st_dev;
  return file;
}

http::response<http::string_body> to_http(Reply r, const http::request<http::string_body>& request) {
  http::response<http::string_body> out(http::status(r.status), request.version());
  out.set(http::field::server, "loadstar/" LS_VERSION);
  if (!r.type.empty()) out.set(http::field::content_type, r.type);
  for (auto& [name, value] : r.headers) out.set(name, value);
  out.keep_alive(request.keep_alive());
  out.body() = std::move(r.body);
  return out;
}

/// The status that tells a client what was wrong with its request; 0: it left, there is nobody to tell.
unsigned status_of(ErrorCode ec) {
  if (ec == http::error::header_limit) return 431;
  if (ec == http::error::body_limit) return 413;
  bool left = ec == http::error::end_of_stream || ec == http::error::partial_message;
  return ec.category() == ErrorCode(http::error::bad_method).category() && !left ? 400 : 0;
}

}  // namespace

struct Server::Impl {
  Impl(Settings s, Provider& p, SocketFile f)
      : settings(std::move(s)), provider(p), router(p), file(std::move(f)), acceptor(*io), beat(*io) {}

  asio::awaitable<void> accept_loop();
  asio::awaitable<void> refuse(Stream stream);
  asio::awaitable<void> session(Stream stream);
  asio::awaitable<void> serve(Stream& stream);
  asio::awaitable<bool> answer(Stream& stream, const http::request<http::string_body>& request);
  asio::awaitable<Reply> finished(Reply promise);
  asio::awaitable<void> stream_events(Stream& stream, EventFilter filter, unsigned version);
  asio::awaitable<void> beat_loop();
  void stop();

  const Settings settings;
  Provider& provider;
  Router router;
  SocketFile file;
  // Shared with the wake-up calls that an event publisher may still hold when the server ends.
  std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
  Local::acceptor acceptor;
  asio::steady_timer beat;
  std::vector<LoopView> own_loops{{"admin", 0, 0}};
  std::atomic<uint64_t> beats{0};
  bool stopping = false;
  unsigned sessions = 0;
  std::set<Stream*> open;  ///< the streams of the sessions
  std::set<asio::steady_timer*> waiting;  ///< of deferred replies
  std::thread thread;
};

asio::awaitable<void> Server::Impl::accept_loop() {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  while (!stopping) {
    auto socket = co_await acceptor.async_accept(token);
    if (ec == asio::error::operation_aborted || stopping) co_return;
    if (ec) {
      // Out of descriptors or memory: the connection waits in the backlog, and trying at once again would spin.
      log::warn("api_accept_failed", {{"error", ec.message()}});
      asio::steady_timer pause(*io, std::chrono::milliseconds(100));
      co_await pause.async_wait(token);
      continue;
    }
    fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);  // Asio does not ask accept for it
    if (sessions >= settings.max_connections) {
      asio::co_spawn(*io, refuse(Stream(std::move(socket))), asio::detached);
    } else {
      sessions++;
      asio::co_spawn(*io, session(Stream(std::move(socket))), asio::detached);
    }
  }
}

asio::awaitable<void> Server::Impl::refuse(Stream stream) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  auto body = error_reply(503, fmt::format("the API has {} connections open already", settings.max_connections)).body;
  auto text = fmt::format(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
      body.size(), body);
  stream.expires_after(std::chrono::seconds(1));
  co_await asio::async_write(stream, asio::buffer(text), token);
}

asio::awaitable<void> Server::Impl::session(Stream stream) {
  open.insert(&stream);
  try {
    co_await serve(stream);
  } catch (const std::exception& e) {
    // Only running out of memory gets here; it costs this connection and nothing else.
    log::error("api_session_failed", {{"error", e.what()}});
  }
  open.erase(&stream);
  sessions--;
}

asio::awaitable<void> Server::Impl::serve(Stream& stream) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  beast::flat_buffer buffer(kHeaderBytes + kBodyBytes);
  while (!stopping) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(kHeaderBytes);
    parser.body_limit(kBodyBytes);
    stream.expires_after(settings.idle);
    co_await http::async_read(stream, buffer, parser, token);
    if (ec) {
      auto status = status_of(ec);
      if (!status) co_return;
      http::request<http::string_body> none;
      none.version(11);
      none.keep_alive(false);
      auto response = to_http(error_reply(status, ec.message()), none);
      response.prepare_payload();
      stream.expires_after(settings.idle);
      co_await http::async_write(stream, response, token);
      co_return;
    }
    if (!co_await answer(stream, parser.get())) co_return;
  }
}

/// False when the connection is to be closed.
asio::awaitable<bool> Server::Impl::answer(Stream& stream, const http::request<http::string_body>& request) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  auto target = request.target();
  auto etag = request[http::field::if_none_match];
  auto method = request.method_string();
  auto reply = router.handle({std::string(method), std::string(target), std::string(etag)}, own_loops);
  if (reply.monitor && request.method() == http::verb::get) {
    co_await stream_events(stream, std::move(*reply.monitor), request.version());
    co_return false;
  }
  if (reply.later) reply = co_await finished(std::move(reply));
  bool head = request.method() == http::verb::head;
  auto response = to_http(std::move(reply), request);
  response.prepare_payload();
  if (head) response.body().clear();  // the length of what GET would send stays in the header
  stream.expires_after(settings.idle);
  co_await http::async_write(stream, response, token);
  co_return !ec && response.keep_alive();
}

/// Waits for whoever makes a deferred reply, without holding up anybody else.
asio::awaitable<Reply> Server::Impl::finished(Reply promise) {
  struct Slot {
    explicit Slot(asio::io_context& io) : timer(io) {}
    asio::steady_timer timer;
    std::function<Reply()> make;
  };
  auto slot = std::make_shared<Slot>(*io);
  slot->timer.expires_after(settings.deferred);
  promise.later([io = io, weak = std::weak_ptr(slot)](std::function<Reply()> make) {
    asio::post(*io, [weak, make = std::move(make)]() mutable {
      if (auto s = weak.lock()) {
        s->make = std::move(make);
        s->timer.cancel();
      }
    });
  });
  waiting.insert(&slot->timer);
  ErrorCode ended;
  co_await slot->timer.async_wait(asio::redirect_error(asio::use_awaitable, ended));
  waiting.erase(&slot->timer);
  if (slot->make) co_return slot->make();
  if (stopping) co_return error_reply(503, "the daemon ends");
  co_return error_reply(504, "no answer in " + duration_text(std::chrono::duration<double>(settings.deferred).count()));
}

asio::awaitable<void> Server::Impl::stream_events(Stream& stream, EventFilter filter, unsigned version) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  http::response<http::empty_body> head(http::status::ok, version);
  head.set(http::field::server, "loadstar/" LS_VERSION);
  head.set(http::field::content_type, "application/x-ndjson");
  head.keep_alive(false);
  bool chunked = version >= 11;  // an HTTP/1.0 client reads until the end
  head.chunked(chunked);
  http::response_serializer<http::empty_body> serializer(head);

  struct Wake {
    explicit Wake(asio::io_context& io) : timer(io, asio::steady_timer::time_point::max()) {}
    asio::steady_timer timer;
    bool due = false, gone = false;
    void now() {
      due = true;
      timer.cancel();
    }
  };
  auto wake = std::make_shared<Wake>(*io);
  // Subscribed before the header goes out: a client that has the header misses nothing.
  struct Subscription {
    EventHub& hub;
    std::shared_ptr<EventStream> events;
    ~Subscription() { hub.unsubscribe(events); }
  } subscription{provider.events(), provider.events().subscribe(
                                        std::move(filter),
                                        [io = io, weak = std::weak_ptr(wake)] {
                                          asio::post(*io, [weak] {
                                            if (auto w = weak.lock()) w->now();
                                          });
                                        },
                                        settings.monitor_events)};

  stream.expires_after(settings.idle);
  co_await http::async_write_header(stream, serializer, token);
  if (ec) co_return;
  // A client says nothing more; the read ends when it leaves, which is the only way this stream normally ends.
  stream.expires_never();
  char ignored[256];
  asio::co_spawn(
      *io,
      [](Stream& s, std::shared_ptr<Wake> w, char* to, size_t size) -> asio::awaitable<void> {
        ErrorCode read_ec;
        while (!read_ec) {
          co_await s.async_read_some(asio::buffer(to, size), asio::redirect_error(asio::use_awaitable, read_ec));
        }
        w->gone = true;
        w->now();
      }(stream, wake, ignored, sizeof ignored),
      asio::detached);

  while (!stopping && !wake->gone && !ec) {
    if (!wake->due) {
      ErrorCode cancelled;
      co_await wake->timer.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
      continue;
    }
    wake->due = false;
    auto taken = subscription.events->take();
    std::string text;
    for (auto& e : taken.values) {
      text += nlohmann::json(e).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    }
    if (taken.refused) text += fmt::format("{{\"type\":\"lost\",\"count\":{}}}\n", taken.refused);
    if (text.empty()) continue;
    stream.expires_after(settings.idle);  // of this write; the pending read keeps waiting
    if (chunked) co_await asio::async_write(stream, http::make_chunk(asio::buffer(text)), token);
    else co_await asio::async_write(stream, asio::buffer(text), token);
  }
  // The reader must not outlive the stream it reads from.
  if (!ec && !wake->gone && chunked) co_await asio::async_write(stream, http::make_chunk_last(), token);
  stream.cancel();
  while (!wake->gone) {
    ErrorCode cancelled;
    co_await wake->timer.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
}

asio::awaitable<void> Server::Impl::beat_loop() {
  ErrorCode ec;
  auto due = std::chrono::steady_clock::now();
  while (!stopping) {
    due += std::chrono::seconds(1);
    beat.expires_at(due);
    co_await beat.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    auto late = std::chrono::steady_clock::now() - due;
    own_loops[0].lag_s = std::max(0.0, std::chrono::duration<double>(late).count());
    if (late > std::chrono::seconds(1)) due += late;  // missed beats are not made up for
    beats++;
  }
}

void Server::Impl::stop() {
  stopping = true;
  ErrorCode ignored;
  acceptor.close(ignored);
  beat.cancel();
  // Each session then finds its operation aborted and returns; the loop ends when the last one has.
  for (auto* s : open) s->socket().close(ignored);
  for (auto* timer : waiting) timer->cancel();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Server>> Server::start(Settings settings, Provider& provider) {
  auto file = SocketFile::listen(settings.socket, settings.group);
  if (!file) return pass(std::move(file.error()), "start the API");
  auto impl = std::make_unique<Impl>(std::move(settings), provider, std::move(*file));
  UniqueFd fd(fcntl(impl->file.fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) return fail(errno, "start the API: duplicate its socket");
  ErrorCode ec;
  impl->acceptor.assign(Local(), fd.get(), ec);
  if (ec) return fail(ec, "start the API: listen");
  fd.release();
  asio::co_spawn(*impl->io, impl->accept_loop(), asio::detached);
  asio::co_spawn(*impl->io, impl->beat_loop(), asio::detached);
  impl->thread = std::thread([i = impl.get()] { i->io->run(); });
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::~Server() {
  asio::post(*impl_->io, [i = impl_.get()] { i->stop(); });
  impl_->thread.join();
}

uint64_t Server::beats() const { return impl_->beats; }

}  // namespace ls::api
