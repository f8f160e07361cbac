#include "sources/registrations.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <random>
#include <thread>

#include "sources/http_link.h"
#include "util/log.h"

namespace ls {
namespace {

namespace asio = boost::asio;
using dns::Registration;
using dns::RegistrationFeed;
using dns::RegistrationKey;
using Steady = std::chrono::steady_clock;

constexpr uint16_t kApiPort = 62080;  // of the reference, and the default of api.listen

struct Held {
  Registration r;
  std::vector<Record> records;
};
using Copy = std::map<RegistrationKey, Held>;

/// Unreserved octets only (RFC 3986 2.3); the store's name comes from a peer.
std::string query_text(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    out += plain ? std::string(1, char(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

}  // namespace

struct RegistrationFollower::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& i, FollowerOptions o, OnChange change, OnCopy copied)
      : io(i), options(std::move(o)), on_change(std::move(change)), on_copy(std::move(copied)), pause(io), save_timer(io) {}
  ~Impl() {
    if (saver.joinable()) saver.join();
  }

  asio::awaitable<void> run();
  /// Until the connection ends or the first master is to be tried again. True: it answered at least once.
  asio::awaitable<bool> follow(size_t which);
  asio::awaitable<Result<std::string>> ask(HttpLink& to);
  Result<> take(size_t which, RegistrationFeed&& feed);
  void apply(RegistrationFeed&& feed);
  /// Records of one registration; nullopt: it does not parse and is left out.
  std::optional<Held> held(Registration&& r);
  std::shared_ptr<const RegistrationFeed> whole() const;
  void plan_save();
  void save();
  Millis jittered(Millis most);

  asio::io_context& io;
  FollowerOptions options;
  OnChange on_change;
  OnCopy on_copy;
  std::vector<MasterAddress> masters;
  Copy copy;
  FollowerStatus status;
  asio::steady_timer pause, save_timer;
  HttpLink* link = nullptr;  ///< what stop() must end
  Steady::time_point first_tried{}, saved_at{};
  std::minstd_rand random{std::random_device{}()};
  std::thread saver;
  bool saving = false, dirty = false, stopping = false;
};

Millis RegistrationFollower::Impl::jittered(Millis most) {
  return most / 2 + Millis(std::uniform_int_distribution<int64_t>(0, most.count() / 2)(random));
}

asio::awaitable<void> RegistrationFollower::Impl::run() {
  auto self = shared_from_this();
  boost::system::error_code ec;
  auto backoff = options.backoff_min;
  while (!stopping) {
    bool answered = false;
    for (size_t i = 0; i < masters.size() && !stopping && !answered; i++) {
      if (i == 0) first_tried = Steady::now();
      answered = co_await follow(i);
    }
    if (stopping) break;
    if (answered) backoff = options.backoff_min;
    pause.expires_after(jittered(backoff));
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    if (!answered) backoff = std::min(backoff * 2, options.backoff_max);
  }
}

asio::awaitable<Result<std::string>> RegistrationFollower::Impl::ask(HttpLink& to) {
  auto path = fmt::format("/v1/registrations?after={}&epoch={}&store={}&wait={}", status.at.version, status.at.epoch, query_text(status.at.store),
                          std::max<int64_t>(1, options.wait.count() / 1000));
  auto head = co_await to.get(path, options.wait + options.slack);
  if (!head) co_return tl::make_unexpected(std::move(head.error()));
  auto body = co_await to.read_text(dns::kMaxFeedBytes + 1, options.slack);
  if (!body) co_return tl::make_unexpected(std::move(body.error()));
  if (head->status != 200) co_return fail(fmt::format("it answered {}: {}", head->status, quote_answer(*body)));
  co_return std::move(*body);
}

asio::awaitable<bool> RegistrationFollower::Impl::follow(size_t which) {
  HttpLink to(io.get_executor());
  link = &to;
  bool answered = false;
  auto& master = masters[which];
  auto result = co_await to.connect(master, nullptr, options.connect_timeout);
  while (result && !stopping) {
    auto body = co_await ask(to);
    if (stopping) break;
    if (body) {
      auto feed = dns::parse_feed(*body);
      result = feed ? take(which, std::move(*feed)) : tl::make_unexpected(std::move(feed.error()));
    } else {
      result = tl::make_unexpected(std::move(body.error()));
    }
    if (!result) break;
    if (!status.connected || status.endpoint != master.text()) log::info("registrations_followed", {{"master", master.text()}});
    answered = status.connected = true;
    status.endpoint = master.text();
    status.last_error.clear();
    if (which > 0 && Steady::now() - first_tried >= options.retry_first) break;
    if (!to.reusable()) break;  // asked to close: connect anew at once
  }
  link = nullptr;
  if (!result && !stopping) {
    status.failures++;
    auto why = std::move(result.error()).within("follow registrations of " + master.text()).text();
    if (why != status.last_error) log::warn("registrations_not_followed", {{"master", master.text()}, {"error", why}});
    status.last_error = std::move(why);
    status.connected = false;
  }
  co_return answered;
}

Result<> RegistrationFollower::Impl::take(size_t which, RegistrationFeed&& feed) {
  auto& at = status.at;
  if (feed.at.store.empty()) return fail("its answer names no store");
  bool same = feed.at.store == at.store;
  if (which > 0 && !at.store.empty()) {
    bool older = std::tie(feed.at.epoch, feed.at.version) < std::tie(at.epoch, at.version);
    if (!same || older) {
      status.refused++;
      return fail(same ? "its registrations are older than ours" : "it keeps other registrations than the ones followed");
    }
  }
  if (!feed.full && (!same || feed.at.epoch != at.epoch)) return fail("it sent changes of registrations we do not have");
  bool news = feed.full || feed.at != at;
  status.from_file = false;
  if (news) apply(std::move(feed));
  return {};
}

std::optional<Held> RegistrationFollower::Impl::held(Registration&& r) {
  dns::RegistrationLimits any;
  any.max_lease = Millis::max();
  auto ok = normalize(r, any);
  if (ok) {
    if (auto records = records_of(r)) return Held{std::move(r), std::move(*records)};
  }
  status.left_out++;
  log::warn("registration_left_out", {{"zone", r.zone.substr(0, 255)}, {"name", r.name.substr(0, 255)}, {"why", ok ? "its records" : ok.error().why}});
  return std::nullopt;
}

void RegistrationFollower::Impl::apply(RegistrationFeed&& feed) {
  std::map<std::string, RecordDelta> deltas;
  auto tell = [&](const std::string& zone, RecordDelta&& d) {
    auto& all = deltas[zone];
    all.add.insert(all.add.end(), std::make_move_iterator(d.add.begin()), std::make_move_iterator(d.add.end()));
    all.remove.insert(all.remove.end(), std::make_move_iterator(d.remove.begin()), std::make_move_iterator(d.remove.end()));
  };
  auto drop = [&](Copy::iterator it) {
    tell(it->first.zone, difference(std::move(it->second.records), {}));
    return copy.erase(it);
  };
  std::map<RegistrationKey, bool> named;  // in a full feed: what is not named is gone
  if (feed.full) status.left_out = 0;
  for (auto& r : feed.registrations) {
    auto one = held(std::move(r));
    if (!one) continue;
    auto key = one->r.key();
    if (feed.full) named[key] = true;
    auto& place = copy[key];
    tell(key.zone, difference(std::move(place.records), one->records));
    place = std::move(*one);
  }
  for (auto& key : feed.removed) {
    if (auto it = copy.find(key); it != copy.end()) drop(it);
  }
  if (feed.full) {
    for (auto it = copy.begin(); it != copy.end();) it = named.contains(it->first) ? std::next(it) : drop(it);
  }
  status.at = feed.at;
  status.registrations = copy.size();
  status.updates++;
  for (auto& [zone, delta] : deltas) {
    if (!delta.empty() && on_change) on_change(zone, std::move(delta));
  }
  if (on_copy) on_copy(whole());
  dirty = true;
  plan_save();
}

std::shared_ptr<const RegistrationFeed> RegistrationFollower::Impl::whole() const {
  auto out = std::make_shared<RegistrationFeed>();
  out->at = status.at;
  out->registrations.reserve(copy.size());
  for (auto& [key, held] : copy) out->registrations.push_back(held.r);
  return out;
}

void RegistrationFollower::Impl::plan_save() {
  if (options.file.empty() || saving || !dirty || stopping) return;
  auto due = saved_at + options.save_every;
  save_timer.expires_at(std::max(due, Steady::now()));
  save_timer.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
    if (!ec) self->save();
  });
}

