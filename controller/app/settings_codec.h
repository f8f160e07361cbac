#pragma once
/// How each C++ type of a Config member is read from TOML, printed as TOML and described in the manual.
/// Only settings_line.h includes this. A new type of setting is one more Codec.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <tl/expected.hpp>
#include <type_traits>

#include "app/settings.h"
#include "app/upstream_address.h"

namespace ls::setting_codec {

/// Lowest and highest good value in the base unit of the type (count, milliseconds, bytes, elements of a
/// list).
struct Limits {
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
  bool given() const { return *this != Limits{}; }
  bool operator==(const Limits&) const = default;
};

template <class T>
using Parsed = tl::expected<T, std::string>;  // the error is the end of the sentence "NAME: ..."
using Bad = tl::unexpected<std::string>;

inline std::string toml_quote(std::string_view s) {
  std::string out = "\"";
  for (unsigned char c : s) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += char(c);
    } else if (c < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", c);
    } else {
      out += char(c);
    }
  }
  return out + '"';
}

/// "a string", for messages about wrong types.
inline std::string_view kind_of(const RawValue& raw) {
  struct Visitor {
    std::string_view operator()(const RawValue::Other& o) const { return o.name; }
    std::string_view operator()(bool) const { return "a boolean"; }
    std::string_view operator()(int64_t) const { return "an integer"; }
    std::string_view operator()(double) const { return "a float"; }
    std::string_view operator()(const std::string&) const { return "a string"; }
    std::string_view operator()(const RawValue::List&) const { return "a list"; }
    std::string_view operator()(const RawValue::Table&) const { return "a table"; }
  };
  return std::visit(Visitor{}, raw.value);
}

template <class Want>
Parsed<Want> expect(const RawValue& raw, std::string_view wanted) {
  if (auto* v = std::get_if<Want>(&raw.value)) return *v;
  return Bad(fmt::format("{} is wanted, this is {}", wanted, kind_of(raw)));
}

/// `show` prints a bound in the unit of the type.
template <class Show>
Parsed<int64_t> in_range(int64_t value, const Limits& limits, Show show) {
  auto range = [&] { return fmt::format("(range {} to {})", show(limits.min), show(limits.max)); };
  if (value < limits.min)
    return Bad(fmt::format("{} is below {} {}", show(value), show(limits.min), range()));
  if (value > limits.max)
    return Bad(fmt::format("{} is above {} {}", show(value), show(limits.max), range()));
  return value;
}

template <class T>
struct Codec;

template <>
struct Codec<bool> {
  static std::string type() { return "boolean"; }
  static std::string range(const Limits&) { return ""; }
  static Parsed<bool> parse(const RawValue& raw, const Limits&) {
    return expect<bool>(raw, "a boolean (true or false)");
  }
  static std::string print(bool v) { return v ? "true" : "false"; }
};

template <>
struct Codec<uint32_t> {
  static std::string type() { return "integer"; }
  static Limits clamp(Limits l) {
    return {std::max<int64_t>(l.min, 0), std::min<int64_t>(l.max, UINT32_MAX)};
  }
  static std::string range(const Limits& l) { return fmt::format("{} to {}", clamp(l).min, clamp(l).max); }
  static Parsed<uint32_t> parse(const RawValue& raw, const Limits& l) {
    auto number = expect<int64_t>(raw, "an integer");
    if (!number) return Bad(number.error());
    auto good = in_range(*number, clamp(l), [](int64_t n) { return fmt::to_string(n); });
    if (!good) return Bad(good.error());
    return uint32_t(*good);
  }
  static std::string print(uint32_t v) { return fmt::to_string(v); }
};

template <>
struct Codec<double> {
  static std::string type() { return "float"; }
  static std::string range(const Limits& l) { return fmt::format("{} to {}", l.min, l.max); }
  static Parsed<double> parse(const RawValue& raw, const Limits& l) {
    double v = 0;
    if (auto* d = std::get_if<double>(&raw.value)) {
      v = *d;
    } else if (auto* i = std::get_if<int64_t>(&raw.value)) {
      v = double(*i);
    } else {
      return Bad(fmt::format("a number is wanted, this is {}", kind_of(raw)));
    }
    // Written so that NaN, which compares false with everything, is refused too.
    if (!(v >= double(l.min) && v <= double(l.max))) {
      return Bad(fmt::format("{} is out of range (range {} to {})", v, l.min, l.max));
    }
    return v;
  }
  static std::string print(double v) {
    auto s = fmt::format("{}", v);
    return s.find_first_of(".en") == s.npos ? s + ".0" : s;
  }
};

