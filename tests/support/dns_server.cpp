// ls-dns-server: the real DNS server with zones from text files. Ends at SIGTERM or SIGINT.
//   ls-dns-server --listen ADDR:PORT... [--workers N] [--resolver] [--zone NAME --records FILE]... [--forward
//   ADDR:PORT]...
//     [--ns NAME] [--transfer NET]... [--client NET]... [--rate-limit N] [--churn N]
// Prints "listening ADDR:PORT" for each listener, then "ready". With --churn, N times a second one record of
// the first zone changes.
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "dns/server.h"
#include "zone_text.h"

using namespace ls;

namespace {

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "ls-dns-server: %s\n", why.c_str());
  std::exit(2);
}

DnsName name_of(const std::string& text) {
  auto name = DnsName::parse(text);
  if (!name) die(name.error().text());
  return *name;
}

Endpoint endpoint_of(const std::string& text) {
  auto e = Endpoint::parse(text);
  // The parser wants a port above zero; here zero means any.
  if (!e && text.ends_with(":0")) {
    e = Endpoint::parse(text.substr(0, text.size() - 1) + "1");
    if (e) e->port = 0;
  }
  if (!e) die("bad address " + text);
  return *e;
}

IpNetwork network_of(const std::string& text) {
  auto n = IpNetwork::parse(text);
  if (!n) die("bad network " + text);
  return *n;
}

struct Zone {
  DnsName apex;
  std::shared_ptr<dns::ZoneTable> table;
  std::vector<Record> records;
};

}  // namespace

int main(int argc, char** argv) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);

  Epoch epoch;
  SystemClock clock;
  dns::ServerOptions options;
  dns::ServiceOptions service;
  service.kind = dns::ServiceKind::kAuthority;
  std::vector<Zone> zones;
  std::vector<DnsName> name_servers;
  dns::ForwardGroup group;
  long churn = 0;
  for (int i = 1; i < argc; i++) {
    std::string option = argv[i];
    if (option == "--resolver") {
      service.kind = dns::ServiceKind::kResolver;
      continue;
    }
    if (++i >= argc) die("bad option " + option);
    std::string value = argv[i];
    if (option == "--listen") {
      service.listen.push_back(endpoint_of(value));
    } else if (option == "--workers") {
      options.workers = std::strtoul(value.c_str(), nullptr, 10);
    } else if (option == "--zone") {
      zones.push_back({name_of(value), std::make_shared<dns::ZoneTable>(epoch), {}});
    } else if (option == "--records") {
      if (zones.empty()) die("--zone comes before --records");
      std::ifstream file(value);
      if (!file) die("cannot read " + value);
      std::ostringstream text;
      text << file.rdbuf();
      auto records = test::read_zone_text(text.str(), zones.back().apex);
      if (!records) die(value + ": " + records.error().text());
      zones.back().records = std::move(*records);
    } else if (option == "--forward") {
      group.upstreams.push_back(endpoint_of(value));
    } else if (option == "--ns") {
      name_servers.push_back(name_of(value));
    } else if (option == "--transfer") {
      service.transfer.push_back(network_of(value));
    } else if (option == "--client") {
      std::vector<IpNetwork> one{network_of(value)};
      service.clients = dns::AccessList(one);
    } else if (option == "--rate-limit") {
      service.rate_limit.per_second = uint32_t(std::strtoul(value.c_str(), nullptr, 10));
    } else if (option == "--churn") {
      churn = std::strtol(value.c_str(), nullptr, 10);
    } else {
      die("bad option " + option);
    }
  }
  if (service.listen.empty()) die("--listen is needed");

  std::vector<dns::ZoneView> views;
  for (Zone& z : zones) {
    z.table->replace(z.records);
    dns::ZoneView view;
    view.apex = z.apex;
    view.table = z.table;
    auto host = [&](const char* label) { return *DnsName::join(*relative_name(label), z.apex); };
    view.name_servers = name_servers.empty() ? std::vector{host("ns")} : name_servers;
    view.soa.mname = view.name_servers.front();
    view.soa.rname = host("hostmaster");
    view.transferable = true;
    views.push_back(std::move(view));
  }
  std::vector<dns::ForwardGroup> groups;
  if (!group.upstreams.empty()) groups.push_back(group);

  options.services.push_back(service);
  dns::Server server(options, epoch, clock);
  server.set_routes(service.kind, std::make_shared<const dns::Routes>(std::move(views), std::move(groups)));
  if (auto started = server.start(); !started) die(started.error().text());
  for (const auto& l : server.view().listeners) {
    if (!l.error.empty()) die(l.error);
    std::printf("listening %s\n", l.endpoint.text().c_str());
  }
  std::puts("ready");
  std::fflush(stdout);

  timespec step{1, 0};
  if (churn > 0) step = {churn == 1 ? 1 : 0, churn == 1 ? 0 : 1'000'000'000 / churn};
  for (uint32_t round = 0;; round++) {
    if (sigtimedwait(&ends, nullptr, &step) > 0) break;
    if (churn <= 0 || zones.empty()) continue;
    auto record = [](uint32_t n) {
      return address_record(*relative_name("churn"), IpAddress::from_v4(0x0a000000 + n));
    };
    RecordDelta delta;
    delta.add.push_back(record(round));
    if (round) delta.remove.push_back(record(round - 1));
    zones.front().table->apply(delta);
    epoch.collect();
  }
  server.stop();
}
