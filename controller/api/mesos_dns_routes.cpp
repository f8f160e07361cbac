#include "api/mesos_dns_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "api/mesos_dns_json.h"
#include "api/params.h"

namespace ls::api {
namespace {

constexpr std::string_view kText = "text/plain; charset=utf-8";

MesosDnsReply plain(unsigned status, std::string_view text) {
  return {.status = status, .type = std::string(kText), .body = std::string(text), .location = {}};
}
MesosDnsReply not_found() { return plain(404, "404: Page Not Found"); }

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  return out;
}

/// Section 10.2: every ".*" goes, then lower case; always with a trailing dot. Empty: nothing was left.
std::string look_up_key(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); i++) {
    if (name.substr(i, 2) == ".*") i++;
    else out += name[i];
  }
  out = lower(out);
  if (!out.empty() && out.back() != '.') out += '.';
  return out;
}

/// Path without doubled slashes and dot segments; a final slash stays.
std::string clean_path(std::string_view path) {
  std::vector<std::string_view> parts;
  for (size_t from = 0; from <= path.size();) {
    auto end = std::min(path.find('/', from), path.size());
    auto part = path.substr(from, end - from);
    from = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (auto p : parts) out.append("/").append(p);
  return path.ends_with('/') || out.empty() ? out + "/" : out;
}

/// As Go's net/url writes a path (RFC 3986 3.3).
std::string encoded_path(std::string_view path) {
  constexpr std::string_view kPlain = "$&+,/:;=@-_.~";
  std::string out;
  for (unsigned char c : path) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kPlain.find(char(c)) != kPlain.npos;
    out += plain ? std::string(1, char(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

/// True when `list` ("a/b;q=1, c/d") names one of the two that are served.
bool takes_json(std::string_view list) {
  while (!list.empty()) {
    auto one = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), one.size() + 1));
    one = one.substr(0, one.find(';'));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (one == "*/*" || one == "application/json") return true;
  }
  return false;
}

/// The domain in wire form; nullopt: its name is no name.
std::optional<DnsName> apex_of(const std::string& domain) {
  auto apex = DnsName::parse(domain);
  if (!apex) return std::nullopt;
  return apex->folded();
}

const dns::ZoneView* zone_of(const dns::Routes* routes, const DnsName& apex) {
  if (!routes) return nullptr;
  for (auto& view : routes->views()) {
    if (view.apex.folded() == apex) return &view;
  }
  return nullptr;
}

/// The part of an absolute name before the domain; nullopt: it is not in the domain.
std::optional<std::string_view> below(std::string_view name, std::string_view domain) {
  if (!name.ends_with('.')) return std::nullopt;
  name.remove_suffix(1);
  if (name == domain) return "";
  if (name.size() <= domain.size() || !name.ends_with(domain) || name[name.size() - domain.size() - 1] != '.') return std::nullopt;
  return name.substr(0, name.size() - domain.size() - 1);
}

/// The labels with dots between them, as the listing shows names: without escapes.
std::string dotted(std::string_view relative, std::string_view domain) {
  std::string out;
  for (size_t i = 0; i < relative.size();) {
    auto length = static_cast<unsigned char>(relative[i]);
    out.append(relative.substr(i + 1, length)).append(".");
    i += 1 + length;
  }
  return out.append(domain).append(".");
}

std::string address_text(std::string_view rdata) {
  if (rdata.size() == 16) return IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(rdata.data())).text();
  if (rdata.size() != 4) return {};
  uint32_t v = 0;
  for (unsigned char c : rdata) v = v << 8 | c;
  return IpAddress::from_v4(v).text();
}

