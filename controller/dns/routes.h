#pragma once
/// Routes: which name is answered from where. Immutable once built; a new one is published when configuration, the list of masters
/// or the cluster's id change. Threads: any.
/// The longest suffix wins (spec/spartan-dns.md section 2). Aliases (`dclb.thisdcos.global`) are further ZoneViews on the same
/// table, so an answer comes back under the name that was asked, targets included.
/// Cost: one hash probe a label of the question.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "dns/zone_table.h"
#include "util/address.h"
#include "util/dns_name.h"

namespace ls::dns {

/// Start-of-authority data (RFC 1035 3.3.13); the serial is the table's.
struct Soa {
  DnsName mname, rname;
  uint32_t refresh = 60, retry = 180, expire = 86400, minimum = 1;
  uint32_t ttl = 5;           ///< of the SOA record in positive answers
  uint32_t negative_ttl = 1;  ///< of the SOA record in NXDOMAIN and NODATA answers
};

enum class Rotation : uint8_t { kRandom, kRoundRobin, kNone };  ///< kRoundRobin: rotated left by message id modulo count

/// Where a zone's answers differ from the plain RFC behaviour (spec/mesos-dns.md sections 10 and 15).
struct AnswerRules {
  bool soa_at_question = false;       ///< B7: SOA and NS of this zone go into the authority section, owned by the question's name
  bool srv_never_nxdomain = false;    ///< B6: SRV for a missing name is NOERROR without SOA
  bool nxdomain_at_empty = false;     ///< B7: apex without records and empty non-terminals are NXDOMAIN
  bool strip_star_labels = false;     ///< 10.2: every ".*" is taken out of the question's name before the lookup
  bool refuse_rrsig = false;          ///< spartan-dns.md 4
  bool refuse_below = false;          ///< names below the apex that are not there: REFUSED, as of a zone that does not exist
  bool srv_additional = true;         ///< B29: SRV answers carry all addresses of their targets; false: none (spartan-dns.md 4)
  bool minimal_any = true;            ///< RFC 8482: ANY over UDP gets one set; false: all of them (spartan-dns.md 4)
  bool recursion_available = false;   ///< RA in this zone's answers
  Rotation rotation = Rotation::kRandom;
};

/// One zone as it is seen under one name.
struct ZoneView {
  DnsName apex;
  std::shared_ptr<const ZoneTable> table;
  uint32_t ttl = 5;  ///< of records without one of their own
  Soa soa;
  std::vector<DnsName> name_servers;  ///< NS of the apex; addresses are looked up among all views
  uint32_t ns_ttl = 3600;
  AnswerRules rules;
  std::optional<std::pair<uint16_t, uint16_t>> srv_override;  ///< priority, weight in place of the records'
  bool transferable = false;  ///< AXFR to allowed addresses
  bool is_alias = false;      ///< further name of a zone that is listed under another; not shown twice
};

/// Upstreams that answer for one suffix.
struct ForwardGroup {
  DnsName zone;                     ///< "." for the default
  std::vector<Endpoint> upstreams;  ///< empty: SERVFAIL at once
  bool cached = true;  ///< false: each question is asked; a kept answer serves only while no upstream answers (lessons.md 48)
};

struct Route {
  const ZoneView* zone = nullptr;
  const ForwardGroup* forward = nullptr;  ///< neither: REFUSED
};

class Routes {
 public:
  /// `reserved`: suffixes below which nothing is ever forwarded although no zone of ours holds them (the bare
  /// thisdcos.directory, foreign cluster ids): views with an empty loaded table do that job, so they are plain views.
  Routes(std::vector<ZoneView> views, std::vector<ForwardGroup> groups);
  Routes() : Routes({}, {}) {}
  Routes(const Routes&) = delete;  ///< the index points into views_ and groups_
  Routes& operator=(const Routes&) = delete;
  Routes(Routes&&) = default;
  Routes& operator=(Routes&&) = default;

  /// `name` is the absolute folded wire name.
  Route find(std::string_view folded_wire) const;
  const std::vector<ZoneView>& views() const { return views_; }
  const std::vector<ForwardGroup>& groups() const { return groups_; }

 private:
  std::vector<ZoneView> views_;
  std::vector<ForwardGroup> groups_;
  struct Index;
  std::shared_ptr<const Index> index_;
};

}  // namespace ls::dns
