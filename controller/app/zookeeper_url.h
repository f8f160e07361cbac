#pragma once
/// A ZooKeeper address of the settings with the login from its file. Thread: any.
#include <filesystem>
#include <string>

#include "zk/url.h"

namespace ls {

/// `setting` names the login's setting in errors: no such file, or not "user:password" in one line.
Result<zk::Url> zookeeper_url(const std::string& text, const std::filesystem::path& login_file, const std::string& setting);

}  // namespace ls
