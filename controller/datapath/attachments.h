#pragma once
/// Attachments: keeps the programs attached to what the configuration says, and to nothing else.
///
///   socket hooks   the cgroup of the configuration, by cgroup links
///   uplinks        named devices: uplink_in, uplink_out; dns_xdp or dns_uplink
///   ports          devices by glob: port_in, port_out; dns_port
///   bridge ports   whatever is a port of a configured bridge, or a device by glob that is a port of any: bridge_in,
///                  bridge_out; dns_bridge
///   loopback       lo; dns_lo
///   VTEP           the device of the overlay: ovl_in, vtep_in; ovl_out, vtep_out
/// A device that is both an uplink and a port is an uplink. While this machine is a node of the overlay (a VTEP is named),
/// uplinks have ovl_uplink too, devices that loadstar-cni made in direct mode ovl_port, ports of bridges of the overlay
/// ovl_bridge. Those run before our other programs at the same place, whatever is attached first; check() moves them there.
/// What loadstar-cni made is told by the device's alias ("loadstar-cni <network> <container> <interface>", set by
/// root) and is a port whatever the globs say; in direct mode when it has no master. All its addresses are then in ls_ovl_local.
///
/// An uplink where native XDP is refused, or held by a program of somebody else, gets dns_uplink by tc; status says why. It is
/// not tried again before the next start or until the device is made anew: a driver may take the device off the network for
/// a moment to set its rings up. DNS programs of the daemon before that this one cannot replace are taken off, unlike
/// others: the process gives the same answers. Devices come and go with rtnetlink events.
///
/// Links are pinned below <pin>/links as <hook>-<ifindex or cgroup id>[-<device>] (with the number, because
/// names change and are used again) and outlive the daemon. The next start takes them over and exchanges
/// their programs in one step, so no packet passes without a program. Own objects are told by where they are
/// pinned, clsact filters by place and name. Programs of others stay where they are. Degrades: an attach that
/// fails leaves that one place without a program, says why in status() and is tried again by check(). Thread:
/// control loop. Cost: an event costs work for its device only; check() two system calls an attachment.
/// Counters: drift_repaired (something outside changed what is ours and it was put right).
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "datapath/cgroup_group.h"
#include "datapath/hooks.h"
#include "datapath/own_addresses.h"
#include "datapath/programs.h"
#include "netlink/watch.h"

namespace ls::datapath {

/// How questions from other machines are met. Generic XDP is never used: it runs where tc runs, after the packet was made an
/// sk_buff, costs more than tc there and copies what is not linear.
enum class XdpChoice {
  kAuto,    ///< native XDP where it is known to do good, see xdp_objection()
  kNative,  ///< native XDP wherever the driver takes it
  kOff,     ///< tc
};

struct AttachmentConfig {
  bool socket = true;
  std::string cgroup = "/sys/fs/cgroup";
  bool packet = true;
  std::vector<std::string> uplinks;
  std::vector<std::string> ports;  ///< globs as in a shell
  std::vector<std::string> bridges;
  bool loopback = true;
  bool dns = true;  ///< the hooks that answer DNS, on the same devices, also without `packet`
  XdpChoice dns_xdp = XdpChoice::kAuto;
  bool hold_dns = false;  ///< dns hooks stay as the daemon before left them until release_dns()
  std::string vtep;                          ///< device of the overlay; empty: no overlay, nothing of it is attached
  std::vector<std::string> overlay_bridges;  ///< Docker's and loadstar-cni's; their ports are also those of load balancing
  bool hold_overlay = false;  ///< the overlay's places stay as the daemon before left them until set_overlay()
  bool tcx = true;  ///< false: clsact, on kernels where bpf::probe_kernel() says so
};

struct AttachmentStatus {
  enum class State { kAttached, kDegraded, kForeign, kFailed };
  std::string device;   ///< or the path of the cgroup
  uint64_t target = 0;  ///< ifindex or cgroup id
  std::string hook;
  std::string method;  ///< "tcx", "clsact", "xdp", "cgroup"
  State state = State::kFailed;
  uint32_t program_id = 0;
  uint32_t link_id = 0;  ///< 0 for clsact
  std::string
      error;  ///< kDegraded: attached, but not pinned or not our newest program, or (program_id 0) a DNS hook whose programs
              ///< the kernel refused, so that the process answers there; kFailed: not attached; kForeign: whose program is
              ///< in the way
  std::string note;  ///< all is well, but a reader may wonder: why tc and not XDP
  std::chrono::system_clock::time_point since;
};
std::string_view to_text(AttachmentStatus::State s);

class Attachments {
 public:
  Attachments(Programs& programs, AttachmentConfig config);

