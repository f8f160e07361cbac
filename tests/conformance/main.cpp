/// loadstar-conformance DIR...: runs every case below the folders through the product's own code.
/// Exit status: 0 all passed or skipped, 1 something failed, 2 wrong use. The last line is "N passed, N failed, N skipped".
#include <algorithm>
#include <cstdio>

#include "suite.h"

namespace ls::conformance {
namespace {

void run_cases(const fs::path& file, const std::string& suite, const Json& document, Report& report) {
  if (!document.contains("cases") || !document["cases"].is_array())
    return report.fail(suite, file.string(), "has no list of cases");
  auto& cases = document["cases"];
  auto runner = case_runners().find(suite);
  if (runner == case_runners().end())
    return report.skip(suite, not_built(suite).value_or("this build knows no such suite"), cases.size());
  for (auto one : cases) {
    if (one.is_object()) one["about"] = document.value("about", "");
    bool judge = one.is_object() && one.contains("reference_defect");
    std::string id = one.is_object() ? one.value("id", "(no id)") : "(no object)";
    Outcome outcome;
    try {
      outcome = runner->second(one, judge);
    } catch (const Json::exception& e) {
      outcome.wrong = std::string("the case is malformed: ") + e.what();
    }
    if (!outcome.wrong.empty()) {
      report.fail(suite, id, file.string() + "\n" + outcome.wrong);
    } else if (!outcome.skip.empty()) {
      report.skip(suite, outcome.skip);
    } else {
      report.pass(suite);
    }
  }
}

void run_file(const fs::path& file, Report& report) {
  if (file.extension() != ".json") return;  // READMEs, specifications, raw captures
  auto document = read_json(file, report);
  if (!document) return;
  if (document->is_object() && document->contains("suite") && (*document)["suite"].is_string())
    return run_cases(file, (*document)["suite"], *document, report);
  if (document->is_object() && document->contains("kind") && (*document)["kind"].is_string()) {
    std::string kind = (*document)["kind"];
    return report.skip("overlay/" + kind, not_built(kind).value_or("this build knows no such kind"));
  }
  report.fail("files", file.string(), "names neither a suite nor a kind");
}

void walk(const fs::path& folder, Report& report) {
  for (auto& runner : folder_runners())
    if (runner(folder, report)) return;
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  if (error) return report.fail("files", folder.string(), "cannot be read: " + error.message());
  std::sort(entries.begin(), entries.end());
  for (auto& entry : entries) {
    if (fs::is_directory(entry)) {
      walk(entry, report);
    } else {
      run_file(entry, report);
    }
  }
}

}  // namespace
}  // namespace ls::conformance

int main(int argc, char** argv) {
  using namespace ls::conformance;
  if (argc < 2) {
    std::fprintf(stderr, "usage: loadstar-conformance DIR...\n");
    return 2;
  }
  Report report;
  for (int i = 1; i < argc; i++) {
    if (fs::is_directory(argv[i])) {
      walk(argv[i], report);
    } else if (fs::exists(argv[i])) {
      run_file(argv[i], report);
    } else {
      report.fail("files", argv[i], "is not there");
    }
  }
  return report.finish();
}
