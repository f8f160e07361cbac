#pragma once
/// Inside of ls_cni: the parts of a configuration that several types share.
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cni/config.h"

namespace ls::cni {

class Fields;

/// "ipam" of host-local or of this plugin: where addresses come from, and the routes.
Outcome<> parse_ipam(const Fields& f, Config& out);
/// Both spellings: [{host_port, container_port, protocol}] of Mesos and [{hostPort, containerPort, protocol, hostIP}]. nullptr: none.
Outcome<> parse_mappings(const nlohmann::json* list, const std::string& what, std::vector<PortMapping>& out);

}  // namespace ls::cni
