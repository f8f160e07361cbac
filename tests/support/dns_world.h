#pragma once
/// Zones in memory and questions to them, for tests of the answer engine: no socket, no thread of its own.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dns/answer.h"
#include "dns/query.h"
#include "dns/routes.h"
#include "dns/zone_table.h"
#include "util/epoch.h"

namespace ls::test {

inline DnsName name_of(std::string_view text) { return DnsName::parse(text).value(); }

/// A record of the zone `apex`, from text: A, AAAA, CNAME, NS, PTR (a name), SRV ("priority weight port target"), MX, TXT (raw octets).
/// Names that end in the zone's name follow it to its aliases.
inline Record record_of(std::string_view owner, std::string_view type, const std::string& value, const DnsName& apex, uint32_t ttl = 0) {
  Record r;
  r.owner = name_of(owner).folded().relative_to(apex);
  r.type = *parse_rr_type(type);
  r.ttl = ttl;
  const auto put_name = [&](const std::string& text) {
    const DnsName target = name_of(text);
    if (target.is_within(apex)) {
      r.rdata += target.relative_to(apex) + kApexMark;
    } else {
      r.rdata += target.wire();
    }
  };
  const auto put16 = [&](int v) {
    r.rdata += static_cast<char>(v >> 8);
    r.rdata += static_cast<char>(v);
  };
  switch (r.type) {
    case RrType::kA:
    case RrType::kAaaa: return address_record(r.owner, *IpAddress::parse(value), ttl);
    case RrType::kCname:
    case RrType::kNs:
    case RrType::kPtr: put_name(value); return r;
    case RrType::kSrv: {
      int p, w, port, used = 0;
      if (std::sscanf(value.c_str(), "%d %d %d %n", &p, &w, &port, &used) != 3) std::abort();
      put16(p), put16(w), put16(port);
      put_name(value.substr(static_cast<size_t>(used)));
      return r;
    }
    case RrType::kMx: {
      int preference, used = 0;
      if (std::sscanf(value.c_str(), "%d %n", &preference, &used) != 1) std::abort();
      put16(preference);
      put_name(value.substr(static_cast<size_t>(used)));
      return r;
    }
    default: r.rdata = value; return r;
  }
}

class DnsWorld {
 public:
  Epoch epoch;
  std::vector<dns::ZoneView> views;
  std::vector<dns::ForwardGroup> groups;
  dns::AnswerLimits limits;
  Epoch::Reader reader{epoch};
  std::mt19937_64 random{7};

  /// A zone with the reference's SOA and NS (spec/spartan-dns.md 4); records still to come.
  dns::ZoneTable& zone(std::string_view apex, const dns::AnswerRules& rules = {}, bool loaded = true) {
    auto table = std::make_shared<dns::ZoneTable>(epoch);
    table->set_fixed_serial(1);
    if (loaded) table->apply({});
    dns::ZoneView view;
    view.apex = name_of(apex);
    view.table = table;
    view.soa.mname = name_of("ns.spartan");
    view.soa.rname = name_of("support.mesosphere.com");
    view.name_servers = {name_of("ns.spartan")};
    view.rules = rules;
    tables_.push_back(table);
    views.push_back(view);
    return *table;
  }
  dns::ZoneView& view(std::string_view apex) {
    for (auto& v : views)
      if (v.apex == name_of(apex)) return v;
    std::abort();
  }
  /// The same table under another name.
  void alias(std::string_view apex, std::string_view of) {
    dns::ZoneView copy = view(of);
    copy.apex = name_of(apex);
    copy.is_alias = true;
    views.push_back(copy);
  }
  void add(std::string_view apex, std::string_view owner, std::string_view type, const std::string& value, uint32_t ttl = 0) {
    table(apex).apply({{record_of(owner, type, value, name_of(apex), ttl)}, {}});
  }
  dns::ZoneTable& table(std::string_view apex) {
    for (auto& t : tables_)
      if (t == view(apex).table) return *t;
    std::abort();
  }

  const dns::Routes& routes() {
    if (!routes_) routes_ = std::make_unique<dns::Routes>(views, groups);
    return *routes_;
  }
  void rebuild() { routes_.reset(); }

  /// What a server does with a packet; empty: no answer. Names that are not ours: REFUSED.
  std::vector<uint8_t> ask(std::span<const uint8_t> packet, dns::Answer* answer = nullptr) {
    dns::Query query;
    const dns::Parsed parsed = parse_query(packet, query);
    if (parsed.outcome == dns::ParseOutcome::kIgnore) return {};
    std::vector<uint8_t> out(65535);
    limits.random = random();
    Epoch::Guard guard(reader);
    if (parsed.outcome == dns::ParseOutcome::kRcode) {
      out.resize(dns::plain_answer(query, parsed.rcode, parsed.question_readable, limits, out));
      return out;
    }
    const dns::Route route = routes().find(query.folded());
    if (!route.zone) {
      out.resize(dns::plain_answer(query, dns::Rcode::kRefused, true, limits, out));
      return out;
    }
    dns::Answer got = dns::answer_from_zone(query, *route.zone, routes(), limits, out);
    out.resize(got.size);
    if (answer) *answer = got;
    return out;
  }

 private:
  std::vector<std::shared_ptr<dns::ZoneTable>> tables_;
  std::unique_ptr<dns::Routes> routes_;
};

/// How the reference's own zones answer (spec/spartan-dns.md 4).
inline dns::AnswerRules resolver_rules() {
  dns::AnswerRules rules;
  rules.refuse_rrsig = true;
  rules.srv_additional = false;
  rules.minimal_any = false;
  rules.rotation = dns::Rotation::kNone;
  return rules;
}

/// How the Mesos domain answers (spec/mesos-dns.md 10).
inline dns::AnswerRules mesos_rules() {
  dns::AnswerRules rules;
  rules.soa_at_question = rules.srv_never_nxdomain = rules.nxdomain_at_empty = rules.strip_star_labels = true;
  rules.recursion_available = true;
  return rules;
}

}  // namespace ls::test