void RegistrationFollower::Impl::save() {
  if (saving || !dirty || stopping) return;
  if (saver.joinable()) saver.join();  // it has ended: `saving` is false
  saving = true;
  dirty = false;
  saved_at = Steady::now();
  saver = std::thread([weak = weak_from_this(), &loop = io, file = options.file, what = whole()] {
    auto done = save_feed(file, *what);
    auto why = done ? std::string() : done.error().text();
    if (auto self = weak.lock()) {
      asio::post(loop, [self, why = std::move(why)] {
        self->saving = false;
        if (!why.empty()) {
          if (self->status.save_error.empty()) log::warn("registrations_not_saved", {{"error", why}});
          self->dirty = true;  // tried again with the next turn of the timer
        }
        self->status.save_error = why;
        self->plan_save();
      });
    }
  });
}

RegistrationFollower::RegistrationFollower(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
RegistrationFollower::~RegistrationFollower() { stop(); }

Result<std::unique_ptr<RegistrationFollower>> RegistrationFollower::make(asio::io_context& io, FollowerOptions options, OnChange on_change,
                                                                         OnCopy on_copy) {
  if (options.masters.empty()) return fail("follow registrations: no master is named");
  std::vector<MasterAddress> masters;
  for (auto& m : options.masters) {
    LS_ASSIGN(auto parsed, parse_master_address(m, kApiPort));
    masters.push_back(std::move(parsed));
  }
  auto impl = std::make_shared<Impl>(io, std::move(options), std::move(on_change), std::move(on_copy));
  impl->masters = std::move(masters);
  return std::unique_ptr<RegistrationFollower>(new RegistrationFollower(std::move(impl)));
}

void RegistrationFollower::start() {
  auto& m = *impl_;
  if (!m.options.file.empty()) {
    auto feed = load_feed(m.options.file);
    if (feed) {
      m.apply(std::move(*feed));
      m.dirty = false;
      m.save_timer.cancel();
      m.status.from_file = true;
    } else if (feed.error().code != std::errc::no_such_file_or_directory) {
      log::warn("registrations_copy_not_read", {{"error", feed.error().text()}});
    }
  }
  asio::co_spawn(m.io, m.run(), asio::detached);
}

void RegistrationFollower::stop() {
  auto& m = *impl_;
  if (m.stopping) return;
  m.stopping = true;
  m.pause.cancel();
  m.save_timer.cancel();
  if (m.link) m.link->close();
  if (m.saver.joinable()) m.saver.join();
  if (!m.dirty || m.options.file.empty()) return;
  if (auto saved = save_feed(m.options.file, *m.whole()); !saved) log::warn("registrations_not_saved", {{"error", saved.error().text()}});
}

FollowerStatus RegistrationFollower::status() const { return impl_->status; }

}  // namespace ls
