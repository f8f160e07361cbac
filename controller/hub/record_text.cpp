#include "hub/record_text.h"

namespace ls::hub {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool plain(char c) {
  auto u = static_cast<unsigned char>(c);
  return u >= 0x20 && u < 0x80 && c != '"' && c != '\\';
}

void append_octet(std::string& out, unsigned char u) {
  out += kOctet;
  out += kDigits[u >> 4];
  out += kDigits[u & 15];
}

}  // namespace

size_t utf8_length(std::string_view t) {
  if (t.empty()) return 0;
  auto at = [&](size_t i) { return static_cast<unsigned char>(t[i]); };
  const unsigned char c = at(0);
  if (c < 0x80) return 1;
  const size_t length = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
  if (length == 0 || length > t.size()) return 0;
  for (size_t i = 1; i < length; i++)
    if ((at(i) & 0xc0) != 0x80) return 0;
  // Over-long forms, surrogates, above U+10FFFF.
  if (length == 3 && ((c == 0xe0 && at(1) < 0xa0) || (c == 0xed && at(1) > 0x9f))) return 0;
  if (length == 4 && ((c == 0xf0 && at(1) < 0x90) || (c == 0xf4 && at(1) > 0x8f))) return 0;
  return length;
}

void append_json_text(std::string& out, std::string_view text) {
  out += '"';
  size_t from = 0;
  while (from < text.size()) {
    size_t to = from;
    while (to < text.size() && plain(text[to])) to++;
    out.append(text, from, to - from);
    if (to == text.size()) break;
    const char c = text[to];
    const auto u = static_cast<unsigned char>(c);
    from = to + 1;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      out += "\\u00";
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    } else if (size_t length = utf8_length(text.substr(to)); length == 0) {
      append_octet(out, u);
    } else {
      auto symbol = text.substr(to, length);
      out += symbol;
      if (symbol == kOctet) out += "--";
      from = to + length;
    }
  }
  out += '"';
}

bool restore_octets(std::string_view text, std::string& out) {
  for (size_t from = 0;;) {
    auto mark = text.find(kOctet, from);
    out.append(text.substr(from, mark == text.npos ? text.npos : mark - from));
    if (mark == text.npos) return true;
    auto code = text.substr(mark + kOctet.size(), 2);
    from = mark + kOctet.size() + 2;
    if (code == "--") {
      out += kOctet;
      continue;
    }
    int high = code.size() == 2 ? digit(code[0]) : -1, low = code.size() == 2 ? digit(code[1]) : -1;
    if (high < 0 || low < 0) return false;
    out += static_cast<char>(high << 4 | low);
  }
}

}  // namespace ls::hub
