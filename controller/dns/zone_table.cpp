#include "dns/zone_table.h"

#include <malloc.h>

#include <algorithm>

#include "dns/name_builder.h"

namespace ls::dns {
namespace {

constexpr uint64_t kFree = 0, kGone = 1;
/// A slot is the name's address with 16 bits of its hash on top, so that a probe of another name costs no look into its memory.
constexpr uint64_t kAddressBits = 48, kAddressMask = (uint64_t{1} << kAddressBits) - 1;

uint64_t slot_of(const ZoneName* name, uint64_t hash) { return reinterpret_cast<uint64_t>(name) | (hash & ~kAddressMask); }
ZoneName* name_of(uint64_t slot) { return reinterpret_cast<ZoneName*>(slot & kAddressMask); }
bool is_name(uint64_t slot) { return slot != kFree && slot != kGone; }

struct Slots {
  explicit Slots(size_t size) : mask(size - 1), at(new std::atomic<uint64_t>[size]()) {}
  size_t size() const { return mask + 1; }
  const size_t mask;
  const std::unique_ptr<std::atomic<uint64_t>[]> at;
};

/// Labels up to the end, no longer than a name can be below a one-label apex.
bool valid_owner(std::string_view owner) {
  if (owner.size() > DnsName::kMaxWire - 1) return false;
  size_t at = 0;
  while (at < owner.size()) {
    const auto length = static_cast<uint8_t>(owner[at]);
    if (length == 0 || length > DnsName::kMaxLabel) return false;
    at += length + size_t{1};
  }
  return at == owner.size();
}

bool valid_rdata(RrType type, std::string_view rdata) {
  if (rdata.size() > 65535) return false;
  if (type == RrType::kA) return rdata.size() == 4;
  if (type == RrType::kAaaa) return rdata.size() == 16;
  const auto offset = name_offset(type);
  if (!offset) return true;
  if (rdata.size() <= *offset || (rdata.back() != kApexMark && rdata.back() != '\0')) return false;
  const std::string_view name = rdata.substr(*offset);
  return valid_owner(name.substr(0, name.size() - 1));
}

/// The apex has no parent here, and is everybody's without being in the table.
std::string_view parent_of(std::string_view owner) {
  return owner.empty() ? owner : owner.substr(static_cast<uint8_t>(owner[0]) + size_t{1});
}

struct Item {
  uint64_t hash;
  const Record* record;
  uint32_t order;  ///< place in its list; removals come after additions
};

}  // namespace

struct ZoneTable::Impl {
  explicit Impl(Epoch& e) : epoch(e), slots(new Slots(16)) { bytes = 16 * sizeof(uint64_t); }
  ~Impl() {
    Slots* s = slots.load();
    for (size_t i = 0; i < s->size(); ++i)
      if (const uint64_t slot = s->at[i].load(); is_name(slot)) NameBuilder::free(name_of(slot));
    delete s;
  }

  Epoch& epoch;
  const uint64_t key = random_key();
  std::atomic<Slots*> slots;
  size_t used = 0;  ///< slots that are not free: names and places of former ones
  size_t live = 0;
  std::atomic<size_t> names{0}, records{0}, bytes{0};
  std::atomic<uint64_t> faults{0};
  std::function<uint32_t()> clock;
  std::optional<uint32_t> fixed_serial;
  NameBuilder builder;
  std::vector<Item> items;
  std::vector<ZoneName*> emptied;  ///< names whose last record went: taken away when everything new is there
  bool touched = false;
  Follower* follower = nullptr;

  // -- slots --

  const ZoneName* find(std::string_view owner, uint64_t hash) const {
    const Slots* s = slots.load(std::memory_order_acquire);
    for (size_t i = hash & s->mask;; i = (i + 1) & s->mask) {
      const uint64_t slot = s->at[i].load(std::memory_order_acquire);
      if (slot == kFree) return nullptr;
      if (slot == kGone || ((slot ^ hash) & ~kAddressMask) != 0) continue;
      const ZoneName* name = name_of(slot);
      if (name->owner() == owner) return name;
    }
  }

