// From changes of the state to texts that the streams share: batches, beats, snapshots.
#include <time.h>

#include <boost/asio/post.hpp>

#include "hub/server_impl.h"

namespace ls::hub {
namespace {

constexpr size_t kRowsAtOnce = 1000;  // of a snapshot, 1 to 2 ms; then other streams have a turn
/// The CPU that telling everybody took, times this, is the least time between two tellings: they take a fifth of a core at most, and a machine
/// that is busy with other things does not make them rare. Measured (tests/perf/converge): about 10 us a stream, so 2,000 streams are
/// told every 100 ms under load.
constexpr int kRest = 4;
constexpr auto kLongest = std::chrono::milliseconds(250);

std::chrono::nanoseconds cpu_of_this_thread() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

}  // namespace

void Server::Impl::take() {
  auto in = inbox.with([](Inbox& i) {
    i.posted = false;
    return std::pair(std::exchange(i.deltas, {}), std::exchange(i.health, std::nullopt));
  });
  for (auto& [delta, received] : in.first) {
    taken += image.apply(delta);
    // Nobody follows before the first whole state, so nobody has to be told how it came to be.
    if (source.synced) batch.add(delta, received);
  }
  if (!source.synced) history.restart(taken);
  count.seq = taken;
  if (in.second && *in.second != source) {
    auto before = std::exchange(source, std::move(*in.second));
    // How long it has been lost changes with every call; that alone can wait for the next beat.
    before.lost_ms = source.lost_ms;
    if (before != source) tell_beat();
  }
  if (!batch.empty()) wish_flush();
}

void Server::Impl::wish_flush() {
  if (std::exchange(flush_due, true)) return;
  auto rest = std::clamp<std::chrono::nanoseconds>(kRest * flush_cost, options.batch, std::max<std::chrono::nanoseconds>(kLongest, options.batch));
  auto at = flushed + rest;
  if (at <= now()) return flush();  // it was quiet
  flusher.expires_at(at);
  flusher.async_wait([this](ErrorCode ec) {
    if (!ec) flush();
  });
}

void Server::Impl::flush() {
  flush_due = false;
  flusher.cancel();
  if (batch.empty()) return;
  const auto begun = cpu_of_this_thread();
  uint64_t seq = history.last();
  for (auto& c : batch.take(seq)) history.add(c.first, c.last, framed(encode(c)));
  count.history_bytes = history.bytes();
  count.history_changes = history.changes();
  // pump() may end a stream, which then leaves the table.
  std::vector<StreamPtr> all;
  all.reserve(following);
  for (auto& [key, s] : streams)
    if (s->following()) all.push_back(s);
  for (auto& s : all) s->pump();
  flushed = now();
  flush_cost = cpu_of_this_thread() - begun;
}

// ---- beats ----

const TextPtr& Server::Impl::beat_text() {
  auto at = now();
  if (!beat || beat_seq != history.last() || at - beat_made > std::chrono::milliseconds(100)) {
    beat = framed(encode(Beat{history.last(), micros(at), source}));
    beat_seq = history.last();
    beat_made = at;
  }
  return beat;
}

void Server::Impl::tell_beat() {
  next_beat = now() + options.heartbeat;
  beat = nullptr;
  std::vector<StreamPtr> all;
  for (auto& [key, s] : streams)
    if (s->following()) all.push_back(s);
  for (auto& s : all) s->beat();
}

TextPtr Server::Impl::hello(bool with_snapshot, uint64_t seq) const {
  Hello h;
  h.at = {run_id, seq};
  h.snapshot = with_snapshot;
  h.heartbeat_ms = options.heartbeat.count();
  h.clock_us = micros(now());
  h.version = LS_VERSION;
  h.source = source;
  return framed(encode(h));
}

// ---- snapshots ----

TextPtr Server::Impl::snapshot_for(uint64_t& seq) {
  if (!snapshot || !history.holds(snapshot_seq) || history.bytes_after(snapshot_seq) > snapshot->size()) return nullptr;
  seq = snapshot_seq;
  return snapshot;
}

void Server::Impl::want_snapshot() {
  if (making || std::exchange(snapshot_wanted, true)) return;
  boost::asio::post(io, [this] { begin_snapshot(); });  // not from inside of a stream's turn
}

void Server::Impl::begin_snapshot() {
  snapshot_wanted = false;
  flush();  // the image has what is in the batch, so it must have a number
  making = std::make_unique<Making>();
  making->image = image.copy(history.last());
  making->writer = std::make_unique<ImageWriter>(history.last(), snapshot ? snapshot->size() + snapshot->size() / 16 : 0);
  for (auto& a : making->image.agents) making->writer->agent(a.agent, a.address);
  for (auto& r : making->image.recovered) making->writer->recovered(r);
  for (auto& f : making->image.frameworks) making->writer->framework(f);
  make_snapshot();
}

void Server::Impl::make_snapshot() {
  auto& m = *making;
  for (size_t n = 0; n < kRowsAtOnce && m.next < m.image.tasks.size(); n++) {
    auto& t = m.image.tasks[m.next++];
    m.writer->task(*t);
    t = nullptr;
  }
  if (m.next < m.image.tasks.size()) return boost::asio::post(io, [this] { make_snapshot(); });
  snapshot_seq = m.image.seq;
  snapshot = framed(m.writer->finish());
  making.reset();
  count.snapshots_made++;
  count.snapshot_bytes = snapshot->size();
  std::vector<StreamPtr> all;
  for (auto& [key, s] : streams)
    if (s->waits_for_snapshot()) all.push_back(s);
  for (auto& s : all) s->pump();
}

// ---- turns ----

void Server::Impl::wish_turn(StreamPtr stream) {
  eager.push_back(std::move(stream));
  if (!std::exchange(turn_posted, true)) boost::asio::post(io, [this] { next_turn(); });
}

void Server::Impl::next_turn() {
  auto stream = std::move(eager.front());
  eager.pop_front();
  turn_posted = !eager.empty();
  if (turn_posted) boost::asio::post(io, [this] { next_turn(); });
  stream->go_on();  // which may wish another
}

}  // namespace ls::hub
