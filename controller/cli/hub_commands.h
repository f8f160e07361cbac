#pragma once
/// `loadstar hub ...`, and the lines of `loadstar status` about the cluster's machinery. Thread: the program's only one. Exit codes as in
/// commands.h.
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/commands.h"

namespace ls::cli {

/// Who follows this master; kNotGood when it serves no hub, or when the hub does not answer.
int hub_ls(const Context&);

// Lines of the status, each ended by a newline; empty where the node has nothing of it.
std::string follow_text(const nlohmann::json& source);  ///< the hub that is followed, and the disk it lives from
std::string masters_text(const nlohmann::json& source); ///< the masters that ZooKeeper names
std::string turn_text(const nlohmann::json& turns);     ///< whose turn at the store it is
std::string hub_text(const nlohmann::json& hub);        ///< the hub that is served
std::string agents_text(const nlohmann::json& agents);  ///< what cannot be reached

}  // namespace ls::cli