/// Whether DNS can serve a name of an enumeration: sound labels, only characters that a question can match.
bool servable(std::string_view name, std::string_view domain) {
  auto relative = below(name, domain);
  if (!relative || !relative_name(*relative)) return false;
  return std::ranges::all_of(*relative, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

template <class T>
void add_once(std::vector<T>& list, T value, auto&& same) {
  if (std::none_of(list.begin(), list.end(), [&](auto& v) { return same(v, value); })) list.push_back(std::move(value));
}

}  // namespace

/// What the enumeration has and DNS cannot serve, by absolute name in its own spelling.
struct MesosDnsRoutes::Unserved {
  bool made = false;
  const dns::ZoneTable* table = nullptr;
  uint64_t version = 0;
  Instant at{}, until{};  ///< made at; not made anew before `until`
  std::unordered_map<std::string, Values> names;
};

MesosDnsRoutes::MesosDnsRoutes(MesosDnsProvider& provider, const Clock& clock, std::function<uint64_t()> random)
    : provider_(provider), clock_(clock), random_(std::move(random)), reader_(provider.epoch()),
      unserved_(std::make_unique<Unserved>()) {}
MesosDnsRoutes::~MesosDnsRoutes() = default;

template <class T>
void MesosDnsRoutes::shuffle(std::vector<T>& list) {
  struct Bits {
    using result_type [[maybe_unused]] = uint64_t;
    static constexpr uint64_t min() { return 0; }
    static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }
    uint64_t operator()() { return random(); }
    const std::function<uint64_t()>& random;
  };
  if (list.size() > 1) std::shuffle(list.begin(), list.end(), Bits{random_});
}

const MesosDnsRoutes::Unserved& MesosDnsRoutes::unserved() {
  auto& u = *unserved_;
  auto domain = provider_.config().domain;
  auto routes = provider_.routes();
  auto apex = apex_of(domain);
  auto* view = apex ? zone_of(routes.get(), *apex) : nullptr;
  auto* table = view ? view->table.get() : nullptr;
  auto version = table ? table->version() : 0;
  auto began = clock_.now();
  if (u.made && u.table == table && (u.version == version || began < u.until)) return u;
  u.names.clear();
  for (auto& framework : provider_.enumerate(provider_.raw_names())) {
    for (auto& task : framework.tasks) {
      for (auto& r : task.records) {
        auto colon = r.type == "SRV" ? r.host.rfind(':') : r.host.npos;
        bool good = servable(r.name, domain);
        if (r.type != "SRV") {
          if (good) continue;
          auto& v = u.names[r.name];
          add_once(r.type == "A" ? v.a : v.aaaa, r.host, std::equal_to<>());
        } else if (colon != r.host.npos) {
          auto target = r.host.substr(0, colon);
          if (good && DnsName::parse(target)) continue;
          Srv srv{std::move(target), uint16_t(strtoul(r.host.c_str() + colon + 1, nullptr, 10))};
          add_once(u.names[r.name].srv, std::move(srv), [](auto& x, auto& y) { return x.target == y.target && x.port == y.port; });
        }
      }
    }
  }
  auto took = clock_.now() - began;
  u.made = true;
  u.table = table;
  u.version = version;
  u.at = began;
  u.until = clock_.now() + 50 * took;
  return u;
}

