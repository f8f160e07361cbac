#include "app/registrations.h"

#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "sources/master_follow.h"
#include "store/migrate.h"
#include "util/log.h"

namespace ls {

Registrations::Registrations(boost::asio::io_context& io, const Config& config, OnChange on_change)
    : io_(io), config_(config), on_change_(std::move(on_change)) {}

Registrations::~Registrations() { stop(); }

void Registrations::stop() {
  if (follower_) follower_->stop();
}

Result<> Registrations::make_follower(FollowerOptions options) {
  options.file = config_.store.path.parent_path() / "registrations";
  LS_ASSIGN(follower_, RegistrationFollower::make(
                           io_, std::move(options), [this](const std::string& zone, RecordDelta d) { on_change_(zone, d); },
                           [this](auto copy) { followed_.publish(Held{std::move(copy)}); }));
  follower_->start();
  return {};
}

void Registrations::trouble(std::string what) {
  if (!what.empty()) log::warn("registrations_unusable", {{"error", what}});
  problem_.publish(std::move(what));
}

Result<> Registrations::start() {
  auto& r = config_.registration;
  FollowerOptions options;
  if (takes_turns()) {
    options.told = true;
    options.times.backoff_max = kTurnPause;
    return make_follower(std::move(options));
  }
  if (!r.follow.empty()) {
    options.masters = r.follow;
    return make_follower(std::move(options));
  }
  if (!config_.node.has_role(Role::kMaster)) return {};
  auto store = open_file_store(config_.store.path);
  Result<> good;
  if (!store) good = tl::make_unexpected(std::move(store.error()));
  else good = check_copied(**store);
  if (!good) {
    trouble("no names can be registered: " + good.error().text());
    return {};
  }
  store_ = std::move(*store);
  // While it loads, changes come on this thread; later on the admin thread.
  loading_ = true;
  auto loaded = load([this](const std::string& zone, RecordDelta delta) {
    if (loading_) return on_change_(zone, delta);
    boost::asio::post(io_, [this, zone, delta = std::move(delta)] { on_change_(zone, delta); });
  });
  loading_ = false;
  if (!loaded) trouble("registered names could not be read: " + loaded.error().text());
  return {};
}

Result<> Registrations::load(const dns::Registry::OnChange& on_change) {
  auto& r = config_.registration;
  dns::RegistryOptions options;
  options.default_ttl = uint32_t(r.ttl.count() / 1000);
  options.max_lease = r.max_lease;
  options.max_records = r.max_records;
  options.elected = takes_turns();
  registry_ = std::make_unique<dns::Registry>(*store_, options, on_change);
  if (auto loaded = registry_->load(dns::RegistryTime::now()); !loaded) {
    registry_.reset();
    return loaded;
  }
  if (size_t n = registry_->left_out()) trouble(std::to_string(n) + " stored registrations could not be read and are left out");
  return {};
}

Result<uint64_t> Registrations::lead(std::shared_ptr<Store> store) {
  let_go();
  trouble({});
  store_ = std::move(store);
  loading_ = true;
  auto loaded = load([this](const std::string&, const RecordDelta&) {
    if (!loading_) push();
  });
  loading_ = false;
  if (loaded && registry_->left_out()) loaded = fail(EPROTO, fmt::format("{} of them are not readable for this version", registry_->left_out()));
  if (!loaded) {
    registry_.reset();
    store_.reset();
    trouble("registered names could not be read: " + loaded.error().text());
    return pass(std::move(loaded.error()), "read registered names");
  }
  pushed_ = {};
  push();
  return registry_->position().epoch;
}

void Registrations::let_go() {
  if (registry_) push();
  registry_.reset();
  store_.reset();
}

/// To the copy on the control loop.
void Registrations::push() {
  auto feed = std::make_shared<dns::RegistrationFeed>(registry_->feed(pushed_));
  pushed_ = feed->at;
  boost::asio::post(io_, [this, feed] {
    if (auto r = follower_->give(std::move(*feed)); !r) log::error("registrations_copy_refused", {{"error", r.error().text()}});
  });
}

void Registrations::follow_leader(const std::vector<std::string>& leaders) {
  if (auto r = follower_->set_masters(leaders); !r) log::error("registrations_not_followed", {{"leader", leaders.front()}, {"error", r.error().text()}});
}

std::vector<std::string> Registrations::warnings() const {
  std::vector<std::string> out;
  if (auto problem = problem_.get(); !problem->empty()) out.push_back(*problem);
  if (!follower_) return out;
  auto s = follower_->status();
  if (!s.connected && !s.last_error.empty())
    out.push_back(fmt::format("registered names are as they were, or none: {}", s.last_error));
  if (s.left_out) out.push_back(fmt::format("{} registrations of {} could not be read and are left out", s.left_out, s.endpoint));
  if (!s.save_error.empty()) out.push_back("the copy of the registered names is not kept on disk: " + s.save_error);
  return out;
}

std::vector<std::string> Registrations::origins(const std::string& zone, const std::string& name) const {
  std::vector<std::string> out;
  auto tell = [&](const dns::Registration& r, std::string_view where) {
    if (r.zone != zone || r.name != name) return;
    auto text = fmt::format("registration of {} records, version {}, {}", to_text(r.type), r.version, where);
    if (r.lease) text += fmt::format(", lease {}", dns::lease_text(*r.lease));
    out.push_back(std::move(text));
  };
  if (registry_) {
    for (auto& r : registry_->list(zone)) tell(r, "kept here");
  } else if (auto copy = followed()) {
    for (auto& r : copy->registrations) tell(r, "of a master (registration.follow)");
  }
  return out;
}

}  // namespace ls
