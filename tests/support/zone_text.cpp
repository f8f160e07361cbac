#include "zone_text.h"

#include <fmt/format.h>

#include <sstream>

namespace ls::test {
namespace {

Result<std::string> owner_of(const std::string& text, const DnsName& zone) {
  if (text == "@") return std::string();
  LS_ASSIGN(DnsName name, DnsName::parse(text));
  if (name.is_within(zone)) return name.relative_to(zone);
  if (text.ends_with('.')) return fail(text + " is not in the zone");
  auto relative = relative_name(text);
  if (!relative) return fail(text + " is no name");
  return *relative;
}

/// Targets are absolute, or relative when they have no final dot and do not end in the zone's name.
Result<std::string> target_of(const std::string& text, const DnsName& zone) {
  LS_ASSIGN(DnsName name, DnsName::parse(text));
  if (!text.ends_with('.') && !name.is_within(zone)) {
    auto joined = DnsName::join(std::string(name.wire().substr(0, name.wire().size() - 1)), zone);
    if (!joined) return fail(text + " is too long");
    name = *joined;
  }
  return std::string(name.wire());
}

void put16(std::string& out, unsigned v) {
  out += char(v >> 8);
  out += char(v);
}

Result<Record> read_line(const std::string& line, const DnsName& zone) {
  std::istringstream words(line);
  std::string name, type_text;
  uint32_t ttl = 0;
  if (!(words >> name >> ttl >> type_text)) return fail("name, TTL and type are needed");
  if (type_text == "IN") words >> type_text;
  auto type = parse_rr_type(type_text);
  if (!type) return fail("unknown type " + type_text);
  Record r;
  LS_ASSIGN(r.owner, owner_of(name, zone));
  r.type = *type;
  r.ttl = ttl;
  std::string word, rest;
  unsigned a = 0, b = 0, c = 0;
  switch (*type) {
    case RrType::kA:
    case RrType::kAaaa: {
      words >> word;
      auto address = IpAddress::parse(word);
      if (!address || address->is_v4() != (*type == RrType::kA)) return fail("bad address " + word);
      return address_record(r.owner, *address, ttl);
    }
    case RrType::kMx: words >> a; break;
    case RrType::kSrv: words >> a >> b >> c; break;
    case RrType::kTxt:
      std::getline(words >> std::ws, rest);
      if (rest.size() >= 2 && rest.front() == '"' && rest.back() == '"') rest = rest.substr(1, rest.size() - 2);
      if (rest.size() > 255) return fail("text longer than 255 octets");
      r.rdata = char(rest.size()) + rest;
      return r;
    case RrType::kCname: case RrType::kNs: case RrType::kPtr: break;
    default: return fail("type " + type_text + " is not read here");
  }
  if (!(words >> word)) return fail("a target is needed");
  LS_ASSIGN(std::string target, target_of(word, zone));
  if (*type == RrType::kMx) put16(r.rdata, a);
  if (*type == RrType::kSrv) put16(r.rdata, a), put16(r.rdata, b), put16(r.rdata, c);
  r.rdata += target;
  return r;
}

}  // namespace

Result<std::vector<Record>> read_zone_text(std::string_view text, const DnsName& zone) {
  std::vector<Record> records;
  std::istringstream lines{std::string(text)};
  size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    number++;
    if (auto first = line.find_first_not_of(" \t\r"); first == std::string::npos || line[first] == '#') continue;
    auto record = read_line(line, zone);
    if (!record) return pass(std::move(record.error()), fmt::format("line {}", number));
    records.push_back(std::move(*record));
  }
  return records;
}

}  // namespace ls::test
