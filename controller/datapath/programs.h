#pragma once
/// Programs: everything of bpf/ in the kernel: the maps (kept across restarts, see map_set.h) and the
/// verified programs.
///
/// Start: load(), then the tables are filled if load() says that they are not what they were, then
/// Attachments::start(), which calls commit() and exchanges the programs. Until that moment the programs of
/// the daemon before go on with their own maps; a load that fails changes nothing for them. Thread: control
/// loop; on_network_change() any. Cost: load runs the verifier once, tens of milliseconds. Degrades: an
/// object that the kernel refuses (say lb_sock on a kernel without socket storage, or those of DNS and of the overlay without
/// CAP_PERFMON) leaves the others working; its error is in the report. Load balancing refused altogether is an error.
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "datapath/map_set.h"

namespace ls::datapath {

/// The sizes that the configuration names, in the units of the configuration.
struct Sizes {
  uint32_t services = 65536;
  uint32_t backends = 131072;      ///< endpoints, all services together
  uint32_t ring_slots = 37748736;  ///< of all services together; 16 a block
  uint32_t flows = 262144;         ///< open IPv4 flows through packet hooks at which the table is half full
  uint32_t flows6 = 65536;
  uint32_t socket_replies = 65536;  ///< unconnected UDP sockets times the services they ask
  uint32_t dns_names = 1'000'000;   ///< that the kernel can answer for
  uint32_t dns_megabytes = 96;      ///< MiB of their records
  uint32_t dns_cached = 4096;       ///< forwarded answers, besides the names
  uint32_t overlay_blocks = 262144;  ///< shares and VTEP addresses that are found by index: 2^(share - pool) for each pool; 8 bytes each
  uint32_t overlay_nodes = 65536;
};

/// Entries of each map whose size is configured. Flow tables: a flow has two entries, a bucket four, and the
/// table is meant to be half full (where two candidate buckets overflow almost never), so there is a bucket
/// for each flow, rounded up to a power of two because programs mask the hash. Number 0 of services and
/// backends is never given out, so those have one entry more. DNS: buckets of eight slots, a power of two of them,
/// of which names and forwarded answers fill at most three quarters: with two candidate buckets of eight, puts that find
/// no slot are rare far beyond that.
std::map<std::string, uint32_t> map_entries(const Sizes& sizes);

struct MapInfo {
  int fd = -1;  ///< stays ours
  bpf::MapLayout layout;
  uint64_t memory_bytes = 0;
  MapStory story;
};

enum class ProgramObject : uint8_t { kPacket, kSocket, kDnsXdp, kDnsTc, kOverlay };
inline constexpr size_t kProgramObjects = 5;
std::string_view to_text(ProgramObject o);  ///< the file in bpf/: "lb_tc"

struct LoadReport {
  std::vector<MapStory> maps;
  /// False: service tables start empty or smaller; fill them before attaching, or services are gone for that
  /// long.
  bool tables_kept = false;
  /// False: ls_dns_{conf,bucket,data,listen} start empty. Programs of the daemon before go on answering from their own
  /// until Attachments exchanges them (AttachmentConfig::hold_dns).
  bool dns_kept = false;
  std::string packet_error;  ///< why lb_tc is not there; empty: it is, or is not wanted
  std::string socket_error;  ///< the same for lb_sock
  std::string dns_xdp_error, dns_tc_error;
  std::string overlay_error;
};

class Programs {
 public:
  struct Options {
    std::string pin = "/sys/fs/bpf/loadstar";
    Sizes sizes;
    bool dns = true;  ///< false: the DNS programs are not loaded; their maps are there all the same
    /// For tests of attaching: files with programs of the same names in place of dns_xdp and dns_tc. Empty: the real ones.
    std::span<const std::byte> dns_xdp_file, dns_tc_file;
    MigrateFlows migrate_flows;
    Steps steps;
    /// What nothing will be attached of is not loaded: verifying lb_tc takes the kernel a quarter of a second.
    bool packet = true, socket = true;
    bool overlay = false;  ///< overlay_tc; its maps are there all the same
    std::string verifier_log;  ///< path for the whole log of a refused program; empty: none
  };
  explicit Programs(Options options);
  Programs(Programs&&) noexcept;
  Programs& operator=(Programs&&) noexcept;
  ~Programs();

  Result<LoadReport> load();
  /// The new maps become the ones that count, flows are carried over. Attachments calls it just before the
  /// exchange.
  Result<> commit();
  /// Repairs pins; returns how many. `full` compares identities, otherwise names.
  Result<int> check(bool full);

  /// Descriptor of a map or program, -1 when there is none; valid as long as this object.
  int map(const std::string& name) const;
  int program(std::string_view name) const;
  /// Why an object is not there, in one line; empty when it is.
  std::string load_error(ProgramObject object) const;
  std::vector<MapInfo> maps() const;
  std::vector<bpf::ProgramInfo> programs() const;

  /// Cached next hops are void from now on. Cost: one atomic add.
  void on_network_change();

  const std::string& pin() const;
  /// For whatever else leaves something in the kernel in the course of a start.
  void step(std::string_view what) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::datapath
