// spec/mesos-dns-cases over the HTTP API's routes: the state of each case through decoder, state, zone and table to the replies that
// the reference gave (http.txt, enumerate.json, axfr.json).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "api/mesos_dns_routes.h"
#include "derive/mesos_masters.h"
#include "derive/mesos_zone.h"
#include "dns/zone_table.h"
#include "sources/mesos_state.h"
#include "state/cluster_state.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::string content(const fs::path& file) {
  std::ifstream f(file);
  return {std::istreambuf_iterator<char>(f), {}};
}

std::string folded(std::string text) {
  for (auto& c : text) c = char(tolower(c));
  return text;
}

class Case : public MesosDnsProvider {
 public:
  explicit Case(const fs::path& folder) : table_(std::make_shared<dns::ZoneTable>(epoch_)) {
    auto file = Json::parse(content(folder / "config.json"));
    MesosZoneOptions o;
    std::vector<MasterAddress> masters;
    std::vector<IpAddress> own;
    for (auto& [name, v] : file.items()) {
      auto key = folded(name);
      if (key == "domain") config_.domain = folded(v);
      if (key == "enforcerfc952") o.rfc952 = config_.enforce_rfc952 = v;
      if (key == "srvrecorddefaultweight") {
        config_.srv_weight = v;
        o.srv_weight = v;
      }
      if (key == "ttl") config_.ttl = v;
      if (key == "port") config_.port = v;
      if (key == "httpport") config_.http_port = v;
      if (key == "externalon") config_.external_on = v;
      if (key == "recurseon") config_.recurse_on = v;
      if (key == "httplistener") config_.http_listener = v;
      if (key == "soaminttl") config_.soa_minttl = v;
      if (key == "soarefresh") config_.soa_refresh = v;
      if (key == "soaretry") config_.soa_retry = v;
      if (key == "soaexpire") config_.soa_expire = v;
      if (key == "soamname") config_.soa_mname = v.get<std::string>() + ".";
      if (key == "soarname") {
        config_.soa_rname = v;
        std::replace(config_.soa_rname.begin(), config_.soa_rname.end(), '@', '.');
      }
      if (key == "listener") {
        config_.listener = v;
        own.push_back(*IpAddress::parse(v.get<std::string>()));
      }
      if (key == "masters") {
        config_.masters = v.get<std::vector<std::string>>();
        for (auto& m : *config_.masters) masters.push_back(parse_master(m).value());
      }
      if (key == "ipsources") {
        static const std::map<std::string, IpSource> kSources{{"host", IpSource::kHost}, {"docker", IpSource::kDocker},
                                                              {"mesos", IpSource::kMesos}, {"netinfo", IpSource::kNetinfo}};
        config_.ip_sources = v.get<std::vector<std::string>>();
        o.sources.clear();
        for (auto& s : config_.ip_sources) o.sources.push_back(kSources.at(s));
      }
    }
    auto server = config_.soa_mname.substr(0, config_.soa_mname.size() - 1);
    if (server.ends_with("." + config_.domain)) o.server_name = server.substr(0, server.size() - config_.domain.size() - 1);
    o.lookup = [](std::string_view host) -> std::vector<IpAddress> {
      return host == "localhost" ? std::vector{*IpAddress::parse("127.0.0.1")} : std::vector<IpAddress>{};
    };
    zone_ = std::make_unique<MesosZone>(o);
    auto text = content(folder / "state.json");
    auto decoded = decode_mesos_state(text);
    EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().text());
    if (!decoded) return;
    auto leader = parse_master(std::get<Subscribed>(decoded->event).leader);
    ClusterState state;
    table_->apply(zone_->apply(state.apply(std::move(decoded->event), Instant{} + std::chrono::hours(1))));
    table_->apply(zone_->set_masters(leader, masters));
    table_->apply(zone_->set_own_addresses(own));
  }

  MesosDnsConfig config() override { return config_; }
  std::shared_ptr<const dns::Routes> routes() override {
    dns::ZoneView view;
    view.apex = DnsName::parse(config_.domain).value();
    view.table = table_;
    std::vector<dns::ZoneView> views{view};
    return std::make_shared<const dns::Routes>(std::move(views), std::vector<dns::ForwardGroup>{});
  }
  Epoch& epoch() override { return epoch_; }
  std::vector<MesosZone::FrameworkRecords> enumerate(bool raw) override { return zone_->enumerate(config_.domain, raw); }
  bool raw_names() override { return true; }

  MesosDnsConfig config_;

 private:
  Epoch epoch_;
  std::shared_ptr<dns::ZoneTable> table_;
  std::unique_ptr<MesosZone> zone_;
};

