#include "app/import_overlay.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/settings_codec.h"
#include "overlay/plan.h"

namespace ls {
namespace {

using Json = nlohmann::json;
using setting_codec::toml_quote;

constexpr int kMaxDepth = 32;

std::optional<Json> parse(std::string_view text) {
  bool deep = false;
  auto limit = [&](int depth, Json::parse_event_t, Json&) {
    deep = deep || depth > kMaxDepth;
    return !deep;
  };
  auto j = Json::parse(text.begin(), text.end(), limit, false);
  if (deep || j.is_discarded()) return std::nullopt;
  return j;
}

std::string text_of(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

struct Advice {
  std::string_view key, why;
};
/// Beside the network in the allocator's file.
constexpr Advice kAllocator[] = {
    {"replicated_log_dir", "not needed: allocations are kept beside store.path"},
    {"replicated_log_timeout", "not needed: a record is on disk before a node is answered"},
    {"zk", "not used: store.kind = \"zookeeper\" with store.zookeeper keeps allocations there, below a path of its own"},
};
/// The agents' file (configurator).
constexpr std::string_view kAgentWhy = "belongs to the agents' side, which has settings of its own";
constexpr Advice kAgent[] = {
    {"cni_dir", kAgentWhy}, {"cni_data_dir", kAgentWhy}, {"master", kAgentWhy}, {"max_configuration_attempts", kAgentWhy}, {"network_config", kAgentWhy},
};

class Importer {
 public:
  Imported run(std::span<const OverlayFile> files) {
    for (auto& f : files) {
      if (!take(f)) return std::move(out_);
    }
    if (network_.empty()) {
      bad(files.empty() ? "" : files.front().name, "has no network: neither \"network\", \"dcos_overlay_network\" nor \"vtep_subnet\" is there");
    } else {
      write();
    }
    return std::move(out_);
  }

 private:
  bool bad(std::string_view file, std::string_view why) {
    out_.error = fmt::format("{}: {}", file, why);
    return false;
  }
  void warn(std::string_view file, std::string_view key, std::string_view why) { out_.warnings.push_back(fmt::format("{}: {}: {}", file, key, why)); }

  template <size_t N>
  static const Advice* advice(const Advice (&list)[N], std::string_view key) {
    for (auto& a : list) {
      // "zk.url" and "network_config.overlay_mtu" may stand flat or nested.
      if (key == a.key || (key.starts_with(a.key) && key[a.key.size()] == '.')) return &a;
    }
    return nullptr;
  }

  bool take(const OverlayFile& f) {
    auto j = parse(f.text);
    if (!j || !j->is_object()) return bad(f.name, "is no JSON object");
    if (j->contains("vtep_subnet") || j->contains("overlays")) return network(f.name, "", *j);
    bool known = false;
    for (auto& [key, value] : j->items()) {
      if (key == "network" || key == "dcos_overlay_network") {
        known = true;
        if (!inner(f.name, key, value)) return false;
      } else if (auto* a = advice(kAllocator, key)) {
        warn(f.name, key, a->why);
      } else if (auto* b = advice(kAgent, key)) {
        known = true;
        warn(f.name, key, b->why);
      } else {
        others_.push_back(key.substr(0, 64));
      }
    }
    // The whole configuration of a DC/OS cluster has hundreds of other keys; one remark is enough.
    if (!others_.empty()) {
      warn(f.name, others_.front(), others_.size() == 1 ? "is no setting of the overlay" : fmt::format("and {} more are no settings of the overlay", others_.size() - 1));
      others_.clear();
    }
    return known || bad(f.name, "has no network: neither \"network\", \"dcos_overlay_network\" nor \"vtep_subnet\" is there");
  }

  bool inner(const std::string& file, const std::string& key, const Json& value) {
    if (value.is_object()) return network(file, key + ".", value);
    if (!value.is_string()) return bad(file, key + ": is neither a JSON object nor JSON in a text");
    auto j = parse(value.get_ref<const std::string&>());
    if (!j || !j->is_object()) return bad(file, key + ": its text is no JSON object");
    return network(file, key + ".", *j);
  }

  bool network(const std::string& file, const std::string& prefix, const Json& j) {
    if (!network_.empty()) return bad(file, fmt::format("has a second network; the first one is in {}", network_));
    auto plan = overlay::read_plan(text_of(j));
    if (!plan) return bad(file, prefix + plan.error().text());
    for (auto& u : plan->unknown) warn(file, prefix + u, "is not known");
    network_ = file;
    plan_ = std::move(plan->plan);
    return true;
  }

  void put(std::string_view key, const std::string& value) { out_.toml += fmt::format("{} = {}\n", key, value); }

  void write() {
    std::string safe;
    for (unsigned char c : network_) safe += c < 0x20 || c == 0x7f ? '?' : char(c);
    out_.toml = fmt::format("# Made by `loadstard import overlay` from {}.\n\n[overlay]\n", safe);
    put("vtep_subnet", toml_quote(plan_.vtep4.text()));
    if (plan_.vtep6) put("vtep_subnet6", toml_quote(plan_.vtep6->text()));
    put("vtep_mac_oui", toml_quote(plan_.oui_text));
    if (plan_.vtep_mtu) put("vtep_mtu", fmt::to_string(*plan_.vtep_mtu));
    for (auto& o : plan_.overlays) {
      out_.toml += "\n[[overlay.network]]\n";
      put("name", toml_quote(o.name));
      if (o.v4) {
        put("subnet", toml_quote(o.v4->network.text()));
        put("prefix", fmt::to_string(o.v4->share));
      }
      if (o.v6) {
        put("subnet6", toml_quote(o.v6->network.text()));
        put("prefix6", fmt::to_string(o.v6->share));
      }
      put("enabled", o.enabled ? "true" : "false");
    }
  }

  Imported out_;
  std::string network_;  ///< the file that has it
  overlay::Plan plan_;
  std::vector<std::string> others_;
};

}  // namespace

Imported import_overlay(std::span<const OverlayFile> files) { return Importer().run(files); }

int import_overlay_command(const std::vector<std::string>& paths) {
  std::vector<OverlayFile> files;
  for (auto& path : paths) {
    auto text = read_import(path);
    if (!text) return print_imported({"", {}, text.error().text()});
    files.push_back({path, std::move(*text)});
  }
  return print_imported(import_overlay(files));
}

}  // namespace ls
