#include "api/router_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "api/params.h"
#include "api/routes.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

constexpr int kMaxAliases = 8;  // CNAMEs followed for one question

/// RFC 3339 with milliseconds, UTC, as the reference writes it.
std::string time_text(int64_t unix_ms) {
  time_t s = unix_ms / 1000;
  std::tm tm{};
  gmtime_r(&s, &tm);
  char buf[32];
  strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%S", &tm);
  return fmt::format("{}.{:03}Z", buf, unix_ms % 1000);
}

/// Names as the reference's clients know them: no dot at the end.
std::string name_text(const DnsName& name) {
  auto text = name.text();
  if (text.size() > 1) text.pop_back();
  return text;
}

std::optional<IpAddress> address_of(std::string_view rdata) {
  auto* at = reinterpret_cast<const uint8_t*>(rdata.data());
  if (rdata.size() == 4) return IpAddress::from_v4(uint32_t(at[0]) << 24 | uint32_t(at[1]) << 16 | uint32_t(at[2]) << 8 | at[3]);
  if (rdata.size() == 16) return IpAddress::from_bytes(at);
  return std::nullopt;
}

uint16_t port_of(std::string_view srv) { return uint16_t(uint8_t(srv[4]) << 8 | uint8_t(srv[5])); }

/// The zones of this node: the resolver's where there is one, for it holds the Mesos domain too.
std::shared_ptr<const dns::Routes> routes_of(Provider& provider) {
  auto* source = provider.dns();
  if (!source) return nullptr;
  if (auto resolver = source->routes(dns::ServiceKind::kResolver)) return resolver;
  return source->routes(dns::ServiceKind::kAuthority);
}

/// Data of one type at `name`, aliases followed inside our zones. Inside a Guard.
void each_rdata(const dns::Routes& routes, DnsName name, RrType type,
                const std::function<void(const dns::ZoneView&, std::string_view rdata)>& visit) {
  for (int i = 0; i < kMaxAliases; i++) {
    auto folded = name.folded();
    auto* zone = routes.find(folded.wire()).zone;
    if (!zone) return;
    auto* held = zone->table->find(folded.relative_to(zone->apex));
    if (!held) return;
    if (auto set = held->rrset(type)) {
      for (size_t k = 0; k < set->count(); k++) visit(*zone, set->rdata(k));
      return;
    }
    auto alias = held->rrset(RrType::kCname);
    if (!alias || alias->count() == 0) return;
    auto target = target_of(RrType::kCname, alias->rdata(0), zone->apex);
    if (!target) return;
    name = *target;
  }
}

/// GET /v1/hosts/{name}: IPv4 addresses.
Reply hosts(Provider& provider, const DnsName& name) {
  Json out = Json::array();
  auto routes = routes_of(provider);
  if (!routes) return json_reply(out);
  Epoch::Reader reader(provider.dns()->epoch());
  Epoch::Guard guard(reader);
  each_rdata(*routes, name, RrType::kA, [&](auto&, std::string_view rdata) {
    if (auto a = address_of(rdata)) out.push_back({{"host", name_text(name)}, {"ip", a->text()}});
  });
  return json_reply(out);
}

/// GET /v1/services/{name}: SRV targets, each with its first IPv4 address where we know one. All values are texts, as Mesos-DNS
/// had them.
Reply services(Provider& provider, const DnsName& name) {
  Json out = Json::array();
  auto routes = routes_of(provider);
  if (!routes) return json_reply(out);
  Epoch::Reader reader(provider.dns()->epoch());
  Epoch::Guard guard(reader);
  each_rdata(*routes, name, RrType::kSrv, [&](const dns::ZoneView& zone, std::string_view rdata) {
    auto target = target_of(RrType::kSrv, rdata, zone.apex);
    if (!target) return;
    Json one{{"service", name_text(name)}, {"host", name_text(*target)}, {"port", std::to_string(port_of(rdata))}};
    each_rdata(*routes, *target, RrType::kA, [&](auto&, std::string_view a) {
      if (auto address = address_of(a); address && !one.contains("ip")) one["ip"] = address->text();
    });
    out.push_back(std::move(one));
  });
  return json_reply(out);
}

