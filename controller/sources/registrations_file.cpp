#include <fmt/format.h>

#include <cerrno>

#include "sources/checked_file.h"
#include "sources/registrations.h"

namespace ls {
namespace {

constexpr std::string_view kFormat = "loadstar-registrations 1";

}  // namespace

Result<> save_feed(const std::filesystem::path& file, const dns::RegistrationFeed& feed) { return save_checked(file, kFormat, feed_text(feed)); }

Result<dns::RegistrationFeed> load_feed(const std::filesystem::path& file) {
  LS_ASSIGN(auto text, load_checked(file, kFormat, dns::kMaxFeedBytes));
  auto feed = dns::parse_feed(text);
  if (!feed) return fail(EILSEQ, fmt::format("{} is damaged: {}", file.string(), feed.error().text()));
  return feed;
}

}  // namespace ls
