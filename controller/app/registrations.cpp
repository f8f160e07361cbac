#include "app/registrations.h"

#include <fmt/format.h>

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
    if (loading_) return on_change_(zone, delta);
    boost::asio::post(io_, [this, zone, delta = std::move(delta)] { on_change_(zone, delta); });
  });
  loading_ = true;
  auto loaded = registry_->load(dns::RegistryTime::now());
  loading_ = false;
  if (!loaded) {
    problem_ = "registered names could not be read: " + loaded.error().text();
    log::warn("registrations_unreadable", {{"error", loaded.error().text()}});
    registry_.reset();
  } else if (size_t n = registry_->left_out()) {
    problem_ = std::to_string(n) + " stored registrations could not be read and are left out";
  }
  return {};
}

std::vector<std::string> Registrations::warnings() const {
  std::vector<std::string> out;
  if (!problem_.empty()) out.push_back(problem_);
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
