#include "derive/records.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace ls {
namespace {

constexpr std::array<std::pair<RrType, std::string_view>, 17> kTypes{{{RrType::kA, "A"},
                                                                      {RrType::kNs, "NS"},
                                                                      {RrType::kCname, "CNAME"},
                                                                      {RrType::kSoa, "SOA"},
                                                                      {RrType::kPtr, "PTR"},
                                                                      {RrType::kMx, "MX"},
                                                                      {RrType::kTxt, "TXT"},
                                                                      {RrType::kAaaa, "AAAA"},
                                                                      {RrType::kSrv, "SRV"},
                                                                      {RrType::kOpt, "OPT"},
                                                                      {RrType::kDs, "DS"},
                                                                      {RrType::kRrsig, "RRSIG"},
                                                                      {RrType::kTsig, "TSIG"},
                                                                      {RrType::kIxfr, "IXFR"},
                                                                      {RrType::kAxfr, "AXFR"},
                                                                      {RrType::kAny, "ANY"},
                                                                      {RrType::kCaa, "CAA"}}};

bool same_text(std::string_view text, std::string_view upper) {
  return std::equal(text.begin(), text.end(), upper.begin(), upper.end(),
                    [](char a, char b) { return (a >= 'a' && a <= 'z' ? a - ('a' - 'A') : a) == b; });
}

void put16(std::string& out, uint16_t v) {
  out += static_cast<char>(v >> 8);
  out += static_cast<char>(v & 0xff);
}

}  // namespace

std::string to_text(RrType type) {
  for (const auto& [number, text] : kTypes)
    if (number == type) return std::string(text);
  return "TYPE" + std::to_string(static_cast<unsigned>(type));
}

std::optional<RrType> parse_rr_type(std::string_view text) {
  for (const auto& [number, name] : kTypes)
    if (same_text(text, name)) return number;
  if (text.size() < 5 || !same_text(text.substr(0, 4), "TYPE")) return std::nullopt;
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + 4, text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return static_cast<RrType>(number);
}

Record address_record(std::string owner, const IpAddress& address, uint32_t ttl) {
  const auto* bytes = reinterpret_cast<const char*>(address.bytes().data());
  if (address.is_v4()) return {std::move(owner), RrType::kA, std::string(bytes + 12, 4), ttl};
  return {std::move(owner), RrType::kAaaa, std::string(bytes, 16), ttl};
}

Record srv_record(std::string owner, uint16_t priority, uint16_t weight, uint16_t port, std::string_view target) {
  std::string rdata;
  rdata.reserve(6 + target.size() + 1);
  put16(rdata, priority);
  put16(rdata, weight);
  put16(rdata, port);
  rdata += target;
  rdata += kApexMark;
  return {std::move(owner), RrType::kSrv, std::move(rdata), 0};
}

Record cname_record(std::string owner, const DnsName& target, uint32_t ttl) {
  return {std::move(owner), RrType::kCname, std::string(target.wire()), ttl};
}

std::optional<size_t> name_offset(RrType type) {
  switch (type) {
    case RrType::kNs:
    case RrType::kCname:
    case RrType::kPtr: return 0;
    case RrType::kMx: return 2;
    case RrType::kSrv: return 6;
    default: return std::nullopt;
  }
}

std::optional<DnsName> target_of(RrType type, std::string_view rdata, const DnsName& apex) {
  const auto offset = name_offset(type);
  if (!offset || rdata.size() <= *offset) return std::nullopt;
  const std::string_view name = rdata.substr(*offset);
  if (name.back() == kApexMark) return DnsName::join(name.substr(0, name.size() - 1), apex);
  return DnsName::from_wire({reinterpret_cast<const uint8_t*>(name.data()), name.size()});
}

std::optional<std::string> absolute_rdata(RrType type, std::string_view rdata, const DnsName& apex) {
  const auto offset = name_offset(type);
  if (!offset) return std::string(rdata);
  const auto target = target_of(type, rdata, apex);
  if (!target) return std::nullopt;
  std::string out(rdata.substr(0, *offset));
  out += target->wire();
  return out;
}

RecordDelta difference(std::vector<Record> before, std::vector<Record> after) {
  RecordDelta out;
  if (before == after) return out;
  std::sort(before.begin(), before.end());
  std::sort(after.begin(), after.end());
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(out.add));
  std::set_difference(before.begin(), before.end(), after.begin(), after.end(), std::back_inserter(out.remove));
  return out;
}

}  // namespace ls
