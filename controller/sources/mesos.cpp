#include "sources/mesos.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <random>

#include "sources/http_link.h"
#include "sources/leader_identity.h"
#include "sources/secret_file.h"
#include "util/log.h"

namespace ls {
namespace {

namespace asio = boost::asio;

constexpr int kMaxHops = 3;
constexpr int kSilentIntervals = 3;             // spec/mesos-operator-stream.md section 4
constexpr Millis kLongestHeartbeat{3'600'000};  // a master that says more is not believed
constexpr size_t kErrorTextBytes = 4096;        // of an error answer; quote_answer cuts further
constexpr size_t kIdentityBytes = 256 * 1024;   // of a GET_MASTER answer, which has 400

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');  // EVP_EncodeBlock adds a NUL
  int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(n));
  return out;
}

/// The header value, and the texts that must not get out.
struct Credentials {
  std::string header;
  std::vector<std::string> secrets;

  // A peer may send back what it was sent; its words go into errors.
  std::string scrub(std::string text) const {
    for (const auto& s : secrets) {
      for (size_t at = text.find(s); at != std::string::npos; at = text.find(s, at))
        text.replace(at, s.size(), "***");
    }
    return text;
  }
};

Result<Credentials> load_credentials(const MesosConfig& c) {
  Credentials out;
  if (!c.token_file.empty()) {
    LS_ASSIGN(std::string token, read_secret(c.token_file));
    out.header = "token=" + token;
    out.secrets = {token};
  } else if (!c.principal.empty()) {
    LS_ASSIGN(std::string secret, read_secret(c.secret_file));
    std::string pair = base64(c.principal + ":" + secret);
    out.header = "Basic " + pair;
    out.secrets = {pair, secret};
  }
  return out;
}

Result<std::shared_ptr<TlsClient>> load_tls(const MesosConfig& c) {
  if (!c.tls) return std::shared_ptr<TlsClient>();
  return TlsClient::load({c.ca_file, c.cert_file, c.key_file});
}

class MesosSource final : public Source {
 public:
  MesosSource(asio::io_context& io, MesosConfig config, std::vector<MasterAddress> masters, SourceSink& sink)
      : run_(std::make_shared<Run>(io, std::move(config), std::move(masters), sink)) {}
  ~MesosSource() override { stop(); }

  void start() override {
    auto run = run_;
    asio::co_spawn(run->io, run->loop(run), [run](std::exception_ptr e) {
      // Only memory can run out here; everything else is an error value. The daemon cannot go on blind.
      if (e && !run->stopped) std::rethrow_exception(e);
    });
  }

  void stop() override {
    run_->stopped = true;
    run_->wait.cancel();
    if (run_->link) run_->link->close();
  }