  /// Commits the maps, takes over or removes what is pinned, attaches the rest. An error means that nothing
  /// could be looked at; single places that fail are in status().
  Result<> start();

  /// For the event loop: wait until it is readable, then call on_readable(). Valid after start().
  int event_fd() const;
  Result<> on_readable();

  /// Ends AttachmentConfig::hold_dns: the tables of DNS are filled. No-op when nothing is held.
  Result<> release_dns();
  bool dns_held() const { return config_.hold_dns && config_.dns; }

  /// The overlay is known, or is another, or is no more (`vtep` empty): attaches and removes what follows. Ends
  /// AttachmentConfig::hold_overlay. Before start() it only sets the configuration. No-op when nothing changes. The
  /// tables come first: programs leave everything to the stack until ls_ovl_conf says otherwise.
  Result<> set_overlay(std::string vtep, std::vector<std::string> bridges);
  bool overlay_held() const { return config_.hold_overlay; }

  /// Compares with the kernel and puts right what differs; `full` also lists all devices anew and compares
  /// pins by identity. Call it every few seconds, and full every 60 s. Returns how many things were repaired.
  Result<int> check(bool full);

  std::vector<AttachmentStatus> status() const;
  /// Uplinks missing, strict rp_filter: one sentence each, made when asked (reads /proc).
  std::vector<std::string> warnings() const;
  uint64_t drift_repaired() const { return drift_repaired_; }

 private:
  struct Key {
    size_t hook;  ///< place in kHooks
    uint64_t target;
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    std::string device;
    bpf::Link link;  ///< empty with clsact
    uint32_t program_id = 0;
    uint32_t link_id = 0;
    bool attached = false;
    bool foreign = false;  ///< not attached because of somebody else's program
    std::string error;
    std::chrono::system_clock::time_point since;
  };

  std::optional<HookKind> role(const netlink::Device& d) const;
  std::map<Key, std::string> wanted(const netlink::Device& d) const;
  bool applies(const HookSpec& spec, const netlink::Device& d) const;
  /// The entry whose program comes first among ours at the place, without those of the overlay; null: none is there.
  const Entry* first_of_others(const Key& key) const;
  bool runs_first(const Key& key, const Entry& e) const;
  bool has_held_filters(int ifindex) const;
  /// The tc hooks with a filter of ours on the device, if clsact is the way.
  std::vector<size_t> wanted_filters(const netlink::Device& d) const;
  bool held(const Key& key) const {
    return (config_.hold_dns && config_.dns && kHooks[key.hook].is_dns()) || (config_.hold_overlay && kHooks[key.hook].is_overlay());
  }
  /// A device with programs of the overlay before may be a port of a bridge that nobody has named yet.
  bool held_device(const Key& key) const;
  Result<> exchange_held(bool (HookSpec::*which)() const);
  bool use_xdp(const netlink::Device& d) const;
  std::string xdp_note(const Key& key) const;
  void fall_back_to_tc(const Key& key, const std::string& device, const std::string& why);
  std::map<Key, std::string> wanted_cgroup();
  /// Host ports are answered at the machine's addresses: ls_own.
  void tell_addresses();
  void open_group();
  Result<> list_devices();
  Result<> refresh_addresses();

  Result<> adopt();
  Result<> adopt_one(const std::string& pin_name, const std::map<Key, std::string>& all);
  void sweep_clsact();
  void reconcile(std::map<Key, std::string> want, const std::function<bool(const Key&)>& within);
  void reconcile_device(int ifindex);
  void reconcile_all();
  void handle(const netlink::Event& e, bool& network_changed, bool& resync, bool& addresses);

  void attach(const Key& key, const std::string& device);
  Result<> attach_now(const Key& key, Entry& e);
  Result<> pin(const Key& key, Entry& e);
  void remove(const Key& key, Entry& e);
  bool verify(const Key& key, Entry& e, bool full);
  Result<uint32_t> our_program(const Key& key) const;
  std::string pin_path(const Key& key, const std::string& device) const;

  Programs& programs_;
  AttachmentConfig config_;
  std::optional<netlink::Watch> watch_;
  std::map<int, netlink::Device> devices_;
  std::optional<OwnAddresses> own_;
  size_t own_left_out_ = 0;
  CgroupGroup group_;
  std::string group_error_;
  std::map<Key, Entry> entries_;
  std::map<int, std::string> xdp_refused_;  ///< ifindex -> why
  uint64_t drift_repaired_ = 0;
};

}  // namespace ls::datapath
