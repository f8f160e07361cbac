#pragma once
/// The frame of loadstar-conformance: what a suite is, how it reports, where it is registered.
/// A suite of a later issue is one .cpp with a function here and a line in registry.cpp.
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ls::conformance {

using Json = nlohmann::json;
namespace fs = std::filesystem;

/// Counts and prints. A failure is printed at once, skips once a suite at the end.
class Report {
 public:
  void pass(const std::string& suite);
  void fail(const std::string& suite, const std::string& id, const std::string& text);
  void skip(const std::string& suite, const std::string& reason, size_t count = 1);
  /// Prints what was skipped and why, a line a suite, then the line of totals. Returns the exit status.
  int finish() const;

 private:
  struct Counts {
    size_t passed = 0, failed = 0;
    std::map<std::string, size_t> skipped;  ///< reason -> cases
  };
  std::map<std::string, Counts> suites_;
};

/// Differences line by line, "path: expected X, got Y"; empty when equal. Order of lists has no meaning except under `ordered` keys;
/// under `sets` equal elements count once.
struct Order {
  std::set<std::string> ordered{"published", "steps"};
  std::set<std::string> sets{"backends", "vip"};
};
std::string difference(const Json& expected, const Json& got, const Order& order = {});

/// What a case did. `skip` is set to a reason when it cannot be judged; `wrong` is empty when it passed.
struct Outcome {
  std::string wrong;
  std::string skip;
};

/// Runs one case of a file of cases. `judge` is true for a case marked reference_defect: it is held against the rule
/// its text states, not against its expectation. The case also has the file's text "about" the cases.
using CaseRunner = std::function<Outcome(const Json& one, bool judge)>;

/// A file of cases: {"suite": name, "cases": [...]}.
const std::map<std::string, CaseRunner>& case_runners();

/// A folder that is one unit: takes it (and everything below) and reports, or leaves it alone.
using FolderRunner = std::function<bool(const fs::path& folder, Report& report)>;
const std::vector<FolderRunner>& folder_runners();

/// Why a suite this build knows of is not run: by prefix of its name or kind.
std::optional<std::string> not_built(std::string_view suite);

/// Reads a file of JSON; reports a failure that names it and returns nullopt if that cannot be done.
std::optional<Json> read_json(const fs::path& file, Report& report);
std::optional<std::string> read_bytes(const fs::path& file);

// -- the suites --
Outcome run_task_model(const Json& one, bool judge);
Outcome run_label_grammar(const Json& one, bool judge);
Outcome run_weights(const Json& one, bool judge);
Outcome run_event_stream(const Json& one, bool judge);
Outcome run_mangling(const Json& one, bool judge);
Outcome run_hash_vectors(const Json& one, bool judge);
Outcome run_name_allocation(const Json& one, bool judge);
Outcome run_reconcile_diff(const Json& one, bool judge);
Outcome run_reachability(const Json& one, bool judge);
Outcome run_local_ports(const Json& one, bool judge);
Outcome run_shared_set(const Json& one, bool judge);
Outcome run_config_values(const Json& one, bool judge);
Outcome run_static_zones(const Json& one, bool judge);
Outcome run_task_records(const Json& one, bool judge);
Outcome run_record_updates(const Json& one, bool judge);
Outcome run_zookeeper_names(const Json& one, bool judge);
Outcome run_zbase32_key(const Json& one, bool judge);
Outcome run_mesos_zone_import(const Json& one, bool judge);
bool run_mesos_dns_case(const fs::path& folder, Report& report);
Outcome run_dns_answers(const Json& one, bool judge);
Outcome run_dns_loadbalance(const Json& one, bool judge);
Outcome run_dns_truncation(const Json& one, bool judge);
Outcome run_dns_routing(const Json& one, bool judge);
Outcome run_dns_failures(const Json& one, bool judge);
Outcome run_upstream_selection(const Json& one, bool judge);
bool run_captures(const fs::path& folder, Report& report);
bool skip_folders_of_later_issues(const fs::path& folder, Report& report);

}  // namespace ls::conformance