  SourceStatus status() const override {
    SourceStatus s = run_->status;
    if (run_->last_byte) {
      s.last_byte_age =
          std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - *run_->last_byte);
    }
    return s;
  }

  void set_masters(const std::vector<MasterAddress>& found) override {
    auto& r = *run_;
    if (r.stopped || found.empty()) return;
    bool known = r.leading.has_value(), other = r.leading != found.front();
    r.leading = found.front();
    r.masters = found;
    for (auto& m : r.last_resort) {
      if (std::find(found.begin(), found.end(), m) == found.end()) r.masters.push_back(m);
    }
    r.preferred = 0;
    if (r.status.connected) {
      // A stream says more about its master than a list that may be old: the first list ends none, a later one only by naming another.
      if (known && other && r.status.endpoint != r.leading->text()) r.hurry();
    } else if (other) {
      r.hurry();
    } else {
      r.backoff = Millis(0);
      r.wait.cancel();  // the same leader, but something has happened there
    }
  }

  void set_heartbeat_interval(Millis interval) override {
    if (interval > Millis(0)) run_->heartbeat = std::min<Millis>(interval, kLongestHeartbeat);
  }

 private:
  /// A link whose far end leads, and who it says it is.
  struct Leader {
    std::unique_ptr<HttpLink> link;
    MasterAddress address;
    std::string path;
    std::optional<LeaderIdentity> identity;
  };

  /// Owned by the coroutine too, so that the source may go while the loop still has to notice.
  struct Run {
    Run(asio::io_context& i, MesosConfig c, std::vector<MasterAddress> m, SourceSink& s)
        : io(i),
          config(std::move(c)),
          masters(std::move(m)),
          last_resort(masters),
          sink(s),
          wait(i),
          random(std::random_device{}()) {
      heartbeat = config.heartbeat_interval;
      status.since = std::chrono::steady_clock::now();
    }

    asio::awaitable<void> loop(std::shared_ptr<Run> self);
    asio::awaitable<Result<>> attempt(const MasterAddress& first);
    asio::awaitable<Result<HttpHead>> ask(Leader& at);
    asio::awaitable<Result<>> find_leader(const MasterAddress& first, Leader& out);
    asio::awaitable<Result<>> open(Leader& leader);
    asio::awaitable<Result<>> answer_error(HttpLink& l, const HttpHead& head);
    asio::awaitable<Result<>> follow(Leader& leader);
    asio::awaitable<void> pause(Millis d);
    /// Ends a pause, an attempt or a stream: another master is to be asked, now.
    void hurry() {
      backoff = Millis(0);
      again = true;
      wait.cancel();
      if (link) link->close();
    }
    Millis next_backoff();
    Result<> consume(RecordIoReader& reader, std::string_view bytes);

    asio::io_context& io;
    const MesosConfig config;
    std::vector<MasterAddress> masters;
    const std::vector<MasterAddress> last_resort;  ///< those of the configuration, behind what was found
    std::optional<MasterAddress> leading;          ///< by what was found last
    SourceSink& sink;  // not touched once stopped
    asio::steady_timer wait;
    std::mt19937 random;
    HttpLink* link = nullptr;  // what stop() must end
    bool stopped = false;
    bool again = false;      // the list is another one: begin with its first
    bool delivered = false;  // the last attempt got a stream that delivered a record
    size_t preferred = 0;    // the master that led to the last stream: asked first
    Millis backoff{0};
    Millis heartbeat{0};
    Credentials credentials;
    std::shared_ptr<TlsClient> tls;
    LeaderMemory leaders;
    SourceStatus status;
    std::optional<Instant> last_byte;
  };

  std::shared_ptr<Run> run_;
};

Millis MesosSource::Run::next_backoff() {
  backoff = backoff == Millis(0) ? config.backoff_min : std::min(backoff * 2, config.backoff_max);
  // Half fixed, half random: masters are not met by all their clients at once.
  std::uniform_int_distribution<int64_t> half(backoff.count() / 2, backoff.count());
  return Millis(half(random));
}

asio::awaitable<void> MesosSource::Run::pause(Millis d) {
  boost::system::error_code ec;
  wait.expires_after(d);
  co_await wait.async_wait(asio::redirect_error(asio::use_awaitable, ec));
}

asio::awaitable<void> MesosSource::Run::loop(std::shared_ptr<Run> self) {
  (void)self;
  while (!stopped) {
    std::string problems = masters.empty() ? "no master is known yet" : "";
    bool streamed = false;
    again = false;
    for (size_t i = 0; i < masters.size() && !stopped && !streamed && !again; ++i) {
      size_t index = (preferred + i) % masters.size();
      delivered = false;
      uint64_t streams = status.connects;
      auto first = masters[index];  // the list may change meanwhile
      auto result = co_await attempt(first);
      if (stopped) co_return;
      if (result) continue;  // cannot be: an attempt ends with an error only
      ++status.failures;
      if (status.connects != streams) {
        streamed = true;
        if (!again && index < masters.size() && masters[index] == first) preferred = index;
        if (delivered) backoff = Millis(0);
        status.last_error = result.error().text();
        status.connected = false;
        status.since = std::chrono::steady_clock::now();
        sink.on_disconnected(result.error());
        if (stopped) co_return;
      } else {
        problems += problems.empty() ? "" : "; ";
        problems += result.error().text();
      }
    }
    if (!streamed) status.last_error = problems;
    if (again) continue;
    Millis delay = next_backoff();
    if (!streamed) {
      log::warn("source_connect_failed", {{"error", problems}, {"retry_ms", delay.count()}});
    }
    co_await pause(delay);
  }
}

