#include "sources/copy_saver.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>

#include "util/log.h"

namespace ls {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;

struct CopySaver::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& i, Millis e, std::string name, std::function<Write()> t)
      : io(i), every(e), event(std::move(name)), take(std::move(t)), timer(i) {}
  ~Impl() {
    if (thread.joinable()) thread.join();
  }
  void plan();
  void save();
  void done(const std::string& why);

  asio::io_context& io;
  const Millis every;
  const std::string event;
  std::function<Write()> take;
  asio::steady_timer timer;
  Steady::time_point saved_at{};
  std::thread thread;
  std::string error;
  bool saving = false, dirty = false, stopping = false;
};

void CopySaver::Impl::plan() {
  if (saving || !dirty || stopping) return;
  timer.expires_at(std::max(saved_at + (error.empty() ? every : std::min(every, kRetry)), Steady::now()));
  timer.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
    if (!ec) self->save();
  });
}

void CopySaver::Impl::save() {
  if (saving || !dirty || stopping) return;
  if (thread.joinable()) thread.join();  // it has ended: `saving` is false
  saving = true;
  dirty = false;
  saved_at = Steady::now();
  thread = std::thread([weak = weak_from_this(), &loop = io, write = take()] {
    auto written = write();
    auto why = written ? std::string() : written.error().text();
    asio::post(loop, [weak, why = std::move(why)] {
      if (auto self = weak.lock()) self->done(why);
    });
  });
}

void CopySaver::Impl::done(const std::string& why) {
  saving = false;
  if (!why.empty()) {
    if (error.empty()) log::warn(event, {{"error", why}});
    dirty = true;
  }
  error = why;
  plan();
}

CopySaver::CopySaver(asio::io_context& io, Millis every, std::string event, std::function<Write()> take)
    : impl_(std::make_shared<Impl>(io, every, std::move(event), std::move(take))) {}

CopySaver::~CopySaver() { stop(); }

void CopySaver::changed() {
  impl_->dirty = true;
  impl_->plan();
}

void CopySaver::stop() {
  auto& m = *impl_;
  if (m.stopping) return;
  m.stopping = true;
  m.timer.cancel();
  if (m.thread.joinable()) m.thread.join();
  // A write that has just ended may have failed: what it wrote is written again.
  if (!m.dirty && !m.saving && m.error.empty()) return;
  if (auto written = m.take()(); !written) log::warn(m.event, {{"error", written.error().text()}});
}

const std::string& CopySaver::error() const { return impl_->error; }

}  // namespace ls
