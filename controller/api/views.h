#pragma once
/// What the API shows, as plain values: the Provider fills them, the API turns them into JSON, text and metrics.
/// Thread: plain values. Ports are host order. Ages and durations are seconds unless the name says otherwise;
/// an age is measured on the monotonic clock at the moment of the call.
#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/cluster_views.h"
#include "api/dns_kernel.h"
#include "api/overlay_source.h"
#include "util/address.h"
#include "util/dns_name.h"
#include "util/histogram.h"

namespace ls::api {

/// One named step of the start-up, in order (DESIGN section 4).
struct StartupState {
  std::string name;  ///< "config_ok", "kernel_probed", ...
  bool reached = false;
  double age_s = 0;  ///< reached: since when. The first one not reached: for how long it is awaited.
};

struct EventCount {
  std::string kind;  ///< "task_updated", ...
  uint64_t count = 0;
};

struct SourceView {
  std::string kind;      ///< "mesos", "hub", "replay"
  std::string endpoint;  ///< "10.0.0.1:5050", or the file of a replay
  bool connected = false;
  double since_s = 0;  ///< how long it has been connected, or disconnected
  double age_s = 0;    ///< since the last message (heartbeats count)
  std::string last_error;
  std::vector<EventCount> events;  ///< by kind, since the start
  std::optional<MastersView> zookeeper{};  ///< with mesos.zk
  std::optional<FollowView> hub{};         ///< of kind "hub"
  std::optional<double> kept_s{};          ///< what is served is from this node's disk: how long ago it was written, by the wall clock
};

/// One feature of the kernel that was asked for at start.
struct ProbeView {
  std::string name;
  bool ok = false;
  std::string detail;
};

enum class AttachState : uint8_t {
  kAttached,
  kWaiting,  ///< the device or cgroup is not there yet
  kForeign,  ///< somebody else's program is in the way; `error` says whose
  kFailed,
  kDegraded,  ///< a DNS hook without a program: the process answers there; `error` says why
};
inline constexpr std::array kAttachStates{AttachState::kAttached, AttachState::kWaiting, AttachState::kForeign,
                                          AttachState::kFailed,   AttachState::kDegraded};
std::string_view to_text(AttachState);  ///< "attached", ...

struct AttachmentView {
  std::string device;  ///< "eth0", or the cgroup's path
  std::string hook;    ///< "uplink_in", "connect4", ...
  std::string method;  ///< "clsact", "tcx", "xdp", "cgroup"
  uint32_t program_id = 0;  ///< as bpftool prints it; 0: none
  AttachState state = AttachState::kAttached;
  std::string error;
  std::string note = {};  ///< nothing is wrong: why this method and no other
};

/// A label or task that was left out, and why.
struct ProblemView {
  std::string task, field, why;
};

/// One reconciler.
struct ReconcileView {
  std::string driver;  ///< "lb", "attach"
  uint64_t runs = 0, errors = 0, drift_repaired = 0;
  double last_ms = 0;                     ///< duration of the last run
  std::optional<double> last_full_age_s;  ///< since the last complete read-back; none yet: nullopt
  std::string last_error;                 ///< empty when the last run succeeded
};

/// Numbers of enum ls_be_state.
enum class BackendState : uint8_t { kActive = 1, kDraining = 2, kDead = 3 };
inline constexpr std::array kBackendStates{BackendState::kActive, BackendState::kDraining, BackendState::kDead};
std::string_view to_text(BackendState);  ///< "active", "draining", "dead"

struct TablesView {
  uint64_t vips = 0;
  uint64_t active = 0, draining = 0, dead = 0;  ///< backends
};

struct MapView {
  std::string name, type;          ///< "ls_svc", "hash"
  std::optional<uint64_t> entries;  ///< in use; nullopt where that has no meaning or cannot be known cheaply
  uint64_t capacity = 0;
  uint32_t key_size = 0, value_size = 0;  ///< bytes
  uint64_t bytes = 0;                     ///< kernel memory
};

/// One event loop of the daemon.
struct LoopView {
  std::string name;  ///< "control"
  double lag_s = 0;         ///< how late its last one-second timer came
  double beat_age_s = 0;    ///< since that timer
};

/// What `loadstar status` says of DNS: the trouble first.
struct DnsStatus {
  uint64_t listeners = 0, zones = 0, upstreams = 0;
  std::vector<std::string> unbound;     ///< "resolver 198.51.100.1:53: bound: none, bind: Cannot assign requested address"
  std::vector<std::string> not_loaded;  ///< "resolver mesos.": asked for its names this node says SERVFAIL
  std::vector<std::string> aside;       ///< upstreams that fail and are only probed
  std::optional<KernelDnsView> kernel;  ///< nullopt: there are no answers in the kernel to speak of
};

struct StatusView {
  std::string version;
  double uptime_s = 0;
  std::vector<std::string> addresses, roles;
  bool ready = false;
  std::vector<StartupState> startup;
  SourceView source;
  std::vector<ProbeView> probes;
  std::vector<AttachmentView> attachments;
  std::vector<std::string> warnings;
  std::optional<TurnsView> turns;  ///< with store.kind = "zookeeper"
  std::optional<HubView> hub;        ///< a master that serves one
  std::optional<AgentsView> agents;  ///< a master that watches them, a node that is told
  std::vector<ProblemView> problems;  ///< the first ones; problem_count is all of them
  uint64_t problem_count = 0;
  std::vector<ReconcileView> reconcile;
  TablesView tables;
  std::vector<MapView> maps;
  std::vector<LoopView> loops;
  std::optional<DnsStatus> dns;  ///< filled by the router from Provider::dns
  std::optional<OverlayMasterView> overlay;  ///< the same, from Provider::overlay on a master
  std::shared_ptr<const OverlayNodeView> overlay_node;  ///< the same, from Provider::overlay_node; null: takes no part
};

/// The one line that matters first. Pure.
///   READY: 12 VIPs, 40 backends, in sync, source mesos 10.0.0.1:5050
///   NOT READY: 3 of 7: waiting for source_connected, last error connect: Connection refused, since 12 s
std::string headline(const StatusView&);

/// "850 ms", "12 s", "4 min 10 s", "3 h 5 min", "2 d 4 h"
std::string duration_text(double seconds);

struct BackendView {
  Endpoint endpoint;
  IpAddress agent;  ///< zero: not known
  uint8_t weight = 1;
  BackendState state = BackendState::kActive;
  uint32_t number = 0;                    ///< in ls_be; 0: not in the kernel yet
  uint64_t flows_tc = 0, flows_sock = 0;  ///< flows it was chosen for, since it got its number
  std::string task, framework;
};

struct VipView {
  ServiceKey key;
  std::string name;      ///< "web.marathon" of a named VIP, else empty
  std::string dns_name;  ///< "web.marathon.l4lb.thisdcos.directory", else empty
  std::string label, framework;
  uint32_t number = 0;      ///< in ls_svc_tab; 0: not in the kernel yet
  uint32_t ring_slots = 0;  ///< 0: nothing takes new flows
  std::vector<BackendView> backends;
};

/// One node of the cluster, for GET /v1/nodes.
struct NodeView {
  IpAddress private_ip;
  std::vector<IpAddress> public_ips;
  std::string hostname;
  int64_t updated_unix_ms = 0;
};

enum class FlowState : uint8_t { kSyn, kEstablished, kClosing, kUdp };
inline constexpr std::array kFlowStates{FlowState::kSyn, FlowState::kEstablished, FlowState::kClosing, FlowState::kUdp};
std::string_view to_text(FlowState);  ///< "syn", "established", "closing", "udp"
std::optional<FlowState> parse_flow_state(std::string_view);

struct FlowView {
  Endpoint client;
  ServiceKey service;
  std::string vip_name;  ///< name of a named VIP, else empty
  Endpoint backend;
  uint32_t backend_number = 0;
  FlowState state = FlowState::kEstablished;
  bool hairpin = false;  ///< the client is the backend
  double idle_s = 0;     ///< since its last packet; the kernel notes it to 0.13 s
};

struct FlowList {
  std::vector<FlowView> flows;
  bool truncated = false;  ///< the limit ended the list
};

struct DropView {
  uint8_t hook = 0, reason = 0;
  uint64_t count = 0;
};

struct StatView {
  uint8_t hook = 0, verdict = 0;
  uint64_t packets = 0, bytes = 0;
};

/// What an event of type LS_EVENT_DNS has besides.
struct DnsEventView {
  uint8_t result = 0;   ///< enum ls_dns_result
  uint8_t rcode = 0;    ///< of the answer; no meaning when the process got the question
  uint8_t service = 0;  ///< dns::ServiceKind
  uint16_t qtype = 0;
  std::optional<DnsName> name;  ///< folded; nullopt: not read, or not whole in the event
  std::string front;            ///< relative form; the first labels of a name that is not whole
};

/// One record of the event ring, with what the controller knows about its numbers.
struct EventView {
  int64_t unix_ns = 0;  ///< CLOCK_REALTIME; the Provider converts the ring's CLOCK_MONOTONIC
  uint8_t type = 0, hook = 0, reason = 0, proto = 0;  ///< `hook`: enum ls_hook, with `dns` enum ls_dns_hook
  std::string device;  ///< empty for socket hooks
  Endpoint src, dst;   ///< as the packet came in, before translation
  std::optional<ServiceKey> service;
  std::string vip_name;
  std::optional<Endpoint> backend;
  uint32_t backend_number = 0;
  std::optional<DnsEventView> dns;
};

struct MapUpdateErrors {
  std::string map;
  std::string error;  ///< errno's name, "E2BIG"
  uint64_t count = 0;
};
struct NamedHistogram {
  std::string label;  ///< reconciler's name, or kind of change
  HistogramView values;
};

/// What only /metrics shows; the rest of it is made from the other views.
struct MetricsView {
  std::vector<MapUpdateErrors> map_update_errors;
  std::optional<std::array<uint64_t, kFlowStates.size()>> flows;  ///< by FlowState; nullopt: not counted
  uint64_t flow_overflows = 0;
  uint64_t ring_events_lost = 0;           ///< records the kernel could not put into ls_events
  std::vector<NamedHistogram> convergence;  ///< seconds from an event seen to the kernel holding it, by kind
  std::vector<NamedHistogram> reconcile;    ///< seconds a run took, by driver
};

void to_json(nlohmann::json&, const StatusView&);
void to_json(nlohmann::json&, const VipView&);
void to_json(nlohmann::json&, const FlowView&);
void to_json(nlohmann::json&, const MapView&);
void to_json(nlohmann::json&, const DropView&);
void to_json(nlohmann::json&, const StatView&);
void to_json(nlohmann::json&, const EventView&);

/// The list GET /v1/vips answers (spec/spartan-dns.md section 9): exactly the reference's fields; the IPv4 and the IPv6
/// service of one name are one entry, as they were there.
nlohmann::json spec_vips(const std::vector<VipView>&);
/// Every backend of every service, each with the service it belongs to.
nlohmann::json backend_list(const std::vector<VipView>&);

}  // namespace ls::api