/// Reads what an unwelcome answer says and makes it an error.
asio::awaitable<Result<>> MesosSource::Run::answer_error(HttpLink& l, const HttpHead& head) {
  auto text = co_await l.read_text(kErrorTextBytes, config.identity_timeout);
  std::string said = text ? quote_answer(credentials.scrub(std::move(*text))) : std::string();
  if (said.empty() && !head.www_authenticate.empty()) {
    said = quote_answer(credentials.scrub(head.www_authenticate));
  }
  co_return fail(fmt::format("answered {}{}{}{}", head.status, said.empty() ? "" : " \"", said,
                             said.empty() ? "" : "\""));
}

asio::awaitable<Result<>> MesosSource::Run::open(Leader& leader) {
  if (stopped || again) co_return fail(ECANCELED, "connect");
  leader.link = std::make_unique<HttpLink>(io.get_executor());
  link = leader.link.get();
  auto opened = co_await leader.link->connect(leader.address, tls, config.connect_timeout);
  co_return opened;
}

/// Asks who leads and, whatever the answer to that is as long as it is not about leadership, subscribes on
/// the same connection. `head` is of the answer to SUBSCRIBE, or of GET_MASTER when that ended the matter.
asio::awaitable<Result<HttpHead>> MesosSource::Run::ask(Leader& at) {
  const std::string who = R"({"type":"GET_MASTER"})";
  const std::string subscribe = R"({"type":"SUBSCRIBE"})";
  auto opened = co_await open(at);
  if (!opened) co_return tl::make_unexpected(std::move(opened.error()));
  auto head = co_await at.link->post(at.path, who, credentials.header, config.response_timeout);
  if (!head) co_return head;
  for (unsigned final_answer : {307u, 308u, 401u, 404u, 503u}) {
    if (head->status == final_answer) co_return head;
  }
  auto text = co_await at.link->read_text(kIdentityBytes, config.identity_timeout);
  at.identity.reset();
  if (head->status == 200 && text) at.identity = parse_get_master(*text);

  if (at.link->reusable()) {
    head = co_await at.link->post(at.path, subscribe, credentials.header, config.response_timeout);
    // Only a connection that was closed meanwhile is worth a second try.
    if (head || head.error().code == std::errc::timed_out || stopped || again) co_return head;
  }
  opened = co_await open(at);
  if (!opened) co_return tl::make_unexpected(std::move(opened.error()));
  head = co_await at.link->post(at.path, subscribe, credentials.header, config.response_timeout);
  co_return head;
}

/// Asks `first` and whom it names until one answers 200: then out.link is a stream whose body was not read
/// yet.
asio::awaitable<Result<>> MesosSource::Run::find_leader(const MasterAddress& first, Leader& out) {
  out.address = first;
  out.path = "/api/v1";
  std::vector<MasterAddress> asked;
  for (int hop = 0;; ++hop) {
    asked.push_back(out.address);
    std::string step = hop == 0 ? fmt::format("master {}", first.text())
                                : fmt::format("master {} redirected to {}", first.text(), out.address.text());
    auto head = co_await ask(out);
    if (!head) co_return pass(std::move(head.error()), step);
    if (head->status == 307 || head->status == 308) {
      auto target = parse_location(credentials.scrub(head->location), out.address, out.path, config.tls);
      if (!target) co_return pass(std::move(target.error()), step);
      if (std::find(asked.begin(), asked.end(), target->master) != asked.end()) {
        co_return fail(fmt::format("{}: answered {} to {}, which was asked already: no leader yet", step,
                                   head->status, target->master.text()));
      }
      if (hop == kMaxHops) co_return fail(fmt::format("{}: more than {} redirects", step, kMaxHops));
      out.address = target->master;
      out.path = target->path;
      continue;
    }
    if (head->status != 200) {
      auto refused = co_await answer_error(*out.link, *head);
      co_return pass(std::move(refused.error()), step);
    }
    if (!head->content_type.starts_with("application/json")) {
      co_return fail(fmt::format("{}: answered with content type \"{}\" instead of application/json", step,
                                 quote_answer(head->content_type)));
    }
    co_return Result<>{};
  }
}

