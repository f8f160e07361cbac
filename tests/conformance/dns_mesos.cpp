// spec/mesos-dns-cases: a state and a configuration to the records of the Mesos domain. Here as records and lists; the answers on the
// wire and over HTTP are compared where there is a server.
#include <sstream>

#include "cluster.h"
#include "derive/mesos_masters.h"
#include "derive/mesos_zone.h"
#include "sources/mesos_state.h"

namespace ls::conformance {
namespace {

using Lines = std::set<std::string>;

std::string folded(std::string text) {
  for (auto& c : text) c = char(std::tolower(c));
  return text;
}

/// Names in the form of the cases: octets outside printable ASCII, blanks and backslashes as \DDD.
std::string shown(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c > ' ' && c < 0x7f && c != '\\') {
      out += c;
    } else {
      char code[5];
      std::snprintf(code, sizeof code, "\\%03u", unsigned(uint8_t(c)));
      out += code;
    }
  }
  return out;
}

struct Settings {
  MesosZoneOptions options;
  std::string domain = "mesos";
  std::vector<MasterAddress> masters;
  std::vector<IpAddress> own;
};

Settings settings_of(const Json& config) {
  Settings s;
  std::map<std::string, Json> keys;
  for (auto& [k, v] : config.items())
    if (!v.is_null()) keys[folded(k)] = v;
  auto get = [&](const char* key) { return keys.contains(key) ? keys[key] : Json(); };
  if (auto v = get("domain"); v.is_string()) s.domain = folded(v);
  if (auto v = get("enforcerfc952"); v.is_boolean()) s.options.rfc952 = v;
  if (auto v = get("srvrecorddefaultweight"); v.is_number()) s.options.srv_weight = v;
  if (auto v = get("ipsources"); v.is_array()) {
    static const std::map<std::string, IpSource> kSources{{"host", IpSource::kHost}, {"docker", IpSource::kDocker},
                                                          {"mesos", IpSource::kMesos}, {"netinfo", IpSource::kNetinfo}};
    s.options.sources.clear();
    for (auto& one : v) s.options.sources.push_back(kSources.at(one));
  }
  for (auto& m : get("masters"))
    if (auto parsed = parse_master(m.get<std::string>())) s.masters.push_back(*parsed);
  if (auto v = get("listener"); v.is_string() && IpAddress::parse(v.get<std::string>())) s.own.push_back(address_of(v));
  std::string server = get("soamname").is_string() ? get("soamname").get<std::string>() : "ns1.mesos";
  while (server.ends_with('.')) server.pop_back();
  if (folded(server).ends_with("." + s.domain)) s.options.server_name = server.substr(0, server.size() - s.domain.size() - 1);
  s.options.lookup = [](std::string_view host) -> std::vector<IpAddress> {
    return host == "localhost" ? std::vector<IpAddress>{IpAddress::from_v4(0x7f000001)} : std::vector<IpAddress>{};
  };
  return s;
}

std::string wire_text(std::string_view relative, const std::string& domain) {
  std::string out;
  for (size_t at = 0; at < relative.size(); at += size_t(relative[at]) + 1)
    out += std::string(relative.substr(at + 1, size_t(relative[at]))) + ".";
  return shown(out + domain + ".");
}

/// "name type rdata" as in expected.txt.
std::string line_of(const Record& r, const std::string& domain) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(r.rdata.data());
  auto number = [&](size_t at) { return unsigned(bytes[at]) << 8 | bytes[at + 1]; };
  std::string out = wire_text(r.owner, domain) + " " + to_text(r.type) + " ";
  if (r.type == RrType::kA) return out + IpAddress::from_v4(number(0) << 16 | number(2)).text();
  if (r.type == RrType::kAaaa) return out + IpAddress::from_bytes(bytes).text();
  return out + std::to_string(number(0)) + " " + std::to_string(number(2)) + " " + std::to_string(number(4)) + " " +
         wire_text(std::string_view(r.rdata).substr(6, r.rdata.size() - 7), domain);
}

/// "name type host" of /v1/enumerate and /v1/axfr, with the host of SRV taken apart.
std::string listed_line(const std::string& name, const std::string& type, const std::string& host, unsigned weight) {
  if (type != "SRV") return shown(name) + " " + type + " " + host;
  const size_t colon = host.rfind(':');
  return shown(name) + " SRV 0 " + std::to_string(weight) + " " + host.substr(colon + 1) + " " + shown(host.substr(0, colon));
}

Lines read_lines(const fs::path& file, bool with_reason) {
  Lines out;
  std::istringstream in(read_bytes(file).value_or(""));
  for (std::string line; std::getline(in, line);) {
    if (with_reason) line = line.substr(0, line.find("  # "));
    if (!line.empty()) out.insert(line);
  }
  return out;
}

