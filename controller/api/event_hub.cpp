#include "api/event_hub.h"

#include <algorithm>

namespace ls::api {

bool EventStream::offer(const EventView& event) {
  if (!filter_.matches(event)) return true;
  using Pushed = BoundedQueue<EventView>::Pushed;
  auto pushed = queue_.push(event);
  if (pushed == Pushed::kFirst) wake_();
  return pushed != Pushed::kRefused;
}

std::shared_ptr<EventStream> EventHub::subscribe(EventFilter filter, std::function<void()> wake, size_t capacity) {
  auto stream = std::make_shared<EventStream>(std::move(filter), capacity, std::move(wake));
  Streams next = *streams_.get();
  next.push_back(stream);
  replace(std::move(next));
  return stream;
}

void EventHub::unsubscribe(const std::shared_ptr<EventStream>& stream) {
  Streams next = *streams_.get();
  std::erase(next, stream);
  replace(std::move(next));
}

void EventHub::replace(Streams next) {
  uint32_t mask = 0;
  for (auto& s : next) mask |= s->types();
  streams_.publish(std::move(next));
  if (wanted_.exchange(mask, std::memory_order_relaxed) != mask && on_wanted_) on_wanted_(mask);
}

void EventHub::publish(const EventView& event) {
  for (auto streams = streams_.get(); auto& s : *streams) {
    if (!s->offer(event)) lost_.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace ls::api
