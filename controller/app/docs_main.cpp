// loadstar-docs WHAT: prints what is made from the settings table, for the build and the packages.
#include <cstdio>
#include <string_view>

#include "app/settings.h"

int main(int argc, char** argv) {
  std::string_view what = argc == 2 ? argv[1] : "";
  std::string out;
  if (what == "man") {
    out = ls::print_man_page();
  } else if (what == "markdown") {
    out = ls::print_markdown();
  } else if (what == "toml") {
    out = ls::print_defaults();
  } else {
    std::fputs("usage: loadstar-docs man|markdown|toml\n", stderr);
    return 2;
  }
  return std::fwrite(out.data(), 1, out.size(), stdout) == out.size() && std::fflush(stdout) == 0 ? 0 : 1;
}
