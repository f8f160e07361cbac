#include "app/config.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <tuple>

#include "app/config_cluster.h"
#include "app/config_dns.h"
#include "app/config_overlay.h"
#include "util/result.h"
#include "util/unique_fd.h"

namespace ls {
namespace {

Where where_of(const std::string& file, const toml::source_region& source) {
  return {file, source.begin.line, source.begin.column};
}

std::string_view other_kind(toml::node_type type) {
  switch (type) {
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time";
    case toml::node_type::date_time:
      return "a date and time";
    default:
      return "a value of another type";
  }
}

RawValue raw(const std::string& file, const toml::node& node) {
  RawValue out;
  out.where = where_of(file, node.source());
  if (auto* b = node.as_boolean()) {
    out.value = b->get();
  } else if (auto* i = node.as_integer()) {
    out.value = i->get();
  } else if (auto* f = node.as_floating_point()) {
    out.value = f->get();
  } else if (auto* s = node.as_string()) {
    out.value = s->get();
  } else if (auto* a = node.as_array()) {
    RawValue::List list;
    for (auto& item : *a) list.push_back(raw(file, item));
    out.value = std::move(list);
  } else if (auto* t = node.as_table()) {
    RawValue::Table table;
    for (auto& [key, value] : *t) {
      table.keys.emplace_back(key.str(), where_of(file, key.source()));
      table.values.push_back(raw(file, value));
    }
    out.value = std::move(table);
  } else {
    out.value = RawValue::Other{other_kind(node.type())};
  }
  return out;
}

/// Reads one text after the other into one Config and remembers where each setting came from.
class Reader {
 public:
  void take(const ConfigText& text) {
    out_.files.push_back(text.name);
    try {
      auto root = toml::parse(text.toml, text.name);
      for (auto& [key, node] : root) take_section(text.name, key, node);
    } catch (const toml::parse_error& e) {
      out_.problems.push_back({where_of(text.name, e.source()), std::string(e.description())});
    }
  }

  void add(Problem problem) { out_.problems.push_back(std::move(problem)); }

  /// Where a setting was set; the whole main file when it was not.
  Where where(std::string_view name) const {
    if (auto it = set_at_.find(name); it != set_at_.end()) return it->second;
    return {out_.files.empty() ? std::string() : out_.files.front(), 0, 0};
  }
  const Config& config() const { return out_.config; }
  bool good() const { return out_.good(); }
  /// In the order in which a person meets them: files as read, then lines. (toml++ walks a table by name of
  /// key.)
  LoadedConfig finish() && {
    auto rank = [&](const Problem& p) {
      auto at = std::find(out_.files.begin(), out_.files.end(), p.where.file) - out_.files.begin();
      return std::tuple(at, p.where.line, p.where.column);
    };
    std::stable_sort(out_.problems.begin(), out_.problems.end(),
                     [&](auto& a, auto& b) { return rank(a) < rank(b); });
    return std::move(out_);
  }

 private:
  void take_section(const std::string& file, const toml::key& key, const toml::node& node) {
    auto where = where_of(file, key.source());
    bool known =
        std::any_of(sections().begin(), sections().end(), [&](auto& s) { return s.first == key.str(); });
    if (!known) {
      std::vector<std::string_view> names;
      for (auto& s : sections()) names.push_back(s.first);
      // A key above the first section header is a likelier slip than a new section.
      if (!node.is_table()) {
        for (auto& s : settings()) names.push_back(s.key());
      }
      auto what = fmt::format("unknown {} \"{}\"", node.is_table() ? "section" : "key", key.str());
      if (auto near = nearest(key.str(), names)) what += fmt::format("; did you mean {}?", full_names(*near));
      return add({where, what});
    }
    auto* table = node.as_table();
    if (!table) return add({where, fmt::format("{}: this is a section, write [{}]", key.str(), key.str())});
    for (auto& [name, value] : *table) take_setting(file, std::string(key.str()), name, value);
  }

  void take_setting(const std::string& file, const std::string& section, const toml::key& key,
                    const toml::node& node) {
    auto name = section + "." + std::string(key.str());
    auto* setting = find_setting(name);
    if (!setting) {
      std::vector<std::string_view> names;
      for (auto& s : settings()) names.push_back(s.name);
      auto near = nearest(name, names);
      if (!near) near = same_key(key.str());
      auto what = fmt::format("unknown key \"{}\"", name);
      if (near) what += fmt::format("; did you mean {}?", *near);
      return add({where_of(file, key.source()), what});
    }
    auto value = raw(file, node);
    set_at_[setting->name] = value.where;
    setting->read(value, out_.config, out_.problems);
  }

  /// A key that exists, in another section.
  static std::optional<std::string_view> same_key(std::string_view key) {
    for (auto& s : settings()) {
      if (s.key() == key) return s.name;
    }
    return std::nullopt;
  }

  /// "[lb]" for a section, "lb.flows" for a key that stands without its section.
  static std::string full_names(std::string_view name) {
    for (auto& s : sections()) {
      if (s.first == name) return fmt::format("[{}]", name);
    }
    std::string out;
    for (auto& s : settings()) {
      if (s.key() == name) out += (out.empty() ? "" : " or ") + std::string(s.name);
    }
    return out;
  }

