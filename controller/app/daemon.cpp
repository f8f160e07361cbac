#include "app/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "api/server.h"
#include "app/client_waker.h"
#include "app/cluster.h"
#include "app/cluster_status.h"
#include "app/cni_keeper.h"
#include "app/control_word.h"
#include "app/dns_node.h"
#include "app/holdover.h"
#include "app/hub_feed.h"
#include "app/kernel_options.h"
#include "app/master_turns.h"
#include "app/overlay_local_link.h"
#include "app/overlay_node.h"
#include "app/privileges.h"
#include "app/service_manager.h"
#include "app/startup.h"
#include "app/views.h"
#include "bpf/pin.h"
#include "bpf/probe.h"
#include "bpf/ring_buffer.h"
#include "datapath/attachments.h"
#include "datapath/flow_migrate.h"
#include "datapath/flow_reset.h"
#include "datapath/programs.h"
#include "datapath/svc_tables.h"
#include "loadstar/abi/event.h"
#include "util/log.h"

namespace ls {
namespace {

namespace asio = boost::asio;
using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kTick = seconds(1);        // status, watchdog, loop lag
constexpr auto kQuickCheck = seconds(3);  // drift is to be repaired within 5 s
constexpr int kCheckShare = 100;          // a comparison may take 1 % of the time
constexpr size_t kShownProblems = 100;

double seconds_of(Instant::duration d) { return duration<double>(d).count(); }

api::AttachState attach_state(datapath::AttachmentStatus::State s, uint32_t program_id) {
  using State = datapath::AttachmentStatus::State;
  if (s == State::kForeign) return api::AttachState::kForeign;
  if (s == State::kDegraded && !program_id) return api::AttachState::kDegraded;
  return s == State::kFailed ? api::AttachState::kFailed : api::AttachState::kAttached;
}

std::string source_name(SourceKind kind) {
  switch (kind) {
    case SourceKind::kMesos: return "mesos";
    case SourceKind::kHub: return "hub";
    case SourceKind::kReplay: return "replay";
  }
  return {};
}

struct Run {
  uint64_t runs = 0, errors = 0;
  double last_ms = 0;
  std::optional<Instant> last_full;
  std::string last_error;
};

}  // namespace

struct Daemon::Impl {
  Config config;
  std::filesystem::path config_file;
  SystemClock clock;
  Instant started = clock.now();
  asio::io_context io;
  asio::signal_set signals{io, SIGTERM, SIGINT, SIGHUP};
  asio::steady_timer tick_timer{io}, check_timer{io}, full_timer{io};
  Startup startup{clock};
  ServiceManager manager;
  ServiceManager::Loop& loop = manager.add_loop("control");
  ServiceManager::Loop& admin_loop = manager.add_loop("admin");
  ControlWord control;
  DaemonViews views{[this](uint32_t mask) { control.want(mask); }};
  bpf::KernelFeatures features;
  std::unique_ptr<datapath::Programs> programs;
  std::unique_ptr<datapath::Attachments> attachments;
  std::optional<SvcTables> tables;
  std::optional<ClientWaker> waker;
  std::optional<bpf::RingBuffer> ring;
  std::optional<asio::posix::stream_descriptor> netlink_fd, ring_fd;
  std::unique_ptr<Cluster> cluster;
  HubFeed hub{io, clock};
  std::unique_ptr<DnsNode> dns;
  // Both hold the store of a turn, which ends after them.
  std::unique_ptr<MasterTurns> turns;
  std::unique_ptr<Registrations> registrations;
  OverlayService overlay{config, clock};
  std::unique_ptr<OverlayNode> overlay_node;
  CniKeeper cni{io, config};
  NodeList nodes;
  std::unique_ptr<api::Server> server;
  Holdover holdover;
  Instant holdover_until{};
  std::map<std::string, Run> runs;
  std::vector<std::string> table_problems;  // of the last comparison, and of changes since
  UniqueFd pin_lock;
  std::vector<datapath::MapStory> stories;
  std::string packet_error, socket_error, dns_error;
  uint64_t repaired = 0;
  std::string slow_programs;
  bool attached = false, synced = false;
  Instant tick_due{};
  double lag_s = 0;
  uint64_t admin_beats = 0;

