#include "derive/fold.h"

namespace ls {
namespace {

constexpr size_t kMaxLabel = 63;  // RFC 1035 2.3.4

}  // namespace

std::string fold_label(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (out.size() == kMaxLabel) {
      // Dashes at the cut are given up, and what follows may take their place.
      while (!out.empty() && out.back() == '-') out.pop_back();
      if (out.size() == kMaxLabel) break;
    }
    if (c >= 'A' && c <= 'Z') {
      out += char(c + 32);
    } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      out += c;
    } else if ((c == '-' || c == '_' || c == '.') && !out.empty()) {
      out += '-';
    }
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

std::string fold_name(std::string_view text) {
  std::string out;
  bool first = true;
  while (!text.empty()) {
    size_t dot = text.find('.');
    auto piece = text.substr(0, dot);
    text = dot == text.npos ? std::string_view() : text.substr(dot + 1);
    if (piece.empty()) continue;
    if (!first) out += '.';
    first = false;
    out += fold_label(piece);
  }
  return out;
}

std::string vip_name(std::string_view label, std::string_view framework) {
  return fold_name(label) + "." + fold_name(framework);
}

bool usable_name(std::string_view folded) {
  return !folded.empty() && folded.front() != '.' && folded.back() != '.' &&
         folded.find("..") == folded.npos;
}

}  // namespace ls
