// The lines of the settings table for DNS: sections dns, authority, resolver, registration, store, watchdog.
#include "app/settings_line.h"
#include "util/zone_names.h"

namespace ls::setting_codec {

template <>
struct EnumNames<IpSourceKind> {
  static constexpr std::pair<std::string_view, IpSourceKind> kNames[] = {{"netinfo", IpSourceKind::kNetinfo},
                                                                         {"mesos", IpSourceKind::kMesos},
                                                                         {"docker", IpSourceKind::kDocker},
                                                                         {"host", IpSourceKind::kHost}};
};
template <>
struct EnumNames<RotationKind> {
  static constexpr std::pair<std::string_view, RotationKind> kNames[] = {{"round_robin", RotationKind::kRoundRobin},
                                                                         {"random", RotationKind::kRandom},
                                                                         {"none", RotationKind::kNone}};
};
template <>
struct EnumNames<KernelXdp> {
  static constexpr std::pair<std::string_view, KernelXdp> kNames[] = {
      {"auto", KernelXdp::kAuto}, {"native", KernelXdp::kNative}, {"off", KernelXdp::kOff}};
};

namespace {

using Fault = std::optional<std::string>;

Fault upstream(const std::string& s) {
  auto endpoint = parse_upstream(s, 53);
  if (!endpoint) return endpoint.error().doing;
  if (endpoint->address.is_zero()) return fmt::format("{} is no address of a server", toml_quote(s));
  return std::nullopt;
}

Fault master(const std::string& s) {
  auto endpoint = parse_upstream(s, 62080);
  if (!endpoint) return endpoint.error().doing;
  return std::nullopt;
}

Fault domain(const std::string& s) { return domain_fault(s); }
Fault zone(const std::string& s) { return zone_fault(s); }
Fault static_zone(const std::string& s) { return static_zone_fault(s); }
Fault cluster_id(const std::string& s) { return cluster_id_fault(s); }

Fault soa_name(const std::string& s) { return zone_fault(s); }

Fault zone_line(const std::string& s) {
  if (s.find_first_of(std::string_view("\n\r\0", 3)) != s.npos) return "a line of zone text holds no end of line";
  // ldns reads lines of at most this many bytes (LDNS_MAX_LINELEN of ldns/rr.h is 10,230).
  if (s.size() > 10'000) return "a line of zone text has at most 10,000 characters";
  return std::nullopt;
}

Fault whole_seconds(const Millis& v) {
  if (v.count() % 1000 == 0) return std::nullopt;
  return fmt::format("{} is not a whole number of seconds", print_duration(v));
}

Fault device(const std::string& s) {
  if (s.empty()) return std::nullopt;
  return interface_name(s);
}

/// resolv.conf(5): names on one line, 256 characters in all.
Fault search(const std::string& s) {
  if (s.size() > 256) return "a search list has at most 256 characters";
  size_t at = 0;
  while (at < s.size()) {
    auto end = std::min(s.find(' ', at), s.size());
    auto name = s.substr(at, end - at);
    if (!name.empty() && name != ".") {
      if (name.back() == '.') name.pop_back();
      if (auto why = zone_fault(name)) return why;
    }
    at = end + 1;
  }
  return std::nullopt;
}

/// systemd.unit(5): letters, digits and :-_.\@ with the type at the end. It is handed to systemctl as an argument.
Fault unit_name(const std::string& s) {
  bool good = s.size() > 8 && s.size() < 256 && s.ends_with(".service") && s.front() != '-' && s.front() != '.';
  for (char c : s) {
    good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    std::string_view(":-_.\\@").find(c) != std::string_view::npos);
  }
  if (!good) return fmt::format("{} is no name of a service unit, as in \"loadstard.service\"", toml_quote(s));
  return std::nullopt;
}

using C = Config;
constexpr Limits kTtl{0, 365 * kDay};
constexpr std::string_view kServers = "list of server addresses", kNetworks = "list of networks";

}  // namespace

std::vector<Setting> dns_lines() {
  return {
      // clang-format off
      line<&C::dns, &C::Dns::workers>("dns.workers", "Threads that answer. 0: one a CPU.",
          {.limits = {0, 256}, .unit = "threads"}),
      line<&C::dns, &C::Dns::udp_size>("dns.udp_size",
          "Longest answer over UDP, also for clients that announce more. 1,232 fits every IPv6 path unfragmented. Clients "
          "that announce nothing get 512.", {.limits = {512, 4096}, .unit = "octets"}),
      line<&C::dns, &C::Dns::tcp_connections>("dns.tcp_connections", "TCP connections of all clients together.",
          {.limits = {1, 65536}, .unit = "connections"}),
      line<&C::dns, &C::Dns::tcp_per_client>("dns.tcp_per_client", "TCP connections of one client.",
          {.limits = {1, 65536}, .unit = "connections"}),
      line<&C::dns, &C::Dns::tcp_idle>("dns.tcp_idle", "A TCP connection without a question ends after this time.",
          {.limits = {100, kHour}}),
      line<&C::dns, &C::Dns::clients>("dns.clients",
          "Who may ask; others are refused. The machine itself always may. Empty: everybody.",
          {.type = kNetworks, .live = true}),
      line<&C::dns, &C::Dns::no_truncate_bit>("dns.no_truncate_bit",
          "Clients that get shortened answers without the bit that says so. Only for clients that mistake the bit for an "
          "error: without it nobody asks again over TCP.", {.type = kNetworks, .live = true}),
      line<&C::dns, &C::Dns::rate_limit>("dns.rate_limit",
          "Equal answers over UDP that one client network (/24, /56) gets in a second. 0: no limit.",
          {.limits = {0, 1'000'000}, .unit = "answers", .live = true}),
      line<&C::dns, &C::Dns::rate_limit_slip>("dns.rate_limit_slip",
          "Of the answers over the limit, every how many is sent empty with the bit that asks for TCP, so that a real client "
          "gets through. 0: none, 1: all.", {.limits = {0, 100}, .live = true}),
      line<&C::dns, &C::Dns::kernel>("dns.kernel",
          "Answer in the kernel, before a question reaches this process, what can be answered there. The answers are the same; "
          "false makes every answer cost a system call."),
      line<&C::dns, &C::Dns::kernel_xdp>("dns.kernel_xdp",
          "Whether questions from other machines are answered in the driver of the device (native XDP). auto: on real network "
          "cards whose driver takes it. native: also on virtual devices. off: behind the driver (tc), which is also what a "
          "device gets where XDP is refused; status says why."),
      line<&C::dns, &C::Dns::kernel_names>("dns.kernel_names",
          "Names that the kernel can answer for, all zones and kept answers together. Each takes 11 to 21 octets here besides its "
          "records. What does not fit is answered by this process.",
          {.limits = {1024, 1 << 26}, .unit = "names"}),
      line<&C::dns, &C::Dns::kernel_megabytes>("dns.kernel_megabytes",
          "Memory in the kernel for names and their records, taken at the start. A name with one address takes about 64 octets.",
          {.limits = {1, 4096}, .unit = "MiB"}),
      line<&C::dns, &C::Dns::kernel_cached>("dns.kernel_cached",
          "Forwarded answers in demand that the kernel keeps as well. 0: none.",
          {.limits = {0, 65'536}, .unit = "answers"}),

      line<&C::authority, &C::Authority::enabled>("authority.enabled", "Serve the Mesos domain on a master."),
      line<&C::authority, &C::Authority::listen>("authority.listen", "Addresses and ports of the server, UDP and TCP.",
          {.limits = {.min = 1}}),
      line<&C::authority, &C::Authority::domain>("authority.domain", "The Mesos domain, without a dot at the end.",
          {.type = "domain name", .rule = domain, .lower = true}),
      line<&C::authority, &C::Authority::ttl>("authority.ttl",
          "TTL of every record, and MINIMUM of the SOA, which limits how long clients believe that a name does not exist.",
          {.limits = kTtl, .rule = whole_seconds}),
      line<&C::authority, &C::Authority::srv_weight>("authority.srv_weight", "Weight of every SRV record.",
          {.limits = {0, 65535}}),
      line<&C::authority, &C::Authority::soa_mname>("authority.soa_mname",
          "Name of this server in SOA and NS; it also has the server's address. It does not follow authority.domain.",
          {.type = "domain name", .rule = soa_name}),
      line<&C::authority, &C::Authority::soa_rname>("authority.soa_rname",
          "Mailbox in the SOA, with a dot in place of the @.", {.type = "domain name", .rule = soa_name}),
      line<&C::authority, &C::Authority::soa_refresh>("authority.soa_refresh", "REFRESH of the SOA.",
          {.limits = kTtl, .rule = whole_seconds}),
      line<&C::authority, &C::Authority::soa_retry>("authority.soa_retry", "RETRY of the SOA.",
          {.limits = kTtl, .rule = whole_seconds}),
      line<&C::authority, &C::Authority::soa_expire>("authority.soa_expire", "EXPIRE of the SOA.",
          {.limits = kTtl, .rule = whole_seconds}),
      line<&C::authority, &C::Authority::recursion_available>("authority.recursion_available",
          "Bit RA in answers for the Mesos domain. Some clients only use servers that set it."),
      line<&C::authority, &C::Authority::ip_sources>("authority.ip_sources",
          "Where the addresses of a task come from, in order of preference.", {.limits = {.min = 1}}),
      line<&C::authority, &C::Authority::rfc952>("authority.rfc952",
          "Make labels by RFC 952 (start with a letter, 24 characters) instead of RFC 1123."),
      line<&C::authority, &C::Authority::strict>("authority.strict",
          "Answer by the RFCs where Mesos-DNS did not: SOA and NS with the zone's name, NXDOMAIN with SOA for an SRV name that "
          "does not exist."),
      line<&C::authority, &C::Authority::empty_is_nxdomain>("authority.empty_is_nxdomain",
          "Say NXDOMAIN for the domain itself and for names that only have names below them, as Mesos-DNS did. Resolvers "
          "may then deny what is below."),
      line<&C::authority, &C::Authority::healthy_only>("authority.healthy_only",
          "Leave out tasks that fail their health check."),
      line<&C::authority, &C::Authority::protect_reserved>("authority.protect_reserved",
          "Leave out address records of frameworks at names that loadstar makes itself: leader, master, slave and its own."),
      line<&C::authority, &C::Authority::split_protocols>("authority.split_protocols",
          "For a port with several protocols (\"udp,tcp\"), publish an SRV name a protocol besides the joined one."),
      line<&C::authority, &C::Authority::raw_names>("authority.raw_names",
          "List names of DiscoveryInfo that DNS cannot serve in the HTTP interface, as Mesos-DNS did."),
      line<&C::authority, &C::Authority::transfer>("authority.transfer", "Who may transfer the zone (AXFR). Empty: nobody.",
          {.type = kNetworks, .live = true}),
      line<&C::authority, &C::Authority::upstreams>("authority.upstreams",
          "Servers for names outside the domain, port 53 unless given. Empty: such questions are refused.",
          {.type = kServers, .live = true, .rule = upstream}),
      line<&C::authority, &C::Authority::forward_zones>("authority.forward_zones",
          "Servers for one zone and everything below it. A zone may not lie above or below the domain or another zone here.",
          {.limits = {.min = 1}, .type = "table of zone to list of server addresses", .live = true, .rule = upstream,
           .name_rule = zone, .lower = true}),
      line<&C::authority, &C::Authority::http_listen>("authority.http_listen",
          "Addresses and ports of the HTTP interface of Mesos-DNS. Empty: none."),
      line<&C::authority, &C::Authority::enumeration>("authority.enumeration", "Offer /v1/enumerate and /v1/axfr there."),

      line<&C::resolver, &C::Resolver::enabled>("resolver.enabled", "Run the resolver on an agent."),
      line<&C::resolver, &C::Resolver::listen>("resolver.listen",
          "Addresses and ports of the resolver, UDP and TCP. loadstar-watchdog(8) asks the IPv4 addresses.",
          {.limits = {.min = 1}}),
      line<&C::resolver, &C::Resolver::device>("resolver.device",
          "Dummy device that is made to carry the addresses of resolver.listen. Empty: they are there already.",
          {.type = "interface", .rule = device}),
      line<&C::resolver, &C::Resolver::upstreams>("resolver.upstreams",
          "Servers for all names that are not the cluster's, port 53 unless given. Own addresses are refused: questions would "
          "go round in circles.", {.type = kServers, .live = true, .rule = upstream}),
      line<&C::resolver, &C::Resolver::forward_zones>("resolver.forward_zones",
          "Servers for one zone and everything below it. The longest zone that fits is taken.",
          {.limits = {.min = 1}, .type = "table of zone to list of server addresses", .live = true, .rule = upstream,
           .name_rule = zone, .lower = true}),
      line<&C::resolver, &C::Resolver::mesos_servers>("resolver.mesos_servers",
          "Servers of the Mesos domain, usually all masters with port 61053. Empty: answered here, from the state of the "
          "cluster that this machine has.", {.type = kServers, .live = true, .rule = upstream}),
      line<&C::resolver, &C::Resolver::static_zones>("resolver.static_zones",
          "Zones of your own below thisdcos.directory: a list of lines of zone text for each, names without a dot at the "
          "end being relative to the zone: \"registry CNAME master.dcos.thisdcos.directory.\", for example.",
          {.type = "table of zone to list of lines", .live = true, .rule = zone_line, .name_rule = static_zone, .lower = true}),
      line<&C::resolver, &C::Resolver::zone_files>("resolver.zone_files",
          "The same as zone files (RFC 1035 section 5). Each starts with its SOA or $ORIGIN, which names the zone.",
          {.live = true, .rule = not_empty}),
      line<&C::resolver, &C::Resolver::cluster_id>("resolver.cluster_id",
          "Public half of the cluster's key in z-base-32. Names below <id>.dcos.directory are then those of "
          "thisdcos.directory. Empty: there is no such zone.", {.rule = cluster_id}),
      line<&C::resolver, &C::Resolver::rotation>("resolver.rotation", "Order of several addresses in an answer."),
      line<&C::resolver, &C::Resolver::parallel>("resolver.parallel", "Servers that are asked at once; the first good answer wins.",
          {.limits = {1, 16}, .unit = "servers"}),
      line<&C::resolver, &C::Resolver::timeout>("resolver.timeout",
          "A forwarded question without an answer fails after this time. Retries go out long before.",
          {.limits = {100, kMinute}}),
      line<&C::resolver, &C::Resolver::in_flight>("resolver.in_flight", "Forwarded questions that wait for an answer at a time.",
          {.limits = {16, 1'000'000}, .unit = "questions"}),
      line<&C::resolver, &C::Resolver::mixed_case>("resolver.mixed_case",
          "Mix upper and lower case in forwarded names at random, for servers that keep it: forged answers must guess it."),
      line<&C::resolver, &C::Resolver::cache>("resolver.cache", "Memory for answers of other servers. 0B: no cache.",
          {.limits = {0, 64 * 1024 * kMiB}}),
      line<&C::resolver, &C::Resolver::cache_max_ttl>("resolver.cache_max_ttl", "Longest time that an answer is believed.",
          {.limits = {0, 7 * kDay}, .rule = whole_seconds}),
      line<&C::resolver, &C::Resolver::serve_stale>("resolver.serve_stale",
          "How long an expired answer is used while nobody can be asked (RFC 8767). 0s: not at all.",
          {.limits = {0, 30 * kDay}, .rule = whole_seconds}),
      line<&C::resolver, &C::Resolver::prefetch>("resolver.prefetch",
          "Ask anew for names in use shortly before their answers expire."),

      line<&C::registration, &C::Registration::ttl>("registration.ttl", "TTL of registered records that come without one.",
          {.limits = {0, 7 * kDay}, .rule = whole_seconds}),
      line<&C::registration, &C::Registration::max_lease>("registration.max_lease",
          "Longest lease. A record with a lease goes when it is not registered again in that time.",
          {.limits = {kSecond, 365 * kDay}}),
      line<&C::registration, &C::Registration::max_records>("registration.max_records", "Registered records of all names together.",
          {.limits = {0, 1'000'000}, .unit = "records"}),
      line<&C::registration, &C::Registration::follow>("registration.follow",
          "Masters (port 62080 unless given) whose registrations this machine serves. Empty: its own.",
          {.type = kServers, .rule = master}),

      line<&C::watchdog, &C::Watchdog::write_resolv_conf>("watchdog.write_resolv_conf",
          "Write the resolver file of the machine. false: it is left alone; the daemon is still watched."),
      line<&C::watchdog, &C::Watchdog::resolv_conf>("watchdog.resolv_conf",
          "The resolver file. A symbolic link is followed, a bind mount is written in place.", {.rule = not_empty}),
      line<&C::watchdog, &C::Watchdog::search>("watchdog.search",
          "Search list for the resolver file, names separated by blanks. Empty: no search line.", {.rule = search}),
      line<&C::watchdog, &C::Watchdog::interval>("watchdog.interval",
          "Time from one round of questions to the next. With the defaults a dead daemon costs the machine at most 10 seconds "
          "of DNS.", {.limits = {kSecond, kHour}}),
      line<&C::watchdog, &C::Watchdog::timeout>("watchdog.timeout", "How long an address may take to answer.",
          {.limits = {50, kMinute}}),
      line<&C::watchdog, &C::Watchdog::restart>("watchdog.restart", "Restart the daemon when no address answers."),
      line<&C::watchdog, &C::Watchdog::unit>("watchdog.unit", "Unit that is restarted.", {.rule = unit_name}),
      line<&C::watchdog, &C::Watchdog::failures>("watchdog.failures",
          "Rounds in a row without any answer before a restart. Rounds while the unit starts do not count.",
          {.limits = {1, 1000}, .unit = "rounds"}),
      line<&C::watchdog, &C::Watchdog::backoff_max>("watchdog.backoff_max",
          "Longest time between restarts; it doubles from one to the next until the daemon has answered for as long.",
          {.limits = {kSecond, kDay}}),
      // clang-format on
  };
}

}  // namespace ls::setting_codec