  std::atomic<uint64_t>& slot_with(const ZoneName* name, uint64_t hash) {
    Slots* s = slots.load(std::memory_order_relaxed);
    for (size_t i = hash & s->mask;; i = (i + 1) & s->mask)
      if (s->at[i].load(std::memory_order_relaxed) == slot_of(name, hash)) return s->at[i];
  }

  static void place(Slots& s, uint64_t slot, uint64_t hash) {
    size_t i = hash & s.mask;
    while (s.at[i].load(std::memory_order_relaxed) != kFree) i = (i + 1) & s.mask;
    s.at[i].store(slot, std::memory_order_release);
  }

  /// Room for `more` names, at most five eighths full. The new array is complete before anybody sees it.
  void reserve(size_t more) {
    Slots* old = slots.load(std::memory_order_relaxed);
    if ((used + more) * 8 <= old->size() * 5) return;
    size_t size = 16;
    while ((live + more) * 8 > size * 5) size *= 2;
    if (live * 8 > size * 4) size *= 2;  // else the next few names would bring us here again
    auto fresh = std::make_unique<Slots>(size);
    for (size_t i = 0; i < old->size(); ++i) {
      const uint64_t slot = old->at[i].load(std::memory_order_relaxed);
      if (is_name(slot)) place(*fresh, slot, name_hash(name_of(slot)->owner(), key));
    }
    used = live;
    bytes += size * sizeof(uint64_t);
    bytes -= old->size() * sizeof(uint64_t);
    slots.store(fresh.release(), std::memory_order_release);
    epoch.retire(std::unique_ptr<Slots>(old));
  }

  // -- names --

  void count_block(const ZoneName* name, int sign) {
    const size_t size = malloc_usable_size(const_cast<ZoneName*>(name)) + sizeof(size_t);
    sign > 0 ? bytes += size : bytes -= size;
  }

  void retire(ZoneName* name) {
    count_block(name, -1);
    epoch.retire(name, [](void* p) { NameBuilder::free(static_cast<ZoneName*>(p)); });
  }

  void insert(ZoneName* name, uint64_t hash) {
    add_child(parent_of(name->owner()));
    reserve(1);
    Slots& s = *slots.load(std::memory_order_relaxed);
    size_t i = hash & s.mask;
    // The place of a former name does as well: names that come and go must not leave a row of those behind them. A reader who
    // passes by finds a name in it that is not the one it looks for.
    while (is_name(s.at[i].load(std::memory_order_relaxed))) i = (i + 1) & s.mask;
    if (s.at[i].load(std::memory_order_relaxed) == kFree) ++used;
    s.at[i].store(slot_of(name, hash), std::memory_order_release);
    ++live;
    count_block(name, 1);
  }

  void exchange(ZoneName* old, ZoneName* fresh, uint64_t hash) {
    slot_with(old, hash).store(slot_of(fresh, hash), std::memory_order_release);
    count_block(fresh, 1);
    retire(old);
  }

  void add_child(std::string_view parent) {
    if (parent.empty()) return;  // the apex is always there
    const uint64_t hash = name_hash(parent, key);
    auto* name = const_cast<ZoneName*>(find(parent, hash));
    if (!name) {
      NameBuilder none;
      name = none.build(parent, 0);
      insert(name, hash);
      tell(name->owner());
    }
    ++name->children_;
  }

  void erase(ZoneName* name) {
    const std::string_view parent = parent_of(name->owner());
    slot_with(name, name_hash(name->owner(), key)).store(kGone, std::memory_order_release);
    --live;
    tell(name->owner());
    if (!parent.empty()) {
      auto* above = const_cast<ZoneName*>(find(parent, name_hash(parent, key)));
      if (--above->children_ == 0 && above->empty_non_terminal()) erase(above);
    }
    retire(name);
  }

  void tell(std::string_view owner) {
    if (follower) follower->name_changed(owner);
  }

  size_t shown_records(const ZoneName* name) {
    size_t n = 0;
    if (name) name->for_each([&n](RrSet set) { n += set.count(); });
    return n;
  }

  // -- changes --

