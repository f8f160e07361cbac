// The session with a real server: every operation and refusal, watches, expiry, lost connections, logins, and peers that are no ZooKeeper.
#include "zk/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zk_session_support.h"

namespace ls::zk {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

struct ZkSession : testing::Test {
  /// A folder for this test, made by a session of its own.
  ZkSession() : folder("/" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  ZookeeperServer& server = ZookeeperServer::shared();
  const std::string folder;
  std::string at(const std::string& name) const { return folder + "/" + name; }
  void make_folder(Client& c) { ASSERT_TRUE(c.create(folder, "")); }
};

TEST_F(ZkSession, Operations) {
  Client c(server.url());
  ASSERT_TRUE(c.connected());
  auto s = c->status();
  EXPECT_EQ(s.server, server.address());
  EXPECT_EQ(s.sessions, 1u);
  EXPECT_NE(s.id, 0);
  EXPECT_EQ(s.negotiated, c.options.session);
  EXPECT_EQ(s.last_error, "");

  EXPECT_EQ(c.create(folder, "").value_or("?"), folder);
  EXPECT_EQ(c.create(at("a"), std::string("zero\0inside", 11)).value_or("?"), at("a"));
  auto node = c.get(at("a"));
  ASSERT_TRUE(node) << node.error().text();
  EXPECT_EQ(node->value, std::string("zero\0inside", 11));
  EXPECT_EQ(node->stat.version, 0);
  EXPECT_EQ(node->stat.owner, 0);
  EXPECT_EQ(node->stat.created, node->stat.modified);
  auto set = c.set(at("a"), "two", 0);
  ASSERT_TRUE(set) << set.error().text();
  EXPECT_EQ(set->version, 1);
  EXPECT_GT(set->modified, set->created);
  EXPECT_TRUE(c.set(at("a"), "", -1)) << "any version";
  EXPECT_EQ(c.get(at("a"))->value, "");
  EXPECT_TRUE(c.create(at("b"), std::string(kMaxValue, 'x')));
  EXPECT_EQ(c.get(at("b"))->value.size(), kMaxValue);
  EXPECT_THAT(*c.children(folder), UnorderedElementsAre("a", "b"));
  EXPECT_TRUE(c.sync(folder));
  ASSERT_TRUE(c.exists(at("a")));
  EXPECT_EQ((*c.exists(at("a")))->version, 2);
  EXPECT_FALSE(c.exists(at("none"))->has_value());
  EXPECT_TRUE(c.erase(at("a"), 2));
  EXPECT_FALSE(c.exists(at("a"))->has_value());
}

TEST_F(ZkSession, Refusals) {
  Client c(server.url());
  make_folder(c);
  c.create(at("a"), "");
  c.create(at("a/b"), "");
  EXPECT_EQ(code(c.get(at("none"))), ENOENT);
  EXPECT_EQ(code(c.children(at("none"))), ENOENT);
  EXPECT_EQ(code(c.create(at("none/x"), "")), ENOENT);
  EXPECT_EQ(code(c.set(at("none"), "", -1)), ENOENT);
  EXPECT_EQ(code(c.erase(at("none"), -1)), ENOENT);
  EXPECT_EQ(code(c.create(at("a"), "")), EEXIST);
  EXPECT_EQ(code(c.set(at("a"), "", 7)), ESTALE);
  EXPECT_EQ(code(c.erase(at("a/b"), 7)), ESTALE);
  EXPECT_EQ(code(c.erase(at("a"), -1)), ENOTEMPTY);
  EXPECT_EQ(code(c.create(at("e"), "", Mode::kEphemeral)), 0);
  EXPECT_EQ(code(c.create(at("e/x"), "")), EINVAL) << "an ephemeral node has no children";
  EXPECT_EQ(code(c.create("no/slash", "")), EINVAL);
  EXPECT_EQ(code(c.get(at("."))), EINVAL);
  EXPECT_EQ(code(c.create(at("large"), std::string(kMaxValue + 1, 'x'))), EMSGSIZE);
  EXPECT_EQ(code(c.set(at("a"), std::string(kMaxValue + 1, 'x'), -1)), EMSGSIZE);
  EXPECT_THAT(c.get(at("none")).error().text(), HasSubstr("read " + at("none"))) << "says what was tried";
  EXPECT_EQ(c->status().connects, 1u) << "none of it costs the connection";
}

TEST_F(ZkSession, MultiIsDoneAsAWholeOrNotAtAll) {
  Client c(server.url());
  make_folder(c);
  c.create(at("term"), "");
  c.create(at("old"), "");
  auto done = c.multi({check(at("term"), 0), create(at("a"), "1"), set(at("term"), "x", 0), erase(at("old"), 0)});
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_THAT(*done, ElementsAre(-1, 0, 1, -1));
  EXPECT_EQ(c.get(at("a"))->value, "1");
  EXPECT_FALSE(c.exists(at("old"))->has_value());

  auto fenced = c.multi({create(at("b"), "1"), check(at("term"), 0), set(at("a"), "2", 0)});
  EXPECT_EQ(code(fenced), ESTALE) << "somebody else has another term";
  EXPECT_THAT(fenced.error().text(), HasSubstr("step 2 of 3 (" + at("term") + ")"));
  EXPECT_FALSE(c.exists(at("b"))->has_value());
  EXPECT_EQ(c.get(at("a"))->value, "1");
  EXPECT_EQ(code(c.multi({create(at("a"), "")})), EEXIST);
  EXPECT_EQ(code(c.multi({erase(at("none"), -1)})), ENOENT);
  EXPECT_EQ(code(c.multi({})), EINVAL);
  EXPECT_EQ(code(c.multi({set("x", "", 0)})), EINVAL);
  EXPECT_EQ(code(c.multi({create(at("x"), std::string(kMaxValue, 'x')), create(at("y"), std::string(kMaxValue, 'x'))})), EMSGSIZE);
  EXPECT_TRUE(c.multi({create(at("x"), std::string(kMaxValue, 'x')), create(at("y"), std::string(kMaxValue / 2, 'x'))})) << "near the servers' limit";
}

TEST_F(ZkSession, EphemeralNodesEndWithTheSession) {
  Client watcher(server.url());
  make_folder(watcher);
  Calls gone;
  {
    Client c(server.url());
    EXPECT_EQ(c.create(at("e"), "v", Mode::kEphemeral).value_or("?"), at("e"));
    EXPECT_EQ(c.create(at("n_"), "1", Mode::kEphemeralSequential).value_or("?"), at("n_0000000001"));
    EXPECT_EQ(c.create(folder + "/", "2", Mode::kEphemeralSequential).value_or("?"), at("0000000002")) << "a name that is the number alone";
    EXPECT_EQ(watcher.get(at("e"))->stat.owner, c->status().id);
    EXPECT_EQ(watcher.children(folder)->size(), 3u);
    EXPECT_TRUE(watcher.exists(at("n_0000000001"), gone.watch()).value());
  }
  EXPECT_TRUE(gone.reached(1)) << "at once, not after the time-out";
  watcher.sync(folder);
  EXPECT_THAT(*watcher.children(folder), ElementsAre());
}

TEST_F(ZkSession, WatchesAreCalledOnce) {
  Client c(server.url()), other(server.url());
  make_folder(c);
  Calls made, changed, list, removed, never;
  EXPECT_FALSE(c.exists(at("a"), made.watch())->has_value());
  EXPECT_TRUE(c.children(folder, list.watch()));
  EXPECT_EQ(code(c.get(at("a"), never.watch())), ENOENT);
  other.create(at("a"), "1");
  EXPECT_TRUE(made.reached(1));
  EXPECT_TRUE(list.reached(1));
  EXPECT_TRUE(c.get(at("a"), changed.watch()));
  other.set(at("a"), "2", -1);
  EXPECT_TRUE(changed.reached(1));
  other.set(at("a"), "3", -1);
  EXPECT_TRUE(c.get(at("a"), removed.watch()));
  other.erase(at("a"), -1);
  EXPECT_TRUE(removed.reached(1));
  c.sync(folder);  // what was to come has come
  EXPECT_EQ(made.count(), 1);
  EXPECT_EQ(list.count(), 1);
  EXPECT_EQ(changed.count(), 1);
  EXPECT_EQ(never.count(), 0) << "a read that failed leaves no watch";
}

TEST_F(ZkSession, AWatchEndsWithItsSession) {
  Calls over;
  Client c(server.url());
  make_folder(c);
  EXPECT_TRUE(c.get(folder, over.watch()));
  c->stop();
  EXPECT_EQ(over.count(), 1);
}

TEST_F(ZkSession, WithoutAConnectionNothingIsQueued) {
  Session s({parse_url(server.url()).value(), Millis(10'000), Millis(100)});
  std::optional<Result<Node>> early;
  s.get("/", {}, [&](auto r) { early = std::move(r); });
  EXPECT_FALSE(early) << "answered by the session's thread, which is not there yet";
  s.stop();
  ASSERT_TRUE(early);
  EXPECT_EQ(code(*early), ENOTCONN);
  std::optional<Result<Node>> late;
  s.get("/", {}, [&](auto r) { late = std::move(r); });
  ASSERT_TRUE(late);
  EXPECT_EQ(code(*late), ENOTCONN);
  s.post([] { FAIL() << "after the end"; });
  s.post_after(Millis(0), [] { FAIL() << "after the end"; });
}

TEST_F(ZkSession, WorkRunsInItsOrder) {
  Client c(server.url());
  std::vector<int> order;
  Calls done;
  c->post_after(Millis(30), [&] { order.push_back(4); });
  c->post_after(Millis(10), [&] { order.push_back(3); });
  c->post([&] { order.push_back(1); });
  c->post([&] { order.push_back(2); });
  c->post_after(Millis(50), done.watch());
  EXPECT_TRUE(done.reached(1));
  EXPECT_THAT(order, ElementsAre(1, 2, 3, 4));
}

TEST_F(ZkSession, AWriteOnALostConnectionMayHaveBeenDone) {
  Client c(server.url());
  make_folder(c);
  Calls changed;
  c.get(folder, changed.watch());
  int64_t id = c->status().id;
  server.pause();
  Answer<zk::Stat> write;
  c->set(folder, "x", -1, write.done());
  c.settle();  // it is on its way
  EXPECT_FALSE(write.have());
  server.kill();
  ASSERT_TRUE(write.wait());
  EXPECT_EQ(code(write.get()), ECONNABORTED);
  EXPECT_TRUE(c.told(SessionState::kConnecting, id));
  EXPECT_EQ(code(c.get(folder)), ENOTCONN) << "at once";
  EXPECT_THAT(c->status().last_error, HasSubstr(server.address()));
  EXPECT_EQ(changed.count(), 0) << "the session may live on, and the watch with it";
  server.start();
  ASSERT_TRUE(c.connected(2));
  EXPECT_EQ(c->status().id, id) << "the same session";
  EXPECT_EQ(c->status().last_error, "");
  EXPECT_TRUE(c.set(folder, "y", -1));
  EXPECT_TRUE(changed.reached(1)) << "the watch was set again";
}

TEST_F(ZkSession, ASilentServerIsGivenUp) {
  Client c(server.url(), Millis(900));
  int64_t id = c->status().id;
  server.pause();
  EXPECT_EQ(code(c.get("/")), ECONNABORTED);
  EXPECT_TRUE(c.told(SessionState::kConnecting, id));
  server.resume();
  EXPECT_TRUE(c.connected(2));
  EXPECT_TRUE(c.get("/"));
}

TEST_F(ZkSession, AfterAnExpiryComesAnotherSession) {
  Client c(server.url());
  make_folder(c);
  c.create(at("e"), "", Mode::kEphemeral);
  int64_t id = c->status().id;
  Calls over;
  c.get(folder, over.watch());
  server.close_session(id);
  ASSERT_TRUE(c.told(SessionState::kExpired, id));
  EXPECT_TRUE(over.reached(1));
  ASSERT_TRUE(c.connected(2));
  auto s = c->status();
  EXPECT_NE(s.id, id);
  EXPECT_EQ(s.expired, 1u);
  EXPECT_EQ(s.sessions, 2u);
  EXPECT_FALSE(c.exists(at("e"))->has_value());
  EXPECT_EQ(over.count(), 1);
  EXPECT_THAT(c.states(), testing::IsSupersetOf({SessionState::kConnected, SessionState::kExpired, SessionState::kConnecting}));
}

TEST_F(ZkSession, AServerThatHasForgottenEverything) {
  Client c(server.url(), Millis(1'000));
  int64_t id = c->status().id;
  Calls over;
  c.get("/", over.watch());
  for (int i = 0; i < 50; i++) c.set("/zookeeper", "", -1);  // it has seen more than the new one has
  server.forget();
  ASSERT_TRUE(c.told(SessionState::kExpired, id));
  EXPECT_TRUE(over.reached(1));
  ASSERT_TRUE(c.connected(2));
  EXPECT_NE(c->status().id, id);
}

TEST_F(ZkSession, NodesOfAUserAreHisAlone) {
  Client owner(server.url("/", "loadstar:se:cret")), nobody(server.url()), wrong(server.url("/", "loadstar:other"));
  make_folder(owner);
  EXPECT_TRUE(owner.multi({create(at("m"), "")}));
  for (auto* c : {&nobody, &wrong}) {
    EXPECT_EQ(code(c->get(folder)), EACCES);
    EXPECT_EQ(code(c->create(at("x"), "")), EACCES);
    EXPECT_EQ(code(c->multi({create(at("y"), "")})), EACCES);
    EXPECT_EQ(code(c->get(at("m"))), EACCES);
  }
  EXPECT_TRUE(owner.get(at("m")));
  EXPECT_TRUE(nobody.create("/open", ""));
  EXPECT_TRUE(owner.set("/open", "x", -1));
  server.kill();
  ASSERT_TRUE(owner.told(SessionState::kConnecting, owner->status().id));
  EXPECT_THAT(owner->status().last_error, Not(HasSubstr("cret")));
  server.start();
  ASSERT_TRUE(owner.connected(2));
  EXPECT_TRUE(owner.get(at("m"))) << "the login is sent on each connection";
}

TEST_F(ZkSession, WhatIsNoZooKeeperIsPassedOver) {
  Peer garbage(Peer::Says::kGarbage), reset(Peer::Says::kReset), silent(Peer::Says::kNothing), half(Peer::Says::kHalfAGreeting), http(Peer::Says::kHttp);
  for (int i = 0; i < 3; i++) {  // the order is random
    Client c("zk://" + garbage.address() + "," + reset.address() + "," + half.address() + "," + http.address() + "," + server.address() + "/", Millis(3'000));
    EXPECT_TRUE(c.connected());
    EXPECT_EQ(c->status().server, server.address());
  }
  for (auto& [peer, says] : {std::pair<Peer&, const char*>{garbage, "no ZooKeeper server"}, {http, "no ZooKeeper server"}, {half, "no answer in"},
                             {silent, "no answer in"}, {reset, "onnection"}}) {
    Client c("zk://" + peer.address() + "/", Millis(3'000), false);
    EXPECT_TRUE(c.trouble(says)) << says << " is wanted, not " << c->status().last_error;
    EXPECT_THAT(c->status().last_error, HasSubstr(peer.address()));
    EXPECT_EQ(c->status().connects, 0u);
    EXPECT_EQ(code(c.get("/")), ENOTCONN);
  }  // each ends while it connects
}

TEST_F(ZkSession, ListsOfEvenLengthAreTriedWhole) {
  Peer refused(Peer::Says::kRefuse);
  for (int i = 0; i < 4; i++) {
    Client c("zk://" + refused.address() + "," + server.address() + "/");
    EXPECT_TRUE(c.connected());
  }
}

TEST_F(ZkSession, NamesThatDoNotResolve) {
  const std::string nowhere(70, 'x');
  Client c("zk://" + nowhere + "/", Millis(6'000), false);
  EXPECT_TRUE(c.trouble(nowhere));
  Client two("zk://" + nowhere + "," + server.address() + "/");
  EXPECT_TRUE(two.connected()) << "the other one is asked";
}

}  // namespace
}  // namespace ls::zk
