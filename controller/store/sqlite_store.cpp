#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "store/store.h"
#include "util/address.h"
#include "util/unique_fd.h"

namespace ls {
namespace {

constexpr int kApplicationId = 0x4c535453;  // "LSTS", so that a database of somebody else is not taken for ours
constexpr int kSchema = 1;
constexpr int kBusyMs = 2000;  // long enough for a daemon that is just ending, short enough for one that starts
constexpr int kLockStepMs = 5;

constexpr const char* kCreate =
    "PRAGMA application_id = 1280529491;"
    "PRAGMA user_version = 1;"
    "CREATE TABLE record (area BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL,"
    " sum INTEGER NOT NULL, PRIMARY KEY (area, key)) WITHOUT ROWID;"
    "CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);"
    "INSERT INTO counter VALUES (1, 0);";
static_assert(kApplicationId == 1280529491 && kSchema == 1);

/// Finds a bit that changed in a value, which the database's own checks cannot.
int64_t sum_of(std::string_view area, std::string_view key, std::string_view value, uint64_t version) {
  uint64_t sizes[3] = {area.size(), key.size(), version};
  auto h = hash_bytes(sizes, sizeof sizes);
  h = hash_bytes(area.data(), area.size(), h);
  h = hash_bytes(key.data(), key.size(), h);
  return int64_t(hash_bytes(value.data(), value.size(), h));
}

struct CloseDb {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
using Db = std::unique_ptr<sqlite3, CloseDb>;

struct Finalize {
  void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
};
using OwnedStatement = std::unique_ptr<sqlite3_stmt, Finalize>;

/// errno that says the same as SQLite's code.
int errno_of(sqlite3* db) {
  int code = sqlite3_errcode(db);
  switch (code & 0xff) {
    case SQLITE_FULL: return ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return EILSEQ;
    case SQLITE_NOMEM: return ENOMEM;
    case SQLITE_READONLY:
    case SQLITE_PERM: return EROFS;
    case SQLITE_TOOBIG: return EMSGSIZE;
    default: break;
  }
  int system = sqlite3_system_errno(db);
  return system ? system : EIO;
}

tl::unexpected<Error> db_error(sqlite3* db, std::string doing) {
  int err = errno_of(db);
  return fail(err, fmt::format("{} ({})", doing, sqlite3_errmsg(db)));
}

tl::unexpected<Error> damaged(const std::string& path, std::string_view why) {
  return fail(EILSEQ, fmt::format("{} is damaged or not a store of loadstar: {}; it is left as it is. Move it and {}-wal to another place "
                                  "to begin with an empty store",
                                  path, why, path));
}

Result<> run(sqlite3* db, const char* sql, const std::string& doing) {
  if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return db_error(db, doing);
  return {};
}

/// One prepared statement for one use: bound, stepped, reset at its end.
class Use {
 public:
  explicit Use(sqlite3_stmt* s) : s_(s) {}
  ~Use() {
    sqlite3_reset(s_);
    sqlite3_clear_bindings(s_);
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  Use& bind(int at, std::string_view bytes) {
    sqlite3_bind_blob(s_, at, bytes.empty() ? "" : bytes.data(), int(bytes.size()), SQLITE_STATIC);
    return *this;
  }
  Use& bind(int at, int64_t number) {
    sqlite3_bind_int64(s_, at, number);
    return *this;
  }
  int step() { return sqlite3_step(s_); }
  std::string_view bytes(int column) const {
    auto* at = static_cast<const char*>(sqlite3_column_blob(s_, column));
    return at ? std::string_view(at, size_t(sqlite3_column_bytes(s_, column))) : std::string_view();
  }
  int64_t number(int column) const { return sqlite3_column_int64(s_, column); }

 private:
  sqlite3_stmt* s_;
};

class SqliteStore final : public Store {
 public:
  SqliteStore(UniqueFd owner, Db db, std::string path) : owner_(std::move(owner)), db_(std::move(db)), path_(std::move(path)) {}

