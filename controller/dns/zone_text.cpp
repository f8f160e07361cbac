#include "dns/zone_text.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <ldns/ldns.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "derive/fold.h"
#include "util/unique_fd.h"

namespace ls::dns {
namespace {

struct RrFree {
  void operator()(ldns_rr* rr) const { ldns_rr_free(rr); }
};
struct RdfFree {
  void operator()(ldns_rdf* rdf) const { ldns_rdf_deep_free(rdf); }
};
struct BufferFree {
  void operator()(ldns_buffer* b) const { ldns_buffer_free(b); }
};
struct FileClose {
  void operator()(FILE* f) const { std::fclose(f); }
};
struct TextFree {
  void operator()(char* p) const { std::free(p); }
};
using Rr = std::unique_ptr<ldns_rr, RrFree>;
using Rdf = std::unique_ptr<ldns_rdf, RdfFree>;
using Buffer = std::unique_ptr<ldns_buffer, BufferFree>;

constexpr size_t kMaxProblems = 100;  // more than anybody reads
constexpr uint32_t kMaxTtl = 0x7fffffff;  // RFC 2181 section 8

std::optional<DnsName> name_of(const ldns_rdf* rdf) {
  if (rdf == nullptr) return std::nullopt;
  return DnsName::from_wire({static_cast<const uint8_t*>(ldns_rdf_data(rdf)), ldns_rdf_size(rdf)});
}

Rdf rdf_of(const DnsName& name) {
  return Rdf(ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name.wire().size(), name.wire().data()));
}

/// Why records of this type do not belong into such a zone; empty where they do.
std::string_view unwanted(uint16_t type) {
  switch (type) {
    case LDNS_RR_TYPE_RRSIG:
    case LDNS_RR_TYPE_NSEC:
    case LDNS_RR_TYPE_NSEC3:
    case LDNS_RR_TYPE_NSEC3PARAM:
    case LDNS_RR_TYPE_DNSKEY:
    case LDNS_RR_TYPE_DS: return "zones of loadstar are not signed";
    case LDNS_RR_TYPE_DNAME: return "DNAME is not served; write a CNAME for each name";
    case 0:
    case LDNS_RR_TYPE_OPT: return "this type exists in messages only";
    default: break;
  }
  // RFC 6895 section 3.1: 128 to 255 are types of questions and of messages.
  return type >= 128 && type <= 255 ? "this type exists in messages only" : "";
}

/// Collects records of one zone and says what is wrong with each.
class Collector {
 public:
  explicit Collector(ZoneText& out) : out_(out) {}

  /// Takes a record; the text is why not. `apex` of the zone is set.
  std::string take(const ldns_rr* rr) {
    auto type = static_cast<RrType>(ldns_rr_get_type(rr));
    auto owner = name_of(ldns_rr_owner(rr));
    if (!owner) return "the owner is no name";
    if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN) return "only class IN is served";
    if (!owner->is_within(out_.apex)) return fmt::format("{} does not lie in {}", owner->text(), out_.apex.text());
    auto relative = owner->relative_to(out_.apex);
    if (relative.empty() && (type == RrType::kSoa || type == RrType::kNs)) return "";  // loadstar's own are served
    if (type == RrType::kSoa) return "a SOA below the name of the zone";
    if (auto why = unwanted(uint16_t(type)); !why.empty()) return std::string(why);
    if (ldns_rr_ttl(rr) > kMaxTtl) return "the TTL is above 2147483647";
    Buffer wire(ldns_buffer_new(1024));
    if (!wire || ldns_rr_rdata2buffer_wire(wire.get(), rr) != LDNS_STATUS_OK) return "its data has no wire form";
    Record record{relative, type, std::string(reinterpret_cast<char*>(ldns_buffer_begin(wire.get())), ldns_buffer_position(wire.get())),
                  ldns_rr_ttl(rr)};
    if (record.rdata.size() > 65'535) return "its data is longer than 65535 octets";
    if (auto why = conflict(record); !why.empty()) return why;
    seen_.insert({record.owner, record.type, record.rdata});
    out_.records.push_back(std::move(record));
    return "";
  }

  void finish() {
    std::sort(out_.records.begin(), out_.records.end());
    auto same = [](auto& a, auto& b) { return a.owner == b.owner && a.type == b.type && a.rdata == b.rdata; };
    out_.records.erase(std::unique(out_.records.begin(), out_.records.end(), same), out_.records.end());
  }

 private:
  /// RFC 1034 section 3.6.2: an alias has nothing else.
  std::string conflict(const Record& record) const {
    bool alias = record.type == RrType::kCname;
    if (alias && record.owner.empty()) return "an alias at the name of the zone, which has SOA and NS";
    for (auto it = seen_.lower_bound({record.owner, RrType{}, ""}); it != seen_.end() && std::get<0>(*it) == record.owner; ++it) {
      bool same = std::get<1>(*it) == record.type && std::get<2>(*it) == record.rdata;
      if ((alias || std::get<1>(*it) == RrType::kCname) && !same) return "an alias and another record at one name";
    }
    return "";
  }

