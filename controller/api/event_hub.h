#pragma once
/// Hands events of the data path to everybody who runs `loadstar monitor`.
///
/// Thread: subscribe and unsubscribe on one thread (the admin thread); publish on one other thread (whoever reads the
/// ring). Neither waits for the other. Each subscriber has a bounded queue: a slow one loses events, counted, and
/// slows nobody. Counters: loadstar_events_lost_total.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "api/filter.h"
#include "api/views.h"
#include "util/bounded_queue.h"
#include "util/published.h"

namespace ls::api {

class EventStream {
 public:
  /// `wake` runs on the publishing thread when the stream stops being empty; it must only post.
  EventStream(EventFilter filter, size_t capacity, std::function<void()> wake)
      : filter_(std::move(filter)), queue_(capacity), wake_(std::move(wake)) {}

  /// False when the event was wanted but there was no room.
  bool offer(const EventView&);
  BoundedQueue<EventView>::Taken take() { return queue_.take(); }
  uint32_t types() const { return filter_.types; }

 private:
  const EventFilter filter_;
  BoundedQueue<EventView> queue_;
  const std::function<void()> wake_;
};

class EventHub {
 public:
  /// Events one subscriber may be behind: with about 600 bytes an event, 2.5 MB at most for each of 64 clients.
  static constexpr size_t kQueueEvents = 4096;

  /// `on_wanted` gets the new mask of 1 << enum ls_event_type whenever it changes, on the subscribing thread: the place
  /// to store it in ls_ctl.events, so that programs send nothing while nobody listens.
  explicit EventHub(std::function<void(uint32_t)> on_wanted) : on_wanted_(std::move(on_wanted)) {}

  std::shared_ptr<EventStream> subscribe(EventFilter, std::function<void()> wake, size_t capacity = kQueueEvents);
  void unsubscribe(const std::shared_ptr<EventStream>&);

  /// Mask of the types that somebody wants; any thread. Spares the making of an EventView.
  uint32_t wanted() const { return wanted_.load(std::memory_order_relaxed); }
  void publish(const EventView&);
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  using Streams = std::vector<std::shared_ptr<EventStream>>;
  void replace(Streams next);

  const std::function<void(uint32_t)> on_wanted_;
  Published<Streams> streams_;
  std::atomic<uint32_t> wanted_{0};
  std::atomic<uint64_t> lost_{0};
};

}  // namespace ls::api
