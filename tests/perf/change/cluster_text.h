#pragma once
/// A cluster of any size as the text that a Mesos master would send, for the benchmark of changes.
///
/// Tasks are on the host network, ten behind each named service, fifty on an agent; a task takes about 1.5 KB of text, as in
/// recordings of real masters (a snapshot of 100,000 tasks is 150 MB).
#include <cstdint>
#include <string>

namespace ls::perf {

inline constexpr uint32_t kTasksPerService = 10;
inline constexpr uint32_t kTasksPerAgent = 50;

/// SUBSCRIBED with tasks 0 .. tasks - 1.
std::string snapshot_text(uint32_t tasks);
/// TASK_ADDED. `port` makes it another endpoint.
std::string added_text(uint32_t task, uint16_t port);
/// TASK_UPDATED: running, with the outcome of a health check.
std::string health_text(uint32_t task, bool healthy);
/// TASK_UPDATED: killed.
std::string killed_text(uint32_t task);

/// Port of a task that nothing has moved yet.
constexpr uint16_t first_port(uint32_t task) { return static_cast<uint16_t>(20000 + task % kTasksPerAgent); }

}  // namespace ls::perf
