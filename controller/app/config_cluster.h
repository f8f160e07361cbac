#pragma once
/// Rules between settings of [mesos], [hub], [hub_server] and [store]. Thread: any.
#include <functional>
#include <string_view>

#include "app/settings.h"

namespace ls {

using AddProblem = std::function<void(std::string_view setting, std::string_view why)>;
void check_cluster_settings(const Config& config, const AddProblem& bad);

}  // namespace ls
