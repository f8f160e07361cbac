#pragma once
/// Reading JSON values without stopping at a bad one: the base of the walk in mesos_json.cpp, which alone includes this, after
/// simdjson.h. A reader takes its value completely or leaves it to be skipped; what it cannot use becomes a problem
/// with the path to it. Only a text that is no JSON ends the walk (`broken`).
/// Thread: one. Cost: nothing beyond the parser's own; paths become text only for problems.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sources/mesos_json.h"

namespace ls::json {

namespace od = simdjson::ondemand;

inline constexpr int64_t kNumberLimit = int64_t(1) << 53;  // beyond this a double is no exact integer; the value is held there

/// After one of these the position in the text is lost; what comes after the others can still be read.
inline bool loses_position(simdjson::error_code e) {
  switch (e) {
    case simdjson::SUCCESS:
    case simdjson::INCORRECT_TYPE:
    case simdjson::NO_SUCH_FIELD:
    case simdjson::NUMBER_ERROR:
    case simdjson::NUMBER_OUT_OF_RANGE:
    case simdjson::STRING_ERROR:
    case simdjson::F_ATOM_ERROR:
    case simdjson::T_ATOM_ERROR:
    case simdjson::N_ATOM_ERROR:
      return false;
    default:
      return true;
  }
}

inline int64_t saturate(double d) {
  if (std::isnan(d)) return 0;
  if (d >= double(kNumberLimit)) return kNumberLimit;
  if (d <= -double(kNumberLimit)) return -kNumberLimit;
  return int64_t(d);
}
class Reader {
 public:
  std::vector<DecodeProblem> problems;
  size_t problem_count = 0;
  simdjson::error_code broken = simdjson::SUCCESS;  ///< set: stop, the text is no JSON from here on

 protected:
  void problem(std::string why) {
    problem_count++;
    if (problems.size() >= RecordDecoder::kMaxProblems) return;
    std::string field;
    for (auto& s : path_) {
      if (s.name) field += (field.empty() ? "" : ".") + std::string(s.name);
      if (s.index >= 0) field += "[" + std::to_string(s.index) + "]";
    }
    problems.push_back({"", std::move(field), std::move(why)});
  }
  bool failed(simdjson::error_code e, const char* expected) {
    if (!e) return false;
    if (loses_position(e)) {
      broken = e;
    } else {
      problem(std::string("is not ") + expected);
    }
    return true;
  }
  /// Gives problems that were found inside an item the item's name.
  void name_problems(size_t from, const std::string& item) {
    for (size_t i = from; i < problems.size(); i++)
      if (problems[i].item.empty()) problems[i].item = item;
  }
  bool is_null(od::value& v) {
    bool null = false;
    auto type = v.type();
    od::json_type t;
    if (auto e = std::move(type).get(t)) {
      if (loses_position(e)) broken = e;
      return false;
    }
    null = t == od::json_type::null;
    return null;
  }

