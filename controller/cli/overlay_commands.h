#pragma once
/// `loadstar overlay ...`: each asks the API once or twice and prints. Thread: the program's only one. Exit codes as in commands.h.
/// Cost: a list of nodes is read line by line; 65,536 of them take some 60 MB, most of it the cells of the table.
#include <string>
#include <vector>

#include "cli/commands.h"

namespace ls::cli {

struct OverlayAgentFilter {
  std::string node, overlay, state;  ///< empty: not given
};

/// This node's overlays and, where addresses are given out, what the pools have left.
int overlay_ls(const Context&);
int overlay_agents(const Context&, const OverlayAgentFilter&);
int overlay_trace(const Context&, const std::string& address);  ///< kNotGood when a packet there would be dropped
int overlay_check(const Context&, const std::string& node);     ///< kNotGood when a pair is broken; `node` empty: all
int overlay_rm(const Context&, const std::vector<std::string>& nodes);  ///< kNotGood when one was not there
/// The document of the original's /overlay-master/state, sent in parts that the API takes; kNotGood when something of it was not taken.
int overlay_adopt(const Context&, const std::string& file);

}  // namespace ls::cli
