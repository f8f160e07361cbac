#include "derive/mesos_import.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>

namespace ls {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kMostProblems = 100;
constexpr uint32_t kTtl_s = 5;
constexpr uint16_t kPriority = 1, kWeight = 1;

class Import {
 public:
  Import(ImportedZone& out, DnsName domain) : out_(out), domain_(std::move(domain)) {}

  void addresses(std::string_view member, dom::element names, bool v4) {
    each(member, names, [&](std::string_view name, const std::string& owner, std::string_view value) {
      auto address = IpAddress::parse(value);
      if (!address || address->is_v4() != v4) return problem(name, member, quoted(value) + " is no address of this kind");
      out_.records.push_back(address_record(owner, *address, kTtl_s));
    });
  }
  void services(std::string_view member, dom::element names) {
    each(member, names, [&](std::string_view name, const std::string& owner, std::string_view value) {
      const size_t colon = value.rfind(':');
      const std::string_view number = colon == value.npos ? std::string_view() : value.substr(colon + 1);
      uint16_t port = 0;
      auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), port);
      if (number.empty() || error != std::errc() || end != number.data() + number.size() || port == 0)
        return problem(name, member, quoted(value) + " has no port from 1 to 65535");
      auto target = relative(value.substr(0, colon));
      if (!target) return problem(name, member, quoted(value) + " points to no name in the domain");
      Record r = srv_record(owner, kPriority, kWeight, port, *target);
      r.ttl = kTtl_s;
      out_.records.push_back(std::move(r));
    });
  }

 private:
  static std::string quoted(std::string_view text) { return "\"" + std::string(text.substr(0, 80)) + "\""; }
  void problem(std::string_view name, std::string_view member, std::string why) {
    out_.problem_count++;
    if (out_.problems.size() < kMostProblems)
      out_.problems.push_back({std::string(name.substr(0, 256)), std::string(member), std::move(why)});
  }
  std::optional<std::string> relative(std::string_view absolute) const {
    auto name = DnsName::parse(absolute);
    if (!name || !name->is_within(domain_)) return std::nullopt;
    return name->relative_to(domain_);
  }
  template <class On>
  void each(std::string_view member, dom::element names, On&& on) {
    dom::object list;
    if (names.is_null()) return;
    if (names.get(list)) return problem("", member, "is not an object");
    for (auto [name, values] : list) {
      auto owner = relative(name);
      if (!owner) {
        problem(name, member, "is no name in the domain");
        continue;
      }
      dom::array entries;
      if (values.is_null()) continue;
      if (values.get(entries)) {
        problem(name, member, "is not a list");
        continue;
      }
      for (dom::element entry : entries) {
        std::string_view text;
        if (entry.get(text)) {
          problem(name, member, "holds something that is not text");
        } else {
          on(name, *owner, text);
        }
      }
    }
  }

  ImportedZone& out_;
  const DnsName domain_;
};

}  // namespace

Result<ImportedZone> import_mesos_zone(std::string_view json) {
  dom::parser parser;
  dom::element root;
  if (auto error = parser.parse(json.data(), json.size()).get(root))
    return fail(std::string("read a zone of Mesos-DNS: ") + simdjson::error_message(error));
  std::string_view domain;
  if (!root.is_object() || root["Domain"].get(domain)) return fail("read a zone of Mesos-DNS: it names no domain");
  auto apex = DnsName::parse(domain);
  if (!apex || apex->is_root()) return fail("read a zone of Mesos-DNS: its domain is no name");
  ImportedZone out;
  out.domain = apex->folded().text();
  out.domain.pop_back();
  Import import(out, apex->folded());
  dom::element records, member;
  if (root["Records"].get(records) == simdjson::SUCCESS && records.is_object()) {
    if (records["As"].get(member) == simdjson::SUCCESS) import.addresses("As", member, true);
    if (records["AAAAs"].get(member) == simdjson::SUCCESS) import.addresses("AAAAs", member, false);
    if (records["SRVs"].get(member) == simdjson::SUCCESS) import.services("SRVs", member);
  }
  std::sort(out.records.begin(), out.records.end());
  out.records.erase(std::unique(out.records.begin(), out.records.end()), out.records.end());
  return out;
}

}  // namespace ls
