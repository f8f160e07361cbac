#include "util/dns_name.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ls {
namespace {

constexpr std::array<char, 256> fold_table() {
  std::array<char, 256> t{};
  for (size_t i = 0; i < t.size(); ++i) t[i] = static_cast<char>(i >= 'A' && i <= 'Z' ? i + ('a' - 'A') : i);
  return t;
}
constexpr std::array<char, 256> kFold = fold_table();

void fold_text(std::string& s) {
  for (char& c : s) c = kFold[static_cast<uint8_t>(c)];
}

uint8_t length_at(std::string_view wire, size_t at) { return static_cast<uint8_t>(wire[at]); }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_escaped(std::string& out, std::string_view label) {
  for (const char c : label) {
    const auto u = static_cast<uint8_t>(c);
    if (u <= 0x20 || u >= 0x7f) {
      char code[8];
      std::snprintf(code, sizeof code, "\\%03u", u);
      out += code;
    } else {
      if (std::strchr(".\\\"();@$", c) != nullptr) out += '\\';
      out += c;
    }
  }
}

/// Reads one octet of a label, escapes included. nullopt: a broken escape.
std::optional<char> next_octet(std::string_view text, size_t& at) {
  if (text[at] != '\\') return text[at++];
  if (++at == text.size()) return std::nullopt;
  if (!is_digit(text[at])) return text[at++];
  if (at + 3 > text.size() || !is_digit(text[at + 1]) || !is_digit(text[at + 2])) return std::nullopt;
  const int value = (text[at] - '0') * 100 + (text[at + 1] - '0') * 10 + (text[at + 2] - '0');
  if (value > 255) return std::nullopt;
  at += 3;
  return static_cast<char>(value);
}

std::string label_error(size_t number, std::string_view why) {
  return "name: label " + std::to_string(number) + " " + std::string(why);
}

uint64_t rotate(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

}  // namespace

Result<DnsName> DnsName::parse(std::string_view text) {
  if (text.empty()) return fail("name: is empty; the root is \".\"");
  if (text == ".") return DnsName();
  std::string wire;
  size_t at = 0, number = 0;
  while (at < text.size()) {
    ++number;
    const size_t length = wire.size();
    wire += '\0';
    while (at < text.size() && text[at] != '.') {
      const auto octet = next_octet(text, at);
      if (!octet) return fail(label_error(number, "has a broken escape: \\ is followed by one character or by 000 to 255"));
      wire += *octet;
      if (wire.size() - length - 1 > kMaxLabel) return fail(label_error(number, "is longer than 63 octets"));
    }
    if (wire.size() == length + 1) return fail(label_error(number, "is empty"));
    wire[length] = static_cast<char>(wire.size() - length - 1);
    if (wire.size() >= kMaxWire) return fail(label_error(number, "makes the name longer than 255 octets"));
    if (at < text.size()) ++at;  // the dot
  }
  wire += '\0';
  return DnsName(std::move(wire));
}

std::optional<DnsName> DnsName::from_wire(std::span<const uint8_t> wire) {
  if (wire.empty() || wire.size() > kMaxWire) return std::nullopt;
  size_t at = 0;
  while (wire[at] != 0) {
    if (wire[at] > kMaxLabel) return std::nullopt;
    at += wire[at] + size_t{1};
    if (at >= wire.size()) return std::nullopt;
  }
  if (at + 1 != wire.size()) return std::nullopt;
  return DnsName(std::string(reinterpret_cast<const char*>(wire.data()), wire.size()));
}

std::optional<DnsName> DnsName::join(std::string_view relative, const DnsName& apex) {
  if (relative.size() + apex.wire_.size() > kMaxWire) return std::nullopt;
  std::string wire(relative);
  wire += apex.wire_;
  return from_wire({reinterpret_cast<const uint8_t*>(wire.data()), wire.size()});
}

std::string DnsName::text() const {
  if (is_root()) return ".";
  return relative_text(std::string_view(wire_).substr(0, wire_.size() - 1)) + '.';
}

size_t DnsName::labels() const {
  size_t n = 0;
  for (size_t at = 0; wire_[at] != 0; at += length_at(wire_, at) + size_t{1}) ++n;
  return n;
}

DnsName DnsName::folded() const {
  DnsName copy = *this;
  fold_text(copy.wire_);
  return copy;
}

bool DnsName::is_within(const DnsName& zone) const {
  if (zone.wire_.size() > wire_.size()) return false;
  const size_t start = wire_.size() - zone.wire_.size();
  size_t at = 0;
  while (at < start) at += length_at(wire_, at) + size_t{1};
  if (at != start) return false;
  return std::equal(wire_.begin() + static_cast<ptrdiff_t>(start), wire_.end(), zone.wire_.begin(), [](char a, char b) {
    return kFold[static_cast<uint8_t>(a)] == kFold[static_cast<uint8_t>(b)];
  });
}

std::string DnsName::relative_to(const DnsName& zone) const {
  std::string relative = wire_.substr(0, wire_.size() - zone.wire_.size());
  fold_text(relative);
  return relative;
}

std::optional<std::string> relative_name(std::string_view dotted) {
  std::string out;
  if (dotted.empty()) return out;
  for (size_t at = 0;;) {
    const size_t dot = std::min(dotted.find('.', at), dotted.size());
    const std::string_view label = dotted.substr(at, dot - at);
    if (label.empty() || label.size() > DnsName::kMaxLabel) return std::nullopt;
    out += static_cast<char>(label.size());
    out += label;
    if (out.size() > DnsName::kMaxWire - 1) return std::nullopt;
    if (dot == dotted.size()) break;
    at = dot + 1;
  }
  fold_text(out);
  return out;
}

std::string relative_text(std::string_view relative) {
  std::string out;
  for (size_t at = 0; at < relative.size(); at += length_at(relative, at) + size_t{1}) {
    if (at != 0) out += '.';
    append_escaped(out, relative.substr(at + 1, length_at(relative, at)));
  }
  return out;
}

/// Eight octets at once: the top bit of each octet of `upper` says that it is a letter from A to Z.
void fold(std::span<uint8_t> name) {
  constexpr uint64_t kEach = 0x0101010101010101ull;
  uint8_t* at = name.data();
  size_t left = name.size();
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    const uint64_t low = word & (0x7f * kEach);
    const uint64_t from_a = low + (0x80 - 'A') * kEach, past_z = low + (0x80 - 'Z' - 1) * kEach;
    const uint64_t upper = (from_a ^ past_z) & ~word & (0x80 * kEach);
    word |= upper >> 2;  // 0x20
    std::memcpy(at, &word, 8);
  }
  for (; left > 0; ++at, --left) *at = static_cast<uint8_t>(kFold[*at]);
}

