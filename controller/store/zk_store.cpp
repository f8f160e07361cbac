#include "store/zk_store.h"

#include <fmt/format.h>

#include <map>

#include "store/zk_names.h"

namespace ls {
namespace {

constexpr size_t kInFlight = 512;  // reads that are asked for at once: at 512 KiB a value the memory stays bounded in practice

bool is(const Error& e, int err) { return e.code == std::error_code(err, std::generic_category()); }

struct Held {
  std::string value;
  uint64_t version = 0;
  int32_t node_version = 0;
};
using Area = std::map<std::string, Held, std::less<>>;

class ZkStore final : public Store {
 public:
  ZkStore(zk::Session& session, ZkStoreOptions options) : session_(session), o_(std::move(options)) {}

  Result<> open() {
    LS_TRY(sync());
    LS_TRY(open_top());
    LS_TRY(read_areas());
    // What was read is of a moment in this term: whoever wrote before it has been refused since the term began.
    return pass_on(zk::wait<std::vector<int32_t>>(o_.limit, [&](auto done) { session_.multi({o_.fence}, std::move(done)); }), "check the term");
  }

  Result<std::vector<StoredRecord>> list(std::string_view area) override {
    LS_TRY(not_over());
    std::vector<StoredRecord> out;
    if (auto found = areas_.find(area); found != areas_.end()) {
      for (auto& [key, held] : found->second) out.push_back({key, held.value, held.version});
    }
    return out;
  }

  Result<std::optional<StoredRecord>> get(std::string_view area, std::string_view key) override {
    LS_TRY(not_over());
    auto* held = find(area, key);
    if (!held) return std::optional<StoredRecord>();
    return std::optional(StoredRecord{std::string(key), held->value, held->version});
  }

  Result<uint64_t> put(std::string_view area, std::string_view key, std::string_view value, std::optional<uint64_t> expected) override {
    LS_TRY(not_over());
    auto doing = fmt::format("write '{}' to ZooKeeper at {}", key.substr(0, 256), o_.path);
    auto* held = find(area, key);
    LS_TRY(check(held, expected, doing));
    if (area.size() > kMaxZkName || key.size() > kMaxZkName) return fail(EMSGSIZE, fmt::format("{}: a name above {} octets", doing, kMaxZkName));
    auto version = last_ + 1;
    auto text = zk_record(area, key, value, version);
    if (text.size() > zk::kMaxValue) return fail(EMSGSIZE, fmt::format("{}: {} octets, {} at most", doing, text.size(), zk::kMaxValue));

    using Kind = zk::Op::Kind;
    auto steps = begin_steps(version);
    if (!areas_.contains(area)) steps.push_back({.kind = Kind::kCreate, .path = area_path(area)});
    zk::Op last{.kind = held ? Kind::kSet : Kind::kCreate, .path = record_path(area, key), .value = std::move(text)};
    if (held) last.version = held->node_version;
    steps.push_back(std::move(last));
    LS_ASSIGN(auto versions, write(std::move(steps), doing));
    top_version_ = versions[1];
    last_ = version;
    areas_[std::string(area)][std::string(key)] = {std::string(value), version, versions.back()};
    return version;
  }

  Result<> erase(std::string_view area, std::string_view key, std::optional<uint64_t> expected) override {
    LS_TRY(not_over());
    auto doing = fmt::format("take '{}' out of ZooKeeper at {}", key.substr(0, 256), o_.path);
    auto* held = find(area, key);
    LS_TRY(check(held, expected, doing));
    if (!held) return {};
    auto steps = begin_steps(last_);
    steps.push_back({.kind = zk::Op::Kind::kErase, .path = record_path(area, key), .version = held->node_version});
    LS_ASSIGN(auto versions, write(std::move(steps), doing));
    top_version_ = versions[1];
    auto found = areas_.find(area);
    found->second.erase(found->second.find(key));
    return {};
  }

  Result<std::vector<std::string>> areas() override {
    LS_TRY(not_over());
    std::vector<std::string> out;
    for (auto& [name, records] : areas_) {
      if (!records.empty()) out.push_back(name);
    }
    return out;
  }

