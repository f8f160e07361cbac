#include "app/store_migrate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <thread>

#include "app/master_terms.h"
#include "app/zookeeper_url.h"
#include "overlay/allocation_record.h"
#include "store/zk_store.h"

namespace ls {
namespace {

constexpr Millis kStep{20};
constexpr Millis kConnect{15'000};

std::filesystem::path names_file(const Config& c) { return c.store.path; }
std::filesystem::path overlay_file(const Config& c) { return c.store.path.parent_path() / "overlay.db"; }

/// The place of the leader, for as long as it lives.
class Place {
 public:
  explicit Place(zk::SessionOptions session, const std::string& path)
      : session_(std::move(session), [this](zk::SessionState s, int64_t id) { election_.session_changed(s, id); }),
        election_(session_, {.folder = election_folder(path), .value = name()}, {}),
        path_(path) {}
  ~Place() {
    election_.stop();
    session_.stop();
  }

  Result<std::unique_ptr<Store>> open() {
    election_.start();
    session_.start();
    auto until = std::chrono::steady_clock::now() + kConnect;
    for (;;) {
      auto s = election_.state();
      if (s.leading) return open_zk_store(session_, {.path = store_path(path_), .fence = election_.fence(s.term), .on_over = {}});
      if (!s.leader.empty() && s.candidates.size() > 1)
        return fail(EBUSY, fmt::format("{} leads at {}: stop all masters first. One that was killed, or a copy that was interrupted, is gone when its session ends "
                                       "(store.session)",
                                       s.leader, path_));
      if (std::chrono::steady_clock::now() > until) {
        auto why = session_.status().last_error;
        if (why.empty()) why = s.last_error;
        return fail(ETIMEDOUT, "ZooKeeper does not answer" + (why.empty() ? "" : ": " + why));
      }
      std::this_thread::sleep_for(kStep);
    }
  }

 private:
  static std::string name() {
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    return fmt::format("loadstard store migrate on {}", host);
  }

  zk::Session session_;
  zk::Election election_;
  const std::string path_;
};

Result<std::unique_ptr<Store>> open_existing(const std::filesystem::path& file) {
  std::error_code ec;
  if (!std::filesystem::exists(file, ec)) return nullptr;
  return open_file_store(file);
}

Result<std::vector<MigratedArea>> to_zookeeper(const Config& c, Store& zookeeper) {
  LS_ASSIGN(auto names, open_existing(names_file(c)));
  LS_ASSIGN(auto overlay, open_existing(overlay_file(c)));
  if (!names && !overlay) return fail(ENOENT, fmt::format("neither {} nor {} is there", names_file(c).native(), overlay_file(c).native()));
  StoreCopy copy{.parts = {}, .to = &zookeeper, .unchanged = {}, .to_name = "the store in ZooKeeper"};
  for (auto* from : {names.get(), overlay.get()}) {
    if (!from) continue;
    LS_ASSIGN(auto areas, from->areas());
    copy.parts.push_back({from, std::move(areas)});
  }
  return copy_stores({copy});
}

Result<std::vector<MigratedArea>> to_file(const Config& c, Store& zookeeper) {
  LS_ASSIGN(auto names, open_file_store(names_file(c)));
  LS_ASSIGN(auto overlay, open_file_store(overlay_file(c)));
  LS_ASSIGN(auto areas, zookeeper.areas());
  if (areas.empty()) return fail(ENOENT, "the store in ZooKeeper is empty");
  std::vector<std::string> of_overlay;
  if (std::erase(areas, overlay::kStoreArea)) of_overlay.emplace_back(overlay::kStoreArea);
  // A write that our term must allow: had a master begun meanwhile, there may be more than what was read.
  auto unchanged = [&]() -> Result<> {
    LS_ASSIGN(auto last, zookeeper.last_version());
    return zookeeper.skip_versions(last + 1);
  };
  std::vector<StoreCopy> copies{{.parts = {{&zookeeper, std::move(areas)}}, .to = names.get(), .unchanged = unchanged, .to_name = names_file(c).native()},
                                {.parts = {{&zookeeper, std::move(of_overlay)}}, .to = overlay.get(), .unchanged = unchanged, .to_name = overlay_file(c).native()}};
  return copy_stores(copies);
}

}  // namespace

Result<std::vector<MigratedArea>> migrate_stores(const Config& config, MigrateTo to) {
  if (config.store.zookeeper.empty()) return fail(EINVAL, "store.zookeeper names no servers: it says where the store in ZooKeeper is");
  zk::SessionOptions session;
  LS_ASSIGN(session.url, zookeeper_url(config.store.zookeeper, config.store.zookeeper_login_file, "store.zookeeper_login_file"));
  session.session = config.store.session;
  auto path = session.url.path;
  Place place(std::move(session), path);
  LS_ASSIGN(auto zookeeper, place.open());
  return to == MigrateTo::kZookeeper ? to_zookeeper(config, *zookeeper) : to_file(config, *zookeeper);
}

int store_migrate_command(const Config& config, const std::string& to) {
  auto done = migrate_stores(config, to == "file" ? MigrateTo::kFile : MigrateTo::kZookeeper);
  if (!done) {
    std::fprintf(stderr, "loadstard: %s\n", done.error().text().c_str());
    return 1;
  }
  for (auto& a : *done) std::printf("%s: %zu records\n", a.area.c_str(), a.records);
  std::printf("copied and compared; now set store.kind = \"%s\"\n", to.c_str());
  return 0;
}

}  // namespace ls
