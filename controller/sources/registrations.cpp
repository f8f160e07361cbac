#include "sources/registrations.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "sources/copy_saver.h"
#include "sources/master_follow.h"
#include "util/log.h"

namespace ls {
namespace {

namespace asio = boost::asio;
using dns::Registration;
using dns::RegistrationFeed;
using dns::RegistrationKey;

struct Held {
  Registration r;
  std::vector<Record> records;
};
using Copy = std::map<RegistrationKey, Held>;

}  // namespace

struct RegistrationFollower::Impl {
  Impl(asio::io_context& i, FollowerOptions o, OnChange change, OnCopy copied)
      : io(i), options(std::move(o)), on_change(std::move(change)), on_copy(std::move(copied)) {
    if (options.file.empty()) return;
    saver = std::make_unique<CopySaver>(io, options.save_every, "registrations_not_saved",
                                        [this] { return [file = options.file, what = whole()] { return save_feed(file, *what); }; });
  }

  std::string question(bool first) const;
  Result<> take(size_t which, RegistrationFeed&& feed);
  void apply(RegistrationFeed&& feed);
  /// Records of one registration; nullopt: it does not parse and is left out.
  std::optional<Held> held(Registration&& r);
  std::shared_ptr<const RegistrationFeed> whole() const;
  /// Null: there are none.
  Result<std::unique_ptr<MasterFollow>> follow(const std::vector<std::string>& masters);

  asio::io_context& io;
  FollowerOptions options;
  OnChange on_change;
  OnCopy on_copy;
  std::unique_ptr<MasterFollow> masters;
  Copy copy;
  bool elected = false;  ///< RegistrationFeed::elected of what the copy is made of
  FollowerStatus status;  ///< but for what `masters` knows
  std::unique_ptr<CopySaver> saver;  ///< null: no copy on the disk
  bool loading = false;
};

std::string RegistrationFollower::Impl::question(bool first) const {
  return fmt::format("/v1/registrations?after={}&epoch={}&store={}&wait={}", status.at.version, status.at.epoch, query_text(status.at.store),
                     first ? 0 : std::max<int64_t>(1, options.times.wait.count() / 1000));
}

Result<> RegistrationFollower::Impl::take(size_t which, RegistrationFeed&& feed) {
  auto& at = status.at;
  if (feed.at.store.empty()) return fail("its answer names no store");
  bool same = feed.at.store == at.store;
  if (!at.store.empty()) {
    bool older = same && std::tie(feed.at.epoch, feed.at.version) < std::tie(at.epoch, at.version);
    if (which > 0 ? !same || older : older && feed.elected) {
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
  elected = feed.elected;
  status.registrations = copy.size();
  status.updates++;
  for (auto& [zone, delta] : deltas) {
    if (!delta.empty() && on_change) on_change(zone, std::move(delta));
  }
  if (on_copy) on_copy(whole());
  if (saver && !loading) saver->changed();
}

std::shared_ptr<const RegistrationFeed> RegistrationFollower::Impl::whole() const {
  auto out = std::make_shared<RegistrationFeed>();
  out->at = status.at;
  out->elected = elected;
  out->registrations.reserve(copy.size());
  for (auto& [key, held] : copy) out->registrations.push_back(held.r);
  return out;
}

RegistrationFollower::RegistrationFollower(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
RegistrationFollower::~RegistrationFollower() { stop(); }

Result<std::unique_ptr<MasterFollow>> RegistrationFollower::Impl::follow(const std::vector<std::string>& names) {
  if (names.empty() && options.told) return nullptr;
  LS_ASSIGN(auto addresses, parse_masters(names, "follow registrations"));
  MasterFollowOptions o{.event = "registrations",
                        .doing = "follow registrations of",
                        .most = dns::kMaxFeedBytes,
                        .times = options.times};
  auto take_text = [this](size_t which, std::string&& body) -> Result<> {
    LS_ASSIGN(auto feed, dns::parse_feed(body));
    return take(which, std::move(feed));
  };
  return std::make_unique<MasterFollow>(io, std::move(addresses), std::move(o),
                                        MasterFollow::User{[this](bool first) { return question(first); }, std::move(take_text), {}});
}

Result<std::unique_ptr<RegistrationFollower>> RegistrationFollower::make(asio::io_context& io, FollowerOptions options, OnChange on_change,
                                                                         OnCopy on_copy) {
  auto impl = std::make_shared<Impl>(io, std::move(options), std::move(on_change), std::move(on_copy));
  LS_ASSIGN(impl->masters, impl->follow(impl->options.masters));
  return std::unique_ptr<RegistrationFollower>(new RegistrationFollower(std::move(impl)));
}

Result<> RegistrationFollower::set_masters(const std::vector<std::string>& masters) {
  LS_ASSIGN(auto next, impl_->follow(masters));
  impl_->masters = std::move(next);  // the end of the one before stops it
  if (impl_->masters) impl_->masters->start();
  return {};
}

Result<> RegistrationFollower::give(RegistrationFeed&& feed) { return impl_->take(0, std::move(feed)); }

void RegistrationFollower::start() {
  auto& m = *impl_;
  if (!m.options.file.empty()) {
    auto feed = load_feed(m.options.file);
    if (feed) {
      m.loading = true;
      m.apply(std::move(*feed));
      m.loading = false;
      m.status.from_file = true;
    } else if (feed.error().code != std::errc::no_such_file_or_directory) {
      log::warn("registrations_copy_not_read", {{"error", feed.error().text()}});
    }
  }
  if (m.masters) m.masters->start();
}

void RegistrationFollower::stop() {
  if (impl_->masters) impl_->masters->stop();
  if (impl_->saver) impl_->saver->stop();
}

FollowerStatus RegistrationFollower::status() const {
  auto out = impl_->status;
  if (impl_->masters) {
    auto& followed = impl_->masters->status();
    out.connected = followed.connected;
    out.endpoint = followed.endpoint;
    out.last_error = followed.last_error;
    out.failures = followed.failures;
  }
  if (impl_->saver) out.save_error = impl_->saver->error();
  return out;
}

}  // namespace ls
