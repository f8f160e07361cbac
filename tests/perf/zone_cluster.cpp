#include "zone_cluster.h"

#include <fmt/format.h>

#include <algorithm>

namespace ls {
namespace {

std::string plain_task(size_t t, size_t f, size_t a) {
  return fmt::format(
      R"({{"id":"service-{}.{:08x}-7c1d-11e9-9a1e-70b3d5800001","name":"service-{}","framework_id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-{:04}","executor_id":"","slave_id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-S{}","state":"TASK_RUNNING","resources":{{"cpus":0.5,"mem":128.0,"disk":0.0,"gpus":0.0}},"statuses":[{{"state":"TASK_RUNNING","timestamp":1500000000.5,"container_status":{{"network_infos":[{{"ip_addresses":[{{"ip_address":"9.{}.{}.{}"}}]}}]}}}}]}})",
      t * 10 / 7, t, t * 10 / 7, f, a, t / 65536, t / 256 % 256, t % 256);
}

}  // namespace

std::string state_text(size_t tasks, Shape shape) {
  const size_t agents = std::max<size_t>(tasks / 100, 1), frameworks = std::min<size_t>(tasks, 10);
  std::string out = R"({"version":"1.11.0","id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11","leader":"master@10.9.0.11:5050","slaves":[)";
  for (size_t a = 0; a < agents; a++)
    out += fmt::format(
        R"({}{{"id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-S{}","hostname":"10.9.{}.{}","pid":"slave(1)@10.9.{}.{}:5051","active":true,"port":5051,"attributes":{{}},"resources":{{"cpus":8.0,"mem":30000.0,"disk":100000.0,"ports":"[1025-2180, 2182-3887]"}},"version":"1.11.0"}})",
        a ? "," : "", a, a / 250, a % 250 + 1, a / 250, a % 250 + 1);
  out += R"(],"recovered_slaves":[],"frameworks":[)";
  for (size_t f = 0; f < frameworks; f++) {
    out += fmt::format(
        R"({}{{"id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-{:04}","name":"{}","hostname":"10.9.0.11","pid":"scheduler-{}@10.9.0.11:{}","active":true,"connected":true,"user":"root","role":"*","checkpoint":true,"failover_timeout":604800.0,"tasks":[)",
        f ? "," : "", f, f ? fmt::format("team-{}", f) : "marathon", f, 15000 + f);
    bool first = true;
    for (size_t t = f; t < tasks; t += frameworks) {
      const size_t a = t % agents, service = t / 5;
      if (shape == Shape::kPlain) {
        out += first ? "" : ",";
        out += plain_task(t, f, a);
        first = false;
        continue;
      }
      out += fmt::format(
          R"({}{{"id":"service-{}.group.instance-{:08x}-7c1d-11e9-9a1e-70b3d5800001.app.{}","name":"service-{}.group","framework_id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-{:04}","executor_id":"","slave_id":"6c1a9d2e-54b0-4a53-9c1b-2f8d9f1c7b11-S{}","state":"TASK_RUNNING","resources":{{"cpus":0.5,"mem":128.0,"disk":0.0,"gpus":0.0,"ports":"[{}-{}]"}},"role":"*","statuses":[{{"state":"TASK_STARTING","timestamp":1500000000.25,"container_status":{{"container_id":{{"value":"da87d8aa-98f1-4fc3-a260-f92c116fc926"}},"network_infos":[{{"ip_addresses":[{{"protocol":"IPv4","ip_address":"9.{}.{}.{}"}}],"name":"dcos"}}]}}}},{{"state":"TASK_RUNNING","timestamp":1500000000.5,"healthy":true,"container_status":{{"container_id":{{"value":"da87d8aa-98f1-4fc3-a260-f92c116fc926"}},"network_infos":[{{"ip_addresses":[{{"protocol":"IPv4","ip_address":"9.{}.{}.{}"}}],"name":"dcos"}}]}}}}],"labels":[{{"key":"team","value":"a"}}],"discovery":{{"visibility":"FRAMEWORK","name":"service-{}.group","ports":{{"ports":[{{"number":8080,"name":"http","protocol":"tcp","labels":{{"labels":[{{"key":"VIP_0","value":"/service-{}:80"}}]}}}}]}}}},"container":{{"type":"MESOS","network_infos":[{{"name":"dcos"}}]}}}})",
          first ? "" : ",", service, t, t, service, f, a, 31000 + t % 500 * 2, 31001 + t % 500 * 2, t / 65536, t / 256 % 256, t % 256,
          t / 65536, t / 256 % 256, t % 256, service, service);
      first = false;
    }
    out += R"(],"completed_tasks":[],"unreachable_tasks":[],"offers":[]})";
  }
  return out + R"(],"completed_frameworks":[],"orphan_tasks":[],"unregistered_frameworks":[]})";
}

}  // namespace ls
