#include "api/params.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace ls::api {

std::optional<std::string> percent_decoded(std::string_view in) {
  std::string out;
  for (size_t i = 0; i < in.size(); i++) {
    if (in[i] != '%') {
      out += in[i];
      continue;
    }
    unsigned code = 0;
    auto hex = in.substr(i + 1, 2);
    auto [end, err] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    if (hex.size() != 2 || err != std::errc{} || end != hex.data() + 2) return std::nullopt;
    out += char(code);
    i += 2;
  }
  return out;
}

Params::Params(std::string_view query) {
  while (!query.empty()) {
    auto part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    if (part.empty()) continue;
    auto eq = part.find('=');
    auto name = percent_decoded(part.substr(0, eq));
    auto value = percent_decoded(eq == part.npos ? "" : part.substr(eq + 1));
    if (!name || !value) bad(std::string(part.substr(0, eq)), "has a '%' that is not followed by two hexadecimal digits");
    else all_.push_back({*name, *value});
  }
}

void Params::only(std::span<const std::string_view> known) {
  for (auto& [name, value] : all_) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string list;
    for (auto k : known) list += (list.empty() ? "" : ", ") + std::string(k);
    bad(name, list.empty() ? "is not known, this path has no parameters" : "is not known, this path has: " + list);
  }
}

const std::string* Params::find(std::string_view name) const {
  for (auto& [n, value] : all_) {
    if (n == name) return &value;
  }
  return nullptr;
}

size_t Params::limit() {
  auto* text = find("limit");
  if (!text) return kDefaultLimit;
  size_t n = 0;
  auto [end, err] = std::from_chars(text->data(), text->data() + text->size(), n);
  if (err != std::errc{} || end != text->data() + text->size() || n < 1 || n > kMaxLimit) {
    bad("limit", fmt::format("is a number from 1 to {}, not '{}'", kMaxLimit, *text));
  }
  return n;
}

bool Params::flag(std::string_view name) {
  auto* text = find(name);
  if (!text || *text == "0" || *text == "false") return false;
  if (!text->empty() && *text != "1" && *text != "true") bad(std::string(name), "is 0 or 1, not '" + *text + "'");
  return true;
}

void Params::bad(std::string name, std::string why) {
  if (!wrong_) wrong_ = {std::move(name), std::move(why)};
}

std::optional<Reply> Params::refused() const {
  if (!wrong_) return std::nullopt;
  auto& [name, why] = *wrong_;
  return error_reply(400, "parameter '" + name + "'" + (why.starts_with(':') ? "" : " ") + why, name);
}

}  // namespace ls::api
