#include <fmt/format.h>
#include <ldns/ldns.h>

#include <algorithm>
#include <compare>
#include <cstdlib>
#include <memory>

#include "api/dns_views.h"
#include "dns/query.h"

namespace ls::api {
namespace {

void put16(std::string& out, uint16_t v) {
  out += char(v >> 8);
  out += char(v);
}
void put32(std::string& out, uint32_t v) {
  put16(out, uint16_t(v >> 16));
  put16(out, uint16_t(v));
}

/// One record as ldns spells it, ended by a newline.
Result<std::string> line(const DnsName& owner, RrType type, uint32_t ttl, std::string_view rdata) {
  std::string wire(owner.wire());
  put16(wire, uint16_t(type));
  put16(wire, dns::kClassIn);
  put32(wire, ttl);
  put16(wire, uint16_t(rdata.size()));
  wire += rdata;
  ldns_rr* raw = nullptr;
  size_t at = 0;
  auto status = ldns_wire2rr(&raw, reinterpret_cast<const uint8_t*>(wire.data()), wire.size(), &at, LDNS_SECTION_ANSWER);
  if (status != LDNS_STATUS_OK) {
    return fail("write " + owner.text() + " " + to_text(type) + " as text: " + ldns_get_errorstr_by_id(status));
  }
  std::unique_ptr<ldns_rr, void (*)(ldns_rr*)> rr(raw, ldns_rr_free);
  std::unique_ptr<char, void (*)(void*)> text(ldns_rr2str(raw), free);
  if (!text) return fail(ENOMEM, "write " + owner.text() + " as text");
  return std::string(text.get());
}

std::string soa_rdata(const dns::Soa& soa, uint32_t serial) {
  std::string out(soa.mname.wire());
  out += soa.rname.wire();
  for (auto v : {serial, soa.refresh, soa.retry, soa.expire, soa.minimum}) put32(out, v);
  return out;
}

/// Last label first, so that a name stands before those below it.
std::string tree_order(std::string_view relative) {
  std::vector<std::string_view> labels;
  for (size_t i = 0; i < relative.size();) {
    auto length = static_cast<unsigned char>(relative[i]);
    labels.push_back(relative.substr(i + 1, length));
    i += 1 + length;
  }
  std::string out;
  for (auto l = labels.rbegin(); l != labels.rend(); ++l) out.append(*l).append(1, '\0');
  return out;
}

struct Line {
  std::string order;
  Record record;
};

}  // namespace

Result<std::string> zone_text(const ZoneStatus& zone, Epoch& epoch) {
  auto& view = *zone.view;
  auto& table = *view.table;
  std::vector<Line> lines;
  uint32_t serial = 0;
  {
    Epoch::Reader reader(epoch);
    Epoch::Guard guard(reader);
    serial = table.serial();
    lines.reserve(table.records());
    table.for_each([&](const dns::ZoneName& name) {
      auto order = tree_order(name.owner());
      name.for_each([&](dns::RrSet set) {
        for (size_t i = 0; i < set.count(); i++) {
          lines.push_back({order, {std::string(name.owner()), set.type(), std::string(set.rdata(i)), set.ttl()}});
        }
      });
    });
  }
  std::sort(lines.begin(), lines.end(), [](auto& a, auto& b) { return a.order != b.order ? a.order < b.order : (a.record <=> b.record) < 0; });

  auto out = fmt::format("; {} of the {}, {}, {} records\n$ORIGIN {}\n$TTL {}\n", view.apex.text(), dns::to_text(zone.service),
                         table.loaded() ? "loaded" : "not loaded", lines.size(), view.apex.text(), view.ttl);
  LS_ASSIGN(auto soa, line(view.apex, RrType::kSoa, view.soa.ttl, soa_rdata(view.soa, serial)));
  out += soa;
  for (auto& server : view.name_servers) {
    LS_ASSIGN(auto ns, line(view.apex, RrType::kNs, view.ns_ttl, server.wire()));
    out += ns;
  }
  for (auto& [order, r] : lines) {
    auto owner = DnsName::join(r.owner, view.apex);
    auto rdata = absolute_rdata(r.type, r.rdata, view.apex);
    if (!owner || !rdata) {
      out += "; " + relative_text(r.owner) + " " + to_text(r.type) + " is left out: its name gets too long\n";
      continue;
    }
    if (r.type == RrType::kSrv && view.srv_override && rdata->size() > 4) {
      std::string numbers;
      put16(numbers, view.srv_override->first);
      put16(numbers, view.srv_override->second);
      rdata->replace(0, 4, numbers);
    }
    LS_ASSIGN(auto text, line(*owner, r.type, r.ttl ? r.ttl : view.ttl, *rdata));
    out += text;
  }
  return out;
}

}  // namespace ls::api