/// One master and whom it names, until the stream ends. Always gives an error in the end: why it ended.
asio::awaitable<Result<>> MesosSource::Run::attempt(const MasterAddress& first) {
  {
    auto loaded = load_credentials(config);
    if (!loaded) co_return tl::make_unexpected(std::move(loaded.error()));
    credentials = std::move(*loaded);
    auto client = load_tls(config);
    if (!client) co_return tl::make_unexpected(std::move(client.error()));
    tls = std::move(*client);
  }
  Leader leader;
  auto result = co_await find_leader(first, leader);
  if (result && !stopped) result = co_await follow(leader);
  if (link) link->close();
  link = nullptr;
  co_return result;
}

asio::awaitable<Result<>> MesosSource::Run::follow(Leader& leader) {
  heartbeat = config.heartbeat_interval;
  status.connected = true;
  status.since = std::chrono::steady_clock::now();
  status.endpoint = leader.address.text();
  status.leader_id = leader.identity ? leader.identity->id : "";
  status.last_error.clear();
  if (++status.connects > 1) ++status.reconnects;
  SourceInfo info;
  info.endpoint = status.endpoint;
  info.leader_id = status.leader_id;
  if (leader.identity && leader.identity->elected_s) {
    info.elected =
        std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
            std::chrono::duration<double>(*leader.identity->elected_s)));
  }
  info.leader = leaders.seen(leader.identity);
  sink.on_connected(info);

  std::string step = fmt::format("stream of master {}", leader.address.text());
  RecordIoReader reader(config.record_limit);
  while (!stopped) {
    auto bytes = co_await leader.link->read_some(heartbeat * kSilentIntervals);
    if (stopped) break;
    if (again) co_return fail(fmt::format("{}: given up, another master is named as leader", step));
    if (!bytes && bytes.error().code == std::errc::timed_out) {
      co_return fail(ETIMEDOUT,
                     fmt::format("{}: silent for {} ms", step, (heartbeat * kSilentIntervals).count()));
    }
    if (!bytes) co_return pass(std::move(bytes.error()), step);
    if (bytes->empty()) co_return fail(fmt::format("{}: ended by the master", step));
    last_byte = std::chrono::steady_clock::now();
    status.bytes += bytes->size();
    auto taken = consume(reader, *bytes);
    if (!taken) co_return pass(std::move(taken.error()), step);
  }
  co_return fail(ECANCELED, step);
}

Result<> MesosSource::Run::consume(RecordIoReader& reader, std::string_view bytes) {
  while (!bytes.empty() && !stopped) {
    LS_ASSIGN(auto record, reader.next(bytes));
    if (!record) break;
    ++status.records;
    delivered = true;
    sink.on_record(std::move(*record));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Source>> make_mesos_source(asio::io_context& io, MesosConfig config,
                                                  SourceSink& sink) {
  std::vector<MasterAddress> masters;
  for (const auto& text : config.masters) {
    LS_ASSIGN(auto master, parse_master_address(text));
    if (std::find(masters.begin(), masters.end(), master) == masters.end())
      masters.push_back(std::move(master));
  }
  if (masters.empty() && !config.found) return fail("no Mesos master is configured");
  if (!config.token_file.empty() && !config.principal.empty()) {
    return fail("a token and a principal are configured; a request carries one of them only");
  }
  if (config.principal.empty() != config.secret_file.empty())
    return fail("principal and secret file go together");
  if (config.principal.find(':') != std::string::npos)
    return fail("a principal must not hold a colon (RFC 7617)");
  if (config.cert_file.empty() != config.key_file.empty())
    return fail("client certificate and key go together");
  if (config.backoff_min <= Millis(0) || config.backoff_max < config.backoff_min) {
    return fail("the least backoff must be above 0 and not above the largest");
  }
  LS_TRY(load_credentials(config));
  LS_TRY(load_tls(config));
  return std::unique_ptr<Source>(new MesosSource(io, std::move(config), std::move(masters), sink));
}

}  // namespace ls
