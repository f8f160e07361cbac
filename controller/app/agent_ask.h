#pragma once
/// Whether anything answers at a TCP address: a connection or a refusal does, silence and unreachability do not.
/// Thread: the io_context's; `answer` is called once, from a later turn, unless the io_context ends before. Cost: one socket until then.
#include <functional>

#include "util/address.h"
#include "util/clock.h"

namespace boost::asio {
class io_context;
}

namespace ls {

void ask_tcp(boost::asio::io_context& io, const Endpoint& where, Millis limit, std::function<void(bool alive)> answer);

}  // namespace ls
