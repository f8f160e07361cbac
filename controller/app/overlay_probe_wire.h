#pragma once
/// The witness: one UDP question and its answer between nodes, over the tunnel, on the probe's port.
///
/// Both are sent without a UDP checksum (IPv4 allows that, RFC 768), so that they arrive where checksums are broken. The question names a
/// TCP port of the asker; the answer says what the other kernel knows of the connection from there. A question may be padded, to learn
/// whether large packets arrive; the answer is always kWitnessBytes long, so never longer than the question.
///
///   0  4  "LSW1"
///   4  1  1 question, 2 answer
///   5  1  Seen, of an answer
///   6  2  port of the asker, network order; 0: is anybody there
///   8  8  number of the question, chosen at random; the answer repeats it
/// Thread: any; pure.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace ls::overlay_probe {

inline constexpr size_t kWitnessBytes = 16;

enum class Seen : uint8_t {
  kNothing = 0,     ///< no packet of this connection arrived in good order
  kRequest = 1,     ///< the connection request arrived, what follows an answer did not
  kConnection = 2,  ///< the connection stands
  kCannotTell = 3,  ///< its kernel could not be asked
};

struct Witness {
  bool answer = false;
  Seen seen = Seen::kNothing;
  uint16_t port = 0;
  uint64_t number = 0;
  bool operator==(const Witness&) const = default;
};

inline std::string to_wire(const Witness& w, size_t bytes = kWitnessBytes) {
  std::string out("LSW1", 4);
  out += char(w.answer ? 2 : 1);
  out += char(w.seen);
  out += char(w.port >> 8);
  out += char(w.port & 0xff);
  out.append(reinterpret_cast<const char*>(&w.number), 8);
  if (out.size() < bytes) out.resize(bytes, '\0');
  return out;
}

/// nullopt: not of this kind. What follows the first 16 octets is padding.
inline std::optional<Witness> from_wire(std::string_view m) {
  if (m.size() < kWitnessBytes || m.substr(0, 4) != "LSW1") return std::nullopt;
  auto octet = [&](size_t at) { return uint8_t(m[at]); };
  Witness w;
  if ((octet(4) != 1 && octet(4) != 2) || octet(5) > uint8_t(Seen::kCannotTell)) return std::nullopt;
  w.answer = octet(4) == 2;
  w.seen = Seen(octet(5));
  w.port = uint16_t(octet(6) << 8 | octet(7));
  std::memcpy(&w.number, m.data() + 8, 8);
  return w;
}

}  // namespace ls::overlay_probe
