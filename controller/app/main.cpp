// loadstard(8).
#include <CLI/CLI.hpp>
#include <malloc.h>
#include <sysexits.h>

#include <algorithm>
#include <cstdio>

#include "app/daemon.h"
#include "app/dns_node.h"
#include "app/import_mesos_dns.h"
#include "app/import_overlay.h"
#include "app/machine_check.h"
#include "app/overlay_node.h"
#include "app/static_zones.h"
#include "app/store_migrate.h"
#include "datapath/rescue.h"
#include "netlink/address_device.h"
#include "util/log.h"

namespace {

/// Blocks from this size on are mappings of their own and go back when they are freed. Left to itself glibc takes every size that was
/// freed once from its heaps, up to 32 MiB: documents and kept zones then stay in memory for good.
constexpr int kOwnMapping = 1 << 20;

int check(const std::string& file, bool machine) {
  auto loaded = ls::load_config(file);
  if (loaded.good()) loaded.problems = ls::read_static_zones(loaded.config, file).problems;
  std::fputs(ls::report(loaded).c_str(), loaded.good() ? stdout : stderr);
  if (!loaded.good()) return 1;
  if (!machine) return 0;
  auto findings = ls::check_machine(loaded.config);
  bool fatal = std::any_of(findings.begin(), findings.end(), [](auto& f) { return f.fatal; });
  std::fputs(ls::report(findings).c_str(), fatal ? stderr : stdout);
  return fatal ? 1 : 0;
}

int purge(const ls::Config& config) {
  auto report = ls::datapath::purge(config.bpf.pin);
  if (report.refused) {
    for (auto& line : report.problems) std::fprintf(stderr, "loadstard: %s\n", line.c_str());
    return 1;
  }
  if (auto& device = config.resolver.device; !device.empty()) {
    auto removed = ls::netlink::remove_address_device(device, std::string(ls::kDeviceMark));
    if (!removed) report.problems.push_back(removed.error().text());
    if (removed && *removed) report.removed.push_back("device " + device);
  }
  for (auto& line : ls::purge_overlay(report.problems)) report.removed.push_back(line);
  for (auto& line : report.removed) std::printf("removed %s\n", line.c_str());
  for (auto& line : report.problems) std::fprintf(stderr, "loadstard: %s\n", line.c_str());
  if (report.removed.empty() && report.problems.empty()) std::printf("nothing of loadstar is there\n");
  return report.problems.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, kOwnMapping);
  CLI::App app{"loadstard: names, virtual IPs and addresses for a Mesos cluster, in the kernel"};
  std::string file = "/etc/loadstar/loadstar.toml";
  bool do_check = false, machine = false, print = false, defaults = false, do_purge = false;
  app.add_option("--config", file, "Configuration file; conf.d/*.toml beside it is read too")->capture_default_str();
  auto* check_flag = app.add_flag("--check", do_check, "Check the configuration and end");
  app.add_flag("--machine", machine, "With --check: also what would keep a start on this machine from succeeding")->needs(check_flag);
  auto* print_flag = app.add_flag("--print-config", print, "Print the effective configuration and end");
  app.add_flag("--defaults", defaults, "With --print-config: all settings with their defaults and texts")->needs(print_flag);
  app.add_flag("--purge", do_purge, "Remove everything loadstar left in the kernel and end; stop the daemon first");
  auto* import_command = app.add_subcommand("import", "Print the loadstar.toml that equals another program's configuration");
  auto* mesos_dns = import_command->add_subcommand("mesos-dns", "From the config.json of Mesos-DNS");
  std::string other_file;
  mesos_dns->add_option("FILE", other_file, "Its configuration file")->required();
  auto* overlay = import_command->add_subcommand("overlay", "From the allocator's file of the Mesos overlay modules, or the configuration of DC/OS");
  std::vector<std::string> overlay_files;
  overlay->add_option("FILE", overlay_files, "Configuration files, one of them with the network")->required();
  import_command->require_subcommand(1);
  auto* store_command = app.add_subcommand("store", "What masters keep");
  auto* migrate = store_command->add_subcommand("migrate", "Copy registrations and allocations between the files and ZooKeeper; stop all masters first");
  std::string migrate_to;
  migrate->add_option("--to", migrate_to, "Where to: zookeeper or file")->required()->check(CLI::IsMember({"zookeeper", "file"}));
  store_command->require_subcommand(1);
  app.set_version_flag("--version", std::string("loadstard ") + LS_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (mesos_dns->parsed()) return ls::import_mesos_dns_command(other_file);
  if (overlay->parsed()) return ls::import_overlay_command(overlay_files);
  if (do_check) return check(file, machine);
  if (print && defaults) {
    std::fputs(ls::print_defaults().c_str(), stdout);
    return 0;
  }
  auto loaded = ls::load_config(file);
  if (do_purge) {
    // A broken file must not keep anybody from cleaning up: what it names, or the defaults, is purged.
    return purge(loaded.config);
  }
  if (!loaded.good()) {
    std::fputs(ls::report(loaded).c_str(), stderr);
    return EX_CONFIG;  // the unit does not start it again
  }
  if (print) {
    std::fputs(ls::print_config(loaded.config).c_str(), stdout);
    return 0;
  }
  if (migrate->parsed()) return ls::store_migrate_command(loaded.config, migrate_to);
  ls::log::setup(loaded.config.log.level, loaded.config.log.format);
  ls::Daemon daemon(std::move(loaded.config), file);
  if (auto r = daemon.run(); !r) {
    ls::log::error("start_failed", {{"error", r.error().text()}});
    return 1;
  }
  return 0;
}
