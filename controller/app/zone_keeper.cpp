#include "app/zone_keeper.h"

#include <semaphore>

#include "app/last_good.h"
#include "util/log.h"
#include "util/published.h"

namespace ls {

struct ZoneKeeperShared {
  std::binary_semaphore end{0};
  Published<std::string> problem;
};

ZoneKeeper::ZoneKeeper(std::filesystem::path folder, Epoch& epoch,
                       std::map<std::string, std::shared_ptr<const dns::ZoneTable>> zones)
    : folder_(std::move(folder)), reader_(epoch), zones_(std::move(zones)), shared_(std::make_shared<ZoneKeeperShared>()) {
}

ZoneKeeper::~ZoneKeeper() {
  if (!thread_.joinable()) return;
  shared_->end.release();
  thread_.join();
  write_changed();
}

std::optional<std::vector<Record>> ZoneKeeper::load(const std::string& name) const {
  auto read = read_zone_file(folder_ / name);
  if (read) return std::move(*read);
  if (read.error().code.value() != ENOENT) log::warn("kept_zone_unusable", {{"zone", name}, {"error", read.error().text()}});
  return std::nullopt;
}

void ZoneKeeper::start() {
  for (auto& [name, table] : zones_) written_[name] = table->version();
  thread_ = std::thread([this] { run(); });
}

std::string ZoneKeeper::problem() const { return *shared_->problem.get(); }

void ZoneKeeper::run() {
  auto next = std::chrono::steady_clock::now();
  while (!shared_->end.try_acquire_for(kLook)) {
    auto now = std::chrono::steady_clock::now();
    if (now >= next) next = now + write_changed();
  }
}

std::chrono::seconds ZoneKeeper::write_changed() {
  std::string problem;
  bool tried = false;
  std::error_code ec;  // what is wrong with the folder shows when a file is written
  std::filesystem::create_directory(folder_, ec);
  for (auto& [name, table] : zones_) {
    uint64_t version = table->version();
    if (!table->loaded() || written_[name] == version) continue;
    tried = true;
    std::string bytes;
    {
      Epoch::Guard guard(reader_);
      bytes = encode_zone(*table);
    }
    auto done = write_zone_file(folder_ / name, bytes);
    if (done) {
      written_[name] = version;
    } else {
      problem = done.error().text();
    }
  }
  if (!problem.empty() && *shared_->problem.get() != problem) log::warn("zones_not_kept", {{"error", problem}});
  shared_->problem.publish(problem);
  if (!tried) return std::chrono::seconds(0);
  return problem.empty() ? kPause : kRetry;
}

}  // namespace ls
