#include "api/dns_views.h"
#include "dns/zone_text.h"

namespace ls::api {
namespace {

void put(std::string& out, uint32_t v, int octets) {
  while (octets-- > 0) out += char(v >> (8 * octets));
}

Record soa_record(const dns::ZoneView& view, uint32_t serial) {
  Record r{{}, RrType::kSoa, std::string(view.soa.mname.wire()), view.soa.ttl};
  r.rdata += view.soa.rname.wire();
  for (auto v : {serial, view.soa.refresh, view.soa.retry, view.soa.expire, view.soa.minimum}) put(r.rdata, v, 4);
  return r;
}

}  // namespace

std::string zone_text(const ZoneStatus& zone, Epoch& epoch) {
  auto& view = *zone.view;
  auto& table = *view.table;
  std::vector<Record> records;
  {
    Epoch::Reader reader(epoch);
    Epoch::Guard guard(reader);
    records.reserve(table.records() + 1 + view.name_servers.size());
    records.push_back(soa_record(view, table.serial()));
    table.for_each([&](const dns::ZoneName& name) {
      name.for_each([&](dns::RrSet set) {
        for (size_t i = 0; i < set.count(); i++) {
          Record r{std::string(name.owner()), set.type(), std::string(set.rdata(i)), set.ttl()};
          if (r.type == RrType::kSrv && view.srv_override && r.rdata.size() > 4) {
            std::string numbers;
            put(numbers, view.srv_override->first, 2);
            put(numbers, view.srv_override->second, 2);
            r.rdata.replace(0, 4, numbers);
          }
          records.push_back(std::move(r));
        }
      });
    });
  }
  for (auto& server : view.name_servers) records.push_back({{}, RrType::kNs, std::string(server.wire()), view.ns_ttl});
  auto head = "; " + view.apex.text() + " of the " + std::string(dns::to_text(zone.service)) +
              (table.loaded() ? "" : ", NOT LOADED") + ", " + std::to_string(records.size()) + " records\n";
  return head + dns::zone_to_text(view.apex, view.ttl, std::move(records));
}

}  // namespace ls::api
