#pragma once
/// Who may change something: members of the socket's group, and over TCP whoever has the token. Thread: any.
#include <sys/types.h>

#include <string>
#include <string_view>

#include "api/router.h"

namespace ls::api {

/// The peer of a connected unix socket (SO_PEERCRED): root, the daemon's own user and members of `group` (by main or further group)
/// may change things.
Caller socket_caller(int fd, const std::string& group);

/// A peer over TCP, by its Authorization header. The file is read at each call, so that a token can be replaced; its last line
/// end is not part of it. No file, or an empty one: nobody may change anything there.
Caller tcp_caller(const std::string& peer, std::string_view authorization, const std::string& token_file);

/// Takes the same time wherever the first difference lies.
bool same_secret(std::string_view given, std::string_view secret);

}  // namespace ls::api
