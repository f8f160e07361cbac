#pragma once
/// Addresses of an ensemble's servers, and whether what answers there is a ZooKeeper server. Inside of zk only. Thread: any;
/// look_up waits for the name service.
#include <string>
#include <vector>

#include "util/host_port.h"
#include "util/result.h"

namespace ls::zk {

/// All addresses of all servers, each once, in random order. A name without an address is left out; an error only when none has one.
/// The client library takes a list too, but then it says itself how long a silent server may take: two thirds of a session.
Result<std::vector<HostPort>> look_up(const std::vector<HostPort>& servers);

enum class Greeting { kGood, kIncomplete, kBad };
/// What a server has sent first, which is the answer to the client's own greeting: ConnectResponse of zookeeper.jute behind its length. The
/// client library takes whatever comes. `again`: the session is to be continued, so that a refusal (time-out 0) is good too.
Greeting check_greeting(const unsigned char* bytes, size_t size, bool again);
inline constexpr size_t kGreetingSize = 40;  ///< without the last octet, which old servers leave out

}  // namespace ls::zk
