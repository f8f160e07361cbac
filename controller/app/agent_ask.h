#pragma once
/// Whether anything answers at a TCP address: a connection or a refusal does, silence and an unreachable host or network do not. Whatever else
/// goes wrong is this machine's own affair (no descriptor, no memory, no port) and says nothing.
/// Thread: the io_context's; `answer` is called once, from a later turn, unless the io_context ends before. Cost: one socket until then.
#include <functional>
#include <system_error>

#include "util/address.h"
#include "util/clock.h"

namespace boost::asio {
class io_context;
}

namespace ls {

enum class Heard : uint8_t { kAnswer, kSilence, kNothing };

void ask_tcp(boost::asio::io_context& io, const Endpoint& where, Millis limit, std::function<void(Heard)> answer);

/// What the result of a connection attempt says; ECANCELED: time was over.
Heard heard_of(const std::error_code& result);

}  // namespace ls