  void sort_items() {
    std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
      if (a.hash != b.hash) return a.hash < b.hash;
      if (const int order = a.record->owner.compare(b.record->owner)) return order < 0;
      return a.order < b.order;
    });
  }

  bool take(const Record& record, uint32_t order) {
    if (!valid_owner(record.owner) || !valid_rdata(record.type, record.rdata)) {
      faults.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    items.push_back({name_hash(record.owner, key), &record, order});
    return true;
  }

  /// Puts what the builder holds in the place of what the name had.
  void publish(ZoneName* existing, std::string_view owner, uint64_t hash) {
    if (!builder.changed()) return;
    touched = true;
    if (builder.empty()) {
      if (existing) emptied.push_back(existing);
      return;
    }
    const size_t before = shown_records(existing);
    const bool new_name = !existing || existing->empty_non_terminal();
    ZoneName* fresh = builder.build(owner, existing ? existing->children_ : 0);
    const size_t now = builder.records();
    existing ? exchange(existing, fresh, hash) : insert(fresh, hash);
    records += now - before;
    if (new_name) ++names;
    tell(owner);
  }

  void finish() {
    // Those that stay because of the names below them come first: who follows hears of no name that goes before all that do not.
    auto goes = std::partition(emptied.begin(), emptied.end(), [](const ZoneName* name) { return name->children_ != 0; });
    names -= emptied.size();
    for (auto at = emptied.begin(); at != emptied.end(); ++at) {
      ZoneName* name = *at;
      records -= shown_records(name);
      if (at >= goes) {
        erase(name);
        continue;
      }
      NameBuilder none;
      ZoneName* fresh = none.build(name->owner(), name->children_);
      exchange(name, fresh, name_hash(name->owner(), key));
      tell(fresh->owner());
    }
    emptied.clear();
    items.clear();
    if (items.capacity() > 65536) items.shrink_to_fit();  // the first load's
    epoch.collect();
  }

  /// The names of a change lie anywhere in the table, so in a large zone each would be waited for. The places and blocks of the
  /// next ones are asked for while one is worked on.
  static constexpr size_t kAhead = 8;
  void fetch_place(size_t item) const {
    const Slots& s = *slots.load(std::memory_order_relaxed);
    if (item < items.size()) __builtin_prefetch(&s.at[items[item].hash & s.mask]);
  }
  void fetch_name(size_t item) const {
    if (item >= items.size()) return;
    const Slots& s = *slots.load(std::memory_order_relaxed);
    const uint64_t slot = s.at[items[item].hash & s.mask].load(std::memory_order_relaxed);
    if (is_name(slot)) __builtin_prefetch(name_of(slot));
  }

  /// Goes through items_ name by name.
  template <class Change>
  void each_name(Change change) {
    size_t groups = 0;
    for (size_t i = 0; i < items.size(); ++i) groups += i == 0 || items[i].record->owner != items[i - 1].record->owner;
    reserve(groups);
    for (size_t i = 0; i < 2 * kAhead; ++i) fetch_place(i);
    for (size_t i = 0; i < kAhead; ++i) fetch_name(i);
    for (size_t from = 0, to; from < items.size(); from = to) {
      const std::string& owner = items[from].record->owner;
      const uint64_t hash = items[from].hash;
      for (to = from + 1; to < items.size() && items[to].hash == hash && items[to].record->owner == owner;) ++to;
      for (size_t i = from; i < to; ++i) fetch_place(i + 2 * kAhead), fetch_name(i + kAhead);
      auto* existing = const_cast<ZoneName*>(find(owner, hash));
      builder.start(existing);
      change(std::span<const Item>(items).subspan(from, to - from));
      publish(existing, owner, hash);
    }
  }

  bool wanted(const ZoneName* name) const {
    const uint64_t hash = name_hash(name->owner(), key);
    auto at = std::lower_bound(items.begin(), items.end(), hash, [](const Item& item, uint64_t h) { return item.hash < h; });
    for (; at != items.end() && at->hash == hash; ++at)
      if (at->record->owner == name->owner()) return true;
    return false;
  }

  void end() {
    if (follower) follower->change_ended();
  }

  uint32_t next_serial(uint32_t serial) const {
    if (fixed_serial) return *fixed_serial;
    const uint32_t next = serial + 1;
    const uint32_t now = clock ? clock() : next;
    return static_cast<int32_t>(now - next) > 0 ? now : next;  // RFC 1982 3.2
  }
};