  /// Compiles the statements; an error here means that the tables are not what they should be.
  Result<> prepare() {
    LS_TRY(prepare(list_, "SELECT area, key, value, version, sum FROM record WHERE area = ?1 ORDER BY key"));
    LS_TRY(prepare(get_, "SELECT area, key, value, version, sum FROM record WHERE area = ?1 AND key = ?2"));
    LS_TRY(prepare(all_, "SELECT area, key, value, version, sum FROM record"));
    LS_TRY(prepare(last_, "SELECT last FROM counter WHERE id = 1"));
    LS_TRY(prepare(count_, "UPDATE counter SET last = ?1 WHERE id = 1"));
    LS_TRY(prepare(put_, "INSERT OR REPLACE INTO record (area, key, value, version, sum) VALUES (?1, ?2, ?3, ?4, ?5)"));
    LS_TRY(prepare(erase_, "DELETE FROM record WHERE area = ?1 AND key = ?2"));
    LS_TRY(prepare(areas_, "SELECT DISTINCT area FROM record ORDER BY area"));
    LS_TRY(prepare(begin_, "BEGIN IMMEDIATE"));
    LS_TRY(prepare(commit_, "COMMIT"));
    LS_TRY(prepare(rollback_, "ROLLBACK"));
    return {};
  }

  /// Reads every record once and compares its sum; the counter must not be behind any of them.
  Result<> verify() {
    LS_ASSIGN(auto last, last_version());
    Use u(all_.get());
    int code;
    while ((code = u.step()) == SQLITE_ROW) {
      LS_ASSIGN(auto r, record_of(u));
      if (r.version > last) return damaged(path_, "a record is newer than the counter of versions");
    }
    if (code != SQLITE_DONE) return db_error(db_.get(), "read all of " + path_);
    return {};
  }

  Result<std::vector<StoredRecord>> list(std::string_view area) override {
    std::vector<StoredRecord> out;
    Use u(list_.get());
    u.bind(1, area);
    int code;
    while ((code = u.step()) == SQLITE_ROW) {
      LS_ASSIGN(auto r, record_of(u));
      out.push_back(std::move(r));
    }
    if (code != SQLITE_DONE) return db_error(db_.get(), fmt::format("list '{}' of {}", area, path_));
    return out;
  }

  Result<std::optional<StoredRecord>> get(std::string_view area, std::string_view key) override {
    Use u(get_.get());
    int code = u.bind(1, area).bind(2, key).step();
    if (code == SQLITE_DONE) return std::optional<StoredRecord>();
    if (code != SQLITE_ROW) return db_error(db_.get(), fmt::format("read '{}' of {}", key, path_));
    LS_ASSIGN(auto r, record_of(u));
    return std::optional(std::move(r));
  }

  Result<uint64_t> put(std::string_view area, std::string_view key, std::string_view value,
                       std::optional<uint64_t> expected) override {
    auto doing = fmt::format("write '{}' to {}", key, path_);
    uint64_t version = 0;
    auto done = transaction(doing, [&]() -> Result<> {
      LS_TRY(check(area, key, expected, doing));
      LS_ASSIGN(version, last_version());
      version++;
      // The counter is of the same transaction: a version that was given once is never given again.
      if (Use u(count_.get()); u.bind(1, int64_t(version)).step() != SQLITE_DONE) return db_error(db_.get(), doing);
      Use u(put_.get());
      u.bind(1, area).bind(2, key).bind(3, value).bind(4, int64_t(version)).bind(5, sum_of(area, key, value, version));
      if (u.step() != SQLITE_DONE) return db_error(db_.get(), doing);
      return {};
    });
    if (!done) return tl::make_unexpected(std::move(done.error()));
    return version;
  }

  Result<> erase(std::string_view area, std::string_view key, std::optional<uint64_t> expected) override {
    auto doing = fmt::format("take '{}' out of {}", key, path_);
    return transaction(doing, [&]() -> Result<> {
      LS_TRY(check(area, key, expected, doing));
      Use u(erase_.get());
      if (u.bind(1, area).bind(2, key).step() != SQLITE_DONE) return db_error(db_.get(), doing);
      return {};
    });
  }

  Result<std::vector<std::string>> areas() override {
    std::vector<std::string> out;
    Use u(areas_.get());
    int code;
    while ((code = u.step()) == SQLITE_ROW) out.emplace_back(u.bytes(0));
    if (code != SQLITE_DONE) return db_error(db_.get(), "list the areas of " + path_);
    return out;
  }

  Result<uint64_t> last_version() override {
    Use u(last_.get());
    int code = u.step();
    if (code == SQLITE_DONE || (code == SQLITE_ROW && u.number(0) < 0)) return damaged(path_, "its counter of versions is missing");
    if (code != SQLITE_ROW) return db_error(db_.get(), "read the counter of " + path_);
    return uint64_t(u.number(0));
  }

