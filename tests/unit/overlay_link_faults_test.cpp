// A node and a master that says anything but what it should.
#include <gmock/gmock.h>

#include "overlay_link_world.h"

namespace ls {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class LinkFaults : public LinkTest {
 protected:
  /// A feed with one node.
  static overlay::AllocationFeed feed(std::string run = "r1", uint64_t version = 1, std::string allocator = "a") {
    overlay::AllocationFeed f;
    f.at = {std::move(run), version, std::move(allocator)};
    f.plan = overlay::plan_of(overlay::raw_plan());
    overlay::Allocation a;
    a.node = overlay::ip("10.0.0.9");
    a.vtep = {{overlay::ip("44.128.0.1"), 20}, {}, *overlay::parse_mac("70:b3:d5:80:00:01")};
    f.nodes = {a};
    return f;
  }
  static std::string answer(std::string allocator = "a") { return overlay::answer_text({feed().nodes[0], {}, feed().plan, std::move(allocator)}); }
  /// The first feed is good, what `later` gives follows; registrations get what `registered` gives.
  StandInMaster::Answer script(std::function<std::string()> later, std::function<std::string()> registered = {}) {
    return [=, this, first = true](const std::string& q) mutable -> std::string {
      if (q.starts_with("POST")) {
        posts_++;
        return registered ? registered() : StandInMaster::with(200, answer());
      }
      if (!first) return later();
      first = false;
      return StandInMaster::with(200, overlay::feed_text(feed()));
    };
  }
  int posts_ = 0;
};

TEST_F(LinkFaults, FeedsThatCannotBeReadTakeNothing) {
  auto not_full = [](auto f) {
    f.full = false;
    f.nodes.clear();
    return f;
  };
  auto newer = overlay::feed_text(feed("r1", 2));
  std::vector<std::pair<std::string, std::string>> cases{
      {StandInMaster::with(200, "{"), "no JSON object"},
      {StandInMaster::with(200, ""), "no JSON object"},
      {StandInMaster::with(200, "[1]"), "no JSON object"},
      {StandInMaster::with(200, R"({"format": 9})"), "its format is 9"},
      {StandInMaster::with(200, newer.substr(0, newer.size() / 2)), "no JSON object"},
      {StandInMaster::with(404, "{\"error\":\"this node gives no addresses out\"}"), "it answered 404"},
      {StandInMaster::with(503, "{\"error\":\"overlay.db is damaged\"}"), "overlay.db is damaged"},
      {StandInMaster::with(301, ""), "it answered 301"},
      {"HTTP/1.1 200 X\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{}", "in the middle of the answer"},
      {"nonsense\r\n\r\nConnection: close", ""},
      {StandInMaster::with(200, overlay::feed_text(not_full(feed("r2", 2)))), "changes of allocations we do not have"},
      {StandInMaster::with(200, overlay::feed_text(not_full(feed("r1", 0)))), "changes of allocations we do not have"},
      {StandInMaster::with(200, overlay::feed_text(not_full(feed("r1", 2, "b")))), "changes of allocations we do not have"},
      {StandInMaster::with(200, overlay::feed_text(feed("", 2))), "names no run"},
      {StandInMaster::with(200, overlay::feed_text(feed(std::string(65, 'x'), 2))), "more than 64 octets"},
  };
  for (auto& [text, error] : cases) {
    copy_ = {};
    StandInMaster master(io_, script([&text = text] { return text; }));
    follow(options({master.address()}));
    ASSERT_TRUE(eventually([&] { return link_->status().failures > 1; })) << text.substr(0, 200);
    EXPECT_THAT(link_->status().last_error, HasSubstr(error));
    EXPECT_FALSE(link_->status().connected);
    EXPECT_EQ(copy_.nodes.size(), 1u) << text.substr(0, 200);
    EXPECT_EQ(copy_.feeds, 1);
    end();
    master.close();
    pass(5ms);
  }
}

TEST_F(LinkFaults, ABodyWithoutAnEndIsLeft) {
  auto endless = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string chunk = "1000000\r\n" + std::string(16 << 20, ' ') + "\r\n";
  StandInMaster master(io_, script([&] { return endless + chunk + chunk + chunk + chunk + chunk; }));
  follow(options({master.address()}));
  ASSERT_TRUE(eventually([&] { return link_->status().failures > 0; }));
  EXPECT_THAT(link_->status().last_error, HasSubstr("octets, more than"));
  EXPECT_EQ(copy_.nodes.size(), 1u);
  end();
  master.close();
}

TEST_F(LinkFaults, SilenceIsFoundOut) {
  StandInMaster silent(io_, script([] { return ""; }, [] { return ""; }));
  auto o = options({silent.address()});
  o.times.wait = 100ms;
  o.times.slack = 100ms;
  follow(o);
  ASSERT_TRUE(eventually([&] { return link_->status().failures > 1; })) << "a question";
  EXPECT_EQ(copy_.nodes.size(), 1u);
  end();
  // A registration that nobody answers ends the question that would wait for long, and the next master is asked.
  StandInMaster other(io_, script([] { return ""; }));
  StandInMaster first(io_, script([] { return ""; }, [] { return ""; }));
  o = options({first.address(), other.address()});
  o.times.wait = 3600s;
  o.times.slack = 100ms;
  o.times.retry_first = 3600s;
  follow(o);
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
  EXPECT_EQ(link_->status().endpoint, other.address());
  silent.close();
  first.close();
  other.close();
}

TEST_F(LinkFaults, AnswersToARegistration) {
  std::vector<std::pair<std::string, std::string>> cases{
      {StandInMaster::with(200, "{"), "no JSON object"},
      {StandInMaster::with(200, std::string(overlay::kMaxAnswerText + 5, ' ')), "octets, more than"},
      {StandInMaster::with(200, answer("b")), "of another allocator"},
      {StandInMaster::with(409, "{}"), "409 without a reason"},
      {StandInMaster::with(409, "conflict"), "409 without a reason"},
      {StandInMaster::with(400, "{\"error\":\"node is no address\"}"), "node is no address"},
      {StandInMaster::with(403, "{\"error\":\"none is set here\"}"), "it answered 403"},
      {StandInMaster::with(404, "{}"), "it answered 404"},
      {StandInMaster::with(413, "{}"), "it answered 413"},
      {StandInMaster::with(500, "{}"), "it answered 500"},
      {StandInMaster::with(503, "{}"), "it answered 503"},
      {StandInMaster::with(204, ""), "it answered 204"},
  };
  for (auto& [text, error] : cases) {
    copy_ = {};
    posts_ = 0;
    std::string held = text;
    StandInMaster master(io_, script([] { return ""; }, [&] { return held; }));
    follow(options({master.address()}));
    say("10.0.0.1");
    ASSERT_TRUE(eventually([&] { return posts_ > 2; })) << text.substr(0, 200);
    EXPECT_THAT(link_->status().last_error, HasSubstr(error));
    EXPECT_FALSE(link_->status().registered);
    EXPECT_TRUE(link_->status().connected) << "the master is not left for it";
    EXPECT_FALSE(copy_.own);
    held = StandInMaster::with(200, answer());
    ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
    EXPECT_EQ(link_->status().last_error, "");
    end();
    master.close();
    pass(5ms);
  }
}

TEST_F(LinkFaults, WhatIsSentIsWhatTheMasterReads) {
  std::vector<std::string> asked;
  auto master_says = script([] { return ""; });
  StandInMaster master(io_, [&](const std::string& q) {
    asked.push_back(q);
    return master_says(q);
  });
  auto o = options({master.address()});
  o.held = OverlayHeld{{"r 0/\"", 7, "a"}, feed().plan};
  o.times.wait = 25s;
  follow(o);
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
  // The first question of a master waits for nothing: it says whether the master is there.
  EXPECT_THAT(asked.at(0), HasSubstr("GET /v1/overlay/allocations?run=r%200%2F%22&version=7&wait=0 HTTP/1.1\r\n"));
  auto post = *std::find_if(asked.begin(), asked.end(), [](auto& q) { return q.starts_with("POST"); });
  EXPECT_THAT(post, HasSubstr("POST /v1/overlay/nodes HTTP/1.1\r\n"));
  EXPECT_THAT(post, HasSubstr("Authorization: Bearer secret\r\n"));
  EXPECT_THAT(post, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_TRUE(overlay::parse_registration(post.substr(post.find("\r\n\r\n") + 4)));
  end();
  master.close();
}

}  // namespace
}  // namespace ls
