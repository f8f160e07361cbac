// loadstar(1): the operator's command. This file is the command line and nothing else.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <map>

#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/dns_commands.h"
#include "cli/hub_commands.h"
#include "cli/overlay_commands.h"

namespace {

using namespace ls::cli;
using Choices = std::map<const CLI::Option*, std::vector<std::string>>;

constexpr const char* kDefaultSocket = "/run/loadstar/loadstar.sock";

/// The parser's own tree as plain data, for the completion scripts.
CommandInfo describe(const CLI::App& app, const Choices& choices) {
  CommandInfo info{app.get_name(), app.get_description(), {}, {}};
  for (auto* o : app.get_options()) {
    OptionInfo option{{}, o->get_description(), o->get_items_expected_max() > 0, o->check_lname("socket"), {}};
    for (auto& n : o->get_snames()) option.names.push_back("-" + n);
    for (auto& n : o->get_lnames()) option.names.push_back("--" + n);
    if (auto known = choices.find(o); known != choices.end()) option.choices = known->second;
    if (!option.names.empty() || !option.choices.empty()) info.options.push_back(std::move(option));
  }
  for (auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    info.commands.push_back(describe(*sub, choices));
  }
  return info;
}

class CommandLine {
 public:
  CommandLine() {
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.add_option("-s,--socket", context_.socket, "The daemon's API socket")->envname("LOADSTAR_SOCKET")->capture_default_str();
    choice(app_, "-o,--output", output_, {"table", "wide", "json"}, "How to print");
    app_.footer("Exit codes: 0 good, 1 the asked-for thing is not good or not there, 2 usage, 3 the daemon cannot be reached.");
    daemon();
    tables();
    kernel();
    dns();
    overlay();
    hub();
    completion();
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      // CLI11's own codes are above 100; help is no error.
      return app_.exit(e) == 0 ? kGood : kUsage;
    }
    context_.output = json_ || output_ == "json" ? Output::kJson : output_ == "wide" ? Output::kWide : Output::kTable;
    return action_();
  }

 private:
  CLI::App* command(CLI::App& parent, const char* name, const char* help, std::function<int()> action = {}) {
    auto* sub = parent.add_subcommand(name, help);
    sub->fallthrough();
    if (action) sub->callback([this, action = std::move(action)] { action_ = action; });
    else sub->require_subcommand(1);
    return sub;
  }

  CLI::Option* choice(CLI::App& app, const char* name, std::string& to, std::vector<std::string> values, const char* help) {
    auto* option = app.add_option(name, to, help)->check(CLI::IsMember(values));
    choices_[option] = std::move(values);
    return option;
  }

  void tables() {
    auto& vip = *command(app_, "vip", "Virtual IPs");
    command(vip, "ls", "List the VIPs", [this] { return vip_ls(context_); });
    auto* show = command(vip, "show", "One VIP and its backends", [this] { return vip_show(context_, vip_); });
    show->add_option("VIP", vip_, "NAME, DNS name or ADDRESS, each with :PORT and /PROTO if wanted")->required();

    auto& backend = *command(app_, "backend", "Backends of VIPs");
    auto* backends = command(backend, "ls", "List the backends", [this] { return backend_ls(context_, vip_); });
    backends->add_option("--vip", vip_, "Only of this VIP");

    auto& flow = *command(app_, "flow", "Open flows of the packet path");
    auto* flows = command(flow, "ls", "List flows", [this] { return flow_ls(context_, flow_); });
    flows->add_option("--vip", flow_.vip, "Only to this VIP");
    flows->add_option("--backend", flow_.backend, "Only to this backend: ADDRESS, ADDRESS:PORT or #NUMBER");
    choice(*flows, "--state", flow_.state, {"syn", "established", "closing", "udp"}, "Only in this state");
    flows->add_option("--limit", flow_.limit, "At most so many, 1000 if not given");
  }

  void kernel() {
    auto& map = *command(app_, "map", "BPF maps");
    command(map, "ls", "List the maps", [this] { return map_ls(context_); });
    command(map, "usage", "How full each map is, the fullest first", [this] { return map_usage(context_); });
    auto* dump = command(map, "dump", "Entries of a map, one JSON object a line",
                         [this] { return map_dump(context_, map_name_, limit_, all_); });
    dump->add_option("NAME", map_name_, "The map's name")->required();
    dump->add_option("--limit", limit_, "At most so many, 1000 if not given");
    dump->add_flag("--all", all_, "Empty entries of arrays too");

    auto* dropped = command(app_, "drops", "What was dropped, by hook and reason", [this] { return drops(context_, all_); });
    dropped->add_flag("--all", all_, "Reasons that never occurred too");
    auto* counted = command(app_, "stats", "What became of packets, by hook and verdict", [this] { return stats(context_, all_); });
    counted->add_flag("--all", all_, "Verdicts that never occurred too");

    auto* watch = command(app_, "monitor", "Events of the data path as they happen", [this] { return monitor(context_, monitor_); });
    watch->add_flag("--drops", monitor_.drops, "Only drops, with those answered by RST or ICMP (with --new: both)");
    watch->add_flag("--new", monitor_.fresh, "Only new flows (with --drops: both)");
    watch->add_flag("--dns", monitor_.dns, "Only DNS questions that the kernel sees (with the others: both); never shown unasked");
    watch->add_option("--name", monitor_.name, "Only DNS questions for this name and names below it");
    watch->add_option("--result", monitor_.result, "Only DNS questions with these results, as `dns kernel` shows them: up_name,up_miss");
    watch->add_option("--type", monitor_.types, "Only these types: drop,new,reply,dead,icmp,sock,dns");
    watch->add_option("--vip", monitor_.vip, "Only of this VIP");
    watch->add_option("--backend", monitor_.backend, "Only of this backend");
    watch->add_option("--hook", monitor_.hook, "Only of this hook");
    watch->add_flag("--json", monitor_.json, "One JSON object a line, as -o json");
    watch->add_option("-n,--count", monitor_.count, "End after so many events");
  }

