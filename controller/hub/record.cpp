#include "hub/record.h"

namespace ls::hub {

std::vector<Event> events_of(Image&& image, Millis heartbeat) {
  Subscribed s;
  s.heartbeat = heartbeat;
  s.snapshot.placed = true;
  s.snapshot.agents.reserve(image.agents.size());
  s.snapshot.addresses.reserve(image.agents.size());
  for (auto& a : image.agents) {
    s.snapshot.agents.push_back(std::move(a.agent));
    s.snapshot.addresses.push_back(a.address);
  }
  for (auto& id : image.recovered) s.snapshot.recovered_agents.push_back({std::move(id), {}, {}});
  s.snapshot.frameworks = std::move(image.frameworks);
  s.snapshot.tasks.reserve(image.tasks.size());
  for (auto& t : image.tasks) {
    s.snapshot.tasks.push_back(*t);
    t = nullptr;  // not two of everything at once
  }
  std::vector<Event> out;
  out.emplace_back(std::move(s));
  return out;
}

std::vector<Event> events_of(Changes&& c) {
  std::vector<Event> out;
  out.reserve(c.agents.size() + c.frameworks.size() + c.tasks.size() + c.recovered.size());
  for (auto& f : c.frameworks)
    if (!f.removed) out.emplace_back(FrameworkAdded{std::move(f.framework), true});
  for (auto& t : c.tasks) {
    if (t.removed) out.emplace_back(TaskRemoved{t.after->framework_id, t.after->id, t.after->copy});
    else out.emplace_back(TaskAdded{*t.after, true});
  }
  for (auto& a : c.agents)
    if (!a.removed) out.emplace_back(AgentAdded{std::move(a.agent), a.address});
  for (auto& a : c.agents)
    if (a.removed) out.emplace_back(AgentRemoved{std::move(a.agent.id)});
  for (auto& r : c.recovered) out.emplace_back(AgentRecovered{std::move(r.id), r.waited_for});
  for (auto& f : c.frameworks)
    if (f.removed) out.emplace_back(FrameworkRemoved{std::move(f.framework.id)});
  return out;
}

}  // namespace ls::hub
