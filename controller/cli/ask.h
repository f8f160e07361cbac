#pragma once
/// What every command does: ask the API once, print, turn what went wrong into an exit code. Thread: the program's only one.
#include <functional>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "api/client.h"
#include "cli/commands.h"
#include "cli/table.h"

namespace ls::cli {

void put(std::string_view text);          ///< on stdout, as it is
void remark(const std::string& text);     ///< on stderr, made printable
int unreachable(const Context& c, const Error& e);
/// Says what the API said, and which exit code that means.
int refused(const api::HttpReply& r);
std::string encoded(std::string_view text);  ///< for a URL
/// Appends each given parameter to a path; empty values are not given.
std::string with_query(std::string path, std::initializer_list<std::pair<const char*, std::string>> params);
int print(const Table& t);
/// Gets `target`; with -o json prints it as it is, else gives it to `show`, whose result is the exit code.
int ask(const Context& c, const std::string& target, const std::function<int(const nlohmann::json&)>& show);

/// Members of an object; empty when missing or of another type.
std::string number(const nlohmann::json& j, const char* name);
std::string word(const nlohmann::json& j, const char* name);

}  // namespace ls::cli
