#include "zk/handle.h"

#include <fmt/format.h>
#include <zookeeper/zookeeper.h>

#include <cstring>

namespace ls::zk {
namespace {

constexpr Millis kAgain{20};

int code_of(int rc) {
  switch (rc) {
    case ZNONODE: return ENOENT;
    case ZNODEEXISTS: return EEXIST;
    case ZBADVERSION: return ESTALE;
    case ZNOTEMPTY: return ENOTEMPTY;
    case ZNOAUTH:
    case ZINVALIDACL: return EACCES;  // the latter: no login stands behind "the creator alone"
    case ZNOCHILDRENFOREPHEMERALS:
    case ZBADARGUMENTS: return EINVAL;
    case ZINVALIDSTATE:
    case ZTHROTTLEDOP: return ENOTCONN;  // "not executed at all"
    default: return ECONNABORTED;        // lost, or an error that does not say whether it was done
  }
}

tl::unexpected<Error> refused(int rc, const std::string& doing) { return fail(code_of(rc), doing); }

zk::Stat plain(const ::Stat& s) { return {s.czxid, s.mzxid, s.pzxid, s.version, s.ephemeralOwner}; }

std::string text_of(const char* value, int length) { return value && length > 0 ? std::string(value, size_t(length)) : std::string(); }

const ACL_vector* acl(bool own) { return own ? &ZOO_CREATOR_ALL_ACL : &ZOO_OPEN_ACL_UNSAFE; }

int flags(Mode mode) {
  switch (mode) {
    case Mode::kPersistent: return ZOO_PERSISTENT;
    case Mode::kEphemeral: return ZOO_EPHEMERAL;
    case Mode::kEphemeralSequential: return ZOO_EPHEMERAL_SEQUENTIAL;
  }
  return ZOO_PERSISTENT;
}

/// The library takes the port behind the last colon and no brackets.
std::string plain_text(const HostPort& s) { return fmt::format("{}:{}", s.host, s.port); }

/// What a failed call says: it leaves the reason in errno.
Error reason(int rc, int err) {
  if (rc == ZOPERATIONTIMEOUT) return {{ETIMEDOUT, std::generic_category()}, "no answer"};
  if (rc == ZSESSIONEXPIRED) return {{}, "the session has expired"};
  if (rc == ZAUTHFAILED) return {{}, "the servers refused the login"};
  // EHOSTDOWN is what the library says of the end of a stream. A server without a quorum ends each at once.
  if (err == EHOSTDOWN || err == 0) return {{}, "the server closed the connection (it may be without a quorum)"};
  return {{err, std::generic_category()}, "connection"};
}

}  // namespace

/// One open question; what its answer needs.
template <class T>
struct Handle::Question {
  Handle* handle;
  std::string doing;
  Session::Done<T> done;
  uintptr_t watch = 0;