std::string compare(const std::string& what, const Lines& expected, const Lines& got) {
  std::string wrong;
  for (auto& l : expected)
    if (!got.contains(l)) wrong += what + ": missing " + l + "\n";
  for (auto& l : got)
    if (!expected.contains(l)) wrong += what + ": must not be there " + l + "\n";
  return wrong;
}

Json enumerate_json(const std::vector<MesosZone::FrameworkRecords>& frameworks) {
  Json out{{"frameworks", nullptr}};
  for (auto& f : frameworks) {
    Json listed{{"name", f.name}, {"tasks", Json::array()}};
    for (auto& t : f.tasks) {
      Json task{{"name", t.name}, {"id", t.id}, {"records", nullptr}};
      if (t.added_any) task["records"] = Json::array();
      for (auto& r : t.records) task["records"].push_back({{"name", r.name}, {"host", r.host}, {"rtype", r.type}});
      listed["tasks"].push_back(std::move(task));
    }
    out["frameworks"].push_back(std::move(listed));
  }
  return out;
}

std::string run(const fs::path& folder, Report& report) {
  auto config = read_json(folder / "config.json", report);
  auto state_text = read_bytes(folder / "state.json");
  if (!config || !state_text) return "config.json or state.json cannot be read\n";
  const Settings settings = settings_of(*config);
  const std::string& domain = settings.domain;

  auto decoded = decode_mesos_state(*state_text);
  if (!decoded) return decoded.error().text() + "\n";
  std::string wrong;
  for (auto& p : decoded->problems) wrong += p.item + ": " + p.field + " " + p.why + "\n";
  auto& subscribed = std::get<Subscribed>(decoded->event);
  auto leader = parse_master(subscribed.leader);
  ClusterState state;
  FakeClock clock;
  MesosZone zone(settings.options);
  std::multiset<std::string> sum;
  auto take = [&](const RecordDelta& d) {
    for (auto& r : d.add) sum.insert(line_of(r, domain));
    for (auto& r : d.remove) sum.erase(sum.find(line_of(r, domain)));
  };
  take(zone.apply(state.apply(std::move(decoded->event), clock.now())));
  take(zone.set_masters(leader, settings.masters));
  take(zone.set_own_addresses(settings.own));

  Lines expected = read_lines(folder / "expected.txt", false), served(sum.begin(), sum.end());
  std::erase_if(expected, [](const std::string& l) { return l.find(" SOA ") != l.npos || l.find(" NS ") != l.npos; });
  wrong += compare("expected.txt", expected, served);
  std::multiset<std::string> full;
  for (auto& r : zone.full()) full.insert(line_of(r, domain));
  if (full != sum) wrong += "the sum of the deltas is not what the zone holds\n";

  // What is stored but cannot be asked for is listed by the API alone.
  const auto frameworks = zone.enumerate(domain, true);
  Lines listed = served;
  const unsigned weight = settings.options.srv_weight;
  for (auto& f : frameworks)
    for (auto& t : f.tasks)
      for (auto& r : t.records) listed.insert(listed_line(r.name, r.type, r.host, weight));
  Lines api_only = read_lines(folder / "api-only.txt", true);
  for (auto& l : api_only)
    if (served.contains(l)) wrong += "api-only.txt: DNS must not serve " + l + "\n";
  for (auto& l : expected) api_only.insert(l);
  wrong += compare("api-only.txt", api_only, listed);
  if (auto axfr = read_json(folder / "axfr.json", report)) {
    Lines stored;
    for (auto& [member, type] : {std::pair("As", "A"), std::pair("AAAAs", "AAAA"), std::pair("SRVs", "SRV")})
      for (auto& [name, values] : (*axfr)["Records"][member].items())
        for (auto& v : values) stored.insert(listed_line(name, type, v, weight));
    // The server's own address may lie outside the domain; then nobody can ask for it, and it is not stored.
    wrong += compare("axfr.json", stored, listed);
  }
  if (auto json = read_json(folder / "enumerate.json", report))
    wrong += difference(*json, enumerate_json(frameworks), Order{.ordered = {"frameworks", "tasks", "records"}, .sets = {}});
  // Without the raw names, the list has what DNS serves.
  Lines plain;
  for (auto& f : zone.enumerate(domain, false))
    for (auto& t : f.tasks)
      for (auto& r : t.records) plain.insert(listed_line(r.name, r.type, r.host, weight));
  for (auto& l : plain)
    if (!served.contains(l)) wrong += "enumerate without raw names: not served " + l + "\n";
  return wrong;
}

}  // namespace

bool run_mesos_dns_case(const fs::path& folder, Report& report) {
  auto has = [&](const char* name) { return fs::exists(folder / name); };
  if (!has("state.json") || !has("config.json") || !has("expected.txt")) return false;
  std::string wrong = run(folder, report);
  if (wrong.empty()) {
    report.pass("mesos-dns-cases (records)");
  } else {
    report.fail("mesos-dns-cases (records)", folder.filename().string(), folder.string() + "\n" + wrong);
  }
  return true;
}

}  // namespace ls::conformance