  Result<uint64_t> last_version() override {
    LS_TRY(not_over());
    return last_;
  }

  Result<> skip_versions(uint64_t last) override {
    LS_TRY(not_over());
    if (last <= last_) return {};
    LS_ASSIGN(auto versions, write(begin_steps(last), "count on in ZooKeeper at " + o_.path));
    top_version_ = versions[1];
    last_ = last;
    return {};
  }

 private:
  // --- opening -------------------------------------------------------------------------------------------------------

  template <class T>
  Result<> pass_on(Result<T>&& r, std::string_view doing) const {
    if (!r) return pass(std::move(r.error()), fmt::format("open the store in ZooKeeper at {}: {}", o_.path, doing));
    return {};
  }
  tl::unexpected<Error> damaged(const std::string& node, std::string_view why) const {
    return fail(EILSEQ, fmt::format("the node {} in ZooKeeper is damaged or not loadstar's: {}; nothing is served from this store until it is removed or "
                                    "put right",
                                    node, why));
  }

  Result<> sync() {
    return pass_on(zk::wait<void>(o_.limit, [&](auto done) { session_.sync(o_.path, std::move(done)); }), "sync");
  }

  Result<> make_parents() {
    for (size_t at = 1; at < o_.path.size(); at++) {
      if (o_.path[at] != '/') continue;
      auto path = o_.path.substr(0, at);
      auto made = zk::wait<std::string>(o_.limit, [&](auto done) { session_.create(path, "", zk::Mode::kPersistent, std::move(done)); });
      if (made || is(made.error(), EEXIST)) continue;
      // ZooKeeper refuses to make a node below one that we may not write to, also when it is there.
      bool there = is(made.error(), EACCES) && read(path).has_value();
      if (!there) return pass_on(std::move(made), "make " + path);
    }
    return {};
  }

  Result<> open_top() {
    auto top = read(o_.path);
    if (!top && is(top.error(), ENOENT)) {
      LS_TRY(make_parents());
      zk::Op make{.kind = zk::Op::Kind::kCreate, .path = o_.path, .value = zk_counter(0)};
      LS_TRY(pass_on(zk::wait<std::vector<int32_t>>(o_.limit, [&](auto done) { session_.multi({o_.fence, make}, std::move(done)); }), "make it"));
      top = read(o_.path);
    }
    if (!top) return pass_on(std::move(top), "read it");
    auto last = read_zk_counter(top->value);
    if (!last) return damaged(o_.path, "it is not the head of a store");
    last_ = *last;
    top_version_ = top->stat.version;
    return {};
  }

  Result<zk::Node> read(const std::string& path) {
    return zk::wait<zk::Node>(o_.limit, [&](auto done) { session_.get(path, {}, std::move(done)); });
  }
  Result<std::vector<std::string>> names(const std::string& path) {
    return zk::wait<std::vector<std::string>>(o_.limit, [&](auto done) { session_.children(path, {}, std::move(done)); });
  }

  Result<> read_areas() {
    auto listed = names(o_.path);
    if (!listed) return pass_on(std::move(listed), "list its areas");
    for (auto& name : *listed) {
      auto area = zk_text(name);
      if (!area) return damaged(zk::join(o_.path, name), "its name");
      LS_TRY(read_area(*area));
    }
    return {};
  }

  Result<> read_area(const std::string& area) {
    auto path = area_path(area);
    auto listed = names(path);
    if (!listed) return pass_on(std::move(listed), "list " + path);
    auto& records = areas_[area];
    for (size_t from = 0; from < listed->size(); from += kInFlight) {
      auto to = std::min(from + kInFlight, listed->size());
      std::vector<std::future<Result<zk::Node>>> answers;
      for (size_t i = from; i < to; i++) {
        auto promise = std::make_shared<std::promise<Result<zk::Node>>>();
        answers.push_back(promise->get_future());
        session_.get(zk::join(path, (*listed)[i]), {}, [promise](Result<zk::Node> r) { promise->set_value(std::move(r)); });
      }
      auto until = std::chrono::steady_clock::now() + o_.limit;
      for (size_t i = from; i < to; i++) {
        auto& answer = answers[i - from];
        if (answer.wait_until(until) != std::future_status::ready) return pass_on(Result<>(fail(ETIMEDOUT, "wait for ZooKeeper")), "read " + path);
        LS_TRY(take(area, records, zk::join(path, (*listed)[i]), (*listed)[i], answer.get()));
      }
    }
    return {};
  }

