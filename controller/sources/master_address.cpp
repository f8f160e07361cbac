#include "sources/master_address.h"

#include <fmt/format.h>

namespace ls {
namespace {

constexpr size_t kQuotedBytes = 200;

}  // namespace

Result<MasterAddress> parse_master_address(std::string_view text, uint16_t default_port) {
  return parse_host_port(text, default_port, "master");
}

Result<RedirectTarget> parse_location(std::string_view location, const MasterAddress& asked,
                                      std::string_view path, bool tls) {
  RedirectTarget out{asked, std::string(path)};
  std::string_view rest = location;
  if (size_t scheme = rest.find("://"); scheme != std::string_view::npos && scheme < rest.find('/')) {
    rest.remove_prefix(scheme + 1);
  }
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
    auto master = parse_master_address(authority, tls ? 443 : 80);
    if (!master)
      return pass(std::move(master.error()), fmt::format("redirect to \"{}\"", quote_answer(location)));
    out.master = std::move(*master);
    rest.remove_prefix(authority.size());
  } else if (!rest.starts_with("/")) {
    return fail(fmt::format("redirect to \"{}\": neither a host nor a path", quote_answer(location)));
  }
  rest = rest.substr(0, rest.find('#'));
  if (rest.empty()) return out;
  for (char c : rest) {
    if (c <= ' ' || c == '\x7f')
      return fail(fmt::format("redirect to \"{}\": bad path", quote_answer(location)));
  }
  out.path = rest;
  return out;
}

std::string quote_answer(std::string_view body) {
  std::string out(body.substr(0, kQuotedBytes));
  for (char& c : out) {
    auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u >= 0x7f) c = ' ';
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace ls
