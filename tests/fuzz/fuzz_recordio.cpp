// RecordIO and the HTTP framing of recordings: any bytes, cut into any pieces, give the same records as in one
// piece, stay inside their buffers, and cost no more memory than they bring.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "sources/http_recording.h"
#include "sources/recordio.h"

namespace {

struct Outcome {
  std::vector<std::string> records;
  bool error = false;
  bool mid = false;
};

// Small enough that lengths above it are found quickly.
constexpr uint64_t kLimit = 1 << 20;

void require(bool ok) {
  if (!ok) std::abort();
}

Outcome read(std::string_view input, size_t piece) {
  ls::RecordIoReader reader(kLimit);
  Outcome out;
  while (!input.empty() && !out.error) {
    std::string part(input.substr(0, piece));  // of its own, so that a read behind its end is seen
    input.remove_prefix(part.size());
    std::string_view bytes = part;
    while (!bytes.empty()) {
      auto r = reader.next(bytes);
      if (!r) {
        out.error = true;
        break;
      }
      if (!*r) {
        require(bytes.empty());
        break;
      }
      for (size_t i = (*r)->size(); i < (*r)->allocated(); ++i) require((*r)->data()[i] == 0);
      out.records.emplace_back((*r)->text());
    }
  }
  out.mid = reader.mid_record();
  return out;
}

struct Body {
  std::string text;
  bool error = false;
};

Body unframe(std::string_view input, size_t piece) {
  ls::HttpRecording framing;
  Body out;
  while (!input.empty() && !out.error) {
    std::string part(input.substr(0, piece));
    input.remove_prefix(part.size());
    std::string_view bytes = part;
    while (!bytes.empty()) {
      auto r = framing.next(bytes);
      if (!r) {
        out.error = true;
        break;
      }
      out.text += *r;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  size_t piece = 1 + data[0] % 61;
  std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  Outcome whole = read(input, std::max<size_t>(input.size(), 1)), cut = read(input, piece);
  require(whole.records == cut.records && whole.error == cut.error);
  require(whole.error || whole.mid == cut.mid);
  if (!whole.error && !whole.mid) {
    size_t payload = 0;
    for (const auto& r : whole.records) payload += r.size();
    require(payload <= input.size());
  }
  Body body = unframe(input, std::max<size_t>(input.size(), 1)), body_cut = unframe(input, piece);
  require(body.error == body_cut.error);
  if (!body.error) require(body.text == body_cut.text);
  return 0;
}
