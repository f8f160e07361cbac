#include "app/zookeeper_url.h"

#include "sources/secret_file.h"

namespace ls {

Result<zk::Url> zookeeper_url(const std::string& text, const std::filesystem::path& login_file, const std::string& setting) {
  LS_ASSIGN(auto url, zk::parse_url(text));
  if (login_file.empty()) return url;
  auto login = read_secret(login_file);
  if (!login) return pass(std::move(login.error()), setting);
  auto colon = login->find(':');
  if (colon == login->npos || colon == 0 || colon + 1 == login->size()) return fail(setting + ": " + login_file.native() + " does not hold user:password");
  url.user = login->substr(0, colon);
  url.password = login->substr(colon + 1);
  return url;
}

}  // namespace ls
