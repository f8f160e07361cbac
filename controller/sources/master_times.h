#pragma once
/// MasterTimes: how long one of several masters is tried, waited for and left alone (sources/master_follow.h).
#include "util/clock.h"

namespace ls {

struct MasterTimes {
  Millis connect_timeout{5'000};                 ///< name look-up and TCP each
  Millis wait{30'000};                           ///< how long a master may hold a question without news
  Millis slack{10'000};                          ///< more than that is silence
  Millis backoff_min{500}, backoff_max{15'000};  ///< after all masters failed; a random half of it is left out
  Millis retry_first{30'000};                    ///< while a later master is followed
};

}  // namespace ls
