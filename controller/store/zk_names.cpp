#include "store/zk_names.h"

#include <fmt/format.h>

#include <charconv>

#include "util/address.h"

namespace ls {
namespace {

constexpr std::string_view kMark = "LS1 ";
constexpr size_t kMaxLine = 64;

bool plain(unsigned char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.'; }

/// Finds a bit that changed, and a record that stands in another's place.
uint64_t sum_of(std::string_view area, std::string_view key, std::string_view value, uint64_t version) {
  uint64_t sizes[3] = {area.size(), key.size(), version};
  auto h = hash_bytes(sizes, sizeof sizes);
  h = hash_bytes(area.data(), area.size(), h);
  h = hash_bytes(key.data(), key.size(), h);
  return hash_bytes(value.data(), value.size(), h);
}

template <class T>
std::optional<T> number_of(std::string_view text, int base) {
  T n = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n, base);
  if (text.empty() || err != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

/// "<number> <sum>"
std::optional<std::pair<uint64_t, uint64_t>> numbers_of(std::string_view line) {
  auto space = line.find(' ');
  if (space == line.npos) return std::nullopt;
  auto n = number_of<uint64_t>(line.substr(0, space), 10), sum = number_of<uint64_t>(line.substr(space + 1), 16);
  if (!n || !sum) return std::nullopt;
  return std::pair(*n, *sum);
}

}  // namespace

std::string zk_name(std::string_view text) {
  if (text.empty()) return "%";
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    auto c = static_cast<unsigned char>(text[i]);
    bool as_it_is = plain(c) && (c != '.' || i > 0);
    if (as_it_is) out += char(c);
    else out += fmt::format("%{:02X}", c);
  }
  return out;
}

std::optional<std::string> zk_text(std::string_view name) {
  if (name == "%") return std::string();
  std::string out;
  for (size_t i = 0; i < name.size(); i++) {
    if (name[i] != '%') {
      out += name[i];
      continue;
    }
    auto octet = number_of<uint8_t>(name.substr(i + 1, 2), 16);
    if (i + 2 >= name.size() || !octet) return std::nullopt;
    out += char(*octet);
    i += 2;
  }
  // One text has one name: anything else was put there by somebody else.
  if (zk_name(out) != name) return std::nullopt;
  return out;
}

std::string zk_record(std::string_view area, std::string_view key, std::string_view value, uint64_t version) {
  return fmt::format("{}{} {:016x}\n{}", kMark, version, sum_of(area, key, value, version), value);
}

std::optional<ZkRecord> read_zk_record(std::string_view area, std::string_view key, std::string_view text) {
  auto end = text.substr(0, kMaxLine).find('\n');
  if (!text.starts_with(kMark) || end == text.npos) return std::nullopt;
  auto numbers = numbers_of(text.substr(kMark.size(), end - kMark.size()));
  auto value = text.substr(end + 1);
  if (!numbers || numbers->first == 0 || sum_of(area, key, value, numbers->first) != numbers->second) return std::nullopt;
  return ZkRecord{std::string(value), numbers->first};
}

std::string zk_counter(uint64_t last) { return fmt::format("{}store {} {:016x}\n", kMark, last, sum_of("store", "", "", last)); }

std::optional<uint64_t> read_zk_counter(std::string_view text) {
  constexpr std::string_view kWord = "store ";
  if (!text.starts_with(kMark) || !text.ends_with('\n')) return std::nullopt;
  text = text.substr(kMark.size(), text.size() - kMark.size() - 1);
  if (!text.starts_with(kWord)) return std::nullopt;
  auto numbers = numbers_of(text.substr(kWord.size()));
  if (!numbers || sum_of("store", "", "", numbers->first) != numbers->second) return std::nullopt;
  return numbers->first;
}

}  // namespace ls
