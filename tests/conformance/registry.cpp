#include "suite.h"

namespace ls::conformance {

const std::map<std::string, CaseRunner>& case_runners() {
  static const std::map<std::string, CaseRunner> runners{
      {"vips/task-model", run_task_model},
      {"vips/label-grammar", run_label_grammar},
      {"vips/state-health-weight", run_weights},
      {"vips/event-stream", run_event_stream},
      {"vips/label-mangling", run_mangling},
      {"vips/hash-vectors", run_hash_vectors},
      {"vips/name-allocation", run_name_allocation},
      {"vips/reconcile-diff", run_reconcile_diff},
      {"vips/reachability", run_reachability},
      {"vips/local-port-mapping", run_local_ports},
      {"vips/shared-set-ops", run_shared_set},
      {"dns/config-values", run_config_values},
      {"dns/static-zones", run_static_zones},
      {"dns/task-records", run_task_records},
      {"dns/record-updates", run_record_updates},
      {"dns/zookeeper-names", run_zookeeper_names},
      {"dns/zbase32-key", run_zbase32_key},
      {"dns/mesos-zone-import", run_mesos_zone_import},
      {"dns/answers", run_dns_answers},
      {"dns/rename", run_dns_answers},
      {"dns/loadbalance", run_dns_loadbalance},
      {"dns/truncation-edns", run_dns_truncation},
      {"dns/routing", run_dns_routing},
      {"dns/failures", run_dns_failures},
      {"dns/upstream-selection", run_upstream_selection},
  };
  return runners;
}

const std::vector<FolderRunner>& folder_runners() {
  static const std::vector<FolderRunner> runners{run_captures, run_mesos_dns_case, skip_folders_of_later_issues};
  return runners;
}

std::optional<std::string> not_built(std::string_view suite) {
  static const std::vector<std::pair<std::string_view, std::string>> later{
      {"dns/", "the DNS server is not part of this build"},
      {"navstar/", "overlay wiring is not part of this build"},
      // The kinds of the overlay cases.
      {"allocation", "overlay allocation is not part of this build"},
      {"validation", "overlay allocation is not part of this build"},
      {"capacity", "overlay allocation is not part of this build"},
      {"cni", "overlay allocation is not part of this build"},
      {"state", "overlay allocation is not part of this build"},
      {"node", "overlay allocation is not part of this build"},
  };
  for (auto& [prefix, reason] : later)
    if (suite.starts_with(prefix)) return reason;
  return std::nullopt;
}

/// Folders of cases of one directory each, known by the files in them (the READMEs of spec/).
bool skip_folders_of_later_issues(const fs::path& folder, Report& report) {
  auto has = [&](const char* name) { return fs::exists(folder / name); };
  if (has("apps.json") && has("case.json")) {
    report.skip("marathon-lb", "the HAProxy driver is not part of this build");
    return true;
  }
  return false;
}

}  // namespace ls::conformance
