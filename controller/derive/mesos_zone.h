#pragma once
/// The records of the Mesos domain (spec/mesos-dns.md sections 7-9, 15): frameworks, agents, masters and tasks. Pure.
///
/// Threads: apply, set_* on the control loop; roster() from any thread.
/// Cost: a change costs the records of what changed; an agent whose address changed costs its tasks' records.
/// The records of one task are a function of the task, its agent's addresses and the options, so nothing is stored a record.
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "state/cluster_state.h"
#include "util/host_port.h"

namespace ls {

enum class IpSource : uint8_t { kHost, kDocker, kMesos, kNetinfo };

/// Addresses of a host name, from memory; called on the control loop. Whoever answers calls MesosZone::host_changed when it
/// learns more. Literals never get here.
using HostLookup = std::function<std::vector<IpAddress>(std::string_view host)>;

struct MesosZoneOptions {
  bool rfc952 = false;
  std::vector<IpSource> sources{IpSource::kNetinfo, IpSource::kMesos, IpSource::kHost};
  uint16_t srv_weight = 1;
  bool healthy_only = false;      ///< B20
  bool protect_reserved = false;  ///< B21
  bool split_protocols = false;   ///< B23: "udp,tcp" also under _udp and _tcp
  std::string server_name;        ///< owner of the server's own addresses, relative; empty: outside the domain, none are made
  HostLookup lookup;              ///< may be null: host names have no addresses
};

/// What was left out, and why: for status.
struct ZoneProblem {
  std::string item;  ///< "task <framework id>/<task id>", "framework <id>"
  std::string field;
  std::string why;
};

/// One "host:port" of the master list, as detected or configured.
using MasterAddress = HostPort;

class MesosZone {
 public:
  explicit MesosZone(MesosZoneOptions options);
  ~MesosZone();

  RecordDelta apply(const StateDelta& delta);
  /// The same in pieces of some thousand records, so that a whole cluster's records never lie in memory at once. First what is to be
  /// added, then, in the last piece, what is to be removed. `take` must not call this object.
  using Take = std::function<void(RecordDelta&&)>;
  void apply(const StateDelta& delta, const Take& take);
  /// The leader and the list of masters in order (section 8.4); no leader: the former leader's records stay.
  RecordDelta set_masters(const std::optional<MasterAddress>& leader, const std::vector<MasterAddress>& list);
  RecordDelta set_own_addresses(const std::vector<IpAddress>& addresses);
  /// The lookup gives something else for this host now.
  RecordDelta host_changed(std::string_view host);
  /// Everything anew, for a comparison. Cost: O(cluster).
  std::vector<Record> full() const;

  std::vector<ZoneProblem> problems() const;

  /// Frameworks and tasks in the order of the state, for /v1/enumerate and `dns explain`. Any thread; immutable, shared.
  struct TaskRecords {
    std::string name, id;  ///< as in the state
    struct Entry {
      std::string name;  ///< absolute text with trailing dot
      std::string host;  ///< address, or "target:port"
      std::string type;
    };
    std::vector<Entry> records;
    bool added_any = true;  ///< false: all its records came from tasks before it ("records": null, B18)
  };
  struct FrameworkRecords {
    std::string name;
    std::vector<TaskRecords> tasks;
  };
  /// Cost: O(cluster), on the caller's thread; the control loop is held only while pointers are copied.
  /// `domain`: for the absolute names. `raw_names`: with the raw discovery names that DNS cannot serve (B4).
  std::vector<FrameworkRecords> enumerate(std::string_view domain, bool raw_names) const;
  /// Which tasks and rules made the records of `owner` (relative): "task web.1 of marathon: name, row 1". For `dns explain`.
  std::vector<std::string> origins(std::string_view owner) const;
  /// The same for an owner of dcos.thisdcos.directory.
  std::vector<std::string> dcos_origins(std::string_view owner) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Label function L of section 7.1 and domain fragment DF of 7.2.
std::string mesos_label(std::string_view text, bool rfc952);
std::string mesos_domain_fragment(std::string_view text, bool rfc952);
/// H of 7.3 (five characters of z-base-32 of SHA-1) and A of 7.4.
std::string task_hash(std::string_view task_id);
std::string agent_suffix(std::string_view agent_id);

}  // namespace ls
