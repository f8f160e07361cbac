#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "suite.h"

namespace ls::conformance {

// ---- report ----

void Report::pass(const std::string& suite) { suites_[suite].passed++; }

void Report::fail(const std::string& suite, const std::string& id, const std::string& text) {
  suites_[suite].failed++;
  std::printf("FAILED %s %s\n", suite.c_str(), id.c_str());
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) std::printf("    %s\n", line.c_str());
}

void Report::skip(const std::string& suite, const std::string& reason, size_t count) {
  suites_[suite].skipped[reason] += count;
}

int Report::finish() const {
  size_t passed = 0, failed = 0, skipped = 0;
  for (auto& [suite, c] : suites_) {
    passed += c.passed;
    failed += c.failed;
    if (c.passed + c.failed) std::printf("%s: %zu passed, %zu failed\n", suite.c_str(), c.passed, c.failed);
    for (auto& [reason, count] : c.skipped) {
      skipped += count;
      std::printf("%s: %zu skipped: %s\n", suite.c_str(), count, reason.c_str());
    }
  }
  std::printf("%zu passed, %zu failed, %zu skipped\n", passed, failed, skipped);
  return failed ? 1 : 0;
}

// ---- comparing ----

namespace {

/// The same document with every list whose order means nothing sorted.
Json canonical(const Json& j, const Order& order, const std::string& key) {
  if (j.is_object()) {
    Json out = Json::object();
    for (auto& [k, v] : j.items()) out[k] = canonical(v, order, k);
    return out;
  }
  if (!j.is_array()) return j;
  std::vector<Json> list;
  for (auto& v : j) list.push_back(canonical(v, order, ""));
  if (!order.ordered.contains(key)) {
    std::sort(list.begin(), list.end());
    if (order.sets.contains(key)) list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  return list;
}

void compare(const std::string& path, const Json* expected, const Json* got, std::string& out) {
  auto show = [](const Json* j) { return j ? j->dump() : std::string("nothing"); };
  if (expected && got && *expected == *got) return;
  if (expected && got && expected->is_object() && got->is_object()) {
    std::set<std::string> keys;
    for (auto& [k, v] : expected->items()) keys.insert(k);
    for (auto& [k, v] : got->items()) keys.insert(k);
    for (auto& k : keys) {
      auto side = [&](const Json* j) { return j->contains(k) ? &(*j)[k] : nullptr; };
      compare(path.empty() ? k : path + "." + k, side(expected), side(got), out);
    }
    return;
  }
  if (expected && got && expected->is_array() && got->is_array()) {
    for (size_t i = 0; i < std::max(expected->size(), got->size()); i++) {
      auto side = [&](const Json* j) { return i < j->size() ? &(*j)[i] : nullptr; };
      compare(path + "[" + std::to_string(i) + "]", side(expected), side(got), out);
    }
    return;
  }
  out += (path.empty() ? "." : path) + ": expected " + show(expected) + ", got " + show(got) + "\n";
}

}  // namespace

std::string difference(const Json& expected, const Json& got, const Order& order) {
  Json a = canonical(expected, order, ""), b = canonical(got, order, "");
  std::string out;
  compare("", &a, &b, out);
  return out;
}

// ---- files ----

std::optional<std::string> read_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::optional<Json> read_json(const fs::path& file, Report& report) {
  auto text = read_bytes(file);
  if (!text) {
    report.fail("files", file.string(), "cannot be read");
    return std::nullopt;
  }
  Json j = Json::parse(*text, nullptr, false);
  if (j.is_discarded()) {
    report.fail("files", file.string(), "is not JSON");
    return std::nullopt;
  }
  return j;
}

}  // namespace ls::conformance
