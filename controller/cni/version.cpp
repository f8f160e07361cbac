#include "cni/version.h"

#include <nlohmann/json.hpp>

namespace ls::cni {

std::optional<Version> parse_version(std::string_view text) {
  for (size_t i = 0; i < kVersionTexts.size(); i++)
    if (kVersionTexts[i] == text) return static_cast<Version>(i);
  return std::nullopt;
}

std::string all_versions() {
  std::string out;
  for (auto v : kVersionTexts) out += (out.empty() ? "" : ", ") + std::string(v);
  return out;
}

std::string version_document(std::string_view asked) {
  nlohmann::ordered_json out;
  out["cniVersion"] = asked.empty() ? to_text(kNewest) : asked;
  out["supportedVersions"] = kVersionTexts;
  return out.dump();
}

}  // namespace ls::cni
