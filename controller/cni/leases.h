#pragma once
/// The addresses of one network on this node: who has which, and which is next. Ranges, gateway and order are those of host-local
/// (spec/cni.md, 3.3); what its folder says when the network is used for the first time is taken over.
///
/// A reservation is on the disk before anything is made for it, and holds everything that DEL needs: so a DEL finds and undoes
/// whatever a killed ADD has left. Thread: the owner's. Cost of reserve and release: one sync, whatever the number of reservations.
/// Files: <dataDir>/.loadstar/<network>; taken over: <dataDir>/<network>/<address>.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cni/config.h"
#include "cni/lease_file.h"
#include "util/unique_fd.h"

namespace ls::cni {

/// Everything known of one interface of one container.
struct Attachment {
  std::string container, ifname;
  Mode mode = Mode::kBridge;
  bool imported = false;   ///< of host-local: the name of the interface may be empty, the host's device is not known
  std::optional<IpAddress> v4, v6;
  bool owned = false;      ///< they are of this network's ranges and go back when released
  Mac mac{};               ///< of the container's device
  std::string host_device, bridge;
  std::vector<PortMapping> mappings;
  bool operator==(const Attachment&) const = default;
};

class Leases {
 public:
  struct Options {
    std::filesystem::path data_dir;
    std::string network;
    bool make = true;    ///< false: a network nobody used yet is nullopt, unless host-local did
    uint64_t boot = 0;   ///< 0: of this machine; another one in tests
  };
  /// Holds the network's lock until the end of the object.
  static Outcome<std::optional<Leases>> open(const Options& o);
  /// For tests with a disk of their own.
  static Outcome<Leases> over(std::unique_ptr<Disk> disk, const Options& o);

  /// An imported one, whose interface is not known, stands for any interface of its container.
  Outcome<std::optional<Attachment>> find(const std::string& container, const std::string& ifname) const;
  /// Takes an address of every range: the requested one of its family, else the next free one. `wish` has everything but the addresses
  /// (a chained one has those too, and `ranges` is empty). Code 3 when the attachment is there, 7 for a request outside, 100 for a
  /// taken or no free one.
  Outcome<Attachment> reserve(Attachment wish, const std::vector<Range>& ranges, const std::vector<IpAddress>& requested);
  /// False: there was none.
  Outcome<bool> release(const std::string& container, const std::string& ifname);
  /// The mappings are removed from the record (they failed, or are gone).
  Outcome<std::vector<Attachment>> all() const;
  /// Code 100 when a range has no free address.
  Outcome<> room(const std::vector<Range>& ranges) const;

 private:
  explicit Leases(LeaseFile file, Options o) : file_(std::move(file)), options_(std::move(o)) {}
  Outcome<> prepare();
  Outcome<> import_host_local();
  Outcome<> forget_earlier_boots(uint64_t boot);
  Outcome<uint32_t> slot_of(const std::string& container, const std::string& ifname) const;
  /// nullopt: none is free.
  std::optional<IpAddress> next_free(const Range& r, const LeaseHeader& h) const;

  LeaseFile file_;
  Options options_;
};

/// Held while one attachment is made, checked or removed, so that a DEL does not overtake its ADD. Released by the end of the process.
class AttachmentLock {
 public:
  /// Code 11 when the deadline comes first. Without the network's folder (`make` false) it holds nothing.
  static Outcome<AttachmentLock> take(const std::filesystem::path& data_dir, const std::string& network, const std::string& container,
                                      const std::string& ifname, bool make);

 private:
  UniqueFd fd_;
};

/// <dataDir>/.loadstar/<network>
std::filesystem::path lease_path(const std::filesystem::path& data_dir, const std::string& network);

}  // namespace ls::cni
