#pragma once
/// `loadstar` itself, run against a real API server with a made-up daemon behind it.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "api/server.h"
#include "api_fake.h"

namespace ls {

struct Ran {
  int code = -1;
  std::string out, err;
};

inline std::string content(const std::string& path) {
  std::ifstream f(path);
  return {std::istreambuf_iterator<char>(f), {}};
}

template <class MadeUp>
class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    auto r = api::Server::start({.socket = path_, .group = {}}, provider_);
    ASSERT_TRUE(r) << r.error().text();
    server_ = std::move(*r);
  }
  Ran cli(const std::string& args) {
    auto out = dir_ / "out", err = dir_ / "err";
    int rc = system((std::string(LS_CLI) + " -s " + path_ + " " + args + " >" + out + " 2>" + err).c_str());
    return {WIFEXITED(rc) ? WEXITSTATUS(rc) : -1, content(out), content(err)};
  }

  api::TempDir dir_;
  const std::string path_ = dir_ / "api.sock";
  MadeUp provider_;
  std::unique_ptr<api::Server> server_;
};

}  // namespace ls
