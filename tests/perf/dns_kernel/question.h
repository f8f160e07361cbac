#pragma once
/// The questions of the benchmark as frames (names.h), and how an answer looks.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "names.h"

namespace dk {

/// Kinds of questions; each but kMissing has an answer.
enum class Kind { kA, kAEdns, kACookie, kSrv, kMissing };
inline constexpr Kind kKinds[] = {Kind::kA, Kind::kAEdns, Kind::kACookie, Kind::kSrv, Kind::kMissing};
const char* to_text(Kind);

struct Ends {
  uint8_t from_mac[6] = {2, 0, 0, 0, 0, 1}, to_mac[6] = {2, 0, 0, 0, 0, 2};
  uint32_t from_be = 0, to_be = 0;
  uint16_t port_be = 0;
};
dk_question question(Kind, const Ends&);

/// Letters of a number; its name and labels.
std::string letters(uint32_t number);
/// "\x0btask-abcdef\x08marathon", a name relative to `mesos`.
std::string host_key(uint32_t number);
/// "\x0b_srv-abcdef\x08marathon".
std::string service_key(uint32_t number);

/// Step that reaches each of `names` numbers once before any comes again.
uint32_t step_of(uint32_t names);

/// Empty: the frame answers the question of `kind` about `number` with what the zone has.
std::string wrong_in_answer(Kind kind, uint32_t number, std::span<const uint8_t> frame);

}  // namespace dk