  ZoneText& out_;
  std::set<std::tuple<std::string, RrType, std::string>> seen_;
};

std::string_view status_text(ldns_status status) {
  if (status == LDNS_STATUS_SYNTAX_INCLUDE || status == LDNS_STATUS_SYNTAX_INCLUDE_ERR_NOTIMPL) return "$INCLUDE is not followed";
  return ldns_get_errorstr_by_id(status);
}

/// Directives and empty lines come back as statuses that are no errors.
bool harmless(ldns_status status) {
  return status == LDNS_STATUS_SYNTAX_TTL || status == LDNS_STATUS_SYNTAX_ORIGIN || status == LDNS_STATUS_SYNTAX_EMPTY;
}

Result<Rr> read_line(const std::string& line, const DnsName& apex, uint32_t ttl, ldns_rdf** prev) {
  ldns_rr* rr = nullptr;
  auto origin = rdf_of(apex);
  auto status = ldns_rr_new_frm_str(&rr, line.c_str(), ttl, origin.get(), prev);
  Rr owned(rr);
  if (status != LDNS_STATUS_OK) return fail(std::string(status_text(status)));
  return owned;
}

}  // namespace

ZoneText parse_zone_text(std::string_view text, const std::string& file, const std::optional<DnsName>& apex, uint32_t ttl) {
  ZoneText out;
  // The line in which what was read last ends; counted only when there is something to say.
  auto problem = [&](long end, std::string_view why) {
    auto before = std::min(size_t(std::max(end, 0l)), text.size());
    while (before > 0 && std::string_view(" \t\r\n").find(text[before - 1]) != std::string_view::npos) before--;
    auto line = 1 + std::count(text.begin(), text.begin() + std::ptrdiff_t(before), '\n');
    if (out.problems.size() < kMaxProblems) out.problems.push_back(fmt::format("{}:{}: {}", file, line, why));
  };
  if (text.size() > kMaxZoneText) {
    out.problems.push_back(fmt::format("{}: larger than {} octets", file, kMaxZoneText));
    return out;
  }
  if (auto zero = text.find('\0'); zero != text.npos) {
    problem(long(zero) + 1, "a zero octet");
    return out;
  }
  bool known = apex.has_value();
  if (apex) out.apex = apex->folded();
  // fmemopen(3) wants at least one octet; it reads only.
  std::string copy(text);
  copy += '\n';
  std::unique_ptr<FILE, FileClose> in(::fmemopen(copy.data(), copy.size(), "r"));
  if (!in) {
    out.problems.push_back(fmt::format("{}: {}", file, std::strerror(errno)));
    return out;
  }
  ldns_rdf* origin = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, out.apex.wire().size(), out.apex.wire().data());
  ldns_rdf* prev = nullptr;
  uint32_t default_ttl = ttl;
  Collector collect(out);
  while (!std::feof(in.get())) {
    ldns_rr* rr = nullptr;
    auto before = std::ftell(in.get());
    auto status = ldns_rr_new_frm_fp_l(&rr, in.get(), &default_ttl, &origin, &prev, nullptr);
    Rr owned(rr);
    if (status == LDNS_STATUS_SYNTAX_ORIGIN && !known) {
      if (auto name = name_of(origin)) out.apex = name->folded(), known = true;
    }
    if (harmless(status)) continue;
    if (status != LDNS_STATUS_OK) {
      problem(std::ftell(in.get()), status_text(status));
      // A parser that stays where it is would go on for ever; one that lost its place would report every line after it.
      if (std::ftell(in.get()) == before || out.problems.size() >= kMaxProblems) break;
      continue;
    }
    if (!known && ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA) {
      if (auto name = name_of(ldns_rr_owner(rr))) out.apex = name->folded(), known = true;
    }
    if (!known) {
      problem(std::ftell(in.get()), "the zone has no name yet: it starts with $ORIGIN or its SOA");
      break;
    }
    if (auto why = collect.take(rr); !why.empty()) problem(std::ftell(in.get()), why);
  }
  if (!known && out.problems.empty()) problem(std::ftell(in.get()), "the zone has no name: it starts with $ORIGIN or its SOA");
  ldns_rdf_deep_free(origin);
  ldns_rdf_deep_free(prev);
  collect.finish();
  return out;
}

