/// Requests about registrations, as anybody on the network may send them: the path, the query, the headers and the body. Whatever
/// comes is answered with a status that fits, in JSON; what was taken can be read back, is listed, survives a restart over the
/// same store, and reaches a follower through the feed.
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "api/router_registrations.h"
#include "bare_provider.h"
#include "fuzz_input.h"
#include "util/log.h"

using namespace ls;
using namespace ls::api;
using Json = nlohmann::json;

namespace {

using ls::fuzz::Input;
using ls::fuzz::require;

/// Only registrations; the routes under test ask for nothing else.
class OnlyRegistrations : public ls::fuzz::BareProvider {
 public:
  explicit OnlyRegistrations(dns::Registry& registry) : registry_(registry) {}
  dns::Registry* registry() override { return &registry_; }

 private:
  dns::Registry& registry_;
};

Reply ask(Provider& provider, FeedTexts& feeds, const Request& q) {
  auto r = registration_route(provider, feeds, q);
  require(r.has_value(), "nobody's path");
  require(r->status >= 200 && r->status < 600 && r->status != 500, "a status that does not fit");
  const std::string& body = r->shared ? *r->shared : r->body;
  if (r->status == 204 || r->status == 304) {
    require(body.empty(), "a body where none may be");
  } else {
    auto j = Json::parse(body, nullptr, false);
    require(!j.is_discarded(), "the body is no JSON");
    if (r->status >= 400) require(j.contains("error"), "an error that says nothing");
  }
  return *r;
}

void check(dns::Registry& registry, Store& store, dns::RegistryTime now) {
  auto all = registry.list();
  auto feed = dns::parse_feed(dns::feed_text(registry.feed({})));
  require(feed.has_value(), "a feed that no follower can read");
  require(feed->registrations == all, "the feed has something else");
  for (auto& r : all) {
    auto copy = r;
    require(dns::normalize(copy).has_value(), "what was taken is refused");
    require(copy.zone == r.zone && copy.name == r.name && copy.data == r.data && copy.ttl == r.ttl, "not in the one form that is kept");
    require(dns::records_of(r).has_value(), "what was taken has no records");
  }
  dns::Registry again(store, {}, nullptr);
  require(again.load(now).has_value() && again.left_out() == 0, "what was stored cannot be read");
  auto loaded = again.list();
  require(loaded.size() == all.size(), "another number after a restart");
  for (size_t i = 0; i < all.size(); i++) require(loaded[i].key() == all[i].key() && loaded[i].data == all[i].data, "something else after a restart");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  log::set_level(log::Level::kError);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const char* const kMethods[] = {"PUT", "PUT", "PUT", "GET", "DELETE", "HEAD", "POST", ""};
  static const char* const kTypes[] = {"A", "AAAA", "CNAME", "SRV", "TXT", "MX", "PTR", "CAA"};
  auto store = make_memory_store();
  dns::RegistryOptions options;
  options.max_records = 50;
  dns::Registry registry(*store, options, nullptr);
  const auto now = dns::RegistryTime::now();
  if (!registry.load(now)) std::abort();
  OnlyRegistrations provider(registry);
  FeedTexts feeds;
  Input in(data, size);
  for (int i = 0; i < 16 && !in.empty(); i++) {
    const uint8_t kind = in.octet(), headers = in.octet();
    Request q;
    q.method = kMethods[kind % 8];
    switch (kind >> 3 & 7) {
      case 0: q.target = "/v1/zones/" + in.line(); break;
      case 1: q.target = "/v1/registrations?" + in.line(); break;
      case 2: q.target = "/v1/zones/" + in.line() + ".thisdcos.directory/records/" + in.line(); break;
      default: q.target = "/v1/zones/z.thisdcos.directory/records/" + in.line() + "/" + kTypes[headers >> 5];
    }
    q.content_type = headers & 1 ? in.line() : "application/json";
    if (headers & 2) q.if_match = in.line();
    if (headers & 4) q.if_none_match = headers & 8 ? "*" : in.line();
    // Most bodies that are no object end early; data alone gets deeper.
    if (q.method == "PUT") q.body = headers & 16 ? "{\"data\":[" + in.line() + "]}" : in.line();
    auto reply = ask(provider, feeds, q);
    if (q.method != "PUT" || reply.status >= 300) continue;
    auto put = dns::registration_of(Json::parse(reply.body));
    require(put.has_value(), "a reply that cannot be read");
    auto there = registry.get(put->zone, put->name, put->type);
    require(there && there->data == put->data, "taken, but not there");
    q.method = "GET";
    q.if_match.clear();
    q.if_none_match.clear();
    require(ask(provider, feeds, q).body == reply.body, "GET gives something else than PUT");
  }
  check(registry, *store, now);
  return 0;
}
