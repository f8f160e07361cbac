#include "cluster_text.h"

#include <fmt/format.h>

#include <iterator>

namespace ls::perf {
namespace {

// Fields that loadstar does not read make up most of a real task.
constexpr size_t kUnreadBytes = 500;

std::string agent_address(uint32_t agent) { return fmt::format("10.{}.{}.{}", 1 + agent / 62500, agent / 250 % 250, 1 + agent % 250); }
std::string task_id(uint32_t task) { return fmt::format("service-{}.instance-{:08x}-0000-4000-8000-{:012x}", task / kTasksPerService, task, task); }

std::string status_text(uint32_t task, const char* state, const char* healthy) {
  uint32_t agent = task / kTasksPerAgent;
  return fmt::format(
      R"({{"task_id":{{"value":"{}"}},"state":"{}",{}"source":"SOURCE_EXECUTOR","agent_id":{{"value":"agent-{}"}},)"
      R"("timestamp":1700000000.5,"uuid":"AAAAAAAAAAAAAAAAAAAAAA==","container_status":{{"container_id":{{"value":)"
      R"("c-{:08x}"}},"network_infos":[{{"ip_addresses":[{{"protocol":"IPv4","ip_address":"{}"}}]}}]}}}})",
      task_id(task), state, healthy, agent, task, agent_address(agent));
}

std::string task_text(uint32_t task, uint16_t port) {
  uint32_t service = task / kTasksPerService;
  return fmt::format(
      R"({{"name":"service-{0}","task_id":{{"value":"{1}"}},"framework_id":{{"value":"framework-0"}},"agent_id":{{"value":"agent-{2}"}},)"
      R"("state":"TASK_RUNNING","resources":[{{"name":"cpus","type":"SCALAR","scalar":{{"value":0.1}}}},{{"name":"ports","type":"RANGES",)"
      R"("ranges":{{"range":[{{"begin":{3},"end":{3}}}]}}}}],"statuses":[{4}],"labels":{{"labels":[{{"key":"unread","value":"{5}"}}]}},)"
      R"("discovery":{{"visibility":"FRAMEWORK","name":"service-{0}","ports":{{"ports":[{{"number":{3},"name":"web","protocol":"tcp",)"
      R"("labels":{{"labels":[{{"key":"VIP_0","value":"/service-{0}:80"}}]}}}}]}}}},"container":{{"type":"MESOS"}}}})",
      service, task_id(task), task / kTasksPerAgent, port, status_text(task, "TASK_RUNNING", ""), std::string(kUnreadBytes, 'x'));
}

std::string updated_text(uint32_t task, const char* state, const char* healthy) {
  return fmt::format(R"({{"type":"TASK_UPDATED","task_updated":{{"framework_id":{{"value":"framework-0"}},"state":"{}","status":{}}}}})",
                     state, status_text(task, state, healthy));
}

}  // namespace

std::string snapshot_text(uint32_t tasks) {
  std::string out = R"({"type":"SUBSCRIBED","subscribed":{"heartbeat_interval_seconds":15.0,"get_state":{"get_agents":{"agents":[)";
  auto at = std::back_inserter(out);
  for (uint32_t a = 0; a * kTasksPerAgent < tasks; a++) {
    auto address = agent_address(a);
    fmt::format_to(at, R"({}{{"agent_info":{{"id":{{"value":"agent-{}"}},"hostname":"{}","port":5051}},"active":true,)"
                   R"("pid":"slave(1)@{}:5051"}})", a ? "," : "", a, address, address);
  }
  out += R"(],"recovered_agents":[]},"get_frameworks":{"frameworks":[{"framework_info":{"id":{"value":"framework-0"},)"
         R"("name":"marathon","user":"root"},"active":true,"connected":true}]},"get_tasks":{"tasks":[)";
  for (uint32_t t = 0; t < tasks; t++) {
    if (t) out += ',';
    out += task_text(t, first_port(t));
  }
  out += "]}}}}";
  return out;
}

std::string added_text(uint32_t task, uint16_t port) {
  return R"({"type":"TASK_ADDED","task_added":{"task":)" + task_text(task, port) + "}}";
}
std::string health_text(uint32_t task, bool healthy) {
  return updated_text(task, "TASK_RUNNING", healthy ? R"("healthy":true,)" : R"("healthy":false,)");
}
std::string killed_text(uint32_t task) { return updated_text(task, "TASK_KILLED", ""); }

}  // namespace ls::perf