  Result<> skip_versions(uint64_t last) override {
    auto doing = "count on in " + path_;
    if (last > uint64_t(INT64_MAX)) return fail(EOVERFLOW, doing);
    return transaction(doing, [&]() -> Result<> {
      LS_ASSIGN(auto held, last_version());
      if (held >= last) return {};
      if (Use u(count_.get()); u.bind(1, int64_t(last)).step() != SQLITE_DONE) return db_error(db_.get(), doing);
      return {};
    });
  }

 private:
  Result<> prepare(OwnedStatement& to, const char* sql) {
    sqlite3_stmt* s = nullptr;
    if (sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &s, nullptr) != SQLITE_OK) {
      return db_error(db_.get(), "read the tables of " + path_);
    }
    to.reset(s);
    return {};
  }

  Result<StoredRecord> record_of(const Use& u) {
    auto area = u.bytes(0), key = u.bytes(1), value = u.bytes(2);
    auto version = uint64_t(u.number(3));
    if (version == 0 || sum_of(area, key, value, version) != u.number(4)) {
      return damaged(path_, fmt::format("the checksum of a record in '{}' is wrong", area.substr(0, 64)));
    }
    return StoredRecord{std::string(key), std::string(value), version};
  }

  Result<> check(std::string_view area, std::string_view key, std::optional<uint64_t> expected, const std::string& doing) {
    if (!expected) return {};
    LS_ASSIGN(auto held, get(area, key));
    if ((held ? held->version : 0) == *expected) return {};
    return fail(held ? EEXIST : ENOENT, doing);
  }

  template <class Work>
  Result<> transaction(const std::string& doing, Work&& work) {
    if (Use u(begin_.get()); u.step() != SQLITE_DONE) return db_error(db_.get(), doing);
    Result<> done = work();
    if (done) {
      if (Use u(commit_.get()); u.step() != SQLITE_DONE) done = db_error(db_.get(), doing);
    }
    // A full disk may have rolled it back already.
    if (!done && !sqlite3_get_autocommit(db_.get())) Use(rollback_.get()).step();
    return done;
  }

  UniqueFd owner_;  // before the database: to close any descriptor of a file gives up SQLite's locks on it
  Db db_;           // before the statements: closed after they are finalized
  std::string path_;
  OwnedStatement list_, get_, all_, last_, count_, put_, erase_, areas_, begin_, commit_, rollback_;
};

Result<Db> open_db(const std::string& path, int more_flags) {
  sqlite3* raw = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | more_flags, nullptr);
  Db db(raw);
  if (code != SQLITE_OK) return raw ? db_error(raw, "open " + path) : fail(ENOMEM, "open " + path);
  sqlite3_busy_timeout(db.get(), kBusyMs);
  return db;
}

/// One owner at a time. SQLite's own exclusive mode does not say who: it takes a shared lock first, so processes that open at once
/// all hold one, none gets the exclusive lock, and all give up together, again and again.
Result<UniqueFd> own(const std::string& path, int flags) {
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd) return fail(errno, "open " + path);
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kBusyMs);
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return fail(errno, "lock " + path);
    if (std::chrono::steady_clock::now() >= until) return fail(EBUSY, "open " + path + ": another process holds it");
    std::this_thread::sleep_for(std::chrono::milliseconds(kLockStepMs));
  }
  return fd;
}

