#include "app/import_mesos_dns.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "app/config.h"
#include "app/import_mesos_dns_keys.h"
#include "app/settings_codec.h"
#include "zk/url.h"
#include "app/upstream_address.h"
#include "util/zone_names.h"

namespace ls {
namespace {

using setting_codec::Codec;
using setting_codec::toml_quote;
using Texts = std::vector<std::string>;

constexpr const char* kSecretFile = "/etc/loadstar/mesos.secret";

/// The checks first, each returns whether to go on; then the file is written from top to bottom.
class Importer {
 public:
  Importer(MesosDnsConfig c, std::string file) : c_(std::move(c)), file_(std::move(file)) {}

  Imported run() {
    if (check()) write();
    return std::move(out_);
  }

 private:
  bool bad(std::string_view key, std::string_view why) {
    out_.error = fmt::format("{}: {}: {}", file_, key, why);
    return false;
  }
  void warn(std::string_view key, std::string_view why) {
    out_.warnings.push_back(fmt::format("{}: {}: {}", file_, key, why));
    comment(fmt::format("{}: {}", key, why));
  }
  bool given(std::string_view key) const { return std::find(c_.seen.begin(), c_.seen.end(), key) != c_.seen.end(); }

  // -- the checks of Mesos-DNS, in its order --

  bool check() {
    if (!c_.dns_on && !c_.http_on) return bad("DnsOn", "neither DNS nor HTTP is on");
    if (c_.masters.empty() && c_.zk.empty()) return bad("masters", "neither masters nor zk is given");
    if (!check_masters()) return false;
    if (c_.external_on && (!check_servers("resolvers", c_.resolvers) || !check_zones())) return false;
    if (!check_sources()) return false;
    if (c_.state_timeout <= 0) return bad("stateTimeoutSeconds", "must be above 0");
    if (!check_domain() || !check_certificates() || !check_authentication()) return false;
    return check_start();
  }

  bool check_masters() {
    std::set<std::string> seen;
    for (auto& m : c_.masters) {
      RawValue raw;
      raw.value = m;
      auto at = Codec<HostPort>::parse(raw, {});
      if (!at) return bad("masters", at.error());
      auto address = IpAddress::parse(at->host);
      if (address) at->host = address->text();
      if (!seen.insert(at->text()).second) return bad("masters", fmt::format("{} is there twice", at->text()));
      masters_.push_back(at->text());
    }
    return true;
  }

  bool check_servers(std::string_view key, const Texts& list, Texts* into = nullptr) {
    std::set<Endpoint> seen;
    for (auto& text : list) {
      auto e = parse_upstream(text, 53);
      if (!e) return bad(key, e.error().doing);
      if (!seen.insert(*e).second) return bad(key, fmt::format("{} is there twice", e->text()));
      (into != nullptr ? *into : servers_).push_back(text);
    }
    return true;
  }

  bool check_zones() {
    auto domain = lower(c_.domain);
    for (auto& [written, list] : c_.zone_resolvers) {
      auto key = fmt::format("zoneResolvers: {}", toml_quote(written));
      auto zone = lower(written);
      if (auto why = domain_fault(zone)) return bad("zoneResolvers", *why);
      if (list.empty()) return bad(key, "the list is empty");
      Texts servers;
      if (!check_servers(key, list, &servers)) return false;
      if (zone == domain) return bad(key, "is the domain itself");
      if (within_zone(zone, domain) || within_zone(domain, zone)) return bad(key, fmt::format("masked: one of it and the domain \"{}\" lies below the other", domain));
      if (!zones_.emplace(zone, servers).second) return bad(key, "is there twice (names are compared without case)");
      if (zone != written) upper_zones_.push_back(written);
    }
    for (auto& [zone, servers] : zones_) {
      for (auto& [other, more] : zones_) {
        if (other != zone && within_zone(other, zone)) return bad("zoneResolvers", fmt::format("\"{}\" is masked: \"{}\" lies below it", zone, other));
      }
    }
    return true;
  }

