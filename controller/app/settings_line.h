#pragma once
/// How a line of the settings table is made. Only settings.cpp and its settings_*.cpp include this.
///
/// Thread, errors and units: as in settings.h.
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "app/settings_codec.h"

namespace ls::setting_codec {

constexpr int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
constexpr int64_t kMiB = 1 << 20;

/// The lines of the sections that belong to DNS (settings_dns.cpp).
std::vector<Setting> dns_lines();
/// Those of [hub], [hub_server], [store] and [state] (settings_cluster.cpp).
std::vector<Setting> cluster_lines();
/// Those of [overlay] (settings_overlay.cpp).
std::vector<Setting> overlay_lines();

/// A rule that lines of several sections share (settings_cluster.cpp).
std::optional<std::string> zk_url(const std::string& text);

/// An extra rule for one value (of a list: for each element); the text ends the sentence "NAME: ...".
template <class T>
using Rule = std::optional<std::string> (*)(const T&);

template <class M>
struct ElementOf {
  using type = M;
};
template <class T>
struct ElementOf<std::vector<T>> {
  using type = T;
};
template <>
struct ElementOf<NameLists> {
  using type = std::string;
};

/// The columns of a line that not every setting needs.
template <class M>
struct More {
  Limits limits{};  ///< of the value; of a list: of the number of elements
  std::string_view unit{};
  std::string_view type{};   ///< instead of the name of the C++ type
  std::string_view range{};  ///< instead of the text of `limits`
  bool live = false;
  bool must_exist = false;
  Rule<typename ElementOf<M>::type> rule = nullptr;
  Rule<std::string> name_rule = nullptr;  ///< of a table of lists: for its keys
  bool lower = false;                     ///< texts, and keys of a table, are kept in lower case
};

inline std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  return text;
}

template <class T>
Parsed<T> parse_one(const RawValue& raw, const Limits& limits, Rule<T> rule) {
  auto value = Codec<T>::parse(raw, limits);
  if (value && rule) {
    if (auto why = rule(*value)) return Bad(std::move(*why));
  }
  return value;
}

template <class T>
struct MemberType;
template <class C, class M>
struct MemberType<M C::*> {
  using type = M;
};

/// A table of lists. Every key and every element that is wrong is reported at its own place.
template <class Bad>
std::optional<NameLists> parse_lists(const RawValue& raw, const More<NameLists>& more, Bad bad) {
  auto* table = std::get_if<RawValue::Table>(&raw.value);
  if (!table) {
    bad(raw.where, fmt::format("a table of lists is wanted, as in {{ \"example.com\" = [\"...\"] }}, this is {}",
                               kind_of(raw)));
    return std::nullopt;
  }
  NameLists out;
  bool good = true;
  auto wrong = [&](const Where& where, std::string_view why) {
    bad(where, why);
    good = false;
  };
  for (size_t i = 0; i < table->values.size(); i++) {
    auto& [written, at] = table->keys[i];
    auto name = more.lower ? lower_case(written) : written;
    auto* items = std::get_if<RawValue::List>(&table->values[i].value);
    if (!items) {
      bool dotted = std::holds_alternative<RawValue::Table>(table->values[i].value);
      wrong(table->values[i].where, fmt::format("{}: a list in brackets is wanted, this is {}{}", toml_quote(name),
                                                kind_of(table->values[i]),
                                                dotted ? " (a name with dots stands in quotes)" : ""));
      continue;
    }
    if (more.name_rule) {
      if (auto why = more.name_rule(name)) wrong(at, *why);
    }
    if (int64_t(items->size()) < more.limits.min) wrong(table->values[i].where, toml_quote(name) + ": the list is empty");
    auto [entry, fresh] = out.try_emplace(name);
    if (!fresh) wrong(at, fmt::format("{} is there twice", toml_quote(name)));
    for (auto& item : *items) {
      auto value = parse_one<std::string>(item, {}, more.rule);
      if (!value) {
        wrong(item.where, fmt::format("{}: {}", toml_quote(name), value.error()));
      } else {
        entry->second.push_back(std::move(*value));
      }
    }
  }
  if (!good) return std::nullopt;
  return out;
}

/// One line of the table: the name, the member, the text, the rest.
template <auto Section, auto Member, class M = typename MemberType<decltype(Member)>::type>
Setting line(std::string_view name, std::string_view text, More<M> more = {}) {
  Setting s;
  s.name = name;
  s.text = text;
  s.type = more.type.empty() ? Codec<M>::type() : std::string(more.type);
  constexpr bool list = !std::is_same_v<typename ElementOf<M>::type, M>;
  s.range = more.range.empty() ? Codec<M>::range(more.limits) : std::string(more.range);
  if (list && !std::is_same_v<M, NameLists> && s.range.empty() && more.limits.min > 0) s.range = fmt::format("at least {}", more.limits.min);
  s.unit = more.unit;
  s.live = more.live;
  s.print = [](const Config& c) { return Codec<M>::print(c.*Section.*Member); };
  s.copy = [](const Config& from, Config& to) { to.*Section.*Member = from.*Section.*Member; };
  if constexpr (std::is_same_v<M, std::filesystem::path>) {
    if (more.must_exist) s.file = [](const Config& c) { return c.*Section.*Member; };
  }
  s.read = [name, more](const RawValue& raw, Config& config, std::vector<Problem>& problems) {
    auto bad = [&](const Where& where, std::string_view why) {
      problems.push_back({where, fmt::format("{}: {}", name, why)});
    };
    if constexpr (std::is_same_v<M, NameLists>) {
      if (auto value = parse_lists(raw, more, bad)) config.*Section.*Member = std::move(*value);
    } else if constexpr (std::is_same_v<typename ElementOf<M>::type, M>) {
      auto value = parse_one<M>(raw, more.limits, more.rule);
      if (!value) return bad(raw.where, value.error());
      if constexpr (std::is_same_v<M, std::string>) {
        if (more.lower) value = lower_case(std::move(*value));
      }
      config.*Section.*Member = std::move(*value);
    } else {
      auto* items = std::get_if<RawValue::List>(&raw.value);
      if (!items)
        return bad(raw.where, fmt::format("a list in brackets is wanted, this is {}", kind_of(raw)));
      if (int64_t(items->size()) < more.limits.min) {
        return bad(raw.where, fmt::format("the list needs at least {} element{}", more.limits.min,
                                          more.limits.min == 1 ? "" : "s"));
      }
      M values;
      bool good = true;
      for (auto& item : *items) {
        auto value = parse_one<typename M::value_type>(item, {}, more.rule);
        if (!value) {
          bad(item.where, value.error());
          good = false;
        } else {
          values.push_back(std::move(*value));
        }
      }
      if (good) config.*Section.*Member = std::move(values);
    }
  };
  return s;
}

inline std::optional<std::string> interface_name(const std::string& s) {
  if (s.empty() || s.size() > 15)
    return fmt::format("{} is no interface name (1 to 15 characters)", toml_quote(s));
  if (s.find_first_of("/: \t\n*?[") != s.npos) {
    return fmt::format("{} is no interface name; patterns are not taken here", toml_quote(s));
  }
  return std::nullopt;
}

inline std::optional<std::string> not_empty(const std::filesystem::path& p) {
  if (p.empty()) return "a path is wanted";
  return std::nullopt;
}

}  // namespace ls::setting_codec
