#pragma once
/// The walk of mesos_state.cpp, for the two that call it: mesos_json.cpp, when a record turns out to be such a document, and
/// mesos_state.cpp. Included after simdjson.h.
#include "sources/mesos_parts.h"

namespace ls::json {

class StateWalk : public Parts {
 public:
  /// False: the document names no leader.
  bool document(od::value root, Subscribed& out);
  /// A member at the top that only such a document has.
  static bool known_by(od::raw_json_string key) { return key == "slaves" || key == "frameworks" || key == "leader"; }

 private:
  void agent(od::value v, std::vector<Agent>& out, bool recovered);
  void framework(od::value v, Snapshot& out, int index);
  void pid(od::value v, std::string& out);
  void task(od::value v, std::vector<Task>& out);
  void resources(od::value v, std::vector<PortRange>& out);
  void port_ranges(std::string_view text, std::vector<PortRange>& out);
};

}  // namespace ls::json