  /// Calls `on(key, value)` for each field; null counts as absent.
  template <class On>
  void object(od::value v, On&& on) {
    if (is_null(v) || broken) return;
    od::object o;
    if (failed(v.get_object().get(o), "an object")) return;
    for (auto item : o) {
      od::field f;
      if (auto e = std::move(item).get(f)) {
        broken = e;
        return;
      }
      on(f.key(), od::value(f.value()));
      if (broken) return;
    }
  }
  /// Calls `on(element)` for each element, its index on the path.
  template <class On>
  void array(od::value v, On&& on) {
    if (is_null(v) || broken) return;
    od::array a;
    if (failed(v.get_array().get(a), "a list")) return;
    int index = 0;
    for (auto item : a) {
      od::value element;
      if (auto e = std::move(item).get(element)) {
        broken = e;
        return;
      }
      path_.push_back({nullptr, index++});
      on(std::move(element));
      path_.pop_back();
      if (broken) return;
    }
  }
  /// Puts `name` on the path while `read` runs.
  template <class Read>
  void at(const char* name, Read&& read) {
    path_.push_back({name, -1});
    read();
    path_.pop_back();
  }
  /// Good as long as the document and its parser.
  std::optional<std::string_view> text(od::value v) {
    if (is_null(v) || broken) return std::nullopt;
    // What has no escapes is read where it lies: the parser would copy it, and keep the copy of every string of the document.
    const std::string_view token = v.raw_json_token();
    if (token.size() >= 2 && token.front() == '"') {
      const std::string_view inside = token.substr(1, token.find('"', 1) - 1);
      od::raw_json_string raw;
      if (inside.size() + 2 <= token.size() && inside.find('\\') == inside.npos && !v.get_raw_json_string().get(raw)) return inside;
    }
    std::string_view s;
    if (failed(v.get_string().get(s), "a readable string")) return std::nullopt;
    return s;
  }
  std::optional<double> number(od::value v) {
    od::json_type type;
    if (auto e = v.type().get(type)) {
      if (loses_position(e)) broken = e;
      return std::nullopt;
    }
    double d = 0;
    if (type == od::json_type::null) return std::nullopt;
    if (type == od::json_type::string) {  // 64-bit integers may come as text
      auto s = text(std::move(v));
      if (!s) return std::nullopt;
      auto [end, ec] = std::from_chars(s->data(), s->data() + s->size(), d);
      if (ec == std::errc{} && end == s->data() + s->size() && !s->empty()) return d;
      problem("is not a number");
      return std::nullopt;
    }
    if (failed(v.get_double().get(d), "a number")) return std::nullopt;
    return d;
  }
  std::optional<int64_t> integer(od::value v) {
    auto d = number(std::move(v));
    if (!d) return std::nullopt;
    return saturate(*d);
  }
  /// A JSON number without a fraction; nothing else.
  std::optional<int64_t> whole_number(od::value v) {
    od::number n;
    if (failed(v.get_number().get(n), "a whole number")) return std::nullopt;
    double d = n.get_double();
    if (n.is_int64()) return std::clamp(n.get_int64(), -kNumberLimit, kNumberLimit);
    if (n.is_uint64()) return kNumberLimit;
    if (d == std::floor(d)) return saturate(d);
    problem("is not a whole number");
    return std::nullopt;
  }
  std::optional<bool> boolean(od::value v) {
    bool b = false;
    if (is_null(v) || broken || failed(v.get_bool().get(b), "true or false")) return std::nullopt;
    return b;
  }
  /// `text` into a string; leaves it alone if there is none.
  void text_into(const char* name, od::value v, std::string& out) {
    at(name, [&] {
      if (auto s = text(std::move(v))) out = *s;
    });
  }
  /// The one field `name` of an object, if it is there.
  template <class On>
  void field(od::value v, std::string_view name, On&& on) {
    object(std::move(v), [&](auto key, od::value value) {
      if (key == name) on(std::move(value));
    });
  }

 private:
  struct Step {
    const char* name;
    int index;
  };
  std::vector<Step> path_;
};

/// Replaces what is not UTF-8 by '?' and bare control characters by blanks, so that the text can be read.
inline void repair(char* text, size_t size) {
  auto* p = reinterpret_cast<unsigned char*>(text);
  for (size_t i = 0; i < size;) {
    unsigned char c = p[i];
    if (c < 0x80) {
      if (c < 0x20) p[i] = ' ';
      i++;
      continue;
    }
    size_t length = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    bool ok = length != 0 && i + length <= size;
    for (size_t k = 1; ok && k < length; k++) ok = (p[i + k] & 0xc0) == 0x80;
    // Over-long forms, surrogates, above U+10FFFF (RFC 3629 section 4).
    if (ok && length == 3) ok = !(c == 0xe0 && p[i + 1] < 0xa0) && !(c == 0xed && p[i + 1] > 0x9f);
    if (ok && length == 4) ok = !(c == 0xf0 && p[i + 1] < 0x90) && !(c == 0xf4 && p[i + 1] > 0x8f);
    if (!ok) p[i] = '?';
    i += ok ? length : 1;
  }
}

}  // namespace ls::json