/// A, AAAA and SRV records of one zone as members of the list; `first` is cleared with the first one.
std::string zone_text(const dns::ZoneView& zone, bool& first) {
  std::string out;
  auto add = [&](const DnsName& owner, RrType type, std::string host) {
    out += first ? "\n" : ",\n";
    first = false;
    out += text_of({{"name", name_text(owner)}, {"host", std::move(host)}, {"rtype", to_text(type)}});
  };
  zone.table->for_each([&](const dns::ZoneName& name) {
    auto owner = DnsName::join(name.owner(), zone.apex);
    if (!owner) return;
    for (auto type : {RrType::kA, RrType::kAaaa, RrType::kSrv}) {
      auto set = name.rrset(type);
      if (!set) continue;
      for (size_t i = 0; i < set->count(); i++) {
        auto rdata = set->rdata(i);
        if (type == RrType::kSrv) {
          auto target = target_of(type, rdata, zone.apex);
          if (target) add(*owner, type, fmt::format("{}:{}", name_text(*target), port_of(rdata)));
        } else if (auto a = address_of(rdata)) {
          add(*owner, type, a->text());
        }
      }
    }
  });
  return out;
}

/// GET /v1/records: made and sent zone by zone.
Reply records(Provider& provider) {
  auto routes = routes_of(provider);
  if (!routes) return {.body = "[]\n"};
  struct Progress {
    std::shared_ptr<const dns::Routes> routes;
    size_t next = 0;
    bool first = true, begun = false, ended = false;
  };
  auto p = std::make_shared<Progress>();
  p->routes = std::move(routes);
  Reply r;
  r.parts = [p, &epoch = provider.dns()->epoch()]() -> std::optional<std::string> {
    if (p->ended) return std::nullopt;
    std::string out;
    if (!p->begun) out = "[";
    p->begun = true;
    auto& views = p->routes->views();
    while (p->next < views.size() && out.size() < 65536) {
      auto& view = views[p->next++];
      if (view.is_alias || !view.table) continue;
      Epoch::Reader reader(epoch);
      Epoch::Guard guard(reader);
      out += zone_text(view, p->first);
    }
    if (p->next == views.size()) {
      out += "\n]\n";
      p->ended = true;
    }
    return out;
  };
  return r;
}

Reply nodes(Provider& provider) {
  Json out = Json::array();
  for (auto& n : provider.nodes()) {
    Json ips = Json::array();
    for (auto& ip : n.public_ips) ips.push_back(ip.text());
    out.push_back({{"private_ip", n.private_ip.text()}, {"public_ips", ips}, {"hostname", n.hostname}, {"updated", time_text(n.updated_unix_ms)}});
  }
  return json_reply(out);
}

Reply config(Provider& provider) {
  Json out = Json::object();
  for (auto& [name, value] : provider.settings()) out[name] = value;
  return json_reply(out);
}

/// Families whose name begins so; an empty list of prefixes: all.
struct MetricsRegistry {
  std::string_view name;
  std::vector<std::string_view> prefixes;
};