/// Makes an empty store beside its place and renames it there, so that no half-made file is ever found under the name.
Result<> create(const std::filesystem::path& file) {
  auto path = file.string();
  auto folder = file.parent_path().empty() ? std::string(".") : file.parent_path().string();
  LS_ASSIGN(auto alone, own(folder, O_RDONLY | O_DIRECTORY));
  struct stat st {};
  if (lstat(path.c_str(), &st) == 0) return {};  // made by the one that held the folder before
  // A log without its file: SQLite would apply what it holds to the new file.
  if (lstat((path + "-wal").c_str(), &st) == 0) {
    return fail(EEXIST, fmt::format("{}-wal is there but {} is not; both belong together. Move it back or away", path, path));
  }
  auto beside = path + ".new";
  for (auto* suffix : {"", "-wal", "-journal"}) unlink((beside + suffix).c_str());
  {
    UniqueFd fd(open(beside.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail(errno, "make " + beside);
    if (fchmod(fd.get(), 0600) != 0) return fail(errno, "set the mode of " + beside);
  }
  {
    LS_ASSIGN(auto db, open_db(beside, 0));
    LS_TRY(run(db.get(), "PRAGMA synchronous = FULL; PRAGMA locking_mode = EXCLUSIVE;", "make " + beside));
    LS_TRY(run(db.get(), ("BEGIN;" + std::string(kCreate) + "COMMIT;").c_str(), "make " + beside));
    LS_TRY(run(db.get(), "PRAGMA journal_mode = WAL;", "make " + beside));
  }
  UniqueFd fd(open(beside.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd || fsync(fd.get()) != 0) return fail(errno, "sync " + beside);
  // Not over a file that somebody else made meanwhile.
  if (renameat2(AT_FDCWD, beside.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0) return fail(errno, "rename " + beside + " to " + path);
  if (fsync(alone.get()) != 0) return fail(errno, "sync " + folder);
  return {};
}

/// What can be seen without SQLite, which would take an empty file for a new database and a flipped bit at 18 for one without a log.
Result<> check_header(int fd, const std::string& path) {
  struct stat st {};
  if (fstat(fd, &st) != 0) return fail(errno, "look at " + path);
  if (!S_ISREG(st.st_mode)) return fail(EINVAL, path + " is not a plain file");
  if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) != 0) return fail(errno, "set the mode of " + path);
  unsigned char head[100];
  if (pread(fd, head, sizeof head, 0) != ssize_t(sizeof head)) return damaged(path, "it is too short");
  if (memcmp(head, "SQLite format 3", 16) != 0) return damaged(path, "it does not begin as a database");
  if (head[18] != 2 || head[19] != 2) return damaged(path, "its header does not name the write-ahead log");
  return {};
}

Result<int64_t> number_of(sqlite3* db, const char* pragma, const std::string& path) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db, pragma, -1, &raw, nullptr) != SQLITE_OK) return db_error(db, "read " + path);
  OwnedStatement s(raw);
  if (sqlite3_step(raw) != SQLITE_ROW) return db_error(db, "read " + path);
  return sqlite3_column_int64(raw, 0);
}

Result<> check_contents(sqlite3* db, const std::string& path) {
  LS_ASSIGN(auto application, number_of(db, "PRAGMA application_id", path));
  if (application != kApplicationId) return damaged(path, "its mark is not loadstar's");
  LS_ASSIGN(auto schema, number_of(db, "PRAGMA user_version", path));
  if (schema > kSchema) {
    return fail(EPROTO, fmt::format("{} has format {}, this loadstar knows {}: it was written by a newer one", path, schema, kSchema));
  }
  if (schema != kSchema) return damaged(path, "its format number is wrong");
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &raw, nullptr) != SQLITE_OK) return db_error(db, "check " + path);
  OwnedStatement s(raw);
  if (sqlite3_step(raw) != SQLITE_ROW) return db_error(db, "check " + path);
  auto* text = reinterpret_cast<const char*>(sqlite3_column_text(raw, 0));
  if (!text || strcmp(text, "ok") != 0) return damaged(path, text ? text : "its check says nothing");
  return {};
}

Result<std::unique_ptr<Store>> open_existing(const std::string& path) {
  LS_ASSIGN(auto owner, own(path, O_RDONLY | O_NOFOLLOW));
  LS_TRY(check_header(owner.get(), path));
  LS_ASSIGN(auto db, open_db(path, 0));
  // Until the check is over nothing may be written, not even at the end: a damaged file stays as it was found.
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  LS_TRY(run(db.get(), "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;", "open " + path));
  LS_TRY(check_contents(db.get(), path));
  auto* raw = db.get();
  auto store = std::make_unique<SqliteStore>(std::move(owner), std::move(db), path);
  LS_TRY(store->prepare());
  LS_TRY(store->verify());
  sqlite3_db_config(raw, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace

Result<std::unique_ptr<Store>> open_file_store(const std::filesystem::path& file) {
  auto path = file.string();
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) {
    if (errno != ENOENT) return fail(errno, "look at " + path);
    LS_TRY(create(file));
  }
  auto store = open_existing(path);
  // SQLite's own words for damage, with what to do about it.
  if (!store && store.error().code == std::error_code(EILSEQ, std::generic_category()) &&
      store.error().doing.find("left as it is") == std::string::npos) {
    return damaged(path, store.error().doing);
  }
  return store;
}

}  // namespace ls
