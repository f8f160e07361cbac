#pragma once
/// The settings: one typed struct, and one table with a line for each member.
///
/// A setting is written down twice and no more: its type and default where `Config` declares the member,
/// everything else (name, range, unit, reload, text) in its line of settings.cpp or settings_dns.cpp. Parsing, `--check`,
/// `--print-config`, loadstar.toml(5) and docs/operate/configure.md all walk that table; a test counts the
/// members of every section against it.
///
/// Threading: plain values, the table is immutable. Units: durations are milliseconds inside, sizes bytes,
/// ports host order. Errors: reading never stops at the first one; each is a Problem with file, line and
/// column. Cost: a table of some hundred and twenty lines, walked at start and on reload only.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "overlay/plan.h"
#include "util/address.h"
#include "util/clock.h"
#include "util/host_port.h"
#include "util/log.h"
#include "util/network.h"

namespace ls {

enum class Role { kMaster, kAgent };
enum class SourceKind { kMesos, kReplay, kHub };
enum class StoreKind { kFile, kZookeeper };
enum class IpSourceKind { kHost, kDocker, kMesos, kNetinfo };
enum class RotationKind { kRandom, kRoundRobin, kNone };
enum class KernelXdp { kAuto, kNative, kOff };
/// Which configuration a node writes for its containers: our plugin's, that of the original's three plugins, none.
enum class CniKind { kLoadstar, kOriginal, kOff };
/// zone -> servers, or zone -> lines of zone text; a TOML table of lists.
using NameLists = std::map<std::string, std::vector<std::string>>;

struct ByteSize {
  uint64_t bytes = 0;
  bool operator==(const ByteSize&) const = default;
};

/// Where something stands in a file. Line and column count from 1; 0 means the file as a whole.
struct Where {
  std::string file;
  uint32_t line = 0;
  uint32_t column = 0;
  std::string text() const;  ///< "loadstar.toml:3:9"
};

/// One [[overlay.network]]: types are right, what the values say is checked together with the rest of [overlay].
struct OverlayNetwork {
  overlay::RawOverlay values;
  Where where;
  std::map<std::string, Where> at;  ///< of each key that is there
};

/// Every setting with its default. Paths are absolute: a relative one is taken from the folder of the file
/// that sets it.
struct Config {
  struct Node {
    std::vector<Role> roles{Role::kAgent};
    std::optional<IpAddress> address;
    std::vector<IpAddress> addresses;
    std::string user;
    std::string id;                          ///< of this machine, towards the allocator; empty: made from /etc/machine-id
    std::vector<IpAddress> public_addresses;  ///< public.thisnode.thisdcos.directory
    /// `address`, then those of `addresses` that differ from it.
    std::vector<IpAddress> all_addresses() const;
    bool has_role(Role role) const { return std::find(roles.begin(), roles.end(), role) != roles.end(); }
  } node;
  struct Log {
    log::Level level = log::Level::kInfo;
    log::Format format = log::Format::kAuto;
  } log;
  struct Api {
    std::filesystem::path socket{"/run/loadstar/loadstar.sock"};
    std::string group = "loadstar";
    std::vector<Endpoint> listen{{*IpAddress::parse("127.0.0.1"), 62080}};  ///< plain HTTP, read-only but for registrations
    std::filesystem::path token_file;  ///< bearer token of registrations over TCP; empty: none are taken there
  } api;
  struct Source {
    SourceKind kind = SourceKind::kMesos;
  } source;
  struct Mesos {
    std::vector<HostPort> masters;
    std::string zk;                      ///< "zk://10.0.0.1:2181,10.0.0.2:2181/mesos"; empty: only `masters`
    std::filesystem::path zk_login_file;  ///< "user:password"
    Millis zk_session{10'000};
    bool tls = false;
    std::filesystem::path ca_file;
    std::filesystem::path cert_file;
    std::filesystem::path key_file;
    std::string principal;
    std::filesystem::path secret_file;
    std::filesystem::path token_file;
    Millis reregister_timeout{600'000};
    Millis connect_timeout{5'000};
    Millis response_timeout{30'000};
    Millis backoff_min{2'000};
    Millis backoff_max{30'000};
    ByteSize max_record{1ull << 30};
  } mesos;
  /// The hub of a master, for source.kind = "hub".
  struct Hub {
    std::vector<std::string> masters;  ///< "10.0.0.1:62081"
    bool tls = false;
    std::filesystem::path ca_file, cert_file, key_file, token_file;
    Millis connect_timeout{5'000};
    Millis backoff_min{500}, backoff_max{15'000};
    Millis rebalance{300'000}, stale{30'000};
  } hub;
  /// What this node serves to those that follow it (role master).
  struct HubServer {
    std::vector<Endpoint> listen;  ///< empty: no hub
    std::filesystem::path token_file, cert_file, key_file, client_ca_file;
    bool anyone = false;           ///< neither token nor client certificate is asked for
    ByteSize history{64ull << 20};
    Millis heartbeat{5'000}, batch{20};
    uint32_t max_followers = 12'000;
    Millis probe_every{10'000};  ///< 0: whether agents can be reached is left to Mesos
  } hub_server;
  struct Replay {
    std::filesystem::path file;
    double speed = 0.0;
  } replay;
  struct Vips {
    IpAddress named_min = IpAddress::from_v4(0x0b000000);
    IpAddress named_max = IpAddress::from_v4(0x0bffffff);
    IpAddress named_min6 = *IpAddress::parse("fd01:c::");
    IpAddress named_max6 = *IpAddress::parse("fd01:c::ffff:ffff:ffff:ffff");
    bool ipv6 = true;
  } vips;
  struct Lb {
    bool socket = true;
    std::filesystem::path cgroup{"/sys/fs/cgroup"};
    bool packet = true;
    std::vector<std::string> uplinks{"eth0"};
    std::vector<std::string> ports{"veth*"};
    std::vector<std::string> bridges{"docker0"};
    bool loopback = true;
    uint32_t flows = 262'144;
    uint32_t flows6 = 65'536;
    uint32_t services = 65'536;
    uint32_t backends = 131'072;
    uint32_t ring_slots = 37'748'736;
  } lb;
  struct Bpf {
    std::filesystem::path pin{"/sys/fs/bpf/loadstar"};
  } bpf;
  struct Reconcile {
    Millis interval{60'000};
  } reconcile;
  /// Both DNS servers.
  struct Dns {
    uint32_t workers = 0;     ///< 0: one a CPU
    uint32_t udp_size = 1232;  ///< octets
    uint32_t tcp_connections = 1024, tcp_per_client = 64;
    Millis tcp_idle{10'000};
    std::vector<IpNetwork> clients;          ///< empty: everybody
    std::vector<IpNetwork> no_truncate_bit;  ///< clients that never see TC
    uint32_t rate_limit = 0;                 ///< answers a second and prefix; 0: off
    uint32_t rate_limit_slip = 2;
    bool kernel = true;  ///< answer in the kernel what it can
    KernelXdp kernel_xdp = KernelXdp::kAuto;
    uint32_t kernel_names = 1'000'000, kernel_megabytes = 96;
    uint32_t kernel_cached = 4096;  ///< forwarded answers; 0: none
  } dns;
  /// Serves the Mesos domain (role master).
  struct Authority {
    bool enabled = true;
    std::vector<Endpoint> listen{{IpAddress::from_v4(0), 61053}};
    std::string domain = "mesos";
    Millis ttl{60'000};
    uint32_t srv_weight = 1;
    std::string soa_mname = "ns1.mesos", soa_rname = "root.ns1.mesos";
    Millis soa_refresh{60'000}, soa_retry{600'000}, soa_expire{86'400'000};
    bool recursion_available = true;
    std::vector<IpSourceKind> ip_sources{IpSourceKind::kNetinfo, IpSourceKind::kMesos, IpSourceKind::kHost};
    bool rfc952 = false;
    bool strict = false;                     ///< plain RFC answers: SOA at the apex, NXDOMAIN for missing SRV
    bool empty_is_nxdomain = false;          ///< B7: as Mesos-DNS answered empty non-terminals and the apex
    bool healthy_only = false;               ///< B20
    bool protect_reserved = false;           ///< B21
    bool split_protocols = false;            ///< B23
    bool raw_names = true;                   ///< B4: list unreachable raw discovery names in the HTTP API
    std::vector<IpNetwork> transfer;         ///< who may AXFR
    std::vector<std::string> upstreams;      ///< for names outside the domain; empty: REFUSED
    NameLists forward_zones;
    std::vector<Endpoint> http_listen{{IpAddress::from_v4(0), 8123}};
    bool enumeration = true;
  } authority;
  /// The resolver of the node (role agent).
  struct Resolver {
    bool enabled = true;
    std::vector<Endpoint> listen{{*IpAddress::parse("198.51.100.1"), 53}, {*IpAddress::parse("198.51.100.2"), 53},
                                 {*IpAddress::parse("198.51.100.3"), 53}, {*IpAddress::parse("fd01:d::c633:6401"), 53}};
    std::string device = "spartan";          ///< carries the addresses of `listen`; empty: loadstar makes no device
    std::vector<std::string> upstreams;      ///< "8.8.8.8", "8.8.4.4:5353", "[fd01::5]:53"
    NameLists forward_zones;                 ///< zone -> servers
    std::vector<std::string> mesos_servers;  ///< who answers for the Mesos domain; empty: this node from its own state
    NameLists static_zones;                  ///< zone -> lines of zone text
    std::vector<std::filesystem::path> zone_files;
    std::string cluster_id;                  ///< zbase32 of the cluster's key
    RotationKind rotation = RotationKind::kRoundRobin;
    uint32_t parallel = 2;                   ///< upstreams asked at once
    Millis timeout{5'000};
    uint32_t in_flight = 4096;
    bool mixed_case = true;
    ByteSize cache{64ull << 20};
    Millis cache_max_ttl{86'400'000};
    Millis serve_stale{86'400'000};
    bool prefetch = true;
  } resolver;
  /// Names that operators and services register below thisdcos.directory.
  struct Registration {
    Millis ttl{5'000};
    Millis max_lease{86'400'000};
    uint32_t max_records = 10'000;
    std::vector<std::string> follow;  ///< "10.0.0.1:62080": masters whose registrations this node serves
  } registration;
  /// The overlay: an address per container. The plan is that of the master; without a network there is no overlay.
  struct Overlay {
    std::string vtep_subnet = "44.128.0.0/16";
    std::string vtep_subnet6;  ///< empty: none
    std::string vtep_mac_oui = "70:B3:D5:00:00:00";
    uint32_t vtep_mtu = 0;     ///< 0: as the device takes it
    Millis hold_down{0}, takeover{120'000};
    bool check_address = true;  ///< of nodes that register over TCP
    std::vector<OverlayNetwork> network;
    bool configured() const { return !network.empty(); }
    // What a node does with its share.
    bool join = true;                 ///< false: this machine only allocates, or has nothing to do with the overlay
    std::vector<std::string> follow;  ///< "10.0.0.1:62080": masters that allocate; empty: this node itself, if it is one
    bool mesos = true, docker = true;
    uint32_t mtu = 0;                 ///< of containers; 0: what the tunnel leaves
    CniKind cni = CniKind::kLoadstar;
    std::filesystem::path cni_dir{"/etc/loadstar/cni"};
    std::filesystem::path cni_data_dir;  ///< empty: the plugin's own
    std::vector<std::filesystem::path> mesos_roots;  ///< "<runtime dir>/isolators/network/cni" of the Mesos agent
    std::string docker_binary = "docker";
    Millis command_timeout{15'000};
    bool masquerade = true;
    bool redirect_peer = true;
    uint32_t kernel_blocks = 262'144, kernel_nodes = 65'536;
    uint32_t probe_port = 64001;      ///< TCP and UDP, on the VTEP address: the checksum probe; 0: none
    overlay::RawPlan plan() const;
  } overlay;
  /// Whether this machine is a node of the overlay: it follows masters that allocate, or allocates itself.
  bool joins_overlay() const { return overlay.join && (!overlay.follow.empty() || allocates_overlay()); }
  bool allocates_overlay() const { return node.has_role(Role::kMaster) && overlay.configured(); }
  struct Store {
    StoreKind kind = StoreKind::kFile;
    std::filesystem::path path{"/var/lib/loadstar/store.db"};
    std::string zookeeper;                       ///< "zk://10.0.0.1:2181,10.0.0.2:2181/loadstar"
    std::filesystem::path zookeeper_login_file;  ///< "user:password"
    Millis session{10'000};
    std::string advertise;                       ///< of this master's API for others, "10.0.0.1:62080"; empty: made from node.address and api.listen
  } store;
  /// The last known state of the cluster, kept beside the store.
  struct State {
    Millis save_every{30'000};  ///< 0: it is not kept
  } state;
  struct Watchdog {
    bool write_resolv_conf = true;
    std::filesystem::path resolv_conf{"/etc/resolv.conf"};
    std::string search;
    Millis interval{5'000}, timeout{1'000};
    bool restart = true;
    std::string unit = "loadstard.service";
    uint32_t failures = 3;            ///< rounds without any answer before a restart
    Millis backoff_max{300'000};
  } watchdog;
};

/// One thing that is wrong with the configuration.
struct Problem {
  Where where;
  std::string what;          ///< "lb.flows: 12 is below 1024 (range 1024 to 67108864)"
  std::string text() const;  ///< "loadstar.toml:3:9: lb.flows: ..."
};

/// A value as the file gives it, before anybody looked at what it should be.
struct RawValue {
  using List = std::vector<RawValue>;
  struct Other {  ///< a TOML type that no setting has (date, time)
    std::string_view name;
  };
  struct Table {  ///< keys and values side by side
    std::vector<std::pair<std::string, Where>> keys;
    std::vector<RawValue> values;
  };
  std::variant<Other, bool, int64_t, double, std::string, List, Table> value;
  Where where;
};

struct Setting {
  std::string_view name;  ///< dotted TOML path, "lb.flows"
  std::string type;       ///< "integer", "list of addresses"
  std::string
      range;  ///< "1024 to 67108864", "one of: mesos, replay"; empty where any value of the type is good
  std::string_view unit;  ///< what an integer counts; empty for types that carry their unit
  bool live = false;      ///< taken over by a reload; else by a restart
  std::string_view text;  ///< full sentences for the manual
  /// Stores the value, or appends what is wrong with it and leaves `config` alone.
  std::function<void(const RawValue&, Config& config, std::vector<Problem>&)> read;
  /// The value as TOML text.
  std::function<std::string(const Config&)> print;
  /// Takes over the value, for a reload of a live setting.
  std::function<void(const Config& from, Config& to)> copy;
  /// The path, for a file that has to be readable when the daemon starts; empty for every other setting.
  std::function<std::filesystem::path(const Config&)> file;

  std::string_view section() const { return name.substr(0, name.find('.')); }
  std::string_view key() const { return name.substr(name.find('.') + 1); }
};

/// The table, grouped by section, in the order of the manual.
std::span<const Setting> settings();
/// nullptr where there is no such setting.
const Setting* find_setting(std::string_view name);

/// One line on each section for the manual; the keys are the section names in order.
std::span<const std::pair<std::string_view, std::string_view>> sections();

/// What a reload would change.
struct Change {
  const Setting* setting;
  std::string before, after;  ///< TOML text
};
std::vector<Change> changes(const Config& before, const Config& after);

/// Printers, all from the table. `print_config` gives a file that reads back to the same Config.
std::string print_config(const Config& config);
/// The file with all defaults and every text as comment, settings commented out.
std::string print_defaults();
/// loadstar.toml(5) in man(7) markup.
std::string print_man_page();
/// docs/operate/configure.md.
std::string print_markdown();

/// "250ms", "1m30s": whole numbers, each with ms, s, m, h or d, units descending. nullopt when it is not that
/// or overflows.
std::optional<Millis> parse_duration(std::string_view text);
std::string print_duration(Millis value);  ///< largest unit that divides it: "90s", "10m"
/// "64MiB": a whole number with B, KiB, MiB, GiB or TiB.
std::optional<ByteSize> parse_size(std::string_view text);
std::string print_size(ByteSize value);

}  // namespace ls
