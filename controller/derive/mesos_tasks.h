#pragma once
/// The records of one task as DNS serves them. Private to derive/. Pure, thread: one an object.
#include <string>
#include <vector>

#include "derive/mesos_task_rows.h"

namespace ls::mesos {

/// "web.marathon" -> "\3web\8marathon" at the end of `out`; false (and nothing appended) when a label is empty or too long. Letters
/// are folded.
bool append_wire(std::string& out, std::string_view dotted);

/// A framework's part of its tasks' names.
struct FrameworkNames {
  explicit FrameworkNames(std::string_view name, bool rfc952);
  std::string fragment;     ///< DF of the name: "team.marathon"; empty: no record of its tasks can be served
  std::string plain, slave;  ///< wire: fragment; fragment and `slave`
};

struct TaskRecordList {
  std::vector<Record> records;
  std::vector<int> rows;  ///< row of section 8.7 of each record; only when asked for
  bool trouble = false;   ///< something was left out
};
/// `problems` may be null, then only `trouble` is set; `rows` false: without rows.
void task_records(const Task& t, const std::vector<IpAddress>& agent_addresses, const FrameworkNames& framework,
                  const MesosZoneOptions& o, TaskRecordList& out, std::vector<ZoneProblem>* problems, bool rows = false);

}  // namespace ls::mesos
