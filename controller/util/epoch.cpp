#include "util/epoch.h"

#include <cstdio>
#include <cstdlib>
#include <limits>

namespace ls {

Epoch::~Epoch() {
  for (const auto& r : retired_) r.free(r.object);
}

Epoch::Reader::Reader(Epoch& epoch) : epoch_(epoch), slot_(0) {
  for (; slot_ < kMaxReaders; ++slot_) {
    bool free = false;
    if (epoch.slots_[slot_].taken.compare_exchange_strong(free, true)) break;
  }
  if (slot_ == kMaxReaders) {
    std::fputs("loadstar: more reading threads than Epoch::kMaxReaders\n", stderr);
    std::abort();
  }
  // collect() looks at this many places only.
  size_t used = epoch.used_.load();
  while (used <= slot_ && !epoch.used_.compare_exchange_weak(used, slot_ + 1)) {
  }
}

Epoch::Reader::~Reader() { epoch_.slots_[slot_].taken.store(false); }

Epoch::Guard::Guard(Reader& reader) : state_(reader.epoch_.slots_[reader.slot_].state) {
  state_.store(reader.epoch_.now_.load(std::memory_order_acquire), std::memory_order_release);
  // Pairs with the fence in collect(): either collect() sees this Guard, or this Guard sees what was unlinked before it.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

Epoch::Guard::~Guard() { state_.store(0, std::memory_order_release); }

void Epoch::retire(void* object, void (*free)(void*)) {
  retired_.push_back({now_.load(std::memory_order_relaxed), object, free});
}

void Epoch::collect() {
  if (retired_.empty()) return;
  // Guards from here on begin at a higher number than what is retired so far, and see that it is unlinked.
  now_.fetch_add(1, std::memory_order_acq_rel);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  uint64_t oldest = std::numeric_limits<uint64_t>::max();
  for (size_t i = 0, n = used_.load(); i < n; ++i) {
    const uint64_t began = slots_[i].state.load(std::memory_order_acquire);
    if (began != 0 && began < oldest) oldest = began;
  }
  while (!retired_.empty() && retired_.front().epoch < oldest) {
    const Retired r = retired_.front();
    retired_.pop_front();
    r.free(r.object);
  }
}

}  // namespace ls