  static std::unique_ptr<Question> of(const void* data) { return std::unique_ptr<Question>(static_cast<Question*>(const_cast<void*>(data))); }
  void answer(Result<T> result) {
    int kept = errno;  // the library reads it after it has called back
    done(std::move(result));
    errno = kept;
  }
  /// The library keeps a watch only when the question was answered well.
  void refuse(int rc) {
    if (watch) handle->watches_.erase(watch);
    answer(refused(rc, doing));
  }
  /// After the call that began it.
  static void begun(int rc, std::unique_ptr<Question> q) {
    if (rc == ZOK) (void)q.release();
    else q->refuse(rc);
  }
};

Result<std::unique_ptr<Handle>> Handle::open(const HostPort& server, Millis session, const std::string& login, const Handle* former) {
  zoo_set_debug_level(static_cast<ZooLogLevel>(0));
  std::unique_ptr<Handle> h(new Handle(!login.empty()));
  h->zh_ = zookeeper_init2(plain_text(server).c_str(), nullptr, int(session.count()), former ? zoo_client_id(former->zh_) : nullptr, h.get(), ZOO_NO_LOG_CLIENTENV, nullptr);
  if (!h->zh_) return fail(errno ? errno : EINVAL, "begin a session");
  zoo_set_servers_resolution_delay(h->zh_, -1);
  if (!login.empty()) {
    if (int rc = zoo_add_auth(h->zh_, "digest", login.data(), int(login.size()), nullptr, nullptr); rc != ZOK) return refused(rc, "log in");
  }
  return h;
}

Handle::~Handle() {
  if (zh_) zookeeper_close(zh_);
  auto watches = std::move(watches_);
  for (auto& [number, watch] : watches) watch();
}

Handle::State Handle::state() const {
  int s = zoo_state(zh_);
  if (s == ZOO_CONNECTED_STATE) return State::kConnected;
  if (s == ZOO_EXPIRED_SESSION_STATE || s == ZOO_AUTH_FAILED_STATE) return State::kOver;
  if (s == ZOO_ASSOCIATING_STATE) return State::kGreeting;
  return s == ZOO_CONNECTING_STATE ? State::kTrying : State::kIdle;
}

int64_t Handle::id() const { return zoo_client_id(zh_)->client_id; }
Millis Handle::negotiated() const { return Millis(zoo_recv_timeout(zh_)); }
bool Handle::expired() const { return zoo_state(zh_) == ZOO_EXPIRED_SESSION_STATE; }

bool Handle::up() const {
  auto s = state();
  return s != State::kIdle && s != State::kOver;
}

Result<> Handle::set_server(const HostPort& server) {
  // Two servers at one address are one to the library, which compares no ports; so it hears of another address (of a block that is
  // nobody's, RFC 5737 and RFC 6666) in between. It dials none here.
  (void)zoo_set_servers(zh_, server.host.find(':') == server.host.npos ? "192.0.2.1:1" : "100::1:1");
  if (int rc = zoo_set_servers(zh_, plain_text(server).c_str()); rc != ZOK) return refused(rc, "take the next server");
  return {};
}

Result<Handle::Interest> Handle::interest() {
  int fd = -1, wanted = 0;
  timeval most{};
  errno = 0;
  int rc = zookeeper_interest(zh_, &fd, &wanted, &most);
  // A ping that could not be sent leaves the connection standing; its end is read next.
  if (rc != ZOK && up() && fd >= 0) return Interest{fd, false, kAgain};
  if (rc != ZOK) return tl::make_unexpected(reason(rc, errno));
  auto pause = std::chrono::duration_cast<Millis>(std::chrono::seconds(most.tv_sec) + std::chrono::microseconds(most.tv_usec));
  return Interest{fd, (wanted & ZOOKEEPER_WRITE) != 0, pause};
}

Result<> Handle::process(bool readable, bool writable) {
  errno = 0;
  int rc = zookeeper_process(zh_, (readable ? ZOOKEEPER_READ : 0) | (writable ? ZOOKEEPER_WRITE : 0));
  if (rc != ZOK && rc != ZNOTHING && !up()) return tl::make_unexpected(reason(rc, errno));
  return {};
}

uintptr_t Handle::keep(Session::Watch watch) {
  if (!watch) return 0;
  watches_.emplace(++last_watch_, std::move(watch));
  return last_watch_;
}

void Handle::fire(uintptr_t number) {
  auto it = watches_.find(number);
  if (it == watches_.end()) return;
  auto watch = std::move(it->second);
  watches_.erase(it);
  int kept = errno;
  watch();
  errno = kept;
}

void Handle::on_watch(_zhandle* zh, int type, int, const char*, void* number) {
  // Of the session every watch is told, and stays.
  if (type == ZOO_SESSION_EVENT) return;
  static_cast<Handle*>(const_cast<void*>(zoo_get_context(zh)))->fire(reinterpret_cast<uintptr_t>(number));
}

void Handle::get(const std::string& path, Session::Watch watch, Session::Done<Node> done) {
  using Q = Question<Node>;
  auto q = std::make_unique<Q>(Q{this, "read " + path, std::move(done), keep(std::move(watch))});
  auto answer = [](int rc, const char* value, int length, const ::Stat* stat, const void* data) {
    auto a = Q::of(data);
    if (rc != ZOK) return a->refuse(rc);
    a->answer(Node{text_of(value, length), plain(*stat)});
  };
  int rc = zoo_awget(zh_, path.c_str(), q->watch ? on_watch : nullptr, reinterpret_cast<void*>(q->watch), answer, q.get());
  Q::begun(rc, std::move(q));
}

void Handle::children(const std::string& path, Session::Watch watch, Session::Done<std::vector<std::string>> done) {
  using Q = Question<std::vector<std::string>>;
  auto q = std::make_unique<Q>(Q{this, "list " + path, std::move(done), keep(std::move(watch))});
  auto answer = [](int rc, const String_vector* names, const void* data) {
    auto a = Q::of(data);
    if (rc != ZOK) return a->refuse(rc);
    std::vector<std::string> out;
    for (int32_t i = 0; names && i < names->count; i++) out.emplace_back(names->data[i]);
    a->answer(std::move(out));
  };
  int rc = zoo_awget_children(zh_, path.c_str(), q->watch ? on_watch : nullptr, reinterpret_cast<void*>(q->watch), answer, q.get());
  Q::begun(rc, std::move(q));
}

void Handle::exists(const std::string& path, Session::Watch watch, Session::Done<std::optional<Stat>> done) {
  using Q = Question<std::optional<Stat>>;
  auto q = std::make_unique<Q>(Q{this, "look for " + path, std::move(done), keep(std::move(watch))});
  auto answer = [](int rc, const ::Stat* stat, const void* data) {
    auto a = Q::of(data);
    if (rc == ZNONODE) return a->answer(std::optional<Stat>());
    if (rc != ZOK) return a->refuse(rc);
    a->answer(std::optional<Stat>(plain(*stat)));
  };
  int rc = zoo_awexists(zh_, path.c_str(), q->watch ? on_watch : nullptr, reinterpret_cast<void*>(q->watch), answer, q.get());
  Q::begun(rc, std::move(q));
}

void Handle::create(const std::string& path, const std::string& value, Mode mode, Session::Done<std::string> done) {
  using Q = Question<std::string>;
  auto q = std::make_unique<Q>(Q{this, "create " + path, std::move(done)});
  auto answer = [](int rc, const char* made, const void* data) {
    auto a = Q::of(data);
    if (rc != ZOK) return a->refuse(rc);
    a->answer(std::string(made));
  };
  int rc = zoo_acreate(zh_, path.c_str(), value.data(), int(value.size()), acl(own_nodes_), flags(mode), answer, q.get());
  Q::begun(rc, std::move(q));
}

void Handle::set(const std::string& path, const std::string& value, int32_t version, Session::Done<Stat> done) {
  using Q = Question<Stat>;
  auto q = std::make_unique<Q>(Q{this, "write " + path, std::move(done)});
  auto answer = [](int rc, const ::Stat* stat, const void* data) {
    auto a = Q::of(data);
    if (rc != ZOK) return a->refuse(rc);
    a->answer(plain(*stat));
  };
  int rc = zoo_aset(zh_, path.c_str(), value.data(), int(value.size()), version, answer, q.get());
  Q::begun(rc, std::move(q));
}

void Handle::erase(const std::string& path, int32_t version, Session::Done<void> done) {
  using Q = Question<void>;
  auto q = std::make_unique<Q>(Q{this, "remove " + path, std::move(done)});
  auto answer = [](int rc, const void* data) {
    auto a = Q::of(data);
    if (rc != ZOK) return a->refuse(rc);
    a->answer({});
  };
  int rc = zoo_adelete(zh_, path.c_str(), version, answer, q.get());
  Q::begun(rc, std::move(q));
}

void Handle::sync(const std::string& path, Session::Done<void> done) {
  using Q = Question<void>;
  auto q = std::make_unique<Q>(Q{this, "sync " + path, std::move(done)});
  auto answer = [](int rc, const char*, const void* data) {
    auto a = Q::of(data);
    if (rc != ZOK) return a->refuse(rc);
    a->answer({});
  };
  int rc = zoo_async(zh_, path.c_str(), answer, q.get());
  Q::begun(rc, std::move(q));
}

/// The library reads the steps once and writes the results until the answer.
struct Handle::Multi {
  Question<std::vector<int32_t>> question;
  std::vector<Op> steps;
  std::vector<zoo_op_t> ops;
  std::vector<zoo_op_result_t> results;
  std::vector<::Stat> stats;