ZoneTable::ZoneTable(Epoch& epoch) : impl_(std::make_unique<Impl>(epoch)) {}
ZoneTable::~ZoneTable() = default;

void ZoneTable::apply(const RecordDelta& delta) {
  if (!change(delta) && loaded()) return;
  changed();
  impl_->end();
}

void ZoneTable::apply_unloaded(const RecordDelta& delta) {
  if (!change(delta)) return;
  if (loaded()) changed();
  impl_->end();
}

bool ZoneTable::change(const RecordDelta& delta) {
  Impl& i = *impl_;
  i.touched = false;
  uint32_t order = 0;
  for (const Record& r : delta.add) i.take(r, order++);
  const uint32_t removals = order;
  for (const Record& r : delta.remove) i.take(r, order++);
  i.sort_items();
  i.each_name([&](std::span<const Item> items) {
    for (const Item& item : items) {
      if (item.order < removals) {
        i.builder.add(*item.record);
      } else if (!i.builder.remove(*item.record)) {
        i.faults.fetch_add(1, std::memory_order_relaxed);
      }
    }
  });
  i.finish();
  return i.touched;
}

void ZoneTable::replace(const std::vector<Record>& all) {
  Impl& i = *impl_;
  i.touched = false;
  uint32_t order = 0;
  for (const Record& r : all) i.take(r, order++);
  i.sort_items();
  i.each_name([&](std::span<const Item> items) {
    i.builder.forget();
    for (const Item& item : items) i.builder.add(*item.record);
  });
  const Slots& slots = *i.slots.load(std::memory_order_relaxed);
  for (size_t s = 0; s < slots.size(); ++s) {
    const uint64_t slot = slots.at[s].load(std::memory_order_relaxed);
    if (!is_name(slot) || name_of(slot)->empty_non_terminal() || i.wanted(name_of(slot))) continue;
    i.emptied.push_back(name_of(slot));
    i.touched = true;
  }
  i.finish();
  if (!i.touched && loaded()) return;
  changed();
  i.end();
}

void ZoneTable::changed() {
  serial_.store(impl_->next_serial(serial()), std::memory_order_release);
  version_.fetch_add(1, std::memory_order_acq_rel);
  loaded_.store(true, std::memory_order_release);
}

void ZoneTable::set_clock(std::function<uint32_t()> unix_seconds) { impl_->clock = std::move(unix_seconds); }

void ZoneTable::set_fixed_serial(uint32_t serial) {
  impl_->fixed_serial = serial;
  if (serial_.exchange(serial, std::memory_order_acq_rel) != serial) impl_->end();
}

void ZoneTable::follow(Follower* follower) const { impl_->follower = follower; }

size_t ZoneTable::names() const { return impl_->names; }
size_t ZoneTable::all_names() const { return impl_->live; }
size_t ZoneTable::records() const { return impl_->records; }
size_t ZoneTable::bytes() const { return impl_->bytes; }
uint64_t ZoneTable::faults() const { return impl_->faults; }

const ZoneName* ZoneTable::find(std::string_view relative) const { return impl_->find(relative, name_hash(relative, impl_->key)); }

void ZoneTable::for_each(const std::function<void(const ZoneName&)>& visit) const {
  const Slots& slots = *impl_->slots.load(std::memory_order_acquire);
  for (size_t i = 0; i < slots.size(); ++i)
    if (const uint64_t slot = slots.at[i].load(std::memory_order_acquire); is_name(slot)) visit(*name_of(slot));
}

void ZoneName::for_each(const std::function<void(RrSet)>& visit) const {
  const uint8_t* at = first_set();
  for (size_t i = 0; i < sets_; ++i) {
    visit(RrSet(at));
    at += RrSet(at).head().size;
  }
}

}  // namespace ls::dns
