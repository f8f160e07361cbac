#pragma once
/// The versions of CNI that loadstar-cni speaks, and the answer to VERSION. Thread: any.
#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace ls::cni {

/// In order of age, so that they can be compared.
enum class Version : unsigned char { k010, k020, k030, k031, k040, k100, k110 };

inline constexpr std::array<std::string_view, 7> kVersionTexts = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
inline constexpr Version kNewest = Version::k110;

inline std::string_view to_text(Version v) { return kVersionTexts[static_cast<size_t>(v)]; }
std::optional<Version> parse_version(std::string_view text);
/// "0.1.0, 0.2.0, ..."
std::string all_versions();
/// The document for VERSION; `asked` is the cniVersion of the input, empty: there was none.
std::string version_document(std::string_view asked);

}  // namespace ls::cni
