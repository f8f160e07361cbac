#include "dns/tcp_session.h"

#include "dns/wire_bytes.h"

namespace ls::dns {
namespace {

using SteadyClock = std::chrono::steady_clock;

}  // namespace

TcpSession::TcpSession(boost::asio::ip::tcp::socket socket, const IpAddress& client, TcpLimits::Place place,
                       Responder& responder, TcpShared& shared)
    : socket_(std::move(socket)),
      client_(client),
      place_(std::move(place)),
      responder_(responder),
      shared_(shared),
      timer_(socket_.get_executor()),
      moved_(SteadyClock::now()) {
  responder_.counters().tcp_open.add();
}

TcpSession::~TcpSession() {
  if (transfer_) shared_.transfers--;
  responder_.counters().tcp_open.subtract();
}

void TcpSession::start() {
  watch();
  go_on();
}

bool TcpSession::room() const {
  return pending_ < kPending && queued_.size() + writing_.size() < kQueued;
}

/// Goes on when there is room for what comes of it; ends when there is nothing more to do.
void TcpSession::go_on() {
  if (closed_) return;
  if (held_back_ && room()) return handle();
  bool may_read = !ended_ && queries_ < shared_.queries;
  if (!may_read && !held_back_ && pending_ == 0 && queued_.empty() && writing_.empty()) return close();
  if (may_read && !held_back_ && !reading_ && room()) read();
}

void TcpSession::read() {
  reading_ = true;
  auto space = framing_.space();
  socket_.async_read_some(boost::asio::buffer(space.data(), space.size()),
                          [self = shared_from_this()](boost::system::error_code error, size_t octets) {
                            self->reading_ = false;
                            if (self->closed_) return;
                            if (error == boost::asio::error::eof) {
                              self->ended_ = true;  // what was asked before is still answered
                              return self->go_on();
                            }
                            if (error) return self->close();
                            self->framing_.received(octets);
                            self->handle();
                          });
}

void TcpSession::handle() {
  {
    Epoch::Guard guard(shared_.reader);
    responder_.begin(shared_.clock.now());
    held_back_ = false;
    while (queries_ < shared_.queries && !closed_) {
      // One segment may ask for a hundred transfers.
      held_back_ = !room();
      if (held_back_) break;
      auto message = framing_.next();
      if (!message) break;
      queries_++;
      moved_ = SteadyClock::now();
      one(*message);
    }
  }
  write();
  go_on();
}

void TcpSession::one(std::span<const uint8_t> message) {
  Instant since = shared_.clock.now();
  Question question{message, client_, true};
  Reply reply = responder_.answer(question, shared_.scratch);
  switch (reply.next) {
    case Reply::Next::kNothing:
      return;
    case Reply::Next::kSend:
      queue(std::span<const uint8_t>(shared_.scratch).first(reply.size));
      responder_.counters().observe(reply.path, shared_.clock.now() - since);
      return;
    case Reply::Next::kTransfer: {
      auto zone = responder_.take_transfer();
      if (!transfer_ && shared_.transfers >= kTransfers) return close();
      if (!transfer_) shared_.transfers++, transfer_ = true;
      if (queued_.empty())
        queued_ = std::move(zone);
      else
        queued_.insert(queued_.end(), zone.begin(), zone.end());
      return;
    }
    case Reply::Next::kForward:
      pending_++;
      responder_.forward(question, std::span<const uint8_t>(shared_.scratch).first(reply.size),
                         [self = shared_from_this()](std::span<const uint8_t> answer) {
                           self->pending_--;
                           if (self->closed_) return;
                           self->moved_ = SteadyClock::now();
                           if (!answer.empty()) self->queue(answer);
                           self->write();
                           self->go_on();
                         });
      return;
  }
}

void TcpSession::queue(std::span<const uint8_t> message) {
  if (closed_) return;
  uint8_t length[2];
  store16(length, uint16_t(message.size()));
  queued_.insert(queued_.end(), length, length + 2);
  queued_.insert(queued_.end(), message.begin(), message.end());
}

void TcpSession::write() {
  if (closed_ || !writing_.empty() || queued_.empty()) return;
  std::swap(writing_, queued_);
  written_ = 0;
  moved_ = SteadyClock::now();
  auto more = [](auto& again, std::shared_ptr<TcpSession> self) -> void {
    TcpSession& s = *self;
    s.socket_.async_write_some(
        boost::asio::buffer(s.writing_.data() + s.written_, s.writing_.size() - s.written_),
        [again, self = std::move(self)](boost::system::error_code error, size_t octets) mutable {
          TcpSession& t = *self;
          if (t.closed_) return;
          if (error) return t.close();
          t.moved_ = SteadyClock::now();
          t.written_ += octets;
          if (t.written_ < t.writing_.size()) return again(again, std::move(self));
          t.writing_.clear();
          if (t.writing_.capacity() > kQueued) t.writing_.shrink_to_fit();
          if (t.transfer_ && t.queued_.empty()) {
            t.transfer_ = false;
            t.shared_.transfers--;
          }
          t.write();
          t.go_on();
        });
  };
  more(more, shared_from_this());
}

/// One timer, moved lazily: it looks when the time since the last movement is over.
void TcpSession::watch() {
  timer_.expires_at(moved_ + shared_.idle);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->closed_) return;
    bool waits_for_us = self->pending_ > 0 && self->writing_.empty();
    if (waits_for_us) self->moved_ = SteadyClock::now();
    if (SteadyClock::now() < self->moved_ + self->shared_.idle) return self->watch();
    self->responder_.counters().tcp_timeouts.add();
    self->close();
  });
}

void TcpSession::close() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ignored;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  timer_.cancel();
  place_ = {};
}

}  // namespace ls::dns
