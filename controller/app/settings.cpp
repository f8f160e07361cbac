#include "app/settings.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "app/settings_line.h"

namespace ls {
namespace setting_codec {

template <>
struct EnumNames<Role> {
  static constexpr std::pair<std::string_view, Role> kNames[] = {{"master", Role::kMaster},
                                                                 {"agent", Role::kAgent}};
};
template <>
struct EnumNames<SourceKind> {
  static constexpr std::pair<std::string_view, SourceKind> kNames[] = {
      {"mesos", SourceKind::kMesos}, {"hub", SourceKind::kHub}, {"replay", SourceKind::kReplay}};
};
template <>
struct EnumNames<log::Level> {
  static constexpr std::pair<std::string_view, log::Level> kNames[] = {{"debug", log::Level::kDebug},
                                                                       {"info", log::Level::kInfo},
                                                                       {"warn", log::Level::kWarn},
                                                                       {"error", log::Level::kError}};
};
template <>
struct EnumNames<log::Format> {
  static constexpr std::pair<std::string_view, log::Format> kNames[] = {
      {"auto", log::Format::kAuto}, {"logfmt", log::Format::kLogfmt}, {"json", log::Format::kJson}};
};

}  // namespace setting_codec

namespace {

using namespace setting_codec;

std::optional<std::string> power_of_two(const uint32_t& v) {
  if (v != 0 && (v & (v - 1)) == 0) return std::nullopt;
  uint32_t below = 1;
  while (below <= v / 2) below *= 2;
  return fmt::format("{} is not a power of two ({} and {} are)", v, below, uint64_t(below) * 2);
}

std::optional<std::string> whole_blocks(const uint32_t& v) {
  if (v % 16 == 0) return std::nullopt;  // LS_RING_BLOCK_SLOTS of abi/lb.h
  return fmt::format("{} is not a multiple of 16", v);
}

std::optional<std::string> interface_glob(const std::string& s) {
  if (s.empty() || s.size() > 64 || s.find_first_of("/: \t\n") != s.npos) {
    return fmt::format("{} is no pattern for an interface name", toml_quote(s));
  }
  return std::nullopt;
}

std::optional<std::string> socket_path(const std::filesystem::path& p) {
  if (p.empty()) return "a path is wanted";
  // sun_path of unix(7) holds 108 bytes with the final zero.
  if (p.native().size() > 107)
    return fmt::format("the path is {} bytes long, a socket's has at most 107", p.native().size());
  return std::nullopt;
}

std::optional<std::string> ipv4(const IpAddress& a) {
  if (!a.is_v4()) return fmt::format("{} is not an IPv4 address", a.text());
  return std::nullopt;
}

std::optional<std::string> ipv6(const IpAddress& a) {
  if (a.is_v4()) return fmt::format("{} is not an IPv6 address", a.text());
  return std::nullopt;
}


using C = Config;

std::vector<Setting> first_lines() {
  return {
      // clang-format off
      line<&C::node, &C::Node::roles>("node.roles",
          "What this machine does. A master follows Mesos for others, an agent runs tasks and balances for them.",
          {.limits = {.min = 1}}),
      line<&C::node, &C::Node::address>("node.address",
          "The address under which Mesos knows the agent on this machine. Tasks with this agent address are reached at "
          "their container address, all others at their host port. An agent needs it."),
      line<&C::node, &C::Node::addresses>("node.addresses",
          "More addresses of the agent on this machine, for one that has several or both families."),
      line<&C::node, &C::Node::user>("node.user",
          "User to change to when started as root. CAP_BPF, CAP_NET_ADMIN and CAP_NET_BIND_SERVICE are kept, everything "
          "else is given up. Empty: stay root with these three capabilities. Not needed under systemd, whose unit does it."),
      line<&C::node, &C::Node::id>("node.id",
          "What tells this machine from another that comes with the same address, for the allocator of the overlay: at most 64 "
          "printable characters. Empty: made from /etc/machine-id."),
      line<&C::node, &C::Node::public_addresses>("node.public_addresses",
          "Addresses of this machine as the outside sees them: what public.thisnode.thisdcos.directory answers."),

      line<&C::log, &C::Log::level>("log.level", "Least serious level that is written.", {.live = true}),
      line<&C::log, &C::Log::format>("log.format",
          "Shape of the lines on standard error. auto writes journal fields under systemd and logfmt elsewhere."),

      line<&C::api, &C::Api::socket>("api.socket", "Unix socket of the HTTP interface that loadstar(1) talks to.",
          {.rule = socket_path}),
      line<&C::api, &C::Api::group>("api.group",
          "Group that may open the socket. Empty: only the daemon's own user and root."),
      line<&C::api, &C::Api::listen>("api.listen",
          "Addresses and ports of the HTTP interface without encryption. Everything there is read-only but registrations, "
          "which need api.token_file. Empty: only the socket."),
      line<&C::api, &C::Api::token_file>("api.token_file",
          "File with the token that registrations over api.listen must send as \"Authorization: Bearer ...\". A final "
          "newline is not part of it. Empty: registrations are only taken on the socket.", {.must_exist = true}),

      line<&C::source, &C::Source::kind>("source.kind",
          "Where the state of the cluster comes from: the leading Mesos master, the hub of a node with node.roles \"master\" "
          "that follows Mesos itself, or a recorded stream. In a cluster of more than a few nodes agents follow hubs."),

      line<&C::mesos, &C::Mesos::masters>("mesos.masters",
          "All Mesos masters as HOST:PORT, in any order. The leading one is found by following the redirects of the others."),
      line<&C::mesos, &C::Mesos::zk>("mesos.zk",
          "Where the Mesos masters announce themselves in ZooKeeper, as in zk://10.0.0.1:2181,10.0.0.2:2181/mesos. "
          "mesos.masters are asked when it names none. Empty: only mesos.masters. User and password stand in mesos.zk_login_file.",
          {.rule = zk_url}),
      line<&C::mesos, &C::Mesos::zk_login_file>("mesos.zk_login_file",
          "File with user:password for ZooKeeper (digest). A final newline is not part of it.", {.must_exist = true}),
      line<&C::mesos, &C::Mesos::zk_session>("mesos.zk_session", "Session time-out asked of ZooKeeper.",
          {.limits = {kSecond, kHour}}),
      line<&C::mesos, &C::Mesos::tls>("mesos.tls", "Talk HTTPS to the masters."),
      line<&C::mesos, &C::Mesos::ca_file>("mesos.ca_file",
          "Certificates (PEM) that vouch for the masters. Empty: those of the system.", {.must_exist = true}),
      line<&C::mesos, &C::Mesos::cert_file>("mesos.cert_file",
          "Certificate (PEM) that this daemon shows to the masters. Needs mesos.key_file.", {.must_exist = true}),
      line<&C::mesos, &C::Mesos::key_file>("mesos.key_file", "Private key (PEM) of mesos.cert_file.", {.must_exist = true}),
      line<&C::mesos, &C::Mesos::principal>("mesos.principal",
          "Principal for HTTP basic authentication. Needs mesos.secret_file."),
      line<&C::mesos, &C::Mesos::secret_file>("mesos.secret_file",
          "File with the secret of the principal. A final newline is not part of it.", {.must_exist = true}),
      line<&C::mesos, &C::Mesos::token_file>("mesos.token_file",
          "File with a token that is sent as \"Authorization: token=...\", instead of principal and secret.",
          {.must_exist = true}),
      line<&C::mesos, &C::Mesos::reregister_timeout>("mesos.reregister_timeout",
          "How long the tasks of an agent are kept after a change of leader while the agent has not come back. Should not "
          "be below the masters' --agent_reregister_timeout, which is 10 minutes unless they say otherwise.",
          {.limits = {0, 24 * kHour}}),
      line<&C::mesos, &C::Mesos::connect_timeout>("mesos.connect_timeout",
          "How long one master may take to accept a connection.", {.limits = {100, 5 * kMinute}}),
      line<&C::mesos, &C::Mesos::response_timeout>("mesos.response_timeout",
          "How long a master may take from the request to the first byte of its answer.", {.limits = {100, 10 * kMinute}}),
      line<&C::mesos, &C::Mesos::backoff_min>("mesos.backoff_min",
          "Pause before the first new attempt after a lost connection; it doubles with every failure. A random part is "
          "taken off so that nodes do not come back all at once.", {.limits = {10, kHour}}),
      line<&C::mesos, &C::Mesos::backoff_max>("mesos.backoff_max", "Longest pause between attempts.",
          {.limits = {10, kHour}}),
      line<&C::mesos, &C::Mesos::max_record>("mesos.max_record",
          "Largest record that is taken from a master. A longer one ends the connection. 100,000 tasks make about 150 MB.",
          {.limits = {kMiB, 16 * 1024 * kMiB}}),

      line<&C::replay, &C::Replay::file>("replay.file", "The recorded stream, in the framing of the operator interface.",
          {.must_exist = true}),
      line<&C::replay, &C::Replay::speed>("replay.speed",
          "0: as fast as it can. 1: at the speed at which it was recorded, which needs the .index file beside it. 2: twice "
          "that.", {.limits = {0, 1000}}),

      line<&C::vips, &C::Vips::named_min>("vips.named_min", "First IPv4 address given to named virtual IPs.",
          {.rule = ipv4}),
      line<&C::vips, &C::Vips::named_max>("vips.named_max", "Last IPv4 address given to named virtual IPs.",
          {.rule = ipv4}),
      line<&C::vips, &C::Vips::named_min6>("vips.named_min6", "First IPv6 address given to named virtual IPs.",
          {.rule = ipv6}),
      line<&C::vips, &C::Vips::named_max6>("vips.named_max6", "Last IPv6 address given to named virtual IPs.",
          {.rule = ipv6}),
      line<&C::vips, &C::Vips::ipv6>("vips.ipv6", "Give named virtual IPs with IPv6 backends an IPv6 address as well."),

      line<&C::lb, &C::Lb::socket>("lb.socket",
          "Translate when a local socket connects. After that a connection costs nothing more."),
      line<&C::lb, &C::Lb::cgroup>("lb.cgroup",
          "Folder of the cgroup v2 group whose sockets are translated.", {.rule = not_empty}),
      line<&C::lb, &C::Lb::packet>("lb.packet", "Translate packets on the devices named below."),
      line<&C::lb, &C::Lb::uplinks>("lb.uplinks", "Devices towards the other machines.",
          {.type = "list of interface patterns", .rule = interface_glob}),
      line<&C::lb, &C::Lb::ports>("lb.ports", "Devices towards containers. New ones are attached as they appear.",
          {.type = "list of interface patterns", .rule = interface_glob}),
      line<&C::lb, &C::Lb::bridges>("lb.bridges", "Bridges whose ports are treated like lb.ports, also later ones.",
          {.type = "list of interfaces", .rule = interface_name}),
      line<&C::lb, &C::Lb::loopback>("lb.loopback", "Translate packets of local clients that lb.socket does not cover."),
      line<&C::lb, &C::Lb::flows>("lb.flows", "IPv4 flows kept at a time. A flow takes two entries of 32 bytes.",
          {.limits = {1024, 1 << 26}, .unit = "flows", .rule = power_of_two}),
      line<&C::lb, &C::Lb::flows6>("lb.flows6", "IPv6 flows kept at a time. A flow takes two entries of 64 bytes.",
          {.limits = {1024, 1 << 26}, .unit = "flows", .rule = power_of_two}),
      line<&C::lb, &C::Lb::services>("lb.services", "Virtual IP ports that fit into the tables.",
          {.limits = {64, 1 << 22}, .unit = "services"}),
      line<&C::lb, &C::Lb::backends>("lb.backends", "Backends of all services together that fit into the tables.",
          {.limits = {64, 1 << 24}, .unit = "backends"}),
      line<&C::lb, &C::Lb::ring_slots>("lb.ring_slots",
          "Slots of all consistent-hash rings together, four bytes each. Must leave room for the old and the new ring of "
          "a service while it changes; one of several backends has 7,008 or more.",
          {.limits = {65536, 1 << 28}, .unit = "slots", .rule = whole_blocks}),

      line<&C::bpf, &C::Bpf::pin>("bpf.pin",
          "Folder in the BPF file system where maps and links are pinned. What is there outlives the daemon.",
          {.rule = not_empty}),

      line<&C::reconcile, &C::Reconcile::interval>("reconcile.interval",
          "How often everything in the kernel is read back and compared, besides the comparison at start and after "
          "changes from outside.",
          {.limits = {kSecond, kHour}, .live = true}),
      // clang-format on
  };
}

const std::vector<Setting>& table() {
  static const std::vector<Setting> lines = [] {
    auto all = first_lines();
    for (auto& more : cluster_lines()) all.push_back(std::move(more));
    for (auto& more : dns_lines()) all.push_back(std::move(more));
    for (auto& more : overlay_lines()) all.push_back(std::move(more));
    return all;
  }();
  return lines;
}

/// `count` units of `factor` each; nullopt on overflow of 63 bits.
std::optional<int64_t> scaled(std::string_view digits, int64_t factor) {
  int64_t n = 0;
  auto [end, err] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  if (err != std::errc{} || end != digits.data() + digits.size() || n < 0) return std::nullopt;
  if (__builtin_mul_overflow(n, factor, &n)) return std::nullopt;
  return n;
}

constexpr std::pair<std::string_view, int64_t> kTimeUnits[] = {
    {"d", 24 * kHour}, {"h", kHour}, {"m", kMinute}, {"s", kSecond}, {"ms", 1}};
constexpr std::pair<std::string_view, int64_t> kSizeUnits[] = {
    {"TiB", kMiB* kMiB}, {"GiB", 1024 * kMiB}, {"MiB", kMiB}, {"KiB", 1024}, {"B", 1}};

/// Takes one number off the front of `text`; the rest starts with the unit.
std::string_view take_digits(std::string_view& text) {
  auto end = std::min(text.find_first_not_of("0123456789"), text.size());
  auto digits = text.substr(0, end);
  text.remove_prefix(end);
  return digits;
}

}  // namespace

std::span<const Setting> settings() {
  return table();
}

const Setting* find_setting(std::string_view name) {
  auto& t = table();
  auto it = std::find_if(t.begin(), t.end(), [&](const Setting& s) { return s.name == name; });
  return it == t.end() ? nullptr : &*it;
}

std::span<const std::pair<std::string_view, std::string_view>> sections() {
  static constexpr std::pair<std::string_view, std::string_view> kSections[] = {
      {"node", "This machine."},
      {"log", "Logging."},
      {"api", "The local interface."},
      {"source", "The source of the cluster's state."},
      {"mesos", "The Mesos masters, for source.kind = \"mesos\"."},
      {"replay", "A recorded stream, for source.kind = \"replay\"."},
      {"vips", "Addresses of named virtual IPs. All nodes of a cluster need the same values."},
      {"lb", "Load balancing in the kernel."},
      {"bpf", "Objects in the kernel."},
      {"reconcile", "Comparison of what should be in the kernel with what is there."},
      {"hub", "The hub that is followed, for source.kind = \"hub\"."},
      {"hub_server", "The hub for other nodes, for node.roles with \"master\"."},
      {"store", "What the daemon keeps over a restart."},
      {"state", "The last known state of the cluster, kept in the folder of store.path, for a start without a source."},
      {"dns", "What both DNS servers have in common."},
      {"authority", "The DNS server of the Mesos domain, for node.roles with \"master\"."},
      {"resolver", "The DNS resolver of the machine, for node.roles with \"agent\"."},
      {"registration", "Names that operators and services register below thisdcos.directory."},
      {"watchdog", "loadstar-watchdog(8), a program of its own that reads the same file."},
      {"overlay", "The overlay: an address per container. The plan that a node with node.roles \"master\" gives addresses from."},
  };
  return kSections;
}

std::vector<Change> changes(const Config& before, const Config& after) {
  std::vector<Change> out;
  for (auto& s : table()) {
    auto a = s.print(before), b = s.print(after);
    if (a != b) out.push_back({&s, std::move(a), std::move(b)});
  }
  return out;
}

std::vector<IpAddress> Config::Node::all_addresses() const {
  std::vector<IpAddress> all;
  if (address) all.push_back(*address);
  for (auto& a : addresses) {
    if (std::find(all.begin(), all.end(), a) == all.end()) all.push_back(a);
  }
  return all;
}

std::string Where::text() const {
  if (line == 0) return file;
  return fmt::format("{}:{}:{}", file, line, column);
}

std::string Problem::text() const {
  return where.text() + ": " + what;
}

std::optional<Millis> parse_duration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  int64_t total = 0, smallest = INT64_MAX;
  while (!text.empty()) {
    auto digits = take_digits(text);
    auto unit = text.substr(0, std::min(text.find_first_of("0123456789"), text.size()));
    text.remove_prefix(unit.size());
    auto known =
        std::find_if(std::begin(kTimeUnits), std::end(kTimeUnits), [&](auto& u) { return u.first == unit; });
    if (known == std::end(kTimeUnits) || known->second >= smallest) return std::nullopt;
    smallest = known->second;
    auto part = scaled(digits, known->second);
    if (!part || __builtin_add_overflow(total, *part, &total)) return std::nullopt;
  }
  return Millis(total);
}

std::string print_duration(Millis value) {
  if (value.count() == 0) return "0s";
  for (auto& [unit, factor] : kTimeUnits) {
    if (value.count() % factor == 0) return fmt::format("{}{}", value.count() / factor, unit);
  }
  return fmt::format("{}ms", value.count());
}

std::optional<ByteSize> parse_size(std::string_view text) {
  auto digits = take_digits(text);
  for (auto& [unit, factor] : kSizeUnits) {
    if (unit != text) continue;
    auto n = scaled(digits, factor);
    if (!n) return std::nullopt;
    return ByteSize{uint64_t(*n)};
  }
  return std::nullopt;
}

std::string print_size(ByteSize value) {
  for (auto& [unit, factor] : kSizeUnits) {
    if (value.bytes != 0 && value.bytes % uint64_t(factor) == 0) {
      return fmt::format("{}{}", value.bytes / uint64_t(factor), unit);
    }
  }
  return fmt::format("{}B", value.bytes);
}

}  // namespace ls
