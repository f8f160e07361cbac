#include "dns/cache.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "dns/cache_entry.h"
#include "dns/forwarder.h"
#include "util/guarded.h"

namespace ls::dns {

namespace {

/// A hash table of entries in chains, and the same entries in a ring by last use.
class Shard {
 public:
  Shard() : buckets_(64) { ring_.newer = ring_.older = &ring_; }
  ~Shard() {
    while (ring_.older != &ring_) remove(ring_.older);
  }
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  template <class Same>
  CacheEntry* find(uint64_t hash, Same&& same) {
    for (CacheEntry* e = bucket(hash); e; e = e->next)
      if (e->hash == hash && same(*e)) return e;
    return nullptr;
  }
  void use(CacheEntry* e) {
    if (ring_.older == e) return;
    unlink(e);
    link(e);
  }
  /// Makes room by dropping what was not used for the longest time. Returns how many went.
  size_t insert(CacheEntryPtr entry, size_t budget) {
    CacheEntry* e = entry.release();
    if (count_ >= buckets_.size()) grow();
    e->next = bucket(e->hash);
    bucket(e->hash) = e;
    link(e);
    count_++;
    bytes_ += e->bytes();
    size_t gone = 0;
    for (; bytes_ > budget && ring_.newer != e; gone++) remove(ring_.newer);
    return gone;
  }
  void remove(CacheEntry* e) {
    CacheEntry** at = &bucket(e->hash);
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    unlink(e);
    count_--;
    bytes_ -= e->bytes();
    CacheEntryPtr(e).reset();
  }
  template <class F>
  void for_each(F&& f) {
    for (CacheEntry *e = ring_.older, *next; e != &ring_; e = next) {
      next = e->older;
      f(e);
    }
  }
  size_t count() const { return count_; }
  size_t bytes() const { return bytes_; }

  uint64_t hits = 0, misses = 0, stale = 0, prefetches = 0, evictions = 0;

 private:
  CacheEntry*& bucket(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  // ring_.older is the most recent, ring_.newer the one that goes next.
  void link(CacheEntry* e) {
    e->newer = &ring_;
    e->older = ring_.older;
    e->older->newer = e;
    ring_.older = e;
  }
  void unlink(CacheEntry* e) {
    e->newer->older = e->older;
    e->older->newer = e->newer;
  }
  void grow() {
    std::vector<CacheEntry*> old(buckets_.size() * 2);
    old.swap(buckets_);
    for (CacheEntry* chain : old) {
      while (chain) {
        CacheEntry* e = chain;
        chain = e->next;
        e->next = bucket(e->hash);
        bucket(e->hash) = e;
      }
    }
  }

  std::vector<CacheEntry*> buckets_;
  CacheEntry ring_;
  size_t count_ = 0, bytes_ = 0;
};

struct Key {
  std::string_view folded;
  uint16_t type, qclass;
  uint8_t flavour;
  uint64_t hash;

  bool operator()(CacheEntry& e) const {
    const auto q = e.question();
    return e.flavour == flavour && q.size() == folded.size() + 4 && get16(q.data() + folded.size()) == type &&
           get16(q.data() + folded.size() + 2) == qclass && std::memcmp(q.data(), folded.data(), folded.size()) == 0;
  }
};

bool below(std::span<const uint8_t> name, std::string_view suffix) {
  if (name.size() < suffix.size()) return false;
  size_t at = 0;
  while (at < name.size() - suffix.size()) at += size_t{1} + name[at];
  return at == name.size() - suffix.size() && std::memcmp(name.data() + at, suffix.data(), suffix.size()) == 0;
}

constexpr size_t kMaxShards = 32, kLeastPerShard = 1 << 20;

}  // namespace

struct Cache::Impl {
  CacheOptions options;
  size_t shards, budget;
  uint64_t key = random_key();
  std::unique_ptr<Guarded<Shard>[]> list;

  explicit Impl(CacheOptions o)
      : options(std::move(o)),
        shards(std::bit_floor(std::clamp<size_t>(options.bytes / kLeastPerShard, 1, kMaxShards))),
        budget(options.bytes / shards),
        list(new Guarded<Shard>[shards]) {}

