#include "cni/fields.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace ls::cni {

const nlohmann::json* Fields::find(std::string_view key) const {
  auto it = j_.find(key);
  return it == j_.end() || it->is_null() ? nullptr : &*it;
}

std::string Fields::name(std::string_view key) const { return place_.empty() ? std::string(key) : fmt::format("{}.{}", place_, key); }

Outcome<std::optional<std::string>> Fields::text(std::string_view key) const {
  auto* v = find(key);
  if (!v) return std::optional<std::string>();
  if (!v->is_string()) return wrong(key, "a text");
  return std::optional<std::string>(v->get<std::string>());
}

Outcome<std::optional<bool>> Fields::flag(std::string_view key) const {
  auto* v = find(key);
  if (!v) return std::optional<bool>();
  if (!v->is_boolean()) return wrong(key, "true or false");
  return std::optional<bool>(v->get<bool>());
}

Outcome<std::optional<uint32_t>> Fields::number(std::string_view key, uint32_t least, uint32_t most) const {
  auto* v = find(key);
  if (!v) return std::optional<uint32_t>();
  if (!v->is_number_integer()) return wrong(key, "a whole number");
  if (!v->is_number_unsigned() || v->get<uint64_t>() < least || v->get<uint64_t>() > most)
    return refuse(Code::kConfig, fmt::format("{} {} is not between {} and {}", name(key), v->dump(), least, most));
  return std::optional<uint32_t>(v->get<uint32_t>());
}

Outcome<const nlohmann::json*> Fields::object(std::string_view key) const {
  auto* v = find(key);
  if (v && !v->is_object()) return wrong(key, "an object");
  return v;
}

Outcome<const nlohmann::json*> Fields::list(std::string_view key) const {
  auto* v = find(key);
  if (v && !v->is_array()) return wrong(key, "a list");
  return v;
}

tl::unexpected<Failure> Fields::wrong(std::string_view key, std::string_view wanted) const {
  return refuse(Code::kDecode, fmt::format("{} is not {}", name(key), wanted));
}

}  // namespace ls::cni