/// The reference's registries; the ones of parts that loadstar has no numbers for yet are empty texts.
Reply metrics_of(Metrics& metrics, std::string_view registry, const std::vector<LoopView>& own_loops) {
  static const std::vector<MetricsRegistry> kRegistries{
      {"default", {}},
      {"dns", {"loadstar_dns_"}},
      {"l4lb", {"loadstar_vips", "loadstar_backends", "loadstar_flows", "loadstar_drops", "loadstar_packets", "loadstar_bytes", "loadstar_reconcile", "loadstar_map"}},
      {"overlay", {"loadstar_overlay_"}},
      {"mesos_listener", {"loadstar_source", "loadstar_convergence"}},
      {"lashup", {"loadstar_registration"}}};
  auto found = std::find_if(kRegistries.begin(), kRegistries.end(), [&](auto& r) { return r.name == registry; });
  if (found == kRegistries.end()) return {.status = 404, .type = "text/plain", .body = "Unknown Registry"};
  Reply r{.type = "text/plain; version=0.0.4", .body = metrics.text(own_loops)};
  if (found->prefixes.empty()) return r;
  std::string kept;
  for (std::string_view rest = r.body; !rest.empty();) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    auto name = line;
    for (std::string_view comment : {"# HELP ", "# TYPE "}) {
      if (name.starts_with(comment)) name.remove_prefix(comment.size());
    }
    if (std::any_of(found->prefixes.begin(), found->prefixes.end(), [&](auto p) { return name.starts_with(p); })) (kept += line) += '\n';
  }
  r.body = std::move(kept);
  return r;
}

Reply cluster_key(Provider& provider) {
  auto key = provider.cluster_key();
  if (key.empty()) return {.status = 404, .type = "text/plain", .body = "the cluster's key is not known"};
  return json_reply({{"zbase32_public_key", key}});
}

/// The name in the last part of the path; the reply when it is none.
tl::expected<DnsName, Reply> name_in(std::string_view part) {
  auto text = percent_decoded(part);
  if (!text || text->empty() || text->size() > 1024) return tl::make_unexpected(error_reply(400, "the path ends in a DNS name", "name"));
  auto name = DnsName::parse(*text);
  if (!name) return tl::make_unexpected(error_reply(400, name.error().text(), "name"));
  return std::move(*name);
}

}  // namespace

std::optional<Reply> record_route(Provider& provider, Metrics& metrics, const Request& q, const std::vector<LoopView>& own_loops) {
  constexpr std::string_view kHosts = "/v1/hosts/", kServices = "/v1/services/", kMetrics = "/v1/metrics/";
  constexpr std::array<std::string_view, 6> kPaths{"/v1/nodes", "/v1/version", "/v1/config", "/v1/records", "/v1/metrics", "/lashup/key"};
  auto path = path_of(q);
  bool ours = std::find(kPaths.begin(), kPaths.end(), path) != kPaths.end() || path.starts_with(kHosts) || path.starts_with(kServices) ||
              path.starts_with(kMetrics);
  if (!ours) return std::nullopt;
  if (!reads(q)) return method_reply("GET, HEAD");
  Params params(query_of(q));
  // The reference waited for a refresh; what is shown here is never older than the state.
  constexpr std::array<std::string_view, 1> kForce{"force"};
  if (path == "/v1/nodes") params.only(kForce);
  else params.only({});
  if (auto bad = params.refused()) return bad;

  if (path == "/v1/nodes") return nodes(provider);
  if (path == "/v1/version") return json_reply({{"Service", "loadstar"}, {"Version", LS_VERSION}});
  if (path == "/v1/config") return config(provider);
  if (path == "/v1/records") return records(provider);
  if (path == "/lashup/key") return cluster_key(provider);
  if (path == "/v1/metrics") return metrics_of(metrics, "default", own_loops);
  if (path.starts_with(kMetrics)) return metrics_of(metrics, path.substr(kMetrics.size()), own_loops);
  bool is_host = path.starts_with(kHosts);
  auto name = name_in(path.substr(is_host ? kHosts.size() : kServices.size()));
  if (!name) return std::move(name.error());
  return is_host ? hosts(provider, *name) : services(provider, *name);
}

std::vector<std::string_view> record_route_list() {
  return {"/v1/nodes", "/v1/version", "/v1/config", "/v1/hosts/{name}", "/v1/services/{name}", "/v1/records", "/v1/metrics/{registry}", "/lashup/key"};
}

}  // namespace ls::api