  Impl(Config c, std::filesystem::path f) : config(std::move(c)), config_file(std::move(f)) {
    startup.on_enter([](StartupState s) { log::info("startup", {{"state", to_text(s)}}); });
  }

  MapOpener opener() {
    return [this](std::string_view name) -> Result<UniqueFd> {
      int fd = programs->map(std::string(name));
      UniqueFd own(fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0));
      if (!own) return fail(fd < 0 ? ENOENT : errno, "open map " + std::string(name));
      return own;
    };
  }

  // --- start ---------------------------------------------------------------------------------------------------------

  Result<> start() {
    startup.reach(StartupState::kConfigOk);
    raise_file_limit();
    LS_TRY(reduce_privileges(config.node.user, Keep::kForLoading));
    features = bpf::probe_kernel();
    if (!features.bpf.available) return fail("use BPF: " + features.bpf.reason);
    startup.reach(StartupState::kKernelProbed);

    LS_ASSIGN(pin_lock, bpf::lock_pin_dir(config.bpf.pin));
    LS_TRY(load_programs());
    LS_ASSIGN(bool full_speed, give_up_loading());
    if (!full_speed)
      slow_programs = "programs were loaded without CAP_PERFMON: the kernel fences them, a packet costs two to three times as much";
    startup.reach(StartupState::kMapsAdopted);

    dns = std::make_unique<DnsNode>(io, config, config_file, clock);
    if (config.dns.kernel) dns->use_kernel(*programs);
    if (auto r = dns->start(); !r) return pass(std::move(r.error()), "start DNS");
    registrations = std::make_unique<Registrations>(
        io, config, [this](const std::string& zone, const RecordDelta& d) { dns->apply_registered(zone, d); });
    if (auto r = registrations->start(); !r) return pass(std::move(r.error()), "start registrations");
    if (auto r = dns->serve(); !r) return pass(std::move(r.error()), "start DNS");
    dns->set_origin_sources({[this](const std::string& name) { return views.service_origins(name); },
                             [this](const std::string& zone, const std::string& name) { return registrations->origins(zone, name); }});
    views.set_dns(dns->source(), registrations.get(), &nodes, config);
    overlay.start();
    turns = std::make_unique<MasterTurns>(io, config, clock, overlay);
    views.set_turns(turns.get());
    if (config.joins_overlay()) {
      overlay_node = std::make_unique<OverlayNode>(io, config, clock);
      overlay.set_agent([this] { return overlay_node->agent_body(); });
    }
    views.set_overlay(&overlay, overlay_node.get());

    publish_status();
    api::Server::Settings api;
    api.socket = config.api.socket;
    api.group = config.api.group;
    api.listen = config.api.listen;
    api.token_file = config.api.token_file;
    auto made = api::Server::start(api, views);
    if (!made) return tl::make_unexpected(std::move(made.error()));
    server = std::move(*made);
    if (overlay_node) {
      if (auto r = overlay_node->start(*programs, [this](auto events, auto held) { return make_link(std::move(events), std::move(held)); }); !r)
        return pass(std::move(r.error()), "start the overlay");
      if (attached) attach_overlay();  // by load_programs(), which came before
    }
    if (auto r = turns->start(server->poster(), *registrations); !r) return pass(std::move(r.error()), "start the store in ZooKeeper");

    Cluster::Hooks hooks;
    hooks.connected = [this] { startup.reach(StartupState::kSourceConnected); };
    hooks.leader = [this](const std::string& leader) {
      dns->set_leader(leader);
      hub.leader(leader);
    };
    hooks.masters = [this](const std::vector<MasterAddress>& masters) {
      dns->set_masters(masters);
      hub.masters(masters);
    };
    hooks.snapshot = [this](const StateDelta& d) { on_snapshot(d); };
    hooks.changed = [this](const StateDelta& d, VipDelta&& v, std::string_view kind, Instant at) { on_change(d, std::move(v), kind, at); };
    cluster = std::make_unique<Cluster>(io, config, clock, std::move(hooks));
    LS_TRY(hub.start(config, manager, [this](const IpAddress& agent, bool reachable) { cluster->set_reachable(agent, reachable); }));
    views.set_hub(hub.server());
    LS_TRY(cluster->start());

    signals.async_wait([this](auto ec, int n) { on_signal(ec, n); });
    tick_due = clock.now();
    tick();
    return {};
  }

