#pragma once
/// The resolver's zones as the DNS cases describe them, through the product's Routes and answer engine.
#include "../support/dns_ldns.h"
#include "../support/dns_world.h"
#include "suite.h"

namespace ls::conformance {

inline constexpr const char* kClusterId = "c3zs6aubqe";  // the six bytes "foobar"

/// The JSON object that stands in the text about the cases.
Json zones_in(const std::string& about);

/// `spartan`, `localhost`, the bare parents, the zones of `zones`, and all further names of those.
class DnsCluster {
 public:
  explicit DnsCluster(const Json& zones);
  test::DnsWorld world;

 private:
  void name_everywhere(const std::string& zone);
};

}  // namespace ls::conformance
