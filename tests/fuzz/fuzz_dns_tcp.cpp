// DNS over TCP: any stream, cut into any pieces, gives the same messages as a plain reading of it, and never
// takes more memory than one message.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "dns/tcp_framing.h"

namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

std::vector<std::string> plain(const std::string& stream, bool& partial) {
  std::vector<std::string> out;
  size_t at = 0;
  while (stream.size() - at >= 2) {
    size_t length = uint8_t(stream[at]) << 8 | uint8_t(stream[at + 1]);
    if (stream.size() - at - 2 < length) break;
    out.push_back(stream.substr(at + 2, length));
    at += 2 + length;
  }
  partial = at != stream.size();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  // The first octets say how the rest is cut; one bit repeats it, so that lengths above a buffer are met, in larger pieces then.
  const uint8_t cuts[3] = {data[0], data[1], data[2]};
  std::string stream(reinterpret_cast<const char*>(data + 3), size - 3);
  if (cuts[0] & 1) {
    while (stream.size() < 70'000) stream += stream;
  }
  bool partial = false;
  auto expected = plain(stream, partial);
  ls::dns::TcpFraming framing;
  std::vector<std::string> found;
  for (size_t at = 0, i = 0; at < stream.size(); i++) {
    auto space = framing.space();
    require(!space.empty() && space.size() <= ls::dns::TcpFraming::kMost);
    size_t n = std::min({size_t(1) + cuts[i % 3] * (cuts[0] & 3 ? 97 : 1), space.size(), stream.size() - at});
    std::memcpy(space.data(), stream.data() + at, n);
    framing.received(n);
    at += n;
    while (auto message = framing.next()) found.emplace_back(message->begin(), message->end());
  }
  require(found == expected);
  require(framing.partial() == partial);
  return 0;
}