  /// To the masters of overlay.follow, to whoever leads, or to the allocator of this process.
  Result<std::unique_ptr<OverlayLink>> make_link(OverlayLinkEvents events, std::optional<OverlayHeld> held) {
    if (config.store.kind == StoreKind::kZookeeper) return turns->make_link(std::move(events), std::move(held), server->poster());
    OverlayLinkOptions options;
    options.masters = config.overlay.follow;
    options.token_file = config.api.token_file;
    options.held = std::move(held);
    if (options.masters.empty()) return make_local_overlay_link(io, clock, overlay, server->poster(), std::move(options), std::move(events));
    return make_overlay_link(io, clock, std::move(options), std::move(events));
  }

  Result<> load_programs() {
    datapath::Programs::Options options;
    options.pin = config.bpf.pin;
    options.sizes = sizes_of(config);
    options.packet = config.lb.packet;
    options.socket = config.lb.socket;
    options.dns = config.dns.kernel;
    options.overlay = config.joins_overlay();
    options.steps = [](std::string_view what) { log::debug("kernel_step", {{"step", what}}); };
    options.migrate_flows = [this](int from, int to) -> Result<> {
      ls_meta meta{};
      LS_ASSIGN(auto fd, opener()("ls_meta"));
      LS_ASSIGN(auto map, MmapArray<ls_meta>::adopt(std::move(fd), MapAccess::kRead));
      meta = map[0];
      LS_ASSIGN(uint64_t carried, datapath::migrate_flows(from, to, {meta.seed[0], meta.seed[1]}));
      log::info("flows_carried_over", {{"entries", carried}});
      return {};
    };
    programs = std::make_unique<datapath::Programs>(std::move(options));
    auto report = programs->load();
    if (!report) return pass(std::move(report.error()), "load the programs");
    stories = report->maps;
    packet_error = report->packet_error;
    socket_error = report->socket_error;
    for (auto& m : stories) {
      if (m.origin == datapath::MapOrigin::kCopied || m.origin == datapath::MapOrigin::kRebuilt)
        log::info("map_changed", {{"map", m.name}, {"how", to_text(m.origin)}, {"why", m.why}});
    }
    if (!packet_error.empty()) log::error("programs_refused", {{"object", "lb_tc"}, {"why", packet_error}});
    if (!socket_error.empty()) log::error("programs_refused", {{"object", "lb_sock"}, {"why", socket_error}});

    // One object without the other serves part of the questions; the first line says what to do about it.
    for (auto object : {datapath::ProgramObject::kDnsXdp, datapath::ProgramObject::kDnsTc}) {
      auto why = config.dns.kernel ? programs->load_error(object) : std::string();
      if (why.empty()) continue;
      log::warn("programs_refused", {{"object", datapath::to_text(object)},
                                     {"why", object == datapath::ProgramObject::kDnsXdp ? report->dns_xdp_error : report->dns_tc_error}});
      dns_error += std::string(dns_error.empty() ? "" : "; ") + std::string(to_text(object)) + ": " + why;
    }

    LS_ASSIGN(auto maps, SvcMaps::open(opener()));
    LS_ASSIGN(tables, SvcTables::adopt(std::move(maps), {}));
    LS_TRY(control.open(programs->map("ls_ctl")));
    LS_TRY(views.open(opener(), programs->maps()));
    if (int inject = programs->program("ls_inject"); inject >= 0) {
      LS_ASSIGN(auto reset, datapath::FlowReset::open(opener(), inject));
      waker.emplace(io, clock, [reset = std::make_shared<datapath::FlowReset>(std::move(reset))](size_t limit) { return reset->wake(limit); });
    }
    LS_ASSIGN(ring, bpf::RingBuffer::open(programs->map("ls_events"), [this](std::span<const std::byte> record) { views.publish_event(record); }));
    ring_fd.emplace(io, ring->epoll_fd());
    wait_ring();

    attachments = std::make_unique<datapath::Attachments>(*programs, attachments_of(config, features.tcx.available, stories));
    // The tables are what the process before left: nothing is gained by waiting for the source.
    if (report->tables_kept) LS_TRY(attach());
    return {};
  }

