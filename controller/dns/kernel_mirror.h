#pragma once
/// KernelMirror: keeps a KernelStore equal to the zones and routes that the servers answer from.
///
/// Thread: control loop. Cost: a change costs the records of the names it touches, plus one view entry for each name its zone has;
/// a new zone costs its names once. No names are held here: what a name has is read from its ZoneTable.
/// Order: names come before the view says "complete"; a name that gets other records is replaced in one step; names that go are removed
/// after those that come. A zone that is not loaded, or of which a name found no room, is not complete: what is not
/// found goes up to the process.
/// Names with aliases or other records than A, AAAA and SRV get whole answers, one for each view and type, made by answer_from_zone();
/// they are made anew when a name they lead through changes.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dns/kernel_store.h"
#include "dns/routes.h"
#include "dns/server.h"
#include "util/epoch.h"

namespace ls::dns {

struct KernelMirrorView {
  uint64_t names = 0, views = 0, ready = 0, cached = 0;  ///< entries
  uint64_t no_room = 0;        ///< names that found no room, now
  uint64_t incomplete_zones = 0;
};

class KernelMirror {
 public:
  /// `process_answers`: absolute folded names that the process answers, always (ready.spartan).
  KernelMirror(KernelStore& store, Epoch& epoch, std::vector<DnsName> process_answers);
  ~KernelMirror();  ///< lets go of the tables; the store stays as it is

  /// The views of a service, and through them the tables, which are followed from now on. Names of tables that are in no
  /// service any more go. `udp_size` as the server's.
  void set_routes(ServiceKind service, std::shared_ptr<const Routes> routes);
  /// Bit n of word n / 64: a view of the service has a suffix of n octets (ls_dns_service.suffixes). After each set_routes().
  std::array<uint64_t, 4> suffixes(ServiceKind service) const;
  /// All zones are what they should be: removes what a daemon before left. Once, when the first complete state has been applied.
  void settled();

  /// A forwarded answer that was asked for often.
  void put_cached(std::span<const uint8_t> message, uint64_t stored_ns, uint64_t expires_ns);
  /// Forwarded answers at and below `suffix` go; the root: all. Returns how many.
  size_t flush_cached(const DnsName& suffix);
  /// Those that have ended. Every few seconds.
  void expire_cached(uint64_t now_ns);

  KernelMirrorView view() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
