// Environment and standard input of loadstar-cni: every variable, every version, every kind of broken input (spec/cni.md, section 1).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cni/plugin.h"
#include "cni/request.h"

namespace ls::cni {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* kConfig = R"({"cniVersion":"1.1.0","name":"dcos","type":"loadstar-cni","ipam":{"subnet":"9.0.0.0/25"}})";

Environment environment(const char* command) { return {command, "c1", "/run/netns/x", "eth0", "/opt/cni/bin", ""}; }

Failure refused(const Environment& e, std::string_view input) {
  auto r = parse_request(e, input);
  if (r) {
    ADD_FAILURE() << "accepted: " << e.command << " " << input;
    return {};
  }
  return r.error();
}

TEST(CniRequest, ReadsEverything) {
  auto e = environment("ADD");
  e.args = "IgnoreUnknown=true;K8S_POD_NAME=a;IP=9.0.0.7";
  auto q = parse_request(e, kConfig);
  ASSERT_TRUE(q) << q.error().msg;
  EXPECT_EQ(q->command, Command::kAdd);
  EXPECT_EQ(q->container, "c1");
  EXPECT_EQ(q->netns, "/run/netns/x");
  EXPECT_EQ(q->ifname, "eth0");
  EXPECT_EQ(q->network, "dcos");
  EXPECT_EQ(q->version, Version::k110);
  EXPECT_EQ(q->args.at("IP"), "9.0.0.7");
}

TEST(CniRequest, EveryMissingVariableIsNamed) {
  struct Row {
    const char* command;
    bool container, netns, ifname;
  };
  for (auto row : {Row{"ADD", true, true, true}, {"DEL", true, false, true}, {"CHECK", true, true, true}, {"GC", false, false, false}, {"STATUS", false, false, false}}) {
    auto without = [&](std::string Environment::* member, bool required, const char* name) {
      auto e = environment(row.command);
      e.*member = "";
      auto q = parse_request(e, kConfig);
      EXPECT_EQ(q.has_value(), !required) << row.command << " " << name;
      if (q || !required) return;
      EXPECT_EQ(q.error().code, Code::kEnvironment);
      EXPECT_THAT(q.error().msg, HasSubstr(name));
    };
    without(&Environment::container, row.container, "CNI_CONTAINERID");
    without(&Environment::netns, row.netns, "CNI_NETNS");
    without(&Environment::ifname, row.ifname, "CNI_IFNAME");
    without(&Environment::path, false, "CNI_PATH");
  }
  auto f = refused({"ADD", "", "", "", "", ""}, kConfig);
  EXPECT_THAT(f.msg, HasSubstr("CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"));
  EXPECT_EQ(refused({"", "c", "n", "i", "p", ""}, kConfig).code, Code::kEnvironment);
  EXPECT_THAT(refused({"add", "c", "n", "i", "p", ""}, kConfig).msg, HasSubstr("CNI_COMMAND \"add\""));
}

TEST(CniRequest, MalformedVariables) {
  for (auto bad : {"-a", ".a", "_a", "a/b", "a b", "a:b", "\xc3\xa4", "a\n"}) {
    auto e = environment("ADD");
    e.container = bad;
    auto f = refused(e, kConfig);
    EXPECT_EQ(f.code, Code::kEnvironment) << bad;
    EXPECT_THAT(f.msg, HasSubstr("CNI_CONTAINERID"));
  }
  auto e = environment("ADD");
  e.container = std::string(kMaxContainerId + 1, 'a');
  EXPECT_EQ(refused(e, kConfig).code, Code::kEnvironment);
  e.container = "3f1a-9.b_c.5e2d";  // a nested container of Mesos
  EXPECT_TRUE(parse_request(e, kConfig));
  for (auto bad : {".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-letters-"}) {
    e.ifname = bad;
    auto f = refused(e, kConfig);
    EXPECT_EQ(f.code, Code::kEnvironment) << bad;
    EXPECT_THAT(f.msg, HasSubstr("CNI_IFNAME"));
  }
  e.ifname = "fifteen-letters";
  EXPECT_TRUE(parse_request(e, kConfig));
}

TEST(CniRequest, Args) {
  auto with = [](const char* args) {
    auto e = environment("ADD");
    e.args = args;
    return parse_request(e, kConfig);
  };
  for (auto good : {"IP=9.0.0.3", "IP=9.0.0.3;MAC=02:00:00:00:00:01", "IgnoreUnknown=1;A=b", "A=b;IgnoreUnknown=True", "IgnoreUnknown=true;A=b=c", "IgnoreUnknown=false"})
    EXPECT_TRUE(with(good)) << good;
  for (auto bad : {"A=b", "IP", "=b", "IP=1;;", "A=b;IgnoreUnknown=false", "IgnoreUnknown=yes", ";"}) {
    auto r = with(bad);
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, Code::kEnvironment);
    EXPECT_THAT(r.error().msg, HasSubstr("CNI_ARGS"));
  }
}

