#pragma once
/// The parts of KernelMirror: kernel_mirror.cpp has routes and views, kernel_zone.cpp the names of a zone, kernel_answers.cpp whole
/// answers.
#include <map>
#include <set>
#include <unordered_set>
#include <utility>

#include "dns/kernel_cached.h"
#include "dns/kernel_form.h"
#include "dns/kernel_mirror.h"
#include "dns/kernel_views.h"
#include "loadstar/abi/dns.h"

namespace ls::dns {

/// A view of a zone that is in service.
struct KernelSeen {
  size_t service = 0;
  const ZoneView* view = nullptr;  ///< in the Routes that Impl holds
  ZoneView still;                  ///< the same without rotation, to make answers with
  std::string suffix;              ///< folded, absolute
  uint32_t ready = 0;              ///< space
  bool nested = false;
};

/// A name with answers of its own.
struct KernelAnswers {
  std::vector<std::pair<uint32_t, uint16_t>> ready;  ///< space and type of those that are in the store
  std::vector<std::string> through;                  ///< what they lead through: keys of Impl::leads
};

struct KernelMirror::Impl {
  struct Zone;
  static constexpr size_t kMaxDated = 1024;    ///< names of a zone whose answers hold its serial and are made anew when it changes
  static constexpr size_t kMaxFailures = 16;   ///< until trying again is given up for this time
  static constexpr size_t kMaxRetries = 4096;

  Impl(KernelStore& s, Epoch& e, std::vector<DnsName> names);
  ~Impl();

  // kernel_mirror.cpp
  void set_routes(size_t service, std::shared_ptr<const Routes> routes);
  void gather_views(size_t service);
  void add_zones(size_t service);
  void drop_unused();
  uint32_t free_space(uint32_t kind, const std::string& name) const;
  uint32_t ready_space(size_t service, const std::string& suffix, const Zone& zone);
  void show(Zone& zone);          ///< its views; no sync
  void show_all();
  void sync();
  void settled();
  KernelMirrorView view() const;

  // kernel_zone.cpp
  void fill(Zone& zone);
  void drop(Zone& zone);
  void put_name(Zone& zone, const std::string& owner);
  bool put(Zone& zone, const std::string& owner);
  void lost(Zone& zone, const std::string& owner);
  bool remove(const KernelKey& key);
  void retry();

  // kernel_answers.cpp
  void answer(Zone& zone, const std::string& owner);  ///< makes the answers of a name anew, or takes them away
  void answer_all();
  void answer_through(const Zone& zone, std::string_view owner);  ///< those that lead through a name
  void make_answers(Zone& zone, const std::string& owner, const ZoneName* name, KernelAnswers& out);
  bool make_answer(const KernelSeen& seen, const std::string& owner, RrType type, KernelAnswers& out, bool& dated);
  void find_way(const Zone& zone, const std::string& owner, const ZoneName* name, KernelAnswers& out) const;
  void forget_way(Zone& zone, const std::string& owner, const KernelAnswers& answers);

  KernelStore& store;
  Epoch::Reader reader;
  const std::vector<DnsName> process_answers;
  std::array<std::shared_ptr<const Routes>, kServices> routes;
  std::array<KernelViews, kServices> views;
  std::map<const ZoneTable*, std::unique_ptr<Zone>> zones;
  std::map<std::string, uint32_t> ready_spaces;  ///< service, zone's space and suffix -> space
  /// Space of a zone and name in it -> the names whose answers lead through it.
  std::map<std::string, std::set<std::pair<Zone*, std::string>>, std::less<>> leads;
  KernelCached cached;
  KernelBody body;                ///< used again and again
  std::vector<uint8_t> message;   ///< of an answer in the making
  uint64_t ready_count = 0;
  bool is_settled = false;
  bool removed = false;           ///< since the last try for those without room
  bool quiet = false;             ///< answers are made later, all at once
};

struct KernelMirror::Impl::Zone : ZoneTable::Follower {
  Zone(Impl& i, std::shared_ptr<const ZoneTable> t, uint32_t s);
  ~Zone() override { table->follow(nullptr); }
  void name_changed(std::string_view owner) override;
  void change_ended() override;

  Impl& impl;
  const std::shared_ptr<const ZoneTable> table;
  const uint32_t space;
  const std::function<uint64_t(std::string_view)> hash_of;
  bool filled = false;     ///< every name is in the store or in `missing`
  uint32_t serial = 0;     ///< of the answers in `dated`
  std::vector<KernelSeen> seen;
  std::set<std::string, std::less<>> process;  ///< names that the process answers
  std::set<std::string, std::less<>> missing;  ///< found no room
  std::string tried;                           ///< the last of `missing` that was tried again
  std::map<std::string, KernelAnswers, std::less<>> partial;
  std::set<std::string, std::less<>> dated;    ///< names with answers that hold the zone's serial
};

}  // namespace ls::dns