  LoadedConfig out_;
  std::map<std::string_view, Where> set_at_;
};

/// Rules between settings. Only asked when every single value is good: a default in place of a bad value
/// would mislead.
void check_together(Reader& reader) {
  const Config& c = reader.config();
  auto bad = [&](std::string_view setting, std::string_view why) {
    reader.add({reader.where(setting), fmt::format("{}: {}", setting, why)});
  };
  if (c.node.has_role(Role::kAgent) && !c.node.address && c.node.addresses.empty()) {
    bad("node.address", "an agent needs its address here");
  }
  if (c.source.kind == SourceKind::kReplay && c.replay.file.empty()) {
    bad("replay.file", "source.kind = \"replay\" needs a file here");
  }
  auto ordered = [&](std::string_view low, const IpAddress& min, std::string_view high,
                     const IpAddress& max) {
    if (!(min < max)) bad(low, fmt::format("{} is not below {} = {}", min.text(), high, max.text()));
  };
  ordered("vips.named_min", c.vips.named_min, "vips.named_max", c.vips.named_max);
  ordered("vips.named_min6", c.vips.named_min6, "vips.named_max6", c.vips.named_max6);
  check_cluster_settings(c, bad);
  check_dns_settings(c, bad);
  check_overlay_settings(c, [&](std::string_view name) { return reader.where(name); }, [&](Problem p) { reader.add(std::move(p)); });
}

/// Whether the files that settings name can be read by this process now.
void check_files(Reader& reader) {
  for (auto& s : settings()) {
    if (!s.file) continue;
    auto path = s.file(reader.config());
    if (path.empty()) continue;
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) {
      reader.add(
          {reader.where(s.name), fmt::format("{}: {}: {}", s.name, path.native(), std::strerror(errno))});
    }
  }
}

/// Reads a whole file; the error is an errno.
tl::expected<std::string, int> slurp(const std::filesystem::path& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return tl::unexpected(errno);
  std::string out;
  char buf[16384];
  for (;;) {
    auto n = ::read(fd.get(), buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(errno);
    if (n == 0) return out;
    out.append(buf, size_t(n));
  }
}

/// Adds the file's text, or the problem.
void read_file(const std::filesystem::path& path, std::vector<ConfigText>& texts,
               std::vector<Problem>& problems) {
  auto text = slurp(path);
  if (text) {
    texts.push_back({path.native(), std::move(*text)});
  } else {
    problems.push_back({{path.native(), 0, 0}, std::strerror(text.error())});
  }
}

/// Optimal string alignment distance: insertions, deletions, changes, swaps of neighbours.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  for (size_t j = 0; j <= b.size(); j++) last[j] = j;
  for (size_t i = 1; i <= a.size(); i++) {
    now[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = std::min(now[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(now);
  }
  return last[b.size()];
}

}  // namespace

std::optional<std::string_view> nearest(std::string_view name, std::span<const std::string_view> known) {
  std::optional<std::string_view> best;
  // A third of the characters wrong is still a slip of the pen; more is another word.
  size_t limit = std::max<size_t>(1, name.size() / 3) + 1;
  if (name.size() > 128)
    return best;  // a key of any length may come from a broken file; the table costs length squared
  for (auto candidate : known) {
    auto d = distance(name, candidate);
    if (d < limit) {
      limit = d;
      best = candidate;
    }
  }
  return best;
}

LoadedConfig parse_config(std::span<const ConfigText> texts) {
  Reader reader;
  for (auto& t : texts) reader.take(t);
  if (reader.good()) check_together(reader);
  return std::move(reader).finish();
}

LoadedConfig load_config(const std::filesystem::path& main_file) {
  std::vector<ConfigText> texts;
  std::vector<Problem> unread;
  auto main_path = std::filesystem::absolute(main_file);
  read_file(main_path, texts, unread);
  std::error_code ec;
  std::vector<std::filesystem::path> more;
  for (std::filesystem::directory_iterator it(main_path.parent_path() / "conf.d", ec), end; !ec && it != end;
       it.increment(ec)) {
    if (it->path().extension() == ".toml" && !it->path().filename().native().starts_with('.'))
      more.push_back(it->path());
  }
  if (ec && ec != std::errc::no_such_file_or_directory) {
    unread.push_back({{(main_path.parent_path() / "conf.d").native(), 0, 0}, ec.message()});
  }
  std::sort(more.begin(), more.end());
  for (auto& path : more) read_file(path, texts, unread);

  Reader reader;
  for (auto& p : unread) reader.add(std::move(p));
  for (auto& t : texts) reader.take(t);
  if (reader.good()) {
    check_together(reader);
    check_files(reader);
  }
  return std::move(reader).finish();
}

std::string report(const LoadedConfig& loaded) {
  std::string out;
  for (auto& p : loaded.problems) out += p.text() + "\n";
  if (loaded.good())
    return fmt::format("configuration is good ({} file{})\n", loaded.files.size(),
                       loaded.files.size() == 1 ? "" : "s");
  return out + fmt::format("{} error{}\n", loaded.problems.size(), loaded.problems.size() == 1 ? "" : "s");
}

}  // namespace ls