MesosDnsRoutes::Values MesosDnsRoutes::values(const std::string& name) {
  Values out;
  auto domain = provider_.config().domain;
  auto routes = provider_.routes();
  auto apex = apex_of(domain);
  auto* view = apex ? zone_of(routes.get(), *apex) : nullptr;
  auto inside = below(name, domain);
  if (!view || !inside) return out;
  if (auto relative = relative_name(*inside)) {
    Epoch::Guard guard(reader_);
    if (auto* found = view->table->find(*relative)) {
      if (auto set = found->rrset(RrType::kA)) {
        for (size_t i = 0; i < set->count(); i++) out.a.push_back(address_text(set->rdata(i)));
      }
      if (auto set = found->rrset(RrType::kAaaa)) {
        for (size_t i = 0; i < set->count(); i++) out.aaaa.push_back(address_text(set->rdata(i)));
      }
      if (auto set = found->rrset(RrType::kSrv)) {
        for (size_t i = 0; i < set->count(); i++) {
          auto rdata = set->rdata(i);
          auto target = target_of(RrType::kSrv, rdata, *apex);
          if (!target || rdata.size() < 6) continue;
          auto byte = [&](size_t at) { return static_cast<unsigned char>(rdata[at]); };
          out.srv.push_back({target->text(), uint16_t(byte(4) << 8 | byte(5))});
        }
      }
    }
  }
  auto& more = unserved();
  if (auto found = more.names.find(name); found != more.names.end()) {
    for (auto& a : found->second.a) add_once(out.a, a, std::equal_to<>());
    for (auto& a : found->second.aaaa) add_once(out.aaaa, a, std::equal_to<>());
    for (auto& s : found->second.srv) add_once(out.srv, s, [](auto& x, auto& y) { return x.target == y.target && x.port == y.port; });
  }
  shuffle(out.a);
  shuffle(out.aaaa);
  shuffle(out.srv);
  return out;
}

MesosDnsReply MesosDnsRoutes::version() {
  MesosDnsJson j;
  j.open('{').key("Service").text("Mesos-DNS").key("Version").text(LS_VERSION);
  j.key("URL").text("https://github.com/mesosphere/mesos-dns").close('}');
  return {.body = j.take(), .location = {}};
}

MesosDnsReply MesosDnsRoutes::config() {
  auto c = provider_.config();
  MesosDnsJson j;
  auto list = [&](const std::vector<std::string>& values) {
    j.open('[');
    for (auto& v : values) j.text(v);
    j.close(']');
  };
  j.open('{');
  j.key("RefreshSeconds").number(c.refresh_seconds).key("Port").number(c.port).key("Timeout").number(c.timeout);
  j.key("StateTimeoutSeconds").number(c.state_timeout_seconds).key("ZkDetectionTimeout").number(c.zk_detection_timeout);
  j.key("HttpPort").number(c.http_port).key("TTL").number(c.ttl).key("SRVRecordDefaultWeight").number(c.srv_weight);
  j.key("SOASerial").number(c.soa_serial).key("SOARefresh").number(c.soa_refresh).key("SOARetry").number(c.soa_retry);
  j.key("SOAExpire").number(c.soa_expire).key("SOAMinttl").number(c.soa_minttl);
  j.key("SOAMname").text(c.soa_mname).key("SOARname").text(c.soa_rname).key("Masters");
  if (c.masters) list(*c.masters);
  else j.null();
  j.key("ZoneResolvers").open('{');
  for (auto& [zone, servers] : c.zone_resolvers) {
    j.key(zone);
    list(servers);
  }
  j.close('}').key("Resolvers");
  list(c.resolvers);
  j.key("IPSources");
  list(c.ip_sources);
  j.key("Zk").text(c.zk).key("Domain").text(c.domain).key("File").text(c.file).key("Listener").text(c.listener);
  j.key("HTTPListener").text(c.http_listener).key("RecurseOn").boolean(c.recurse_on).key("DnsOn").boolean(c.dns_on);
  j.key("HttpOn").boolean(c.http_on).key("ExternalOn").boolean(c.external_on).key("EnforceRFC952").boolean(c.enforce_rfc952);
  j.key("SetTruncateBit").boolean(c.set_truncate_bit).key("EnumerationOn").boolean(c.enumeration_on);
  j.key("MesosHTTPSOn").boolean(c.mesos_https_on).key("CACertFile").text(c.ca_cert_file).key("CertFile").text(c.cert_file);
  j.key("KeyFile").text(c.key_file).key("MesosCredentials").open('{').key("Principal").text(c.principal);
  j.key("Secret").text(c.has_secret ? "******" : "").close('}').key("IAMConfigFile").text(c.iam_config_file);
  j.key("MesosAuthentication").text(c.mesos_authentication).close('}');
  return {.body = j.take(), .location = {}};
}

