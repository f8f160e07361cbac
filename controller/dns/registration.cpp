#include "dns/registration.h"

#include <fmt/format.h>
#include <ldns/ldns.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "util/address.h"
#include "util/dns_name.h"
#include "util/zone_names.h"

namespace ls::dns {
namespace {

constexpr size_t kMaxText = 8192;  // of one record's data; a TXT record of 4 KiB, all of it escaped, still fits

/// How many words a type's data has; 0: any number from 1 on.
struct TypeRule {
  RrType type;
  size_t words;
  size_t numbers;  ///< that many words in front are numbers
  uint32_t highest;  ///< of these
};
constexpr std::array<TypeRule, 8> kTypeRules{{{RrType::kA, 1, 0, 0},
                                      {RrType::kAaaa, 1, 0, 0},
                                      {RrType::kCname, 1, 0, 0},
                                      {RrType::kSrv, 4, 3, 65535},
                                      {RrType::kTxt, 0, 0, 0},
                                      {RrType::kMx, 2, 1, 65535},
                                      {RrType::kPtr, 1, 0, 0},
                                      {RrType::kCaa, 3, 1, 255}}};

const TypeRule* rule_of(RrType type) {
  auto found = std::find_if(kTypeRules.begin(), kTypeRules.end(), [&](auto& r) { return r.type == type; });
  return found == kTypeRules.end() ? nullptr : &*found;
}

tl::unexpected<Refusal> invalid(std::string field, std::string why) {
  return tl::make_unexpected(Refusal{Refusal::Kind::kInvalid, std::move(field), std::move(why)});
}

/// Splits as a zone file is split, and refuses what a zone file would read as something other than data.
Result<std::vector<std::string_view>> words_of(std::string_view text) {
  std::vector<std::string_view> out;
  if (text.size() > kMaxText) return fail(fmt::format("is {} octets long, {} at most", text.size(), kMaxText));
  size_t i = 0;
  while (i < text.size()) {
    if (text[i] == ' ') {
      i++;
      continue;
    }
    size_t begin = i;
    bool quoted = false;
    for (; i < text.size() && (quoted || text[i] != ' '); i++) {
      auto c = static_cast<unsigned char>(text[i]);
      if (c < 0x20 || c >= 0x7f) return fail(fmt::format("has the octet {} at {}; write it as \\{:03}", unsigned(c), i + 1, unsigned(c)));
      if (c == '\\') {
        if (++i == text.size()) return fail("ends in a backslash");
      } else if (c == '"') {
        quoted = !quoted;
      } else if (!quoted && (c == ';' || c == '(' || c == ')')) {
        return fail(fmt::format("has a '{}' outside double quotes", char(c)));
      }
    }
    if (quoted) return fail("has a double quote that is not closed");
    out.push_back(text.substr(begin, i - begin));
  }
  if (out.empty()) return fail("is empty");
  if (out[0] == "\\#") return fail("is in the generic form of RFC 3597; write the type's own form");
  return out;
}

struct FreeRr {
  void operator()(ldns_rr* rr) const { ldns_rr_free(rr); }
};
struct Parsed {
  std::string rdata;  ///< as on the wire
  std::string text;   ///< as ldns writes it
};

std::string ldns_text(const ldns_rdf* rdf) {
  std::unique_ptr<char, decltype(&free)> text(ldns_rdf2str(rdf), free);
  return text ? text.get() : "";
}

/// What ldns does not look at.
Result<> check_words(const TypeRule& rule, const std::vector<std::string_view>& words) {
  if (rule.words && words.size() != rule.words) return fail(fmt::format("has {} words, {} data has {}", words.size(), to_text(rule.type), rule.words));
  for (size_t i = 0; i < rule.numbers; i++) {
    uint32_t n = 0;
    auto [end, err] = std::from_chars(words[i].data(), words[i].data() + words[i].size(), n);
    if (err != std::errc() || end != words[i].data() + words[i].size() || n > rule.highest) {
      return fail(fmt::format("'{}' is not a number from 0 to {}", words[i], rule.highest));
    }
  }
  if (rule.type == RrType::kA || rule.type == RrType::kAaaa) {
    auto address = IpAddress::parse(words[0]);
    bool v4 = rule.type == RrType::kA;
    if (!address || address->is_v4() != v4) return fail(fmt::format("'{}' is not an IPv{} address", words[0], v4 ? 4 : 6));
  }
  if (name_offset(rule.type)) {
    auto target = words.back();
    if (target.find_first_of("@\"") != target.npos) return fail(fmt::format("'{}' is not a name; names are absolute here", target));
    if (auto name = DnsName::parse(target); !name) return fail(fmt::format("'{}': {}", target, name.error().text()));
  }
  return {};
}

Result<Parsed> parse_data(RrType type, std::string_view text) {
  auto* rule = rule_of(type);
  LS_ASSIGN(auto words, words_of(text));
  LS_TRY(check_words(*rule, words));
  ldns_rr* raw = nullptr;
  auto line = fmt::format(". 1 IN {} {}", to_text(type), text);
  auto status = ldns_rr_new_frm_str(&raw, line.c_str(), 1, nullptr, nullptr);
  std::unique_ptr<ldns_rr, FreeRr> rr(raw);
  if (status != LDNS_STATUS_OK) return fail(fmt::format("'{}': {}", text.substr(0, 100), ldns_get_errorstr_by_id(status)));
  Parsed out;
  for (size_t i = 0; i < ldns_rr_rd_count(rr.get()); i++) {
    auto* rdf = ldns_rr_rdf(rr.get(), i);
    out.rdata.append(reinterpret_cast<const char*>(ldns_rdf_data(rdf)), ldns_rdf_size(rdf));
    if (i) out.text += ' ';
    out.text += ldns_text(rdf);
  }
  if (out.rdata.empty() || out.rdata.size() > 65535) return fail("has no data");
  return out;
}

/// Letters, digits, '-' and '_' only: what a host name or a service label is made of.
Result<> check_labels(std::string_view name) {
  size_t begin = 0;
  while (true) {
    auto end = std::min(name.find('.', begin), name.size());
    auto label = name.substr(begin, end - begin);
    if (label.empty()) return fail("has an empty label");
    if (label.size() > DnsName::kMaxLabel) return fail(fmt::format("has a label of {} octets, {} at most", label.size(), DnsName::kMaxLabel));
    for (char c : label) {
      bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
      if (!good) return fail(c == '*' ? "has a '*'; wildcards are not served" : "has other characters than letters, digits, '-' and '_'");
    }
    if (end == name.size()) return {};
    begin = end + 1;
  }
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  return out;
}

std::string_view without_dot(std::string_view name) {
  if (name.size() > 1 && name.ends_with('.')) name.remove_suffix(1);
  return name;
}

}  // namespace

bool registrable(RrType type) { return rule_of(type) != nullptr; }

std::string_view registrable_types() {
  static const std::string kText = [] {
    std::string out;
    for (auto& r : kTypeRules) out += (out.empty() ? "" : ", ") + to_text(r.type);
    return out;
  }();
  return kText;
}

Result<> check_custom_zone(std::string_view zone) {
  if (auto why = static_zone_fault(without_dot(zone))) return fail(*why);
  return {};
}

tl::expected<void, Refusal> normalize(Registration& r, const RegistrationLimits& limits) {
  if (auto ok = check_custom_zone(r.zone); !ok) return invalid("zone", ok.error().text());
  r.zone = lower(without_dot(r.zone));
  if (r.name != "@") {
    if (auto ok = check_labels(r.name); !ok) return invalid("name", fmt::format("name '{}' {}", r.name.substr(0, 300), ok.error().text()));
    if (r.name.size() + 1 + r.zone.size() > 253) return invalid("name", "name and zone together are longer than 253 octets");
    r.name = lower(r.name);
  }
  if (!registrable(r.type)) return invalid("type", fmt::format("type {} cannot be registered, only {}", to_text(r.type), registrable_types()));
  if (r.type == RrType::kCname && r.name == "@") return invalid("type", "a zone's own name cannot be a CNAME (RFC 1034 3.6.2)");
  if (r.data.empty()) return invalid("data", "data is an empty list; use DELETE to take a name away");
  if (r.data.size() > limits.max_data) return invalid("data", fmt::format("data has {} records, {} at most", r.data.size(), limits.max_data));
  if (r.type == RrType::kCname && r.data.size() > 1) return invalid("data", "a name has one CNAME at most");
  std::vector<std::string> seen;
  size_t octets = 0;
  for (size_t i = 0; i < r.data.size(); i++) {
    auto parsed = parse_data(r.type, r.data[i]);
    if (!parsed) return invalid("data", fmt::format("data[{}] {}", i, parsed.error().text()));
    if (std::find(seen.begin(), seen.end(), parsed->rdata) != seen.end()) return invalid("data", fmt::format("data[{}] is there twice", i));
    octets += parsed->rdata.size();
    if (octets > limits.max_rdata) return invalid("data", fmt::format("the records together have more than {} octets", limits.max_rdata));
    r.data[i] = std::move(parsed->text);
    seen.push_back(std::move(parsed->rdata));
  }
  if (r.ttl > limits.max_ttl) return invalid("ttl", fmt::format("ttl {} is above {} seconds", r.ttl, limits.max_ttl));
  if (r.lease && (*r.lease < limits.min_lease || *r.lease > limits.max_lease)) {
    return invalid("lease", fmt::format("lease {} is not from {} to {}", lease_text(*r.lease), lease_text(limits.min_lease), lease_text(limits.max_lease)));
  }
  return {};
}

tl::expected<std::vector<Record>, Refusal> records_of(const Registration& r) {
  std::string owner;
  if (r.name != "@") {
    auto relative = relative_name(r.name);
    if (!relative) return invalid("name", fmt::format("name '{}' is not a name", r.name.substr(0, 300)));
    owner = std::move(*relative);
  }
  if (!registrable(r.type)) return invalid("type", fmt::format("type {} cannot be registered", to_text(r.type)));
  std::vector<Record> out;
  for (size_t i = 0; i < r.data.size(); i++) {
    auto parsed = parse_data(r.type, r.data[i]);
    if (!parsed) return invalid("data", fmt::format("data[{}] {}", i, parsed.error().text()));
    out.push_back({owner, r.type, std::move(parsed->rdata), r.ttl});
  }
  return out;
}

}  // namespace ls::dns