  bool check_sources() {
    if (c_.ip_sources.empty()) return bad("IPSources", "the list is empty");
    std::set<std::string> seen;
    for (auto& s : c_.ip_sources) {
      if (s != "host" && s != "docker" && s != "mesos" && s != "netinfo") return bad("IPSources", fmt::format("{} is none of host, docker, mesos, netinfo", toml_quote(s)));
      if (!seen.insert(s).second) return bad("IPSources", fmt::format("\"{}\" is there twice", s));
    }
    return true;
  }

  bool check_domain() {
    c_.domain = lower(c_.domain);
    if (auto why = domain_fault(c_.domain)) return bad("domain", *why);
    return true;
  }

  bool check_certificates() {
    if (c_.cert_file.empty() != c_.key_file.empty()) {
      return bad(c_.cert_file.empty() ? "CertFile" : "KeyFile", "CertFile and KeyFile are given both or not at all");
    }
    return true;
  }

  bool check_authentication() {
    auto& a = c_.authentication;
    if (!a.empty() && a != "basic" && a != "iam") return bad("MesosAuthentication", fmt::format("{} is neither \"basic\" nor \"iam\"", toml_quote(a)));
    if (a == "basic" && c_.principal.empty() && !c_.has_secret) return bad("MesosCredentials", "\"basic\" needs principal or secret");
    if (a == "iam" && c_.iam_file.empty()) return bad("IAMConfigFile", "\"iam\" needs this file");
    return true;
  }

  /// What passes the checks of Mesos-DNS and then ends it.
  bool check_start() {
    if (c_.refresh <= 0) return bad("refreshSeconds", "must be above 0");
    auto endpoint = [&](std::string_view key, const std::string& address, std::string_view port_key, int64_t port, Endpoint& into) {
      auto at = IpAddress::parse(address);
      if (!at) return bad(key, fmt::format("{} is no IP address", toml_quote(address)));
      if (port < 1 || port > 65535) return bad(port_key, fmt::format("{} is no port from 1 to 65535", port));
      into = {*at, uint16_t(port)};
      return true;
    };
    if (c_.dns_on && !endpoint("listener", c_.listener, "port", c_.port, listen_)) return false;
    return !c_.http_on || endpoint("HTTPListener", c_.http_listener, "HttpPort", c_.http_port, http_);
  }

  // -- the file --

  static std::string lower(std::string text) {
    for (char& c : text) {
      if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
    }
    return text;
  }

  /// A text of the file in a comment: without what would end the line.
  void comment(std::string_view text) {
    std::string safe;
    for (unsigned char c : text) safe += c < 0x20 || c == 0x7f ? '?' : char(c);
    out_.toml += "# " + safe + "\n";
  }
  void section(std::string_view name) { out_.toml += fmt::format("\n[{}]\n", name); }
  void put(std::string_view key, const std::string& value) { out_.toml += fmt::format("{} = {}\n", key, value); }
  void flag(std::string_view key, bool value) { put(key, Codec<bool>::print(value)); }

  void seconds(std::string_view key, std::string_view from, int64_t value, int64_t most = 365 * 86'400) {
    if (value < 0 || value > most) {
      auto taken = value < 0 ? 0 : most;
      warn(from, fmt::format("{} seconds are out of range here; {} are taken", value, taken));
      value = taken;
    }
    put(key, Codec<Millis>::print(Millis(value * 1000)));
  }