MesosDnsReply MesosDnsRoutes::host(std::string_view name) {
  auto key = look_up_key(name);
  auto found = values(key);
  MesosDnsJson j;
  j.open('[');
  auto element = [&](std::string_view host, std::string_view ip) { j.open('{').key("host").text(host).key("ip").text(ip).close('}'); };
  for (auto& a : found.a) element(key, a);
  for (auto& a : found.aaaa) element(key, a);
  if (found.a.empty() && found.aaaa.empty()) element("", "");
  j.close(']');
  return {.body = j.take(), .location = {}};
}

MesosDnsReply MesosDnsRoutes::service(std::string_view name) {
  MesosDnsJson j;
  j.open('[');
  bool any = false;
  auto element = [&](std::string_view service, std::string_view host, std::string_view ip, std::string_view port) {
    any = true;
    j.open('{').key("service").text(service).key("host").text(host).key("ip").text(ip).key("port").text(port).close('}');
  };
  for (auto& srv : values(look_up_key(name)).srv) {
    // Already in random order, so the first is a fair pick.
    auto target = values(lower(srv.target));
    auto port = std::to_string(srv.port);
    if (!target.a.empty()) element(name, srv.target, target.a[0], port);
    if (!target.aaaa.empty()) element(name, srv.target, target.aaaa[0], port);
  }
  if (!any) element("", "", "", "");
  j.close(']');
  return {.body = j.take(), .location = {}};
}

MesosDnsReply MesosDnsRoutes::enumerate() {
  auto frameworks = provider_.enumerate(provider_.raw_names());
  MesosDnsJson j;
  j.open('{').key("frameworks");
  if (frameworks.empty()) j.null();
  else j.open('[');
  for (auto& f : frameworks) {
    j.open('{').key("tasks").open('[');
    for (auto& t : f.tasks) {
      j.open('{').key("name").text(t.name).key("id").text(t.id).key("records");
      if (!t.added_any) {
        j.null();
      } else {
        j.open('[');
        for (auto& r : t.records) j.open('{').key("name").text(r.name).key("host").text(r.host).key("rtype").text(r.type).close('}');
        j.close(']');
      }
      j.close('}');
    }
    j.close(']').key("name").text(f.name).close('}');
  }
  if (!frameworks.empty()) j.close(']');
  j.close('}');
  return {.body = j.take(), .location = {}};
}

MesosDnsReply MesosDnsRoutes::axfr() {
  auto c = provider_.config();
  auto routes = provider_.routes();
  auto apex = apex_of(c.domain);
  auto* view = apex ? zone_of(routes.get(), *apex) : nullptr;
  std::map<std::string, Values> names;
  uint32_t serial = 0;
  if (view) {
    {
      Epoch::Guard guard(reader_);
      serial = view->table->serial();
      view->table->for_each([&](const dns::ZoneName& zone_name) {
        if (zone_name.empty_non_terminal()) return;
        auto& v = names[dotted(zone_name.owner(), c.domain)];
        zone_name.for_each([&](dns::RrSet set) {
          for (size_t i = 0; i < set.count(); i++) {
            auto rdata = set.rdata(i);
            if (set.type() == RrType::kA) v.a.push_back(address_text(rdata));
            else if (set.type() == RrType::kAaaa) v.aaaa.push_back(address_text(rdata));
            else if (set.type() == RrType::kSrv && rdata.size() > 6) {
              if (auto target = target_of(RrType::kSrv, rdata, *apex)) {
                v.srv.push_back({target->text(), uint16_t(static_cast<unsigned char>(rdata[4]) << 8 | static_cast<unsigned char>(rdata[5]))});
              }
            }
          }
        });
      });
    }
    for (auto& [name, more] : unserved().names) {
      auto& v = names[name];
      for (auto& a : more.a) add_once(v.a, a, std::equal_to<>());
      for (auto& a : more.aaaa) add_once(v.aaaa, a, std::equal_to<>());
      for (auto& s : more.srv) add_once(v.srv, s, [](auto& x, auto& y) { return x.target == y.target && x.port == y.port; });
    }
  }
  MesosDnsJson j;
  j.open('{').key("TTL").number(c.ttl).key("Serial").number(serial).key("RefreshSeconds").number(c.refresh_seconds);
  j.key("Mname").text(c.soa_mname).key("Rname").text(c.soa_rname).key("Domain").text(c.domain).key("Records").open('{');
  auto section = [&](const char* title, auto list_of, auto text_of) {
    j.key(title).open('{');
    for (auto& [name, v] : names) {
      auto& list = list_of(v);
      if (list.empty()) continue;
      shuffle(list);
      j.key(name).open('[');
      for (auto& value : list) j.text(text_of(value));
      j.close(']');
    }
    j.close('}');
  };
  auto same = [](const std::string& s) -> const std::string& { return s; };
  section("As", [](Values& v) -> auto& { return v.a; }, same);
  section("AAAAs", [](Values& v) -> auto& { return v.aaaa; }, same);
  section("SRVs", [](Values& v) -> auto& { return v.srv; }, [](const Srv& s) { return s.target + ":" + std::to_string(s.port); });
  j.close('}').close('}');
  return {.body = j.take(), .location = {}};
}