TEST(CniRequest, BadInput) {
  for (auto bad : {"", " ", "{", "[]", "1", "\"a\"", "{\"name\":}", "{\"name\":\"\xff\"}", "{}{}"}) EXPECT_EQ(refused(environment("ADD"), bad).code, Code::kDecode) << bad;
  EXPECT_EQ(refused(environment("ADD"), std::string(200, '[')).code, Code::kDecode);
  std::string deep = R"({"name":"a","x":)" + std::string(100000, '[') + std::string(100000, ']') + "}";
  EXPECT_EQ(refused(environment("ADD"), deep).code, Code::kDecode);
  EXPECT_EQ(refused(environment("ADD"), "{\"a\":\"" + std::string(kMaxInput, 'x') + "\"}").code, Code::kDecode);
  // Brackets inside of a text are no nesting.
  EXPECT_TRUE(parse_request(environment("ADD"), R"({"name":"a","x":")" + std::string(100, '[') + "\\\"" + std::string(100, '[') + "\"}"));
}

TEST(CniRequest, Names) {
  EXPECT_EQ(refused(environment("ADD"), "{}").code, Code::kConfig);
  EXPECT_EQ(refused(environment("ADD"), R"({"name":""})").code, Code::kConfig);
  EXPECT_EQ(refused(environment("ADD"), R"({"name":"../x"})").code, Code::kConfig);
  EXPECT_EQ(refused(environment("ADD"), R"({"name":"a/b"})").code, Code::kConfig);
  EXPECT_EQ(refused(environment("ADD"), R"({"name":7})").code, Code::kDecode);
}

TEST(CniRequest, Versions) {
  auto at = [](const char* command, const std::string& version) {
    return parse_request(environment(command), version == "absent" ? R"({"name":"a"})" : R"({"name":"a","cniVersion":")" + version + "\"}");
  };
  for (std::string v : {"absent", "", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
    EXPECT_TRUE(at("ADD", v)) << v;
    EXPECT_TRUE(at("DEL", v)) << v;
    bool check = v == "0.4.0" || v.starts_with("1."), gc = v == "1.1.0";
    for (auto [command, allowed] : {std::pair{"CHECK", check}, {"GC", gc}, {"STATUS", gc}}) {
      auto r = at(command, v);
      EXPECT_EQ(r.has_value(), allowed) << command << " " << v;
      if (!r) {
        EXPECT_EQ(r.error().code, Code::kVersion);
      }
    }
  }
  EXPECT_EQ(at("ADD", "absent")->version, Version::k010);
  for (auto v : {"9.9.9", "1.0", "0.3", "v1.0.0", "1.1.0 "}) {
    auto r = at("ADD", v);
    ASSERT_FALSE(r) << v;
    EXPECT_EQ(r.error().code, Code::kVersion);
    EXPECT_THAT(r.error().details, HasSubstr(v));
    EXPECT_THAT(r.error().details, HasSubstr("0.1.0, 0.2.0"));
  }
  EXPECT_EQ(refused(environment("ADD"), R"({"name":"a","cniVersion":1})").code, Code::kDecode);
}

TEST(CniRequest, VersionNeedsNothingElse) {
  Environment e{"VERSION", "", "", "", "", ""};
  std::string out;
  for (auto [input, version] : {std::pair{"", "1.1.0"}, {"{}", "1.1.0"}, {R"({"cniVersion":"0.2.0"})", "0.2.0"}, {R"({"cniVersion":"1.0.0","name":"x"})", "1.0.0"}}) {
    ASSERT_EQ(run_plugin(e, input, "loadstar-cni", out), 0) << out;
    auto j = Json::parse(out);
    EXPECT_EQ(j["cniVersion"], version);
    EXPECT_EQ(j["supportedVersions"], Json::parse(R"(["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"])"));
  }
}

TEST(CniRequest, ErrorsAreOneDocument) {
  std::string out;
  auto e = environment("ADD");
  e.container = "a\xff/";
  EXPECT_NE(run_plugin(e, R"({"cniVersion":"0.3.1","name":"a"})", "loadstar-cni", out), 0);
  auto j = Json::parse(out);
  EXPECT_EQ(j["code"], 4);
  EXPECT_EQ(j["cniVersion"], "0.3.1");
  EXPECT_TRUE(j["msg"].is_string());
  EXPECT_TRUE(j["details"].is_string());
  EXPECT_NE(run_plugin(environment("ADD"), "nonsense", "loadstar-cni", out), 0);
  EXPECT_EQ(Json::parse(out)["code"], 6);
  EXPECT_NE(run_plugin(environment("ADD"), R"({"cniVersion":"9.9.9","name":"a"})", "loadstar-cni", out), 0);
  EXPECT_EQ(Json::parse(out)["code"], 1);
}

}  // namespace
}  // namespace ls::cni
