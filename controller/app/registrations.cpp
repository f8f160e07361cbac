#include "app/registrations.h"

#include <boost/asio/post.hpp>

#include "util/log.h"

namespace ls {

Registrations::Registrations(boost::asio::io_context& io, const Config& config, OnChange on_change)
    : io_(io), config_(config), on_change_(std::move(on_change)) {}

Registrations::~Registrations() { stop(); }

void Registrations::stop() {
  if (follower_) follower_->stop();
}

Result<> Registrations::start() {
  auto& r = config_.registration;
  if (!r.follow.empty()) {
    FollowerOptions options;
    options.masters = r.follow;
    options.file = config_.store.path.parent_path() / "registrations";
    LS_ASSIGN(follower_, RegistrationFollower::make(
                             io_, std::move(options), [this](const std::string& zone, RecordDelta d) { on_change_(zone, d); },
                             [this](auto copy) { followed_.publish(Held{std::move(copy)}); }));
    follower_->start();
    return {};
  }
  if (!config_.node.has_role(Role::kMaster)) return {};
  auto store = open_file_store(config_.store.path);
  if (!store) {
    problem_ = "no names can be registered: " + store.error().text();
    log::warn("store_unusable", {{"error", store.error().text()}});
    return {};
  }
  store_ = std::move(*store);
  dns::RegistryOptions options;
  options.default_ttl = uint32_t(r.ttl.count() / 1000);
  options.max_lease = r.max_lease;
  options.max_records = r.max_records;
  // While it loads, changes come on this thread; later on the admin thread.
  registry_ = std::make_unique<dns::Registry>(*store_, options, [this](const std::string& zone, RecordDelta delta) {
    boost::asio::post(io_, [this, zone, delta = std::move(delta)] { on_change_(zone, delta); });
  });
  if (auto loaded = registry_->load(dns::RegistryTime::now()); !loaded) {
    problem_ = "registered names could not be read: " + loaded.error().text();
    log::warn("registrations_unreadable", {{"error", loaded.error().text()}});
    registry_.reset();
  } else if (size_t n = registry_->left_out()) {
    problem_ = std::to_string(n) + " stored registrations could not be read and are left out";
  }
  return {};
}

}  // namespace ls