ZoneText read_zone_file(const std::filesystem::path& path, const std::optional<DnsName>& apex, uint32_t ttl) {
  auto failed = [&](int error) {
    ZoneText out;
    out.problems.push_back(fmt::format("{}: {}", path.native(), std::strerror(error)));
    return out;
  };
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return failed(errno);
  std::string text;
  char buf[65536];
  while (text.size() <= kMaxZoneText) {
    auto n = ::read(fd.get(), buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(errno);
    if (n == 0) break;
    text.append(buf, size_t(n));
  }
  return parse_zone_text(text, path.native(), apex, ttl);
}

ZoneText parse_zone_lines(std::span<const std::string> lines, const std::string& file, const DnsName& apex, uint32_t ttl) {
  ZoneText out;
  out.apex = apex.folded();
  Collector collect(out);
  for (size_t i = 0; i < lines.size(); i++) {
    auto problem = [&](std::string_view why) { out.problems.push_back(fmt::format("{}: line {}: {}", file, i + 1, why)); };
    auto& line = lines[i];
    auto first = line.find_first_not_of(" \t");
    if (first == line.npos || line[first] == ';') continue;
    if (first != 0) {
      problem("starts with a blank: each line names its record's owner");
    } else if (line[0] == '$') {
      problem("directives are for zone files");
    } else if (line.find_first_of(std::string_view("\n\r\0", 3)) != line.npos) {
      problem("holds an end of line");
    } else if (auto rr = read_line(line, out.apex, ttl, nullptr); !rr) {
      problem(rr.error().doing);
    } else if (auto why = collect.take(rr->get()); !why.empty()) {
      problem(why);
    }
  }
  collect.finish();
  return out;
}

Result<Record> parse_record(std::string_view owner, RrType type, std::string_view data, const DnsName& apex, uint32_t ttl) {
  auto name = DnsName::join(owner, apex);
  if (!name) return fail("the name is too long");
  if (data.find_first_of(std::string_view("\n\r\0", 3)) != data.npos) return fail("the data holds an end of line");
  if (data.size() > 65'535) return fail("the data is longer than 65535 characters");
  LS_ASSIGN(auto rr, read_line(fmt::format("{} {} IN {} {}", name->text(), ttl, to_text(type), data), apex, ttl, nullptr));
  ZoneText zone;
  zone.apex = apex.folded();
  Collector collect(zone);
  if (auto why = collect.take(rr.get()); !why.empty()) return fail(std::move(why));
  if (zone.records.empty()) return fail("SOA and NS at the name of the zone are loadstar's own");
  if (zone.records[0].type != type) return fail("the data is of another type");
  return std::move(zone.records[0]);
}

std::optional<std::string> record_text(const Record& record, const DnsName& apex, uint32_t zone_ttl) {
  auto owner = DnsName::join(record.owner, apex);
  auto rdata = absolute_rdata(record.type, record.rdata, apex);
  if (!owner || !rdata || rdata->size() > 65'535) return std::nullopt;
  std::string wire(owner->wire());
  auto put = [&](uint32_t v, int octets) {
    while (octets-- > 0) wire += char(v >> (8 * octets));
  };
  put(uint16_t(record.type), 2);
  put(LDNS_RR_CLASS_IN, 2);
  put(record.ttl != 0 ? record.ttl : zone_ttl, 4);
  put(uint32_t(rdata->size()), 2);
  wire += *rdata;
  ldns_rr* rr = nullptr;
  size_t at = 0;
  auto status = ldns_wire2rr(&rr, reinterpret_cast<const uint8_t*>(wire.data()), wire.size(), &at, LDNS_SECTION_ANSWER);
  Rr owned(rr);
  if (status != LDNS_STATUS_OK || at != wire.size()) return std::nullopt;
  std::unique_ptr<char, TextFree> text(ldns_rr2str(rr));
  if (!text) return std::nullopt;
  std::string out(text.get());
  while (!out.empty() && (out.back() == '\n' || out.back() == '\t' || out.back() == ' ')) out.pop_back();
  return out;
}

namespace {

/// RFC 4034 section 6.1: by labels from the right.
std::vector<std::string> canonical_key(const std::string& relative) {
  std::vector<std::string> labels;
  for (size_t at = 0; at < relative.size(); at += 1 + uint8_t(relative[at])) {
    labels.push_back(relative.substr(at + 1, uint8_t(relative[at])));
  }
  std::reverse(labels.begin(), labels.end());
  return labels;
}

}  // namespace

std::string zone_to_text(const DnsName& apex, uint32_t zone_ttl, std::vector<Record> records) {
  using Key = std::tuple<std::vector<std::string>, bool, uint16_t, std::string>;
  std::vector<std::pair<Key, const Record*>> order;
  order.reserve(records.size());
  for (auto& r : records) {
    order.push_back({{canonical_key(r.owner), r.type != RrType::kSoa, uint16_t(r.type), r.rdata}, &r});
  }
  std::sort(order.begin(), order.end());
  std::string out = fmt::format("$ORIGIN {}\n$TTL {}\n", apex.text(), zone_ttl);
  for (auto& [key, record] : order) {
    if (auto text = record_text(*record, apex, zone_ttl)) {
      out += *text + "\n";
    } else {
      out += fmt::format("; {} {}: the data is not of this type\n", relative_text(record->owner), to_text(record->type));
    }
  }
  return out;
}

Result<std::string> static_cname_line(std::string_view name, std::string_view value) {
  auto label = fold_label(name);
  if (label.empty()) return fail(fmt::format("\"{}\" has no letter or digit to make a name of", name.substr(0, 100)));
  auto target = DnsName::parse(value);
  if (!target) return pass(std::move(target.error()), "the value of the alias");
  return fmt::format("{} CNAME {}", label, target->text());
}

}  // namespace ls::dns