/// Lists of a reply in one order, as http.txt has them.
Json sorted(Json j) {
  if (j.is_array()) std::sort(j.begin(), j.end());
  return j;
}

class MesosDnsCases : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = fs::path(LS_SHARED_DIR) / "spec/mesos-dns-cases" / GetParam();
    if (!fs::exists(folder_ / "http.txt")) GTEST_SKIP() << folder_ << " is missing";
    case_ = std::make_unique<Case>(folder_);
    routes_ = std::make_unique<MesosDnsRoutes>(*case_, clock_, [this] { return random_ = random_ * 6364136223846793005ull + 1; });
  }
  void TearDown() override { routes_.reset(); }

  fs::path folder_;
  FakeClock clock_;
  uint64_t random_ = 7;
  std::unique_ptr<Case> case_;
  std::unique_ptr<MesosDnsRoutes> routes_;
};

TEST_P(MesosDnsCases, Http) {
  std::istringstream in(content(folder_ / "http.txt"));
  int compared = 0, skipped = 0;
  for (std::string line, answer; std::getline(in, line) && std::getline(in, answer);) {
    std::istringstream words(line);
    MesosDnsRequest request;
    words >> request.method >> request.target;
    if (auto at = line.find("{'Accept': '"); at != line.npos) request.accept = line.substr(at + 12, line.find("'}") - at - 12);
    auto got = routes_->handle(request);
    if (answer.starts_with("  (skipped")) {
      EXPECT_EQ(got.status, 200u) << line;
      skipped++;
      continue;
    }
    unsigned status = unsigned(std::stoul(answer.substr(2, 3)));
    auto rest = answer.substr(6);
    EXPECT_EQ(got.status, status) << line;
    EXPECT_TRUE(rest.starts_with(got.type + " ")) << line << ": " << got.type << " / " << rest;
    auto body = rest.substr(got.type.size() + 1);
    if (got.type != "application/json") {
      EXPECT_EQ(got.body, body) << line;
    } else {
      auto expected = Json::parse(body), ours = Json::parse(got.body);
      if (request.target.starts_with("/v1/version")) {
        EXPECT_TRUE(ours["Version"].is_string());
        ours["Version"] = expected["Version"];  // names the program that answers
      }
      if (request.target == "/v1/config") {
        ours["File"] = "FILE";
      }
      EXPECT_EQ(sorted(ours), sorted(expected)) << line;
    }
    compared++;
  }
  EXPECT_GT(compared, 50);
  RecordProperty("compared", compared);
  std::cout << GetParam() << ": " << compared << " replies equal, " << skipped << " random by nature\n";
}

TEST_P(MesosDnsCases, Enumerate) {
  auto ours = nlohmann::ordered_json::parse(routes_->handle({"GET", "/v1/enumerate", {}, {}, false}).body);
  auto expected = nlohmann::ordered_json::parse(content(folder_ / "enumerate.json"));
  EXPECT_EQ(ours, expected) << nlohmann::json::diff(Json(ours), Json(expected)).dump(1);
}

TEST_P(MesosDnsCases, Axfr) {
  auto ours = Json::parse(routes_->handle({"GET", "/v1/axfr", {}, {}, false}).body);
  auto expected = Json::parse(content(folder_ / "axfr.json"));
  ours["Serial"] = 0;
  for (auto* j : {&ours, &expected}) {
    for (auto& [type, names] : (*j)["Records"].items()) {
      for (auto& list : names) std::sort(list.begin(), list.end());
    }
  }
  EXPECT_EQ(ours, expected) << Json::diff(ours, expected).dump(1);
}

INSTANTIATE_TEST_SUITE_P(Spec, MesosDnsCases,
                         testing::Values("01-upstream-fixture", "02-upstream-fixture-rfc952", "03-dcos-like", "04-ip-sources", "05-names"),
                         [](auto& i) { return "Case" + i.param.substr(0, 2); });

}  // namespace
}  // namespace ls::api