MesosDnsReply MesosDnsRoutes::handle(const MesosDnsRequest& request) {
  std::string_view target = request.target;
  if (target.starts_with("http://")) {  // the absolute form (RFC 9112 3.2.2)
    auto slash = target.find('/', 7);
    target = slash == target.npos ? "/" : target.substr(slash);
  }
  auto raw_path = target.substr(0, target.find('?'));
  auto query = target.substr(raw_path.size());
  auto path = percent_decoded(raw_path);
  if (!path || !path->starts_with('/')) return plain(400, "400 Bad Request");
  if (auto clean = clean_path(*path); clean != *path) {
    auto location = encoded_path(clean) + std::string(query);
    MesosDnsReply r{.status = 301, .type = "text/html; charset=utf-8", .body = {}, .location = location};
    // The location is made of safe characters and the query, whose quotes and brackets would end the attribute.
    std::string shown;
    for (char ch : location) shown += ch == '"' ? "&#34;" : ch == '<' ? "&lt;" : ch == '>' ? "&gt;" : ch == '&' ? "&amp;" : std::string(1, ch);
    r.body = "<a href=\"" + shown + "\">Moved Permanently</a>.\n\n";
    return r;
  }
  if (path->size() > 1 && path->ends_with('/')) path->pop_back();

  std::string_view rest = *path;
  std::function<MesosDnsReply()> handler;
  bool enumeration = provider_.config().enumeration_on;
  if (rest == "/v1/version") handler = [&] { return version(); };
  else if (rest == "/v1/config") handler = [&] { return config(); };
  else if (rest == "/v1/enumerate" && enumeration) handler = [&] { return enumerate(); };
  else if (rest == "/v1/axfr" && enumeration) handler = [&] { return axfr(); };
  else if (rest.starts_with("/v1/hosts/") || rest.starts_with("/v1/services/")) {
    bool hosts = rest.starts_with("/v1/hosts/");
    auto name = rest.substr(hosts ? 10 : 13);
    auto slash = name.find('/');
    if (slash == name.npos) handler = [this, hosts, name] { return hosts ? host(name) : service(name); };
    else if (hosts && name.substr(slash) == "/ports") handler = [] { return plain(501, "To be implemented..."); };
  }
  if (!handler) return not_found();
  if (request.method != "GET") return plain(405, "405: Method Not Allowed");
  if (request.has_body && !request.content_type.empty() && !takes_json(request.content_type)) {
    return plain(415, "415: Unsupported Media Type");
  }
  if (!request.accept.empty() && !takes_json(request.accept)) return plain(406, "406: Not Acceptable");
  return handler();
}

}  // namespace ls::api
