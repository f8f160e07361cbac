#pragma once
/// Rules between the settings of DNS. Pure. Thread: any. Part of config.cpp's check, a file of its own because there are many.
#include <functional>
#include <string_view>

#include "app/settings.h"

namespace ls {

/// `bad(setting, why)` is called for each fault; `why` ends the sentence "SETTING: ...". Every single value is good already.
void check_dns_settings(const Config& config, const std::function<void(std::string_view setting, std::string_view why)>& bad);

}  // namespace ls
