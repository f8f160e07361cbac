#pragma once
/// The parts of a Mesos task that the operator API (v1) and `/master/state` (v0) write alike: discovery, container, statuses, and
/// what is made of them. Included by mesos_json.cpp and mesos_state.cpp, after simdjson.h.
/// Names of members match without case, which only v0 needs (spec/mesos-dns.md 6). Thread: one.
#include <limits>
#include <unordered_map>
#include <utility>

#include "sources/json_reader.h"

namespace ls::json {

/// True for the member `name`, which is in lower case; without case.
inline bool is(od::raw_json_string key, std::string_view name) {
  const char* p = key.raw();
  for (char c : name) {
    char k = *p++;
    if (k >= 'A' && k <= 'Z') k = char(k | 0x20);
    if (k != c) return false;
  }
  return *p == '"';
}

class Parts : public Reader {
 protected:
  struct Status {
    double timestamp = -std::numeric_limits<double>::infinity();  ///< as far as it decides which status is the newest
    double running_at = -1;  ///< of a running status: its time, 0 when it has none
    std::optional<MesosState> state;
    std::optional<bool> healthy;
    std::vector<IpAddress> addresses;
    std::vector<PortMapping> mappings;
    RunningAddresses running;
    SharedText agent_id;
    std::string task_id;
  };
  /// A task while it is read.
  struct Draft {
    std::shared_ptr<TaskSpec> spec = std::make_shared<TaskSpec>();
    std::string name;
    std::optional<MesosState> state;
    Status newest;
    RunningAddresses running;
    double running_at = -1, addresses_at = 0, mappings_at = 0;
    bool any_status = false;
  };

  SharedText shared(std::string_view s) {
    auto it = texts_.find(s);
    if (it == texts_.end()) it = texts_.emplace(std::string(s), SharedText(s)).first;
    return it->second;
  }
  /// {"value": "..."}
  SharedText id(od::value v);
  std::string own_id(od::value v);

  /// [{key, value}, ...], which v1 and the labels inside messages wrap in {"labels": ...}.
  template <class On>
  void label_list(od::value v, On&& on) {
    array(std::move(v), [&](od::value entry) {
      std::string name;
      std::optional<std::string> value;
      object(std::move(entry), [&](auto k, od::value part) {
        if (is(k, "key")) {
          if (auto s = text(std::move(part))) name = *s;
        } else if (is(k, "value")) {
          if (auto s = text(std::move(part))) value = *s;
        }
      });
      if (!broken && value) on(std::move(name), std::move(*value));
    });
  }
  template <class On>
  void labels(od::value v, On&& on) {
    object(std::move(v), [&](auto key, od::value list) {
      if (is(key, "labels")) label_list(std::move(list), on);
    });
  }
  /// A port whose number is missing: v1 requires one, v0 reads it as 0.
  enum class NoNumber { kDropped, kZero };
  void discovery(od::value v, TaskSpec& spec, NoNumber no_number);
  void mappings(od::value v, std::vector<PortMapping>& out);
  void container(od::value v, TaskSpec& spec);
  void vip_label(std::string key, std::string value, TaskSpec& spec);
  /// `plain_labels`: v0's statuses have their labels as a plain list.
  Status status(od::value v, bool plain_labels);
  void add_status(Status&& status, Task& out, Draft& draft);
  /// True if the task can be used: it has all its ids. Names the problems since `first_problem`.
  bool finish(Task& out, Draft&& draft, size_t first_problem);

 private:
  void port(od::value v, std::vector<DiscoveryPort>& out, size_t index, NoNumber no_number);
  void network_infos(od::value v, Status* status, std::vector<PortMapping>& out);
  void status_label(std::string_view key, std::string_view value, Status& out);

  struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  std::unordered_map<std::string, SharedText, StringHash, std::equal_to<>> texts_;
};

}  // namespace ls::json
