/// Requests to the HTTP API of Mesos-DNS: any path, query and headers give a status of the interface and a body of the type that
/// the reply names, and never the secret.
#include <nlohmann/json.hpp>
#include <string>

#include "api/mesos_dns_routes.h"
#include "fuzz_input.h"
#include "mesos_dns_fake.h"

using namespace ls;
using namespace ls::api;

namespace {

using ls::fuzz::require;

bool printable(std::string_view text) {
  for (unsigned char c : text) {
    if (c < 0x20 || c == 0x7f) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FakeMesosDns provider;
  static FakeClock clock;
  static uint64_t state = 1;
  static MesosDnsRoutes routes(provider, clock, [] { return state = state * 6364136223846793005u + 1442695040888963407u; });
  static const char* const kPrefixes[] = {"", "/v1/hosts/", "/v1/services/", "/v1/hosts/web", "/v1/", "http://", "/v1/services/_web._tcp.", "/"};
  if (size < 1) return 0;
  const uint8_t kind = data[0];
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  auto piece = [&] {
    auto end = rest.find('\n');
    std::string out(rest.substr(0, end));
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
    return out;
  };
  MesosDnsRequest q;
  q.method = kind & 8 ? "GET" : kind & 16 ? "POST" : "GET";
  q.target = kPrefixes[kind % 8] + piece();
  if (kind & 32) q.accept = piece();
  if (kind & 64) {
    q.has_body = true;
    q.content_type = piece();
  }
  clock.advance(Millis{kind});
  auto r = routes.handle(q);
  switch (r.status) {
    case 200:
      require(r.type == "application/json" && q.method == "GET", "an answer of another type");
      require(!nlohmann::json::parse(r.body, nullptr, false).is_discarded(), "the body is no JSON");
      break;
    case 301:
      // What the server puts into a header must not end the line. Line feeds of the target itself never get here: HTTP ends it there.
      require(!r.location.empty() && (printable(r.location) || !printable(q.target)), "a location that breaks its header");
      break;
    case 400: case 404: case 405: case 406: case 415: case 501: break;
    default: require(false, "a status that the interface does not have");
  }
  return 0;
}
