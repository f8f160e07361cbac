#include "api/mesos_dns_json.h"

#include <fmt/format.h>

namespace ls::api {
namespace {

/// Length of the well-formed UTF-8 sequence at the beginning of `s`; 0: there is none (RFC 3629 section 4).
size_t sequence(std::string_view s) {
  auto at = [&](size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  auto tail = [&](size_t i) { return (at(i) & 0xc0) == 0x80; };
  unsigned b = at(0);
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b <= 0xdf) return tail(1) ? 2 : 0;
  if (b >= 0xe0 && b <= 0xef) {
    bool good = tail(1) && tail(2) && !(b == 0xe0 && at(1) < 0xa0) && !(b == 0xed && at(1) > 0x9f);
    return good ? 3 : 0;
  }
  if (b >= 0xf0 && b <= 0xf4) {
    bool good = tail(1) && tail(2) && tail(3) && !(b == 0xf0 && at(1) < 0x90) && !(b == 0xf4 && at(1) > 0x8f);
    return good ? 4 : 0;
  }
  return 0;
}

}  // namespace

void MesosDnsJson::line() { out_.append("\n").append(1 + depth_, ' '); }

void MesosDnsJson::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (depth_ == 0) return;
  if (!first_) out_ += ',';
  first_ = false;
  line();
}

MesosDnsJson& MesosDnsJson::open(char bracket) {
  before_value();
  out_ += bracket;
  depth_++;
  first_ = true;
  return *this;
}

MesosDnsJson& MesosDnsJson::close(char bracket) {
  depth_--;
  if (!first_) line();
  out_ += bracket;
  first_ = false;
  return *this;
}

MesosDnsJson& MesosDnsJson::key(std::string_view name) {
  before_value();
  quoted(name);
  out_ += ": ";
  after_key_ = true;
  return *this;
}

MesosDnsJson& MesosDnsJson::text(std::string_view value) {
  before_value();
  quoted(value);
  return *this;
}

MesosDnsJson& MesosDnsJson::number(int64_t value) {
  before_value();
  out_ += std::to_string(value);
  return *this;
}

MesosDnsJson& MesosDnsJson::boolean(bool value) {
  before_value();
  out_ += value ? "true" : "false";
  return *this;
}

MesosDnsJson& MesosDnsJson::null() {
  before_value();
  out_ += "null";
  return *this;
}

void MesosDnsJson::quoted(std::string_view text) {
  out_ += '"';
  while (!text.empty()) {
    unsigned char c = text[0];
    auto length = sequence(text);
    auto one = text.substr(0, length ? length : 1);
    if (length == 0) out_ += "\\ufffd";
    else if (c == '"' || c == '\\') out_.append("\\").append(one);
    else if (c == '\n') out_ += "\\n";
    else if (c == '\r') out_ += "\\r";
    else if (c == '\t') out_ += "\\t";
    else if (c < 0x20 || c == '<' || c == '>' || c == '&') out_ += fmt::format("\\u{:04x}", c);
    else if (one == "\xe2\x80\xa8") out_ += "\\u2028";
    else if (one == "\xe2\x80\xa9") out_ += "\\u2029";
    else out_ += one;
    text.remove_prefix(one.size());
  }
  out_ += '"';
}

}  // namespace ls::api