  Key make_key(std::string_view folded, uint16_t type, uint16_t qclass, uint8_t flavour) const {
    uint64_t mixed = (uint64_t{type} << 32 | uint64_t{qclass} << 8 | flavour) * 0x9e3779b97f4a7c15ull;
    return {folded, type, qclass, flavour, name_hash(folded, key) ^ mixed ^ mixed >> 29};
  }
  Key make_key(const Query& q) const {
    return make_key(q.folded(), q.type, q.qclass, flavour_of(q.edns && q.edns->dnssec_ok, q.flags & kCd));
  }
  Guarded<Shard>& shard(uint64_t hash) const { return list[hash >> 48 & (shards - 1)]; }
};

Cache::Cache(CacheOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Cache::~Cache() = default;

Cache::Hit Cache::answer(const Query& query, Instant now, size_t limit, bool allow_stale, std::span<uint8_t> out, size_t& size,
                         std::span<const uint8_t> cookie) {
  const Key key = impl_->make_key(query);
  const size_t opt = opt_size(query, cookie);
  limit = std::min(limit, out.size());
  thread_local std::vector<uint8_t> large;
  bool cut = false;
  size_t message_size = 0;
  std::optional<HotAnswer> hot;
  const Hit hit = impl_->shard(key.hash).with([&](Shard& s) {
    CacheEntry* e = s.find(key.hash, key);
    if (!e) {
      s.misses++;
      return Hit::kMiss;
    }
    const bool fresh = now < e->expires;
    if (!fresh && now >= e->serve_until) {
      s.remove(e);
      s.misses++;
      return Hit::kMiss;
    }
    if (!fresh && !allow_stale && now >= e->failed_until) {
      s.misses++;
      return Hit::kMiss;
    }
    message_size = e->message_size;
    cut = message_size + opt > limit;
    if (cut) large.resize(message_size);
    copy_out(*e, now, !fresh, cut ? large.data() : out.data());
    s.use(e);
    if (!fresh) {
      s.stale++;
      return Hit::kStale;
    }
    s.hits++;
    const bool again = e->hit || e->handed;
    e->hit = true;
    if (!allow_stale && impl_->options.hot && !e->handed && e->hits < kHotHits && ++e->hits == kHotHits) {
      hot = hot_answer(*e, now);
      e->handed = hot.has_value();
    }
    if (!again || e->prefetching || e->ttls == 0 || !impl_->options.prefetch || now < e->prefetch_from()) return Hit::kFresh;
    e->prefetching = true;
    s.prefetches++;
    return Hit::kFreshPrefetch;
  });
  if (hot) impl_->options.hot(std::move(*hot));
  if (hit == Hit::kMiss) return hit;
  if (cut) return fit_response({large.data(), message_size}, query, limit, out, size, cookie) ? hit : Hit::kMiss;
  uint8_t* to = out.data();
  put16(to, query.id);
  put16(to + 2, reply_flags(query, get16(to + 2)));
  std::memcpy(to + kHeader, query.name.data(), query.name_size);
  if (opt) put16(to + 10, static_cast<uint16_t>(get16(to + 10) + 1));
  size = message_size + write_opt(query, cookie, to + message_size);
  return hit;
}

void Cache::store(std::span<const uint8_t> message, bool dnssec_ok, bool checking_disabled, Instant now) {
  thread_local Response response;
  if (!response.read(message)) return;
  CacheEntryPtr entry = make_entry(response, impl_->options, now);
  if (!entry || entry->bytes() > impl_->budget) return;
  const auto question = entry->question();
  const Key key = impl_->make_key({reinterpret_cast<const char*>(question.data()), question.size() - 4}, response.question_type,
                                  response.question_class, flavour_of(dnssec_ok, checking_disabled));
  entry->hash = key.hash;
  entry->flavour = key.flavour;
  std::optional<HotAnswer> hot;
  impl_->shard(key.hash).with([&](Shard& s) {
    if (CacheEntry* old = s.find(key.hash, key)) {
      entry->hit = old->hit;  // what was asked for often goes on being prefetched
      // The kernel gets the fresh one too, unless the name was not asked for any more.
      if (impl_->options.hot && old->handed && now < old->expires + (old->expires - old->stored)) hot = hot_answer(*entry, now);
      entry->handed = hot.has_value();
      s.remove(old);
    }
    s.evictions += s.insert(std::move(entry), impl_->budget);
  });
  if (hot) impl_->options.hot(std::move(*hot));
}

void Cache::failed(const Query& query, Instant now) {
  const Key key = impl_->make_key(query);
  CacheEntryPtr entry = make_failure(query, now);
  if (!entry || entry->bytes() > impl_->budget) return;
  entry->hash = key.hash;
  entry->flavour = key.flavour;
  impl_->shard(key.hash).with([&](Shard& s) {
    if (CacheEntry* old = s.find(key.hash, key)) {
      if (now < old->serve_until) {
        old->failed_until = now + kRecheck;
        return;
      }
      s.remove(old);
    }
    s.evictions += s.insert(std::move(entry), impl_->budget);
  });
}

size_t Cache::flush(const DnsName& suffix) {
  const DnsName folded = suffix.folded();
  size_t gone = 0;
  for (size_t i = 0; i < impl_->shards; i++) {
    impl_->list[i].with([&](Shard& s) {
      s.for_each([&](CacheEntry* e) {
        const auto q = e->question();
        if (!below(q.first(q.size() - 4), folded.wire())) return;
        s.remove(e);
        gone++;
      });
    });
  }
  return gone;
}

CacheView Cache::view() const {
  CacheView v;
  for (size_t i = 0; i < impl_->shards; i++) {
    impl_->list[i].with([&](Shard& s) {
      v.entries += s.count();
      v.bytes += s.bytes();
      v.hits += s.hits;
      v.misses += s.misses;
      v.stale += s.stale;
      v.prefetches += s.prefetches;
      v.evictions += s.evictions;
    });
  }
  return v;
}

std::optional<double> Cache::remaining(std::string_view folded_wire, uint16_t type, Instant now) const {
  for (uint8_t flavour = 0; flavour < 4; flavour++) {
    const Key key = impl_->make_key(folded_wire, type, kClassIn, flavour);
    std::optional<double> left;
    impl_->shard(key.hash).with([&](Shard& s) {
      if (CacheEntry* e = s.find(key.hash, key); e && now < e->serve_until)
        left = std::chrono::duration<double>(e->expires - now).count();
    });
    if (left) return left;
  }
  return std::nullopt;
}

}  // namespace ls::dns
