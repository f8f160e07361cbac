#pragma once
/// The head of a request to a hub, and what is said to one that gets no stream. Internal to hub/. Pure, any thread.
#include <optional>
#include <string>
#include <string_view>

namespace ls::hub {

inline constexpr size_t kMaxHead = 8 * 1024;

struct Request {
  enum class What { kStream, kTime, kOther } what = What::kOther;
  unsigned refusal = 0;  ///< a status when it cannot be answered: 400, 404, 405
  std::string why;
  std::string run, node;  ///< `node` is made printable and cut
  std::optional<uint64_t> after;
  std::string token;  ///< of "Authorization: Bearer"
  bool keep_alive = false;
};
/// nullopt: `text` is no complete head yet. Else `used` octets of it are the head.
std::optional<Request> read_request(std::string_view text, size_t& used);

/// A complete answer with a JSON body.
std::string answer_text(unsigned status, std::string_view json, bool keep_alive, std::string_view more_headers = {});
/// {"error":...}
std::string error_json(std::string_view why);
/// The head of a stream.
std::string stream_head();

/// Takes the same time wherever the first difference lies.
bool same_text(std::string_view given, std::string_view secret);

}  // namespace ls::hub
