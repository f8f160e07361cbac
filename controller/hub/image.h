#pragma once
/// LiveImage: what the hub holds, kept up to date from the deltas of its ClusterState, and put in the shape of records.
/// Thread: one. Cost: a change O(its size); tasks are shared with whoever made the deltas.
#include <map>
#include <set>
#include <unordered_set>

#include "hub/record.h"

namespace ls::hub {

class LiveImage {
 public:
  /// Takes `delta` over; returns how many changes it has.
  uint64_t apply(const StateDelta& delta);
  static uint64_t count(const StateDelta& delta) {
    return delta.agents.size() + delta.frameworks.size() + delta.tasks.size() + delta.recovered.size();
  }

  size_t task_count() const { return tasks_.size(); }
  /// All of it, for instance for ImageWriter. Pointers are copied only: O(tasks).
  Image copy(uint64_t seq) const;

 private:
  struct Key {
    std::string_view framework, id;
    uint16_t copy = 0;
    bool operator==(const Key&) const = default;
  };
  static Key key_of(const TaskPtr& t) { return {t->framework_id.view(), t->id, t->copy}; }
  struct Hash {
    using is_transparent = void;
    size_t operator()(const TaskPtr& t) const {
      return hash_bytes(t->id.data(), t->id.size(), hash_bytes(t->framework_id.view().data(), t->framework_id.view().size(), t->copy + 1u));
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const TaskPtr& a, const TaskPtr& b) const { return key_of(a) == key_of(b); }
  };

  std::map<std::string, AgentChange, std::less<>> agents_;
  std::map<std::string, Framework, std::less<>> frameworks_;
  std::set<std::string, std::less<>> recovered_;
  std::unordered_set<TaskPtr, Hash, Equal> tasks_;  ///< key: framework id, task id, copy
};

}  // namespace ls::hub