  void write() {
    comment("Made by `loadstard import mesos-dns` from " + file_ + ". Mesos-DNS ran on the masters, so does this.");
    section("node");
    put("roles", "[\"master\"]");
    write_mesos();
    if (!c_.truncate_bit) {
      section("dns");
      comment("SetTruncateBit = false: answers are still shortened, without the bit that says so.");
      put("no_truncate_bit", "[\"0.0.0.0/0\", \"::/0\"]");
    }
    write_authority();
    write_forwarding();
    if (c_.external_on) {
      section("resolver");
      comment("timeout: here it limits the whole question. Other servers are asked long before.");
      seconds("timeout", "timeout", c_.timeout == 0 ? 5 : std::max<int64_t>(c_.timeout, 1), 60);
    }
    out_.toml += "\n";
    write_rest();
    ConfigText text{file_ + " (imported)", out_.toml};
    for (auto& p : parse_config({&text, 1}).problems) out_.warnings.push_back("the result needs a hand: " + p.what);
  }

  /// mesos.zk, without the login, which the reference did not use either. False: zk is no address of ZooKeeper.
  bool write_zookeeper() {
    if (!c_.zk.starts_with("zk://")) return false;
    auto url = zk::parse_url(c_.zk);
    if (!url) {
      warn("zk", url.error().text());
      return false;
    }
    if (!url->user.empty()) {
      warn("zk", "user and password are left out: write them into a file and name it as mesos.zk_login_file");
      url->user.clear();
      url->password.clear();
    }
    put("zk", Codec<std::string>::print(url->text()));
    return true;
  }

  void write_mesos() {
    section("mesos");
    auto masters = masters_;
    bool zookeeper = write_zookeeper();
    if (c_.zk.starts_with("zk://")) {
      // The masters that are given besides are asked when ZooKeeper names none (the reference forgot them).
    } else if (c_.zk.starts_with("file://")) {
      warn("zk", "a file that names the masters is not read: write them into mesos.masters");
    } else if (!c_.zk.empty()) {
      auto at = c_.zk.substr(c_.zk.rfind('@') == std::string::npos ? 0 : c_.zk.rfind('@') + 1);
      RawValue raw;
      raw.value = at;
      if (auto master = Codec<HostPort>::parse(raw, {}); master && masters.empty()) {
        masters.push_back(master->text());
      } else {
        warn("zk", "is not used: mesos.masters names the masters");
      }
    }
    if (masters.empty() && !zookeeper) {
      warn("masters", "only zk is given: write the masters here, as in masters = [\"10.0.0.1:5050\"]");
    } else if (!masters.empty()) {
      put("masters", Codec<Texts>::print(masters));
    }
    flag("tls", c_.https);
    if (c_.https) {
      if (c_.ca_file.empty()) {
        warn("CACertFile", "Mesos-DNS did not verify the masters' certificate without it; loadstar does, against those of the system");
      } else {
        put("ca_file", toml_quote(c_.ca_file));
      }
      if (!c_.cert_file.empty()) {
        put("cert_file", toml_quote(c_.cert_file));
        put("key_file", toml_quote(c_.key_file));
      }
    } else if (!c_.ca_file.empty() || !c_.cert_file.empty()) {
      warn("CACertFile, CertFile, KeyFile", "have no use without MesosHTTPSOn and are left out");
    }
    write_credentials();
  }

  void write_credentials() {
    if (c_.authentication == "basic") {
      if (c_.principal.empty() || !c_.has_secret) {
        warn("MesosCredentials", "principal and secret are needed both; write mesos.principal and mesos.secret_file by hand");
        return;
      }
      put("principal", toml_quote(c_.principal));
      warn("MesosCredentials", fmt::format("the secret is not copied: write it into {} (mode 0640, group loadstar)", kSecretFile));
      put("secret_file", toml_quote(kSecretFile));
    } else if (c_.authentication == "iam") {
      warn("IAMConfigFile", "this version does not log in by itself: let something write a token into a file and set mesos.token_file");
    } else if (!c_.principal.empty() || c_.has_secret || !c_.iam_file.empty()) {
      warn("MesosCredentials", "credentials without MesosAuthentication are not used and left out");
    }
  }

  static std::string without_dots(std::string name) {
    while (name.ends_with('.')) name.pop_back();
    return name;
  }

