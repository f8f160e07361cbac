#pragma once
/// KernelMirror: keeps a KernelStore equal to the zones and routes that the servers answer from.
///
/// Thread: control loop. Cost: a change costs the records of the names it touches, plus one view entry for each name its zone has,
/// when what the view says is different (serial); a new zone costs its names once. No names are held here, except those that found no
/// room and those with answers of their own: what a name has is read from its ZoneTable.
/// Order: names come before the view says "complete"; a name that gets other records is replaced in one step; names that go are removed
/// after those that come. A zone of which a name found no room is not complete, in the kernel before the name is taken out there: what
/// is not found goes up to the process. Names that found no room are tried again when something was removed, and every few seconds.
/// Names with aliases or other records than A, AAAA and SRV get whole answers, one for each view and type, made by answer_from_zone();
/// they are made anew when a name they lead through changes. Not kept: answers whose alias leads out of the zones, sets of addresses and
/// SRV records that are too large for the name's entry (they change places, which an answer that is ready cannot do for SRV).
///
/// After a start the store may be full of what a daemon before left. Until a zone is loaded nothing of it is touched: its old view and
/// names go on answering, because the last good answer is better than none. When it is loaded, its names are put, then its view; names and
/// views that are no more go with settled(). A zone that is not loaded then, or of which nothing was there, has a view that sends
/// everything up: without one, a shorter suffix would answer for it.
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
  /// service any more go. nullptr: the service has no names.
  void set_routes(ServiceKind service, std::shared_ptr<const Routes> routes);
  /// Bit n of word n / 64: a view of the service has a suffix of n octets (ls_dns_service.suffixes). After each set_routes().
  std::array<uint64_t, 4> suffixes(ServiceKind service) const;
  /// All zones are what they should be: removes what a daemon before left. Once, when the first complete state has been applied.
  void settled();

  /// How many forwarded answers are kept (dns.kernel_cached); at most 65,536.
  void set_max_cached(size_t max);
  /// A forwarded answer that was asked for often.
  void put_cached(std::span<const uint8_t> message, uint64_t stored_ns, uint64_t expires_ns);
  /// Forwarded answers at and below `suffix` go; the root: all. Returns how many.
  size_t flush_cached(const DnsName& suffix);
  /// Those that have ended. Also tries what found no room again. Every few seconds.
  void expire_cached(uint64_t now_ns);

  KernelMirrorView view() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