template <>
struct Codec<std::string> {
  static std::string type() { return "string"; }
  static std::string range(const Limits&) { return ""; }
  static Parsed<std::string> parse(const RawValue& raw, const Limits&) {
    return expect<std::string>(raw, "a string");
  }
  static std::string print(const std::string& v) { return toml_quote(v); }
};

template <>
struct Codec<std::filesystem::path> {
  static std::string type() { return "path"; }
  static std::string range(const Limits&) { return ""; }
  static Parsed<std::filesystem::path> parse(const RawValue& raw, const Limits&) {
    auto text = expect<std::string>(raw, "a path in quotes");
    if (!text) return Bad(text.error());
    if (text->find('\0') != text->npos) return Bad("a path holds no zero byte");
    std::filesystem::path path(*text);
    if (path.empty() || path.is_absolute()) return path;
    return (std::filesystem::path(raw.where.file).parent_path() / path).lexically_normal();
  }
  static std::string print(const std::filesystem::path& v) { return toml_quote(v.native()); }
};

template <>
struct Codec<Millis> {
  static std::string show(int64_t ms) { return print_duration(Millis(ms)); }
  static std::string type() { return "duration"; }
  static std::string range(const Limits& l) { return fmt::format("{} to {}", show(l.min), show(l.max)); }
  static Parsed<Millis> parse(const RawValue& raw, const Limits& l) {
    constexpr std::string_view kWanted =
        "a duration in quotes with its unit (ms, s, m, h, d), for example \"250ms\",";
    auto text = expect<std::string>(raw, kWanted);
    if (!text) return Bad(text.error());
    auto value = parse_duration(*text);
    if (!value) return Bad(fmt::format("{} is wanted, this is {}", kWanted, toml_quote(*text)));
    auto good = in_range(value->count(), l, show);
    if (!good) return Bad(good.error());
    return Millis(*good);
  }
  static std::string print(Millis v) { return toml_quote(print_duration(v)); }
};

template <>
struct Codec<ByteSize> {
  static std::string show(int64_t n) { return print_size({uint64_t(n)}); }
  static std::string type() { return "size"; }
  static std::string range(const Limits& l) { return fmt::format("{} to {}", show(l.min), show(l.max)); }
  static Parsed<ByteSize> parse(const RawValue& raw, const Limits& l) {
    constexpr std::string_view kWanted =
        "a size in quotes with its unit (B, KiB, MiB, GiB, TiB), for example \"64MiB\",";
    auto text = expect<std::string>(raw, kWanted);
    if (!text) return Bad(text.error());
    auto value = parse_size(*text);
    if (!value) return Bad(fmt::format("{} is wanted, this is {}", kWanted, toml_quote(*text)));
    auto good = in_range(int64_t(value->bytes), l, show);
    if (!good) return Bad(good.error());
    return ByteSize{uint64_t(*good)};
  }
  static std::string print(ByteSize v) { return toml_quote(print_size(v)); }
};

template <>
struct Codec<IpAddress> {
  static std::string type() { return "address"; }
  static std::string range(const Limits&) { return ""; }
  static Parsed<IpAddress> parse(const RawValue& raw, const Limits&) {
    auto text = expect<std::string>(raw, "an address in quotes");
    if (!text) return Bad(text.error());
    if (auto address = IpAddress::parse(*text)) return *address;
    return Bad(fmt::format("{} is no IPv4 or IPv6 address", toml_quote(*text)));
  }
  static std::string print(const IpAddress& v) { return toml_quote(v.text()); }
};

template <>
struct Codec<HostPort> {
  static std::string type() { return "endpoint"; }
  static std::string range(const Limits&) { return ""; }
  static Parsed<HostPort> parse(const RawValue& raw, const Limits&) {
    auto text = expect<std::string>(raw, "HOST:PORT in quotes");
    if (!text) return Bad(text.error());
    if (auto endpoint = parse_host_port(*text, std::nullopt, "")) return *endpoint;
    return Bad(fmt::format("{} is not HOST:PORT (an IPv6 address stands in brackets, a port is 1 to 65535)",
                           toml_quote(*text)));
  }
  static std::string print(const HostPort& v) { return toml_quote(v.text()); }
};

