#pragma once
/// Inside of hub::Server. Included by its .cpp files only. Thread: the hub's, but for what is said to be any.
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <map>
#include <random>
#include <thread>
#include <unordered_map>

#include "hub/channel.h"
#include "hub/history.h"
#include "hub/image.h"
#include "hub/request.h"
#include "hub/server.h"
#include "util/guarded.h"
#include "util/published.h"

namespace ls::hub {

using Tcp = boost::asio::ip::tcp;
using ErrorCode = boost::system::error_code;

/// One connection: handshake, request, and then a stream or an answer.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  Stream(Server::Impl& hub, Tcp::socket socket, const IpAddress& address, std::string peer);

  void begin();
  void close();
  /// Writes what there is for it; called when something was added.
  void pump();
  /// Its turn has come, after wish_turn().
  void go_on();
  /// A new beat is there: it is told to a stream that has everything else.
  void beat();
  void tick(Instant now);
  bool following() const { return phase_ == Phase::kFollowing; }
  bool waits_for_snapshot() const { return following() && wants_snapshot_ && !current_; }
  FollowerView view(Instant now) const;

 private:
  enum class Phase { kHandshake, kRequest, kAnswer, kLinger, kFollowing, kClosed };

  void turn();  ///< goes on after something could be read or written
  void wait_read();
  void wait_write();
  void shake();
  void read_head();
  void handle(Request&& request);
  void answer(unsigned status, const std::string& json, bool keep, std::string_view more = {});
  void follow(Request&& request);
  void drain();
  void linger();
  bool choose_next();
  void look_for_acks(Instant now);
  void fail();

  Server::Impl& hub_;
  Tcp::socket socket_;
  std::shared_ptr<ServerTls> tls_;  ///< outlives the channel
  Channel channel_;
  const IpAddress address_;
  const std::string peer_;
  Phase phase_ = Phase::kHandshake;
  bool reading_ = false, writing_ = false;  ///< a wait is under way
  bool posted_ = false;                     ///< waits for its turn
  bool keep_ = false;
  bool silent_ = false;  ///< its machine does not acknowledge what it is sent
  std::string head_;  ///< of the request, as far as it is there
  std::deque<TextPtr> first_;  ///< what comes before the position counts: heads, the hello
  TextPtr current_;
  size_t offset_ = 0;          ///< written of it
  uint64_t current_last_ = 0;  ///< position when it is written
  uint64_t seq_ = 0;
  bool wants_snapshot_ = false, wants_beat_ = false;
  std::string node_;
  Instant since_{}, progress_{}, looked_{};
};
using StreamPtr = std::shared_ptr<Stream>;

struct Listener {
  Listener(boost::asio::io_context& io, const Endpoint& at) : address(at), acceptor(io), pause(io) {}
  const Endpoint address;
  Tcp::acceptor acceptor;
  boost::asio::steady_timer pause;
  std::string warning;
};

struct Server::Impl {
  explicit Impl(ServerOptions o);

  // server.cpp
  Result<> prepare();
  void run();
  Result<> bind(Listener& l);
  void try_bind(Listener& l);
  void accept(Listener& l);
  void show();
  void tick();
  void reload();
  Result<> read_token();
  std::string stamp() const;
  // server_feed.cpp
  void take();
  void wish_flush();
  void flush();
  void tell_beat();
  void want_snapshot();
  void begin_snapshot();
  void make_snapshot();
  TextPtr snapshot_for(uint64_t& seq);
  const TextPtr& beat_text();
  TextPtr hello(bool snapshot, uint64_t seq) const;
  void leave(Stream& stream);
  void wish_turn(StreamPtr stream);
  void next_turn();

  static int64_t micros(Instant at) { return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count(); }
  static Instant now() { return std::chrono::steady_clock::now(); }

  const ServerOptions options;
  boost::asio::io_context io{1};
  std::string run_id;
  std::string token;
  std::shared_ptr<ServerTls> tls;
  std::string files_stamp;
  std::string files_warning;
  std::vector<std::unique_ptr<Listener>> listeners;
  boost::asio::steady_timer ticker{io}, flusher{io};
  Instant next_files{}, next_beat{}, tick_due{};
  std::minstd_rand random{std::random_device{}()};

  /// What the control loop hands over.
  struct Inbox {
    std::vector<std::pair<StateDelta, int64_t>> deltas;
    std::optional<SourceHealth> health;
    bool posted = false;
  };
  Guarded<Inbox> inbox;

  LiveImage image;
  History history;
  Batch batch;
  uint64_t taken = 0;  ///< number of the newest change in `image`, which may still be in `batch`
  SourceHealth source;
  bool flush_due = false;
  Instant flushed{};
  std::chrono::nanoseconds flush_cost{0};

  TextPtr snapshot;  ///< the newest one, of snapshot_seq
  uint64_t snapshot_seq = 0;
  struct Making {
    Image image;
    std::unique_ptr<ImageWriter> writer;
    size_t next = 0;
  };
  std::unique_ptr<Making> making;
  bool snapshot_wanted = false;
  TextPtr beat;
  uint64_t beat_seq = 0;
  Instant beat_made{};

  std::unordered_map<Stream*, StreamPtr> streams;
  /// Those that have more to write than one turn allows, the longest waiting first. One has its turn, then whatever else there is to do: thousands
  /// of snapshots on their way delay a change by one turn.
  std::deque<StreamPtr> eager;
  bool turn_posted = false;
  size_t following = 0;

  struct Counters {
    std::atomic<uint64_t> seq{0}, connects{0}, resumed{0}, snapshots{0}, dropped_behind{0}, refused{0}, failed{0}, snapshot_bytes{0},
        snapshots_made{0}, history_bytes{0}, history_changes{0}, sent_bytes{0}, followers{0},
        beats{0}, lag_us{0};
    std::atomic<int64_t> ticked_us{0};
  } count;
  Published<std::vector<std::string>> warnings;
  Published<std::vector<Endpoint>> bound;
  std::thread thread;  // last: it uses the others
};

}  // namespace ls::hub