  Result<> take(const std::string& area, Area& records, const std::string& path, const std::string& name, Result<zk::Node>&& node) {
    if (!node) return pass_on(std::move(node), "read " + path);
    auto key = zk_text(name);
    if (!key) return damaged(path, "its name");
    auto record = read_zk_record(area, *key, node->value);
    if (!record) return damaged(path, "its checksum is wrong");
    if (record->version > last_) return damaged(path, "it is newer than the counter of versions in " + o_.path);
    records[*key] = {std::move(record->value), record->version, node->stat.version};
    return {};
  }

  // --- writing -------------------------------------------------------------------------------------------------------

  std::string area_path(std::string_view area) const { return zk::join(o_.path, zk_name(area)); }
  std::string record_path(std::string_view area, std::string_view key) const { return zk::join(area_path(area), zk_name(key)); }

  const Held* find(std::string_view area, std::string_view key) const {
    auto found = areas_.find(area);
    if (found == areas_.end()) return nullptr;
    auto held = found->second.find(key);
    return held == found->second.end() ? nullptr : &held->second;
  }

  static Result<> check(const Held* held, std::optional<uint64_t> expected, const std::string& doing) {
    if (!expected || (held ? held->version : 0) == *expected) return {};
    return fail(held ? EEXIST : ENOENT, doing);
  }

  Result<> not_over() const {
    if (over_.empty()) return {};
    return fail(ESTALE, "use the store in ZooKeeper at " + o_.path + ": " + over_);
  }

  /// What every write begins with: the term, then the counter.
  std::vector<zk::Op> begin_steps(uint64_t last) const {
    return {o_.fence, {.kind = zk::Op::Kind::kSet, .path = o_.path, .value = zk_counter(last), .version = top_version_}};
  }

  Result<std::vector<int32_t>> write(std::vector<zk::Op> steps, const std::string& doing) {
    auto count = steps.size();
    auto done = zk::wait<std::vector<int32_t>>(o_.limit, [&](auto d) { session_.multi(std::move(steps), std::move(d)); });
    if (done && done->size() == count) return done;
    auto e = done ? Error{std::make_error_code(std::errc::bad_message), "read the answer"} : std::move(done.error());
    // Refused, and not because the nodes are other than this store knows them; or not sent at all.
    bool nothing = is(e, ENOTCONN) || is(e, EACCES) || is(e, EINVAL) || is(e, EMSGSIZE);
    bool refused = is(e, ENOENT) || is(e, EEXIST) || is(e, ESTALE) || is(e, ENOTEMPTY);
    auto text = e.text();
    if (refused) end("another term has begun, or somebody else wrote: " + text);
    else if (!nothing) end("it is not known whether the last write was done: " + text);
    if (refused) return fail(ESTALE, doing + ": " + text);
    return pass(std::move(e), doing);
  }

  void end(std::string why) {
    over_ = std::move(why);
    areas_.clear();
    if (auto tell = std::exchange(o_.on_over, {})) tell(over_);
  }

  zk::Session& session_;
  ZkStoreOptions o_;
  std::map<std::string, Area, std::less<>> areas_;
  uint64_t last_ = 0;        ///< version of the newest record
  int32_t top_version_ = 0;  ///< of the topmost node
  std::string over_;         ///< why it is over; empty: it is not
};

}  // namespace

Result<std::unique_ptr<Store>> open_zk_store(zk::Session& session, ZkStoreOptions options) {
  if (options.path.size() < 2 || options.path[0] != '/') return fail(EINVAL, "open the store in ZooKeeper: its path '" + options.path + "' is not below the root");
  auto store = std::make_unique<ZkStore>(session, std::move(options));
  LS_TRY(store->open());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace ls