  Result<std::vector<int32_t>> result(int rc) const;
};

Result<std::vector<int32_t>> Handle::Multi::result(int rc) const {
  if (rc != ZOK) {
    // The step that was refused has its own code; those behind it only say that they were left.
    for (size_t i = 0; i < results.size(); i++) {
      if (results[i].err == rc && code_of(rc) != ECONNABORTED && code_of(rc) != ENOTCONN)
        return refused(rc, fmt::format("step {} of {} ({})", i + 1, steps.size(), steps[i].path));
    }
    return refused(rc, question.doing);
  }
  std::vector<int32_t> versions;
  for (size_t i = 0; i < steps.size(); i++) {
    auto kind = steps[i].kind;
    versions.push_back(kind == Op::Kind::kSet ? stats[i].version : kind == Op::Kind::kCreate ? 0 : -1);
  }
  return versions;
}

void Handle::multi(std::vector<Op> steps, Session::Done<std::vector<int32_t>> done) {
  auto m = std::make_unique<Multi>();
  m->question = {this, fmt::format("{} steps", steps.size()), std::move(done)};
  m->steps = std::move(steps);
  m->ops.resize(m->steps.size());
  m->results.resize(m->steps.size());
  m->stats.resize(m->steps.size());
  for (size_t i = 0; i < m->steps.size(); i++) {
    auto& s = m->steps[i];
    switch (s.kind) {
      case Op::Kind::kCreate:
        zoo_create_op_init(&m->ops[i], s.path.c_str(), s.value.data(), int(s.value.size()), acl(own_nodes_), ZOO_PERSISTENT, nullptr, 0);
        break;
      case Op::Kind::kSet: zoo_set_op_init(&m->ops[i], s.path.c_str(), s.value.data(), int(s.value.size()), s.version, &m->stats[i]); break;
      case Op::Kind::kErase: zoo_delete_op_init(&m->ops[i], s.path.c_str(), s.version); break;
      case Op::Kind::kCheck: zoo_check_op_init(&m->ops[i], s.path.c_str(), s.version); break;
    }
  }
  auto answer = [](int rc, const void* data) {
    std::unique_ptr<Multi> a(static_cast<Multi*>(const_cast<void*>(data)));
    a->question.answer(a->result(rc));
  };
  int rc = zoo_amulti(zh_, int(m->ops.size()), m->ops.data(), m->results.data(), answer, m.get());
  if (rc == ZOK) (void)m.release();
  else m->question.answer(m->result(rc));
}

}  // namespace ls::zk