template <>
struct Codec<IpNetwork> {
  static std::string type() { return "network"; }
  static std::string range(const Limits&) { return ""; }
  static Parsed<IpNetwork> parse(const RawValue& raw, const Limits&) {
    auto text = expect<std::string>(raw, "a network in quotes");
    if (!text) return Bad(text.error());
    if (auto network = IpNetwork::parse(*text)) return *network;
    return Bad(fmt::format("{} is no network, as in \"10.0.0.0/8\" or \"fd01::/64\" (bits behind the prefix are 0)",
                           toml_quote(*text)));
  }
  static std::string print(const IpNetwork& v) { return toml_quote(v.text()); }
};

template <>
struct Codec<Endpoint> {
  static std::string type() { return "address with port"; }
  static std::string range(const Limits&) { return ""; }
  static Parsed<Endpoint> parse(const RawValue& raw, const Limits&) {
    auto text = expect<std::string>(raw, "ADDRESS:PORT in quotes");
    if (!text) return Bad(text.error());
    auto endpoint = parse_upstream(*text, 0);
    if (endpoint && endpoint->port != 0) return *endpoint;
    return Bad(fmt::format("{} is not ADDRESS:PORT (an IPv6 address stands in brackets, a port is 1 to 65535)",
                           toml_quote(*text)));
  }
  static std::string print(const Endpoint& v) { return toml_quote(v.text()); }
};

template <>
struct Codec<NameLists> {
  static std::string type() { return "table of lists"; }
  static std::string range(const Limits&) { return ""; }
  static std::string print(const NameLists& v);
};

/// The names of an enum: one list, used to read, to print and in the manual.
template <class E>
struct EnumNames;

template <class E>
requires std::is_enum_v<E>
struct Codec<E> {
  static std::string type() { return "string"; }
  static std::string range(const Limits&) {
    std::string out = "one of: ";
    for (auto& [name, value] : EnumNames<E>::kNames) {
      if (value != EnumNames<E>::kNames[0].second) out += ", ";
      out += name;
    }
    return out;
  }
  static Parsed<E> parse(const RawValue& raw, const Limits& l) {
    auto text = expect<std::string>(raw, "a string, " + range(l) + ",");
    if (!text) return Bad(text.error());
    for (auto& [name, value] : EnumNames<E>::kNames) {
      if (name == *text) return value;
    }
    return Bad(fmt::format("{} is not {}", toml_quote(*text), range(l)));
  }
  static std::string print(E v) {
    for (auto& [name, value] : EnumNames<E>::kNames) {
      if (value == v) return toml_quote(name);
    }
    return "\"\"";
  }
};

/// An optional value is "" when it is not set.
template <class T>
struct Codec<std::optional<T>> {
  static std::string type() { return Codec<T>::type(); }
  static std::string range(const Limits& l) { return Codec<T>::range(l); }
  static Parsed<std::optional<T>> parse(const RawValue& raw, const Limits& l) {
    if (auto* text = std::get_if<std::string>(&raw.value); text && text->empty()) return std::nullopt;
    auto value = Codec<T>::parse(raw, l);
    if (!value) return Bad(value.error());
    return std::optional<T>(std::move(*value));
  }
  static std::string print(const std::optional<T>& v) { return v ? Codec<T>::print(*v) : "\"\""; }
};

template <class T>
struct Codec<std::vector<T>> {
  static std::string type() {
    auto one = Codec<T>::type();
    if (one.starts_with("address")) return "list of addresses" + one.substr(7) + (one == "address" ? "" : "s");
    return "list of " + one + "s";
  }
  static std::string range(const Limits&) { return Codec<T>::range({}); }
  static std::string print(const std::vector<T>& v) {
    std::string out = "[";
    for (auto& item : v) out += (out.size() > 1 ? ", " : "") + Codec<T>::print(item);
    return out + "]";
  }
};

/// A name is a quoted key, because an unquoted one is split at its dots.
inline std::string Codec<NameLists>::print(const NameLists& v) {
  std::string out;
  for (auto& [name, items] : v) {
    out += fmt::format("{} {} = {}", out.empty() ? "" : ",", toml_quote(name), Codec<std::vector<std::string>>::print(items));
  }
  return out.empty() ? "{}" : "{" + out + " }";
}

}  // namespace ls::setting_codec