  Result<> attach() {
    if (auto r = attachments->start(); !r) return pass(std::move(r.error()), "attach the programs");
    attached = true;
    cni.start();  // it finds the maps by their pins
    if (overlay_node) attach_overlay();
    netlink_fd.emplace(io, attachments->event_fd());
    wait_netlink();
    for (auto& a : attachments->status()) {
      if (!a.error.empty()) log::warn("attachment", {{"device", a.device}, {"hook", a.hook}, {"error", a.error}});
    }
    return {};
  }

  void attach_overlay() {
    overlay_node->use_attachments([this](const std::string& vtep, const std::vector<std::string>& bridges) {
      run_driver("attach", false, [&] { return attachments->set_overlay(vtep, bridges); });
    });
  }

  void wait_netlink() {
    netlink_fd->async_wait(asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code ec) {
      if (ec) return;
      run_driver("attach", false, [this] { return attachments->on_readable(); });
      wait_netlink();
    });
  }
  void wait_ring() {
    ring_fd->async_wait(asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code ec) {
      if (ec) return;
      if (auto r = ring->consume(); !r) log::warn("event_ring", {{"error", r.error().text()}});
      wait_ring();
    });
  }

  // --- changes -------------------------------------------------------------------------------------------------------

  template <class F>
  void run_driver(const std::string& name, bool full, F&& work) {
    auto& run = runs[name];
    Instant begin = clock.now();
    Result<> r = work();
    run.runs++;
    run.last_ms = seconds_of(clock.now() - begin) * 1000;
    views.reconciled(name, run.last_ms / 1000);
    if (full) run.last_full = clock.now();
    if (r) {
      run.last_error.clear();
    } else {
      run.errors++;
      run.last_error = r.error().text();
      log::error("reconcile_failed", {{"driver", name}, {"error", run.last_error}});
    }
  }

  void on_snapshot(const StateDelta& delta) {
    Instant received = clock.now();
    bool from_disk = cluster->restored().has_value();
    if (!from_disk) startup.reach(StartupState::kInSync);
    bool recovering = !cluster->state().recovered_agents().empty();
    if (!synced && recovering && !from_disk) hold_over();
    if (recovering && cluster->leader_changed()) holdover_until = clock.now() + config.mesos.reregister_timeout;
    // What a process before left in the kernel is newer than what it kept on the disk.
    bool older = from_disk && kernel_serves();
    if (!older) compare(true);
    run_driver("dns", true, [&]() -> Result<> {
      nodes.apply(delta);
      dns->on_snapshot(delta, cluster->state(), cluster->vips().full().services);
      return {};
    });
    hub.change(delta, received);  // behind the rest: what it finds of machines may be a change of its own
    if (older) return;
    synced = true;
    if (!from_disk) hub.tick(cluster->fed(), true);
    serve();
  }

  bool kernel_serves() {
    auto reader = TablesReader::open(opener());
    if (!reader) return false;
    auto services = reader->services();
    return services && !services->empty();
  }

  /// The tables hold what they should: attach, if that is still to be done. Tried again by quick_check().
  void serve() {
    if (!attached) {
      if (auto r = attach(); !r) {
        log::error("attach_failed", {{"error", r.error().text()}});
        startup.trouble(r.error().text());
        return;
      }
    }
    if (auto r = attachments->release_dns(); !r) log::error("attach_failed", {{"error", r.error().text()}});
    if (!cluster->restored()) startup.reach(StartupState::kServing);
    publish_status();
  }

  void hold_over() {
    auto reader = TablesReader::open(opener());
    if (!reader) return;
    auto held = reader->services();
    if (!held || held->empty()) return;
    holdover.take(*held);
    holdover_until = clock.now() + config.mesos.reregister_timeout;
    log::info("holdover", {{"services", holdover.services()}, {"why", "the leader does not know all its agents yet"}});
  }

  /// Compares the kernel with the whole table and repairs.
  void compare(bool changed) {
    if (!cluster->state().synced()) return;
    if (!holdover.empty()) changed = review_holdover() || changed;
    run_driver("lb", true, [&]() -> Result<> {
      Instant begin = clock.now();
      auto want = cluster->vips().full().services;
      if (!holdover.empty()) holdover.widen(want);
      if (changed) views.services_replaced(want);
      LS_ASSIGN(auto stats, tables->sync(want));
      auto before = std::exchange(table_problems, {});
      finish(stats, before);
      if (changed) {
        if (!cluster->restored()) startup.reach(StartupState::kReconciled);
        views.converged("snapshot", seconds_of(clock.now() - begin));
      }
      if (stats.repaired.total() && synced) {
        repaired += stats.repaired.total();
        log::warn("drift_repaired", {{"entries", stats.repaired.svc_entries}, {"services", stats.repaired.tab_entries},
                                     {"rings", stats.repaired.rings}, {"backends", stats.repaired.backends},
                                     {"stale", stats.repaired.stale}});
      }
      return {};
    });
  }

  /// True when something of it was given up.
  bool review_holdover() {
    auto& state = cluster->state();
    bool late = clock.now() >= holdover_until;
    // Tasks that wait for their framework have no name yet, so their agents are not done.
    if (!late && !state.waiting().empty()) return false;
    bool complete = state.recovered_agents().empty();
    if (!late && !complete) {
      std::set<IpAddress> back;
      for (auto& [id, address] : state.agents()) back.insert(address);
      size_t before = holdover.backends();
      holdover.settle(back);
      return holdover.backends() != before;
    }
    log::info("holdover_ended", {{"services", holdover.services()}, {"why", complete ? "all agents are back" : "time is over"}});
    holdover.release();
    return true;
  }

  /// Names go before the data path's entries and come after them.
  void on_change(const StateDelta& change, VipDelta&& delta, std::string_view kind, Instant received) {
    dns->before_change(delta);
    if (!delta.empty()) apply_vips(delta, kind, received);
    run_driver("dns", false, [&]() -> Result<> {
      nodes.apply(change);
      dns->after_change(change, delta);
      return {};
    });
    if (delta.empty()) views.converged(kind, seconds_of(clock.now() - received));
    hub.change(change, received);  // last: what it finds of machines may be a change of its own, which is newer than this one
  }

  void apply_vips(const VipDelta& changed, std::string_view kind, Instant received) {
    VipDelta delta = changed;  // wider than the names while services of before the restart are held
    if (!holdover.empty()) holdover.widen(delta);
    run_driver("lb", false, [&]() -> Result<> {
      LS_ASSIGN(auto stats, tables->apply(delta));
      double took = seconds_of(clock.now() - received);
      views.converged(kind, took);
      finish(stats, table_problems);
      log::info("vips_changed", {{"cause", kind}, {"services", delta.upsert.size()}, {"services_removed", delta.remove.size()},
                                 {"backends_added", stats.backends_added}, {"backends_removed", stats.backends_removed},
                                 {"reweighted", stats.backends_reweighted}, {"took_ms", took * 1000}});
      return {};
    });
    views.services_changed(delta);
  }

  /// `known`: what was told before, which the log need not say again.
  void finish(const ApplyStats& stats, const std::vector<std::string> known) {
    auto in = [](const std::vector<std::string>& list, std::string_view p) {
      auto what = [](std::string_view text) { return text.substr(0, text.find(" (")); };
      return std::any_of(list.begin(), list.end(), [&](auto& l) { return what(l) == what(p); });
    };
    for (auto& p : stats.problems) {
      if (!in(known, p)) log::warn("left_out", {{"why", p}});
      if (!in(table_problems, p) && table_problems.size() < ApplyStats::kMaxProblems) table_problems.push_back(p);
    }
    if (!stats.died.empty() && waker) waker->backends_died();
  }

  // --- timers --------------------------------------------------------------------------------------------------------

  void tick() {
    Instant now = clock.now();
    lag_s = std::max(0.0, seconds_of(now - tick_due));
    ServiceManager::beat(loop);
    if (server) {
      uint64_t beats = server->beats();
      if (beats != admin_beats) ServiceManager::beat(admin_loop);
      admin_beats = beats;
    }
    if (manager.watchdog_interval()) {
      for (auto& silent : manager.pet()) log::warn("loop_silent", {{"loop", silent}});
    }
    if (overlay_node) overlay_node->tick();
    hub.tick(cluster->fed(), synced && !cluster->restored());  // others are not given what is only from the disk
    publish_status();
    tick_due = now + kTick;
    tick_timer.expires_at(std::chrono::steady_clock::time_point(tick_due.time_since_epoch()));
    tick_timer.async_wait([this](boost::system::error_code ec) {
      if (!ec) tick();
    });
    if (!check_armed) {
      check_armed = true;
      quick_check();
      full_check();
    }
  }
  bool check_armed = false;

  void quick_check() {
    Instant begin = clock.now();
    if (synced) compare(false);
    dns->tick(cluster->state(), [this] { return cluster->vips().full().services; });
    if (attached) check_attachments(false);
    if (synced && !attached) serve();
    auto pause = std::max<Instant::duration>(kQuickCheck, (clock.now() - begin) * kCheckShare);
    check_timer.expires_after(pause);
    check_timer.async_wait([this](boost::system::error_code ec) {
      if (!ec) quick_check();
    });
  }

  void full_check() {
    full_timer.expires_after(config.reconcile.interval);
    full_timer.async_wait([this](boost::system::error_code ec) {
      if (ec) return;
      if (synced) compare(false);
      if (attached) check_attachments(true);
      if (overlay_node) run_driver("overlay", true, [&] { return overlay_node->check(); });
      full_check();
    });
  }

  void check_attachments(bool full) {
    run_driver("attach", full, [&]() -> Result<> {
      LS_TRY(attachments->check(full));  // looks at the pins of the maps too
      return keep_lock();
    });
  }

  /// The folder may be another one by now: removed and made again, or on a bpffs that was mounted anew.
  Result<> keep_lock() {
    struct stat ours {}, now {};
    if (fstat(pin_lock.get(), &ours) != 0) return fail(errno, "look at the lock");
    if (stat(config.bpf.pin.c_str(), &now) == 0 && now.st_ino == ours.st_ino && now.st_dev == ours.st_dev) return {};
    LS_ASSIGN(pin_lock, bpf::lock_pin_dir(config.bpf.pin));
    return {};
  }

  void on_signal(boost::system::error_code ec, int number) {
    if (ec) return;
    if (number == SIGHUP) {
      reload();
      signals.async_wait([this](auto e, int n) { on_signal(e, n); });
      return;
    }
    log::info("stopping", {{"signal", number}, {"data_path", "stays"}});
    manager.stopping("signal " + std::to_string(number));
    io.stop();
  }

  void reload() {
    manager.reloading();
    auto next = load_config(config_file);
    if (!next.good()) {
      log::error("reload_refused", {{"problems", report(next)}});
    } else {
      for (auto& change : changes(config, next.config)) {
        bool live = change.setting->live;
        log::info("reload", {{"setting", change.setting->name}, {"before", change.before}, {"after", change.after},
                             {"takes_effect", live ? "now" : "after a restart"}});
        if (live) change.setting->copy(next.config, config);
      }
      dns->reload();
      views.set_settings(config);
      log::set_level(config.log.level);
      full_check();
    }
    if (startup.ready()) manager.ready(startup.view().headline(clock.now()));
  }

  // --- status --------------------------------------------------------------------------------------------------------

  void publish_status() {
    Instant now = clock.now();
    api::StatusView v;
    v.version = LS_VERSION;
    v.uptime_s = seconds_of(now - started);
    for (auto& a : config.node.all_addresses()) v.addresses.push_back(a.text());
    for (auto r : config.node.roles) v.roles.push_back(r == Role::kMaster ? "master" : "agent");
    auto& s = startup.view();
    v.ready = s.ready();
    for (auto& e : s.states)
      v.startup.push_back({std::string(to_text(e.state)), e.entered.has_value(), seconds_of(now - e.entered.value_or(s.since))});
    if (cluster) source_status(v, now);
    for (auto* f : features.all()) v.probes.push_back({f->name, f->available, f->available ? features.kernel : f->reason});
    if (attached) {
      for (auto& a : attachments->status())
        v.attachments.push_back({a.device, a.hook, a.method, a.program_id, attach_state(a.state, a.program_id), a.error, a.note});
      v.warnings = attachments->warnings();
    }
    if (auto w = unprivileged_bpf_warning(); !w.empty()) v.warnings.push_back(w);
    if (!slow_programs.empty()) v.warnings.push_back(slow_programs);
    if (!packet_error.empty()) v.warnings.push_back("packet path refused by the kernel: " + packet_error);
    if (!socket_error.empty()) v.warnings.push_back("socket path refused by the kernel: " + socket_error);
    if (!dns_error.empty()) v.warnings.push_back("DNS answers refused by the kernel, the process gives them: " + dns_error);
    if (!holdover.empty())
      v.warnings.push_back("serving " + std::to_string(holdover.services()) +
                           " services as they were before the restart until all agents are back");
    auto warn = [&](const std::vector<std::string>& more) { v.warnings.insert(v.warnings.end(), more.begin(), more.end()); };
    warn(table_problems);
    if (dns) warn(dns->warnings());
    if (registrations) warn(registrations->warnings());
    warn(cni.warnings());
    if (turns) v.turns = turns->view();
    if (turns) warn(turns->warnings());
    if (cluster) warn(cluster->warnings());
    describe_cluster(v, config, cluster.get(), hub, now);
    nodes.publish(config.node);
    for (auto& [driver, r] : runs) {
      api::ReconcileView view{driver, r.runs, r.errors, repaired_by(driver),
                              r.last_ms, {}, r.last_error};
      if (r.last_full) view.last_full_age_s = seconds_of(now - *r.last_full);
      v.reconcile.push_back(std::move(view));
    }
    usage(v);
    v.loops.push_back({"control", lag_s, 0});
    views.publish(v);
    if (startup.ready() && !told_ready) {
      told_ready = true;
      manager.ready(api::headline(v));
      log::info("ready", {{"headline", api::headline(v)}});
    } else {
      manager.status(api::headline(v));
    }
  }
  bool told_ready = false;

  uint64_t repaired_by(std::string_view driver) const {
    if (driver == "lb") return repaired;
    if (driver == "attach") return attachments ? attachments->drift_repaired() : 0;
    return driver == "overlay" && overlay_node ? overlay_node->view()->repaired : 0;
  }

  void source_status(api::StatusView& v, Instant now) {
    auto s = cluster->source();
    v.source.kind = source_name(config.source.kind);
    v.source.endpoint = s.endpoint;
    v.source.connected = s.connected;
    v.source.since_s = s.since == Instant{} ? 0 : seconds_of(now - s.since);
    v.source.age_s = s.last_byte_age ? duration<double>(*s.last_byte_age).count() : 0;
    v.source.last_error = s.last_error;
    for (auto& [kind, n] : cluster->events()) v.source.events.push_back({kind, n});
    size_t total = 0;
    for (auto& p : cluster->problems(kShownProblems, total)) v.problems.push_back({p.task, p.field, p.why});
    v.problem_count = total;
  }

  void usage(api::StatusView& v) {
    if (!tables) return;
    auto services = tables->services(), backends = tables->backends(), blocks = tables->ring_blocks();
    v.tables.vips = services.used;
    v.tables.draining = tables->draining();
    v.tables.active = backends.used - v.tables.draining;
    v.tables.dead = backends.resting;
    views.publish_usage({{"ls_svc", services.used}, {"ls_svc_tab", services.used + services.resting},
                         {"ls_be", backends.used + backends.resting}, {"ls_ring", blocks.used + blocks.resting},
                         {"overflows", control.overflows()}, {"events_lost", control.events_lost()}});
  }
};

Daemon::Daemon(Config config, std::filesystem::path config_file)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(config_file))) {}

Daemon::~Daemon() {
  auto& d = *impl_;
  if (d.cluster) d.cluster->stop();
  if (d.registrations) d.registrations->stop();
  if (d.overlay_node) d.overlay_node->stop();
  d.server.reset();  // it asks all of them
  if (d.turns) d.turns->stop();
  d.hub.stop();
  if (d.dns) d.dns->stop();
  d.control.want(0);
  // The descriptors belong to their owners.
  if (d.netlink_fd) d.netlink_fd->release();
  if (d.ring_fd) d.ring_fd->release();
  d.cni.stop();  // last: it waits for whoever holds the lock of a network
}

Result<> Daemon::run() {
  LS_TRY(impl_->start());
  impl_->io.run();
  return {};
}

}  // namespace ls
