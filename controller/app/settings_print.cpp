// Everything that shows the settings table to a person: TOML, the manual page, the operator's page.
#include <fmt/format.h>

#include <algorithm>

#include "app/settings.h"

namespace ls {
namespace {

/// Comment lines of at most 110 characters.
std::string comment(std::string_view text) {
  std::string out, row = "#";
  while (!text.empty()) {
    auto end = std::min(text.find(' '), text.size());
    if (row.size() > 1 && row.size() + 1 + end > 110) {
      out += row + "\n";
      row = "#";
    }
    row += " ";
    row += text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out + row + "\n";
}

template <class Fn>
void each_in(std::string_view section, Fn fn) {
  for (auto& s : settings()) {
    if (s.section() == section) fn(s);
  }
}

std::string when(const Setting& s) {
  return s.live ? "reload" : "restart";
}

std::string about(const Setting& s) {
  std::string out = s.type;
  if (!s.unit.empty()) out += fmt::format(" ({})", s.unit);
  if (!s.range.empty()) out += ", " + s.range;
  return out;
}

/// roff: a backslash starts an escape, a dot or quote at the start of a line a request, a plain hyphen is
/// typographic.
std::string roff(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) out += "\\&";
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string print_config(const Config& config) {
  std::string out;
  for (auto& [section, text] : sections()) {
    if (!out.empty()) out += "\n";
    out += fmt::format("[{}]\n", section);
    each_in(section, [&](const Setting& s) { out += fmt::format("{} = {}\n", s.key(), s.print(config)); });
  }
  return out;
}

std::string print_defaults() {
  Config defaults;
  std::string out =
      "# loadstar.toml(5): every setting with its default. Files conf.d/*.toml beside this one are read "
      "after it.\n";
  for (auto& [section, text] : sections()) {
    out += fmt::format("\n{}[{}]\n", comment(text), section);
    each_in(section, [&](const Setting& s) {
      out += fmt::format("\n{}# {}\n# {} = {}\n", comment(s.text), about(s), s.key(), s.print(defaults));
    });
  }
  return out;
}

std::string print_man_page() {
  Config defaults;
  std::string out = ".TH LOADSTAR.TOML 5 \"\" \"loadstar " LS_VERSION "\" \"File formats\"\n";
  out +=
      ".SH NAME\nloadstar.toml \\- configuration of loadstard(8)\n"
      ".SH SYNOPSIS\n.B /etc/loadstar/loadstar.toml\n.br\n.B /etc/loadstar/conf.d/*.toml\n"
      ".SH DESCRIPTION\n"
      "A TOML file. Files named\n.B conf.d/*.toml\nbeside it are read after it in the order of their names; "
      "a later value "
      "replaces an earlier one, lists as a whole.\n"
      "An unknown section or key is an error.\n"
      "A duration is a string with whole numbers and units: \"250ms\", \"60s\", \"1m30s\", \"10m\", \"1h\", "
      "\"1d\".\n"
      "A size is a string with a whole number and B, KiB, MiB, GiB or TiB: \"64MiB\".\n"
      "A relative path is taken from the folder of the file that sets it.\n"
      "Interface patterns are those of\n.BR fnmatch (3).\n"
      ".PP\n"
      ".B loadstard \\-\\-check\nreports everything that is wrong with file, line and column.\n"
      ".B loadstard \\-\\-print\\-config \\-\\-defaults\nprints a file with all settings.\n"
      "A setting marked \\(lqreload\\(rq is taken over on SIGHUP, the others by a restart; traffic is not "
      "touched by either.\n";
  for (auto& [section, text] : sections()) {
    out += fmt::format(".SH SECTION [{}]\n{}\n", section, roff(text));
    each_in(section, [&](const Setting& s) {
      out += fmt::format(".TP\n.B {}\n{}\n.br\n{}. Default: {}. Takes effect on {}.\n", roff(s.name),
                         roff(s.text), roff(about(s)), roff(s.print(defaults)), when(s));
    });
  }
  out += ".SH SEE ALSO\n.BR loadstard (8),\n.BR loadstar (1)\n";
  return out;
}

std::string print_markdown() {
  Config defaults;
  std::string out =
      "# Configure\n\n"
      "This page is made from the settings table (`controller/app/settings.cpp`); a test fails when it is "
      "not up to date.\n"
      "`ninja -C build/dev configure_page` writes it anew. The same text is in `man 5 loadstar.toml`.\n\n"
      "* The file is `/etc/loadstar/loadstar.toml`. Files `conf.d/*.toml` beside it are read after it in the "
      "order of their\n"
      "  names; a later value replaces an earlier one, lists as a whole.\n"
      "* `loadstard --check` reports everything that is wrong, each with file, line and column. The unit "
      "runs it before a start.\n"
      "* `loadstard --print-config` prints what is in force, `--print-config --defaults` a file with every "
      "setting.\n"
      "* A duration is text with a unit (`\"250ms\"`, `\"1m30s\"`), a size likewise (`\"64MiB\"`).\n"
      "* A relative path is taken from the folder of the file that sets it.\n"
      "* *reload* settings are taken over on SIGHUP, the others by a restart. Neither touches traffic.\n";
  for (auto& [section, text] : sections()) {
    out += fmt::format("\n## [{}]\n\n{}\n\n", section, text);
    each_in(section, [&](const Setting& s) {
      out += fmt::format("* **`{}`** = `{}` ({}; {})  \n  {}\n", s.key(), s.print(defaults), about(s),
                         when(s), s.text);
    });
  }
  return out;
}

}  // namespace ls
