#pragma once
/// Writes JSON in the layout that Mesos-DNS sends: one blank a level on a base of one blank, members in the order in which they are
/// given, '<', '>' and '&' escaped. A stream, because a list of all names may have hundreds of megabytes as a tree.
/// Thread: plain value. Source: spec/mesos-dns.md section 12.
#include <cstdint>
#include <string>
#include <string_view>

namespace ls::api {

class MesosDnsJson {
 public:
  MesosDnsJson& open(char bracket);   ///< '{' or '['
  MesosDnsJson& close(char bracket);  ///< '}' or ']'
  MesosDnsJson& key(std::string_view name);
  MesosDnsJson& text(std::string_view value);  ///< bytes that are not UTF-8 become U+FFFD
  MesosDnsJson& number(int64_t value);
  MesosDnsJson& boolean(bool value);
  MesosDnsJson& null();
  size_t size() const { return out_.size(); }
  std::string take() { return std::move(out_); }

 private:
  void before_value();
  void line();
  void quoted(std::string_view text);
  std::string out_;
  size_t depth_ = 0;
  bool first_ = true, after_key_ = false;
};

}  // namespace ls::api
