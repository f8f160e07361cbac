// One connection of a hub.
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>

#include "hub/server_impl.h"
#include "util/log.h"

namespace ls::hub {
namespace {

constexpr size_t kAtOnce = 256 << 10;  // octets to one stream, then others have a turn

}  // namespace

Stream::Stream(Server::Impl& hub, Tcp::socket socket, const IpAddress& address, std::string peer)
    : hub_(hub), socket_(std::move(socket)), tls_(hub.tls), channel_(socket_.native_handle(), tls_.get()), address_(address), peer_(std::move(peer)) {}

void Stream::begin() {
  since_ = progress_ = hub_.now();
  turn();
}

void Stream::close() {
  if (phase_ == Phase::kClosed) return;
  bool followed = following();
  phase_ = Phase::kClosed;
  ErrorCode ignored;
  socket_.close(ignored);
  current_ = nullptr;
  first_.clear();
  if (followed) {
    hub_.count.followers = --hub_.following;
    if (hub_.options.on_follower && !silent_) hub_.options.on_follower(address_, false);
  }
  hub_.leave(*this);  // may be the last that holds this
}

void Stream::fail() {
  auto self = shared_from_this();
  if (phase_ != Phase::kClosed) hub_.count.failed++;
  close();
}

void Stream::wait_read() {
  if (phase_ == Phase::kClosed || std::exchange(reading_, true)) return;
  socket_.async_wait(Tcp::socket::wait_read, [self = shared_from_this()](ErrorCode ec) {
    self->reading_ = false;
    if (!ec) self->turn();
  });
}

void Stream::wait_write() {
  if (phase_ == Phase::kClosed || std::exchange(writing_, true)) return;
  socket_.async_wait(Tcp::socket::wait_write, [self = shared_from_this()](ErrorCode ec) {
    self->writing_ = false;
    if (!ec) self->turn();
  });
}

void Stream::turn() {
  switch (phase_) {
    case Phase::kHandshake:
      return shake();
    case Phase::kRequest:
      return read_head();
    case Phase::kAnswer:
      return pump();
    case Phase::kFollowing:
      // A wait that ended may have been for either.
      if (!reading_) drain();
      return pump();
    case Phase::kLinger:
      return linger();
    case Phase::kClosed:
      return;
  }
}

void Stream::shake() {
  switch (channel_.handshake()) {
    case Channel::State::kDone:
      phase_ = Phase::kRequest;
      return read_head();
    case Channel::State::kRead:
      return wait_read();
    case Channel::State::kWrite:
      return wait_write();
    case Channel::State::kClosed:
      return fail();
  }
}

// ---- requests ----

void Stream::read_head() {
  for (;;) {
    size_t used = 0;
    if (!head_.empty()) {
      if (auto request = read_request(head_, used)) {
        head_.erase(0, used);
        return handle(std::move(*request));
      }
    }
    char bytes[2048];
    auto got = channel_.read(bytes, sizeof bytes);
    if (got.state == Channel::State::kRead) return wait_read();
    if (got.state == Channel::State::kWrite) return wait_write();
    // One that leaves between two requests is done.
    if (got.state == Channel::State::kClosed) return head_.empty() ? close() : fail();
    head_.append(bytes, got.bytes);
  }
}

void Stream::answer(unsigned status, const std::string& json, bool keep, std::string_view more) {
  phase_ = Phase::kAnswer;
  keep_ = keep;
  auto text = std::make_shared<Text>();
  text->body = answer_text(status, json, keep, more);
  first_.push_back(std::move(text));
  pump();
}

void Stream::handle(Request&& r) {
  auto refuse = [&](unsigned status, const std::string& why, std::string_view more = {}) {
    hub_.count.refused++;
    answer(status, error_json(why), false, more);
  };
  if (!hub_.options.token_file.empty() && r.refusal != 400 && r.refusal != 431 && !same_text(r.token, hub_.token))
    return refuse(401, r.token.empty() ? "a token is needed: \"Authorization: Bearer <token>\"" : "the token is wrong", "WWW-Authenticate: Bearer\r\n");
  if (r.refusal) return refuse(r.refusal, r.why);
  if (r.what == Request::What::kTime) return answer(200, fmt::format("{{\"clock_us\":{}}}", hub_.micros(hub_.now())), r.keep_alive);
  auto later = fmt::format("Retry-After: {}\r\n", 1 + hub_.random() % 5);
  if (!hub_.source.synced) return refuse(503, "this hub has not seen the whole cluster yet", later);
  if (hub_.following >= hub_.options.max_followers) return refuse(503, fmt::format("{} nodes follow already", hub_.following), later);
  follow(std::move(r));
}

void Stream::follow(Request&& r) {
  phase_ = Phase::kFollowing;
  node_ = std::move(r.node);
  hub_.count.followers = ++hub_.following;
  hub_.count.connects++;
  auto head = std::make_shared<Text>();
  head->body = stream_head();
  first_.push_back(std::move(head));
  const bool resumed = r.run == hub_.run_id && r.after && hub_.history.holds(*r.after);
  seq_ = resumed ? *r.after : hub_.history.last();
  wants_snapshot_ = !resumed;
  if (resumed) hub_.count.resumed++;
  first_.push_back(hub_.hello(!resumed, seq_));
  if (hub_.options.on_follower) hub_.options.on_follower(address_, true);
  auto self = shared_from_this();
  drain();
  pump();
}

/// A follower says nothing more; what it says is dropped, and its end is seen.
void Stream::drain() {
  char bytes[2048];
  for (int i = 0; i < 8 && phase_ == Phase::kFollowing; i++) {
    auto got = channel_.read(bytes, sizeof bytes);
    if (got.state == Channel::State::kClosed) return current_ || channel_.given_up() ? fail() : close();
    if (got.state != Channel::State::kDone) break;
  }
  wait_read();
}

/// Closing a socket that still has something to be read would take the answer away from whoever has not read it yet.
void Stream::linger() {
  if (phase_ != Phase::kLinger) {
    phase_ = Phase::kLinger;
    channel_.finish();
  }
  char bytes[4096];
  for (int i = 0; i < 64; i++) {
    auto got = channel_.read(bytes, sizeof bytes);
    if (got.state == Channel::State::kRead || got.state == Channel::State::kWrite) return wait_read();
    if (got.state == Channel::State::kClosed) break;
  }
  close();
}

// ---- what goes out ----

bool Stream::choose_next() {
  offset_ = 0;
  current_last_ = seq_;
  if (!first_.empty()) {
    current_ = std::move(first_.front());
    first_.pop_front();
    return true;
  }
  if (phase_ != Phase::kFollowing) return false;
  if (!wants_snapshot_ && !hub_.history.holds(seq_)) {
    // Slower than the history is long.
    hub_.count.dropped_behind++;
    log::info("hub_follower_behind", {{"node", node_}, {"address", peer_}, {"changes", hub_.history.last() - seq_}});
    wants_snapshot_ = true;
  }
  if (wants_snapshot_) {
    current_ = hub_.snapshot_for(current_last_);
    if (!current_) {
      hub_.want_snapshot();
      return false;
    }
    wants_snapshot_ = false;
    hub_.count.snapshots++;
    return true;
  }
  current_ = hub_.history.run_after(seq_, current_last_);
  if (current_) return true;
  if (!std::exchange(wants_beat_, false)) return false;
  current_ = hub_.beat_text();
  return true;
}

void Stream::pump() {
  auto self = shared_from_this();
  if (writing_ || posted_) return;
  size_t sent = 0;
  while (phase_ == Phase::kAnswer || phase_ == Phase::kFollowing) {
    if (!current_ && !choose_next()) {
      if (phase_ != Phase::kAnswer) return;
      if (!keep_) return linger();
      phase_ = Phase::kRequest;
      progress_ = hub_.now();
      // The next request may be there already, and the one after it: each has a turn of its own, and no stack grows.
      return boost::asio::post(hub_.io, [self] { self->turn(); });
    }
    if (sent >= kAtOnce) {
      posted_ = true;
      return hub_.wish_turn(self);
    }
    const std::string_view head = current_->head, body = current_->body;
    auto moved = offset_ < head.size() ? channel_.write(head.substr(offset_), body) : channel_.write(body.substr(offset_ - head.size()));
    if (moved.state == Channel::State::kRead) return wait_read();
    if (moved.state == Channel::State::kWrite) return wait_write();
    if (moved.state == Channel::State::kClosed) return fail();
    sent += moved.bytes;
    offset_ += moved.bytes;
    hub_.count.sent_bytes += moved.bytes;
    progress_ = hub_.now();
    if (offset_ < current_->size()) continue;
    current_ = nullptr;
    seq_ = current_last_;
  }
}

/// A machine that lost its power or its link ends no stream: TCP asks it for a long time. But each beat is acknowledged by its kernel, whatever
/// its processes do; so what was not, a whole beat later, is a sign. The stream stays: only whoever watches agents is told.
void Stream::look_for_acks(Instant now) {
  auto since = now - looked_;
  if (since < hub_.options.heartbeat / 2) return;  // a beat out of turn: the one before may be on its way
  bool first = std::exchange(looked_, now) == Instant{};
  tcp_info info{};
  socklen_t size = sizeof info;
  if (first || getsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  // The kernel counts in ticks of up to 10 ms; what arrived since the last look is younger than that look by all measures.
  bool silent = info.tcpi_unacked > 0 && Millis(info.tcpi_last_ack_recv) > since + since / 4;
  if (silent == std::exchange(silent_, silent)) return;
  log::info(silent ? "hub_follower_silent" : "hub_follower_heard", {{"node", node_}, {"address", peer_}});
  if (hub_.options.on_follower) hub_.options.on_follower(address_, !silent);
}

void Stream::go_on() {
  posted_ = false;
  pump();
}

void Stream::beat() {
  look_for_acks(hub_.now());
  wants_beat_ = true;
  pump();
}

void Stream::tick(Instant now) {
  if (following() && !current_) return;  // it has everything, or waits for a snapshot
  if (now - progress_ <= (following() ? hub_.options.stuck : hub_.options.idle)) return;
  if (phase_ == Phase::kLinger) return close();
  fail();
}

FollowerView Stream::view(Instant now) const {
  FollowerView v{.node = node_, .address = peer_, .seq = seq_};
  v.behind = hub_.taken > seq_ ? hub_.taken - seq_ : 0;
  v.connected_s = std::chrono::duration<double>(now - since_).count();
  return v;
}

}  // namespace ls::hub
