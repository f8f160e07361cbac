#include "app/dns_kernel.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <set>

#include "app/dns_kernel_store.h"
#include "bpf/map.h"
#include "datapath/dns_counters.h"
#include "datapath/svc_tables.h"
#include "dns/kernel_mirror.h"
#include "loadstar/abi/dns_rate.h"
#include "api/labels.h"
#include "util/log.h"
#include "util/published.h"

namespace ls {
namespace {

using datapath::DnsTables;
using dns::ServiceKind;

struct ListenKey {
  std::array<uint8_t, 16> address;
  uint16_t port;
  auto operator<=>(const ListenKey&) const = default;
};

int64_t clock_ns(clockid_t id) {
  timespec t;
  clock_gettime(id, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

/// The question as a packet of this machine to `to`.
std::vector<uint8_t> packet_of(std::span<const uint8_t> question, const Endpoint& to) {
  const bool v4 = to.address.is_v4();
  const size_t header = 14 + (v4 ? 20 : 40), udp = 8 + question.size();
  std::vector<uint8_t> p(header + udp);
  auto put16 = [&](size_t at, size_t v) { p[at] = uint8_t(v >> 8), p[at + 1] = uint8_t(v); };
  const auto self = *IpAddress::parse(v4 ? "127.0.0.1" : "::1");
  put16(12, v4 ? 0x0800 : 0x86dd);
  if (v4) {
    p[14] = 0x45;
    put16(16, 20 + udp);
    p[22] = 64, p[23] = 17;
    std::copy_n(self.bytes().data() + 12, 4, p.begin() + 26);
    std::copy_n(to.address.bytes().data() + 12, 4, p.begin() + 30);
    uint32_t sum = 0;
    for (size_t at = 14; at < 34; at += 2) sum += uint32_t(p[at]) << 8 | p[at + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    put16(24, ~((sum & 0xffff) + (sum >> 16)));
  } else {
    p[14] = 0x60;
    put16(18, udp);
    p[20] = 17, p[21] = 64;
    std::copy_n(self.bytes().data(), 16, p.begin() + 22);
    std::copy_n(to.address.bytes().data(), 16, p.begin() + 38);
  }
  put16(header, 54321);
  put16(header + 2, to.port);
  put16(header + 4, udp);
  put16(header + 6, 0xffff);  // present; what it says is of no interest to the program
  std::copy(question.begin(), question.end(), p.begin() + ptrdiff_t(header + 8));
  return p;
}

}  // namespace

struct DnsKernel::Impl {
  MmapArray<ls_dns_conf> conf;
  MmapArray<ls_dns_listen> listen;
  MmapArray<ls_dns_rate_set> rate;
  Map<ls_dns_acl_key, uint64_t> acl;
  UniqueFd stats, program;
  DnsTables tables;
  DnsKernelStore store{tables, conf};
  dns::KernelMirror mirror;
  std::map<ListenKey, uint8_t> listening;
  std::string listen_problem, clients_problem;  ///< the latter: nobody is answered here
  bool wanted = false;
  uint64_t flushed_ns = 0;
  Published<api::KernelDnsView> shown;
  std::array<Published<std::optional<Endpoint>>, dns::kServices> first;

  Impl(MmapArray<ls_dns_conf> c, MmapArray<ls_dns_listen> l, MmapArray<ls_dns_rate_set> r, Map<ls_dns_acl_key, uint64_t> a, DnsTables t,
       Epoch& epoch)
      : conf(std::move(c)), listen(std::move(l)), rate(std::move(r)), acl(std::move(a)), tables(std::move(t)),
        mirror(store, epoch, {*DnsName::parse("ready.spartan")}) {}

  ls_dns_conf& c() { return conf.edit(0, 1)[0]; }
  ls_dns_service& service(ServiceKind kind) { return c().service[size_t(kind)]; }

  void publish() {
    api::KernelDnsView v;
    v.enabled = conf[0].enabled != 0;
    v.problem = clients_problem.empty() ? listen_problem : clients_problem;
    auto m = mirror.view();
    v.names = m.names, v.views = m.views, v.ready = m.ready, v.cached = m.cached;
    v.no_room = m.no_room, v.incomplete_zones = m.incomplete_zones;
    auto t = tables.view();
    v.slots_used = t.entries, v.slots = t.slots, v.bytes_used = t.bytes_used, v.bytes = t.bytes_total;
    shown.publish(std::move(v));
  }

  void write_suffixes(ServiceKind kind) {
    auto bits = mirror.suffixes(kind);
    auto& s = service(kind);
    for (size_t i = 0; i < bits.size(); i++) std::atomic_ref(s.suffixes[i]).store(bits[i], std::memory_order_release);
  }

  /// The whole table anew: a question that comes meanwhile may miss its address and goes up. The port is what makes a place count.
  void write_listen() {
    std::vector<ls_dns_listen> table(LS_DNS_LISTEN_MAX);
    std::set<uint16_t> ports;
    size_t left_out = 0;
    for (auto& [key, kind] : listening) {
      ls_dns_listen entry{};
      std::memcpy(entry.addr_be, key.address.data(), 16);
      entry.port_be = __builtin_bswap16(key.port);
      entry.service = kind;
      if (!ports.count(key.port) && ports.size() == LS_DNS_PORTS) {
        left_out++;
        continue;
      }
      bool placed = false;
      const uint32_t at = ls_dns_listen_at(entry.addr_be, entry.port_be);
      for (uint32_t i = 0; i < LS_DNS_LISTEN_PROBES && !placed; i++) {
        auto& place = table[(at + i) % LS_DNS_LISTEN_MAX];
        placed = place.port_be == 0;
        if (placed) place = entry;
      }
      placed ? void(ports.insert(key.port)) : void(left_out++);
    }
    auto now = listen.edit(0, LS_DNS_LISTEN_MAX);
    for (size_t i = 0; i < table.size(); i++) {
      if (std::memcmp(&now[i], &table[i], sizeof table[i]) == 0) continue;
      std::atomic_ref(now[i].port_be).store(0, std::memory_order_release);
      std::memcpy(now[i].addr_be, table[i].addr_be, 16);
      now[i].service = table[i].service;
      std::atomic_ref(now[i].port_be).store(table[i].port_be, std::memory_order_release);
    }
    size_t n = 0;
    for (uint16_t port : ports) std::atomic_ref(c().port_be[n++]).store(__builtin_bswap16(port), std::memory_order_release);
    for (; n < LS_DNS_PORTS; n++) std::atomic_ref(c().port_be[n]).store(0, std::memory_order_release);
    listen_problem = left_out ? fmt::format("{} of {} addresses and ports are answered by the process: the kernel's table holds {} ports and "
                                            "about {} addresses",
                                            left_out, listening.size(), LS_DNS_PORTS, LS_DNS_LISTEN_MAX / 2)
                              : "";
  }

  Result<> write_acl(ServiceKind kind, const std::vector<IpNetwork>& networks) {
    auto& on = service(kind).acl;
    std::map<std::pair<uint32_t, std::array<uint8_t, 16>>, bool> want;
    for (auto& n : networks) want[{32u + n.prefix, n.address.bytes()}] = true;
    if (networks.empty()) std::atomic_ref(on).store(0, std::memory_order_release);
    std::vector<ls_dns_acl_key> gone;
    LS_TRY(acl.for_each([&](const ls_dns_acl_key& k, const uint64_t&) {
      if (__builtin_bswap32(k.service_be) != uint32_t(kind)) return;
      std::array<uint8_t, 16> address;
      std::memcpy(address.data(), k.addr_be, 16);
      if (!want.erase({k.prefix, address})) gone.push_back(k);
    }));
    for (auto& [key, unused] : want) {
      ls_dns_acl_key k{};
      k.prefix = key.first;
      k.service_be = __builtin_bswap32(uint32_t(kind));
      std::memcpy(k.addr_be, key.second.data(), 16);
      LS_TRY(acl.put(k, 1));
    }
    for (auto& k : gone) LS_TRY(acl.erase(k));
    if (!networks.empty()) std::atomic_ref(on).store(1, std::memory_order_release);
    return {};
  }
};

DnsKernel::DnsKernel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DnsKernel::~DnsKernel() = default;

Result<std::unique_ptr<DnsKernel>> DnsKernel::open(const datapath::Programs& programs, Epoch& epoch, size_t max_cached) {
  auto fd = [&](const char* name) -> Result<UniqueFd> {
    UniqueFd own(fcntl(programs.map(name), F_DUPFD_CLOEXEC, 0));
    if (!own) return fail(errno, fmt::format("open map {}", name));
    return own;
  };
  LS_ASSIGN(auto conf_fd, fd("ls_dns_conf"));
  LS_ASSIGN(auto conf, MmapArray<ls_dns_conf>::adopt(std::move(conf_fd)));
  LS_ASSIGN(auto listen_fd, fd("ls_dns_listen"));
  LS_ASSIGN(auto listen, MmapArray<ls_dns_listen>::adopt(std::move(listen_fd)));
  LS_ASSIGN(auto rate_fd, fd("ls_dns_rate"));
  LS_ASSIGN(auto rate, MmapArray<ls_dns_rate_set>::adopt(std::move(rate_fd)));
  LS_ASSIGN(auto acl_fd, fd("ls_dns_acl"));
  LS_ASSIGN(auto acl, (Map<ls_dns_acl_key, uint64_t>::adopt(std::move(acl_fd))));
  LS_ASSIGN(auto bucket_fd, fd("ls_dns_bucket"));
  LS_ASSIGN(auto buckets, MmapArray<ls_dns_bucket>::adopt(std::move(bucket_fd)));
  LS_ASSIGN(auto data_fd, fd("ls_dns_data"));
  LS_ASSIGN(auto data, MmapArray<ls_dns_segment>::adopt(std::move(data_fd)));

  ls_dns_conf& c = conf.edit(0, 1)[0];
  if (c.key[1] == 0) {  // a new map
    ls_dns_conf fresh{};
    if (getrandom(fresh.key, sizeof fresh.key, 0) != ssize_t(sizeof fresh.key) ||
        getrandom(fresh.cookie_secret, sizeof fresh.cookie_secret, 0) != ssize_t(sizeof fresh.cookie_secret) ||
        getrandom(fresh.rate_key, sizeof fresh.rate_key, 0) != ssize_t(sizeof fresh.rate_key))
      return fail(errno, "make the keys of DNS answers");
    fresh.key[1] |= 1;
    fresh.bucket_mask = buckets.size() - 1;
    conf.write(0, fresh);
  }
  if (c.bucket_mask != buckets.size() - 1) return fail(EPROTO, "read ls_dns_conf: made for another size of ls_dns_bucket");
  const uint64_t hash_key[2] = {c.key[0], c.key[1]};
  LS_ASSIGN(auto tables, DnsTables::adopt({std::move(buckets), std::move(data)}, hash_key, wait_for_programs));
  auto impl = std::make_unique<Impl>(std::move(conf), std::move(listen), std::move(rate), std::move(acl), std::move(tables), epoch);
  impl->mirror.set_max_cached(max_cached);
  impl->wanted = impl->conf[0].enabled != 0;  // what a daemon before switched on answers without a gap
  impl->stats = UniqueFd(fcntl(programs.map("ls_dns_stats"), F_DUPFD_CLOEXEC, 0));
  impl->program = UniqueFd(fcntl(programs.program("ls_dns_try"), F_DUPFD_CLOEXEC, 0));
  return std::unique_ptr<DnsKernel>(new DnsKernel(std::move(impl)));
}

void DnsKernel::share(dns::ServerOptions& options, std::function<void(dns::HotAnswer&&)> hot) {
  auto& c = impl_->c();
  dns::CookieSecret secret;
  std::copy_n(c.cookie_secret, secret.size(), secret.begin());
  options.cookie_secret = secret;
  options.cache.hot = std::move(hot);
  for (auto& s : options.services) {
    auto sets = impl_->rate.edit(uint32_t(s.kind) * LS_DNS_RATE_SETS, LS_DNS_RATE_SETS);
    s.rate_words = {reinterpret_cast<uint64_t*>(sets.data()), sets.size() * LS_DNS_RATE_WAYS};
    std::copy_n(c.rate_key, s.rate_key.size(), s.rate_key.begin());
  }
}

void DnsKernel::set_routes(ServiceKind service, std::shared_ptr<const dns::Routes> routes) {
  impl_->mirror.set_routes(service, std::move(routes));
  impl_->write_suffixes(service);
  impl_->publish();
}

void DnsKernel::set_policy(const dns::ServiceOptions& options, uint16_t udp_size) {
  auto& s = impl_->service(options.kind);
  std::atomic_ref(s.udp_max).store(udp_size, std::memory_order_release);
  std::atomic_ref(s.slip).store(uint8_t(std::min<uint32_t>(options.rate_limit.slip, LS_DNS_RATE_SLIP_MAX)), std::memory_order_release);
  const uint32_t per_second = options.rate_limit.per_second;
  std::atomic_ref(s.rate_step).store(per_second ? ls_dns_rate_step(per_second) : 0, std::memory_order_release);
  if (auto r = impl_->write_acl(options.kind, options.clients.networks()); !r) {
    // Without the whole list somebody might be answered here who should not be.
    impl_->clients_problem = "dns.clients: " + r.error().text();
    log::error("dns_kernel_clients", {{"error", r.error().text()}});
  } else {
    impl_->clients_problem.clear();
  }
  enable(impl_->wanted);
}

void DnsKernel::set_listeners(const std::vector<dns::ListenerView>& listeners, const std::vector<IpAddress>& own) {
  std::map<ListenKey, uint8_t> next;
  std::array<std::optional<Endpoint>, dns::kServices> first;
  auto add = [&](const IpAddress& a, const dns::ListenerView& l) {
    next.emplace(ListenKey{a.bytes(), l.endpoint.port}, uint8_t(l.service));
    auto& f = first[size_t(l.service)];
    if (!f) f = Endpoint{a, l.endpoint.port};
  };
  // Special addresses first: the more exact socket gets the question.
  for (auto& l : listeners)
    if (l.udp && !l.endpoint.address.is_zero()) add(l.endpoint.address, l);
  for (auto& l : listeners) {
    if (!l.udp || !l.endpoint.address.is_zero()) continue;
    for (auto& a : own)
      if (a.is_v4() == l.endpoint.address.is_v4()) add(a, l);
  }
  for (size_t i = 0; i < first.size(); i++) impl_->first[i].publish(first[i]);
  if (next == impl_->listening) return;
  impl_->listening = std::move(next);
  impl_->write_listen();
  impl_->publish();
}

void DnsKernel::enable(bool on) {
  impl_->wanted = on;
  impl_->conf.publish(0, &ls_dns_conf::enabled, on && impl_->clients_problem.empty() ? 1 : 0);
  impl_->publish();
}

void DnsKernel::settled() {
  impl_->mirror.settled();
  impl_->tables.let_go();  // the whole of it was written just now; from here on it is a little at a time
  impl_->publish();
}

void DnsKernel::tick() {
  const int64_t mono = clock_ns(CLOCK_MONOTONIC);
  std::atomic_ref(impl_->c().unix_offset_ns).store(clock_ns(CLOCK_REALTIME) - mono, std::memory_order_relaxed);
  impl_->mirror.expire_cached(uint64_t(mono));
  impl_->tables.let_go();
  impl_->publish();
}

void DnsKernel::hot(const dns::HotAnswer& answer) {
  if (answer.stored_ns <= impl_->flushed_ns) return;
  impl_->mirror.put_cached(answer.message, answer.stored_ns, answer.expires_ns);
}

size_t DnsKernel::flush(const DnsName& suffix) {
  impl_->flushed_ns = uint64_t(clock_ns(CLOCK_MONOTONIC));
  size_t n = impl_->mirror.flush_cached(suffix);
  impl_->publish();
  return n;
}

api::KernelDnsView DnsKernel::view() const {
  auto v = *impl_->shown.get();
  if (auto counts = read_dns_counts(impl_->stats.get())) {
    v.counts = *counts;
  } else if (v.problem.empty()) {
    v.problem = counts.error().text();
  }
  return v;
}

std::optional<api::KernelDnsTry> DnsKernel::try_question(ServiceKind service, std::span<const uint8_t> question) const {
  auto to = *impl_->first[size_t(service)].get();
  if (!to || !impl_->program) return std::nullopt;
  auto in = packet_of(question, *to);
  std::vector<uint8_t> out(4096);
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in.data(), .data_out = out.data(), .data_size_in = uint32_t(in.size()),
              .data_size_out = uint32_t(out.size()), .repeat = 1);
  if (bpf_prog_test_run_opts(impl_->program.get(), &run) != 0) return std::nullopt;
  api::KernelDnsTry t;
  t.result = api::dns_result_label(run.retval);
  t.text = api::dns_result_text(run.retval);
  const size_t header = 14 + (to->address.is_v4() ? 20 : 40) + 8;
  if (run.retval <= LS_DNS_SLIP && run.data_size_out > header)
    t.answer.assign(out.begin() + ptrdiff_t(header), out.begin() + ptrdiff_t(run.data_size_out));
  return t;
}

}  // namespace ls
