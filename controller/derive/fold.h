#pragma once
/// Names to DNS labels, as clusters that migrate know them (spec/minuteman-vips.md 3.1). Pure, thread: any.
#include <string>
#include <string_view>

namespace ls {

/// The whole text as one label: letters lower-case and digits kept; '-', '_' and '.' become '-' once a letter or digit came
/// before; the rest goes; at most 63 characters, no '-' at the end. May be empty.
std::string fold_label(std::string_view text);

/// Split at dots, empty pieces dropped, each piece folded and joined by dots. A piece may fold to nothing ("a.-" -> "a.").
std::string fold_name(std::string_view text);

/// "label.framework", both folded: what is hashed, and the DNS name without its zone.
std::string vip_name(std::string_view label, std::string_view framework);

/// True if no label of the folded name is empty: such a name can be asked for in DNS.
bool usable_name(std::string_view folded);

}  // namespace ls