  void write_authority() {
    section("authority");
    flag("enabled", c_.dns_on || c_.http_on);
    if (c_.dns_on) {
      put("listen", Codec<std::vector<Endpoint>>::print({listen_}));
    } else {
      warn("DnsOn", "the HTTP interface does not come without DNS; it is kept to the machine itself");
      put("listen", "[\"127.0.0.1:53\"]");
    }
    put("domain", toml_quote(c_.domain));
    seconds("ttl", "ttl", c_.ttl);
    put("srv_weight", fmt::to_string(c_.srv_weight));
    auto mname = without_dots(c_.soa_mname), rname = c_.soa_rname;
    std::replace(rname.begin(), rname.end(), '@', '.');
    if (!within_zone(lower(mname), c_.domain)) {
      warn("SOAMname", fmt::format("\"{}\" does not lie in the domain \"{}\": nobody can ask here for its address", mname, c_.domain));
    }
    put("soa_mname", toml_quote(mname));
    put("soa_rname", toml_quote(without_dots(rname)));
    seconds("soa_refresh", "SOARefresh", c_.soa_refresh);
    seconds("soa_retry", "SOARetry", c_.soa_retry);
    seconds("soa_expire", "SOAExpire", c_.soa_expire);
    flag("recursion_available", c_.recurse_on);
    put("ip_sources", Codec<Texts>::print(c_.ip_sources));
    flag("rfc952", c_.rfc952);
    put("http_listen", c_.http_on ? Codec<std::vector<Endpoint>>::print({http_}) : "[]");
    flag("enumeration", c_.enumeration);
  }

  void write_forwarding() {
    if (!c_.external_on) {
      comment("ExternalOn = false: names outside the domain are refused.");
      put("upstreams", "[]");
      return;
    }
    if (servers_.empty()) {
      warn("resolvers", "the list is empty: Mesos-DNS took the servers of /etc/resolv.conf; write them here, or such names are refused");
    }
    put("upstreams", Codec<Texts>::print(servers_));
    for (auto& zone : upper_zones_) {
      warn("zoneResolvers", fmt::format("\"{}\" never matched in Mesos-DNS because of its capital letters; here it does", zone));
    }
    if (!zones_.empty()) put("forward_zones", Codec<NameLists>::print(zones_));
  }

  void write_rest() {
    struct Unused {
      std::string_view key, why;
    };
    constexpr Unused kUnused[] = {
        {"refreshseconds", "not needed: changes arrive as they happen"},
        {"statetimeoutseconds", "not needed: the state is a stream; see mesos.response_timeout"},
        {"zkdetectiontimeout", "not needed: without a leader the last names are served on and the state says so"},
        {"soaminttl", "Mesos-DNS did not use it either: MINIMUM of the SOA is the ttl"},
        {"soaserial", "the serial is the time of the last change"},
    };
    for (auto& u : kUnused) {
      if (given(u.key)) comment(fmt::format("{}: {}", u.key, u.why));
    }
    for (auto& key : c_.unknown) comment(fmt::format("{}: Mesos-DNS knows no such key", toml_quote(key.substr(0, 100))));
  }

  MesosDnsConfig c_;
  std::string file_;
  Imported out_;
  Texts masters_, servers_, upper_zones_;
  NameLists zones_;
  Endpoint listen_, http_;
};

}  // namespace

Imported import_mesos_dns(std::string_view json, const std::string& file) {
  auto read = read_mesos_dns(json);
  if (!read) return {"", {}, file + ": " + read.error().doing};
  return Importer(std::move(*read), file).run();
}

int import_mesos_dns_command(std::string path) {
  // As Mesos-DNS finds its file.
  const char* home = std::getenv("USERPROFILE");
  if (home == nullptr) home = std::getenv("HOME");
  if (path.starts_with("~/") && home != nullptr) path = home + path.substr(1);
  auto text = read_import(path);
  if (!text) return print_imported({"", {}, text.error().text()});
  return print_imported(import_mesos_dns(*text, path));
}

}  // namespace ls
