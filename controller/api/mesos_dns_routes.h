#pragma once
/// The HTTP API of Mesos-DNS: a request in, a reply out, without sockets (spec/mesos-dns.md section 12; verdicts B4, B17-B19).
///
/// Thread: one, that of the server. Time is an argument. Cost: a name is one look-up in the zone; /v1/enumerate and /v1/axfr are
/// O(cluster). Names that DNS cannot serve (over-long labels, raw discovery names) come from an index made of the enumeration. It is
/// made anew after a change of the zone, but so rarely that it takes at most a fiftieth of the time: such a name may be seen late.
/// Differences to the reference: the secret of /v1/config is masked; /v1/hosts/.* is an unknown name and no error.
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/mesos_dns_provider.h"
#include "util/clock.h"

namespace ls::api {

struct MesosDnsRequest {
  std::string method;        ///< "GET"
  std::string target;        ///< path and query as sent
  std::string accept;        ///< empty: none was sent
  std::string content_type;  ///< of the body
  bool has_body = false;
};

struct MesosDnsReply {
  unsigned status = 200;
  std::string type = "application/json";
  std::string body;
  std::string location;  ///< of a 301
};

class MesosDnsRoutes {
 public:
  /// `random`: 64 fresh bits a call; orders the values.
  MesosDnsRoutes(MesosDnsProvider& provider, const Clock& clock, std::function<uint64_t()> random);
  ~MesosDnsRoutes();
  MesosDnsReply handle(const MesosDnsRequest& request);

 private:
  struct Srv {
    std::string target;  ///< absolute text
    uint16_t port = 0;
  };
  /// What an absolute name (lower case, trailing dot) has: in the zone and in the index of what DNS cannot serve.
  struct Values {
    std::vector<std::string> a, aaaa;
    std::vector<Srv> srv;
  };
  struct Unserved;

  MesosDnsReply version();
  MesosDnsReply config();
  MesosDnsReply host(std::string_view name);
  MesosDnsReply service(std::string_view name);
  MesosDnsReply enumerate();
  MesosDnsReply axfr();

  Values values(const std::string& name);
  const Unserved& unserved();
  template <class T>
  void shuffle(std::vector<T>& list);

  MesosDnsProvider& provider_;
  const Clock& clock_;
  const std::function<uint64_t()> random_;
  Epoch::Reader reader_;
  std::unique_ptr<Unserved> unserved_;
};

}  // namespace ls::api
