#pragma once
/// Rules of [overlay]: the plan as a whole, by the checks of overlay/plan.h. Thread: any; pure.
#include <functional>
#include <string_view>

#include "app/settings.h"

namespace ls {

/// `where`: where a setting was set. What is wrong is named at its own key, of a network too.
void check_overlay_settings(const Config&, const std::function<Where(std::string_view)>& where, const std::function<void(Problem)>& add);

}  // namespace ls