  void dns() {
    auto& all = *command(app_, "dns", "Names: what is answered, from where, and why");
    command(all, "ls", "Listeners, counters, cache", [this] { return dns_ls(context_); });
    auto* in_kernel = command(all, "kernel", "What the kernel answers itself, and why not the rest", [this] { return dns_kernel(context_, all_); });
    in_kernel->add_flag("--all", all_, "What never occurred too");
    in_kernel->add_flag("--json", json_, "As -o json");
    auto* lookup = command(all, "lookup", "Ask this node's DNS", [this] { return dns_lookup(context_, question_); });
    auto* explain = command(all, "explain", "Why a name is answered as it is", [this] { return dns_explain(context_, question_); });
    for (auto* sub : {lookup, explain}) {
      sub->add_option("NAME", question_.name, "Domain name")->required();
      sub->add_option("TYPE", question_.type, "Type of the records, A if not given");
      choice(*sub, "--service", question_.service, {"authority", "resolver"}, "Who is asked; the resolver if this node has one");
    }
    command(all, "upstreams", "Servers that questions are forwarded to", [this] { return dns_upstreams(context_); });
    auto* flush = command(all, "flush", "Drop cached answers", [this] { return dns_flush(context_, question_.name); });
    flush->add_option("NAME", question_.name, "Only at and below this name");

    auto& zone = *command(all, "zone", "Zones of this node");
    command(zone, "ls", "List the zones", [this] { return dns_zone_ls(context_); });
    auto* dump = command(zone, "dump", "A zone as text that DNS tools read", [this] { return dns_zone_dump(context_, question_.name, question_.service); });
    dump->add_option("ZONE", question_.name, "Name of the zone, or one of its further names")->required();
    choice(*dump, "--service", question_.service, {"authority", "resolver"}, "Whose, when both have it");
  }

  void overlay() {
    auto& all = *command(app_, "overlay", "The overlay: addresses of containers, and the way between nodes");
    command(all, "ls", "This node's shares and, where addresses are given out, what is left", [this] { return overlay_ls(context_); });
    auto* agents = command(all, "agents", "All nodes with what they have", [this] { return overlay_agents(context_, agents_); });
    agents->add_option("--node", agents_.node, "Only the node with this address of its own");
    agents->add_option("--overlay", agents_.overlay, "Only nodes with a share of this overlay");
    choice(*agents, "--state", agents_.state, {"ok", "exhausted", "conflict"}, "Only nodes with a share in this state");
    auto* trace = command(all, "trace", "The way of a packet to an address", [this] { return overlay_trace(context_, address_); });
    trace->add_option("ADDRESS", address_, "Of a container, a VTEP or a node")->required();
    auto* check = command(all, "check", "Send to every other node through the tunnel and back", [this] { return overlay_check(context_, agents_.node); });
    check->add_option("NODE", agents_.node, "Only this node, by its own address");
    auto* rm = command(all, "rm", "On the master: forget nodes, what they had goes to others", [this] { return overlay_rm(context_, nodes_); });
    rm->add_option("NODE", nodes_, "Own addresses of the nodes")->required();
    auto* adopt = command(all, "adopt", "On the master: take over what the DC/OS overlay modules gave away", [this] { return overlay_adopt(context_, file_); });
    adopt->add_option("FILE", file_, "What /overlay-master/state of the old master says")->required();
  }

  void hub() {
    auto& all = *command(app_, "hub", "The hub that this master serves: agents that follow it");
    command(all, "ls", "Who follows, and how far behind", [this] { return hub_ls(context_); });
  }

  void daemon() {
    command(app_, "status", "State of the daemon, what matters first", [this] { return status(context_); });
    command(app_, "health", "Liveness and readiness, by start-up state", [this] { return health(context_); });
    command(app_, "metrics", "Metrics in Prometheus' text format", [this] { return metrics(context_); });
    command(app_, "version", "Versions of this program and of the daemon", [this] { return version(context_); });
  }

  void completion() {
    auto* complete = command(app_, "completion", "Print a completion script for a shell", [this] {
      fputs(completion_script(shell_, describe(app_, choices_)).c_str(), stdout);
      return int(kGood);
    });
    choice(*complete, "SHELL", shell_, {"bash", "zsh", "fish"}, "bash, zsh or fish")->required();
  }

  CLI::App app_{"Shows what loadstard does: VIPs, backends, flows, BPF maps, drops, DNS, overlay, hub.", "loadstar"};
  Choices choices_;
  std::function<int()> action_;
  Context context_{kDefaultSocket};
  std::string output_ = "table", vip_, map_name_, limit_, shell_;
  bool all_ = false, json_ = false;
  FlowOptions flow_;
  MonitorOptions monitor_;
  DnsQuestion question_;
  OverlayAgentFilter agents_;
  std::string address_;
  std::vector<std::string> nodes_;
  std::string file_;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    return CommandLine().run(argc, argv);
  } catch (const std::exception& e) {
    fprintf(stderr, "loadstar: loadstard's answer is not understood: %s\n", e.what());
    return kNoDaemon;
  }
}