/// SipHash-1-3 (Aumasson, Bernstein 2012): one round a word, three at the end, as hash tables of other systems use it.
uint64_t name_hash(std::string_view folded, uint64_t key) {
  const uint64_t second = rotate(key, 32) * 0x9e3779b97f4a7c15ull;
  uint64_t a = key ^ 0x736f6d6570736575ull, b = second ^ 0x646f72616e646f6dull;
  uint64_t c = key ^ 0x6c7967656e657261ull, d = second ^ 0x7465646279746573ull;
  const auto round = [&] {
    a += b, b = rotate(b, 13) ^ a, a = rotate(a, 32);
    c += d, d = rotate(d, 16) ^ c;
    a += d, d = rotate(d, 21) ^ a;
    c += b, b = rotate(b, 17) ^ c, c = rotate(c, 32);
  };
  const char* at = folded.data();
  size_t left = folded.size();
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    d ^= word;
    round();
    a ^= word;
  }
  uint64_t last = static_cast<uint64_t>(folded.size()) << 56;
  for (size_t i = 0; i < left; ++i) last |= static_cast<uint64_t>(static_cast<uint8_t>(at[i])) << (8 * i);
  d ^= last;
  round();
  a ^= last;
  c ^= 0xff;
  round();
  round();
  round();
  return a ^ b ^ c ^ d;
}

uint64_t random_key() {
  static const uint64_t key = [] {
    uint64_t k = 0;
    if (getrandom(&k, sizeof k, 0) != static_cast<ssize_t>(sizeof k)) {
      std::fputs("loadstar: the kernel gives no random numbers\n", stderr);
      std::abort();
    }
    return k;
  }();
  return key;
}

}  // namespace ls
