#include "app/dns_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "app/dns_options.h"
#include "app/static_zones.h"
#include "app/upstream_address.h"
#include "derive/dcos_zone.h"
#include "netlink/address_device.h"
#include "netlink/links.h"
#include "util/log.h"

namespace ls {
namespace {

using dns::ServiceKind;
using std::chrono::seconds;

constexpr auto kLook = seconds(5);  // device, own addresses
constexpr uint32_t kInternalSerial = 1;  // spec/spartan-dns.md section 4

std::optional<MasterAddress> split_address(std::string_view text) {
  if (auto at = text.rfind('@'); at != text.npos) text.remove_prefix(at + 1);
  if (auto e = Endpoint::parse(text)) return MasterAddress{e->address.text(), e->port};
  auto colon = text.rfind(':');
  if (colon == text.npos || colon == 0) return std::nullopt;
  unsigned port = 0;
  for (char c : text.substr(colon + 1)) {
    if (c < '0' || c > '9' || port > 65535) return std::nullopt;
    port = port * 10 + unsigned(c - '0');
  }
  if (port == 0 || port > 65535) return std::nullopt;
  return MasterAddress{std::string(text.substr(0, colon)), uint16_t(port)};
}

}  // namespace

DnsNode::TablePtr DnsNode::make_table(uint32_t fixed_serial) {
  auto table = std::make_shared<dns::ZoneTable>(epoch_);
  if (fixed_serial) {
    table->set_fixed_serial(fixed_serial);
  } else {
    table->set_clock([] { return uint32_t(std::chrono::duration_cast<seconds>(std::chrono::system_clock::now().time_since_epoch()).count()); });
  }
  return table;
}

DnsNode::DnsNode(boost::asio::io_context& io, const Config& config, std::filesystem::path config_file, const Clock& clock)
    : io_(io),
      config_(config),
      resolver_(config.node.has_role(Role::kAgent) && config.resolver.enabled),
      config_file_(std::move(config_file)),
      clock_(clock),
      hosts_(io, [this](const std::string& host) {
        mesos_table_->apply_unloaded(mesos_.host_changed(host));  // a master's name may be known before the state is
        masters_changed();
      }),
      mesos_(zone_options(config.authority, [this](std::string_view host) { return hosts_.lookup(host); })),
      mesos_table_(make_table(0)),
      dcos_(make_table(kInternalSerial)),
      l4lb_(make_table(kInternalSerial)),
      spartan_(make_table(kInternalSerial)),
      localhost_(make_table(kInternalSerial)),
      zk_(make_table(kInternalSerial)),
      thisnode_(make_table(kInternalSerial)),
      empty_(make_table(kInternalSerial)),
      origins_({mesos_, *mesos_table_, *dcos_, *l4lb_, *spartan_, *localhost_, *zk_, *thisnode_, *empty_}) {}

DnsNode::~DnsNode() { stop(); }

Result<> DnsNode::start() {
  empty_->apply({});
  auto loopback = IpAddress::from_v4(0x7f000001);
  localhost_->apply({{address_record("", loopback)}, {}});
  auto first = config_.resolver.listen.empty() ? loopback : config_.resolver.listen.front().address;
  spartan_->apply({{address_record(*relative_name("ready"), loopback), address_record(*relative_name("ns"), first)}, {}});
  own_node_records_ = thisnode_records(config_.node.address.value_or(IpAddress()), config_.node.public_addresses);
  thisnode_->apply({own_node_records_, {}});

  keeper_ = std::make_unique<ZoneKeeper>(config_.store.path.parent_path() / "zones", epoch_,
                                         std::map<std::string, dns::Table>{{"mesos", mesos_table_}, {"dcos", dcos_}, {"l4lb", l4lb_}});
  for (auto& [file, table] : {std::pair<std::string, TablePtr>{"mesos", mesos_table_}, {"dcos", dcos_}, {"l4lb", l4lb_}}) {
    if (!resolver_ && table != mesos_table_) continue;
    auto kept = keeper_->load(file);
    if (!kept) continue;
    log::info("zone_kept", {{"zone", file}, {"records", kept->size()}});
    table->replace(*kept);
    widened_ = true;
  }
  keeper_->start();
  load_static_zones();
  check_device();
  masters_changed();
  return {};
}

Result<> DnsNode::serve() {
  bool authority = config_.node.has_role(Role::kMaster) && config_.authority.enabled;
  auto options = server_options(config_, authority, resolver_);
  if (kernel_) {
    kernel_->share(options, [this](dns::HotAnswer&& answer) {
      if (hot_.push(std::move(answer)) == decltype(hot_)::Pushed::kFirst) boost::asio::post(io_, [this] { take_hot(); });
    });
    if (config_.dns.kernel_cached == 0) options.cache.hot = {};
    for (auto& s : options.services) kernel_->set_policy(s, options.udp_size);
  }
  server_ = std::make_unique<dns::Server>(std::move(options), epoch_, clock_);
  live_ = std::make_unique<api::DnsLive>(*server_, epoch_, [this](const DnsName& apex, std::string_view relative) {
    auto table = table_of(apex);
    return table ? origins_.of(*table, apex, relative) : std::vector<std::string>{};
  });
  publish_routes();
  if (authority || resolver_) LS_TRY(server_->start());
  start_kernel();
  if (!authority || config_.authority.http_listen.empty()) return {};
  http_data_ = std::make_unique<MesosDnsData>(config_, config_file_, mesos_, *live_);
  api::MesosDnsHttp::Settings http;
  http.listen = config_.authority.http_listen;
  LS_ASSIGN(http_, api::MesosDnsHttp::start(http, *http_data_));
  live_->set_http([this] {
    std::vector<api::DnsSource::HttpListener> out;
    for (auto& l : http_->listeners()) out.push_back({l.endpoint, l.bound, l.error});
    return out;
  });
  return {};
}

void DnsNode::stop() {
  hosts_.stop();
  http_.reset();
  if (server_) server_->stop();
  keeper_.reset();
}

void DnsNode::reload() {
  load_static_zones();
  publish_routes();
  for (auto kind : {ServiceKind::kAuthority, ServiceKind::kResolver}) {
    auto options = service_options(kind, config_);
    server_->set_options(kind, options);
    if (kernel_ && server_->serves(kind)) kernel_->set_policy(options, uint16_t(config_.dns.udp_size));
  }
  if (http_data_) http_data_->reload(config_);
}

// --- zones ---------------------------------------------------------------------------------------------------------------

void DnsNode::on_snapshot(const StateDelta& delta, const ClusterState& state, const std::vector<Service>& services) {
  bool recovering = widened_ && (!state.recovered_agents().empty() || !state.waiting().empty());
  if (synced_ || recovering) {
    mesos_table_->apply(mesos_.apply(delta));
    if (!synced_) widened_until_ = clock_.now() + config_.mesos.reregister_timeout;
    if (resolver_) {
      dcos_->apply(dcos_records(delta));
      rename_services(services);
    }
  } else if (widened_) {
    mesos_.apply(delta, [](RecordDelta&&) {});
    complete(state, services);
  } else {
    load(delta, services);
  }
  if (!std::exchange(synced_, true) && kernel_) kernel_->settled();
}

/// The first state of all, into tables that hold nothing but what the derivations gave before: what they give now completes them.
/// Piece by piece, so that the records never lie in memory all at once; nobody is told that a name is not there before the end.
void DnsNode::load(const StateDelta& delta, const std::vector<Service>& services) {
  mesos_.apply(delta, [&](RecordDelta&& piece) { mesos_table_->apply_unloaded(piece); });
  mesos_table_->apply({});
  if (!resolver_) return;
  dcos_records(delta, [&](RecordDelta&& piece) { dcos_->apply_unloaded(piece); });
  dcos_->apply({});
  name_services(services);
  zk_->apply({});  // without masters it has no names, and that is known now
}

void DnsNode::name_services(const std::vector<Service>& services) {
  service_records_.clear();
  std::vector<Record> all;
  for (auto& s : services) {
    auto records = l4lb_records(s);
    all.insert(all.end(), records.begin(), records.end());
    if (!records.empty()) service_records_[s.key] = std::move(records);
  }
  l4lb_->replace(all);
}

/// The zones become exactly what the state says.
void DnsNode::complete(const ClusterState& state, const std::vector<Service>& services) {
  mesos_table_->replace(mesos_.full());
  if (resolver_) {
    auto dcos = master_records_;
    state.for_each_task([&](const TaskPtr& task) {
      for (auto& r : dcos_task_records(*task)) dcos.push_back(std::move(r));
    });
    dcos_->replace(dcos);
    name_services(services);
    zk_->apply({});
  }
  if (std::exchange(widened_, false) && synced_) log::info("kept_names_ended", {{"zones", "mesos dcos l4lb"}});
}

/// Makes the records of services equal to `services`, leaving alone what was kept from before.
void DnsNode::rename_services(const std::vector<Service>& services) {
  VipDelta delta;
  delta.upsert = services;
  std::map<ServiceKey, bool> there;
  for (auto& s : services) there[s.key] = true;
  for (auto& [key, records] : service_records_) {
    if (!there.count(key)) delta.remove.push_back(key);
  }
  after_change({}, delta);
  before_change({{}, delta.remove});
}

void DnsNode::before_change(const VipDelta& vips) {
  RecordDelta gone;
  for (auto& key : vips.remove) {
    auto it = service_records_.find(key);
    if (it == service_records_.end()) continue;
    gone.remove.insert(gone.remove.end(), it->second.begin(), it->second.end());
    service_records_.erase(it);
  }
  if (!gone.empty()) l4lb_->apply(gone);
}

void DnsNode::after_change(const StateDelta& delta, const VipDelta& vips) {
  if (!delta.empty()) {
    if (auto change = mesos_.apply(delta); !change.empty()) mesos_table_->apply(change);
  }
  if (!resolver_) return;
  if (!delta.empty()) {
    if (auto change = dcos_records(delta); !change.empty()) dcos_->apply(change);
  }
  RecordDelta named;
  for (auto& s : vips.upsert) {
    auto records = l4lb_records(s);
    auto& before = service_records_[s.key];
    if (records != before) {
      named.add.insert(named.add.end(), records.begin(), records.end());
      named.remove.insert(named.remove.end(), before.begin(), before.end());
      before = std::move(records);
    }
    if (before.empty()) service_records_.erase(s.key);
  }
  if (!named.empty()) l4lb_->apply(named);
}

void DnsNode::apply_registered(const std::string& zone, const RecordDelta& delta) {
  auto& custom = custom_[zone];
  bool is_new = !custom.table;
  if (is_new) custom.table = make_table(0);
  custom.table->apply(delta);
  if (is_new) custom_changed();
}

/// Zones come and go in crowds when a master's copy is taken over; the routes are made once for all of them.
void DnsNode::custom_changed() {
  if (!server_ || std::exchange(custom_posted_, true)) return;
  boost::asio::post(io_, [this] {
    custom_posted_ = false;
    publish_routes();
  });
}

void DnsNode::load_static_zones() {
  auto read = read_static_zones(config_, config_file_.string());
  zone_problems_.clear();
  for (auto& p : read.problems) {
    zone_problems_.push_back(p.text());
    log::error("static_zones", {{"problem", p.text()}, {"kept", "as they were"}});
  }
  if (!read.problems.empty()) return;
  for (auto& [zone, records] : read.zones) {
    auto& custom = custom_[zone];
    custom.in_config = true;
    if (!custom.table) custom.table = make_table(0);
  }
  DnsOrigins::StaticNames names;
  for (auto& [zone, custom] : custom_) {
    auto it = read.zones.find(zone);
    custom.in_config = it != read.zones.end();
    std::vector<Record> after = custom.in_config ? std::move(it->second) : std::vector<Record>{};
    for (auto& r : after) names[zone].insert(r.owner);
    custom.table->apply(difference(custom.from_config, after));
    custom.from_config = std::move(after);
  }
  origins_.set_static(std::move(names));
}

// --- masters, own addresses, device --------------------------------------------------------------------------------------

void DnsNode::set_leader(const std::string& address) {
  auto leader = split_address(address);
  if (!leader || leader == leader_) return;
  leader_ = leader;
  masters_changed();
}

void DnsNode::set_masters(std::vector<HostPort> masters) {
  if (masters == found_) return;
  found_ = std::move(masters);
  masters_changed();
}

std::vector<IpAddress> DnsNode::master_addresses() {
  std::vector<IpAddress> out;
  for (auto& m : masters()) {
    for (auto& a : hosts_.lookup(m.host)) {
      if (std::find(out.begin(), out.end(), a) == out.end()) out.push_back(a);
    }
  }
  return out;
}

void DnsNode::masters_changed() {
  std::vector<MasterAddress> list;
  for (auto& m : masters()) list.push_back({m.host, m.port});
  if (auto change = mesos_.set_masters(leader_, list); !change.empty()) mesos_table_->apply_unloaded(change);

  auto masters = master_addresses();
  std::vector<IpAddress> leader;
  if (leader_) leader = hosts_.lookup(leader_->host);
  if (masters.empty()) masters = leader;
  auto dcos = dcos_master_records(leader, masters);
  if (auto change = difference(master_records_, dcos); !change.empty()) dcos_->apply_unloaded(change);
  master_records_ = std::move(dcos);
  auto zk = zk_records(masters);
  if (!zk.empty() && zk != zk_records_) {
    zk_->apply(difference(zk_records_, zk));
    zk_records_ = std::move(zk);
  }
}

void DnsNode::own_addresses() {
  std::vector<IpAddress> own;
  bool any = false;
  for (auto& e : config_.authority.listen) {
    if (e.address.is_zero()) {
      any = true;
    } else {
      own.push_back(e.address);
    }
  }
  if (any) {
    auto devices = netlink::list_devices();
    if (!devices) return;
    for (auto& d : *devices) {
      if (d.loopback || d.name == config_.resolver.device) continue;
      own.insert(own.end(), d.addresses.begin(), d.addresses.end());  // link-local ones too: spec/mesos-dns.md 8.3
    }
  }
  std::sort(own.begin(), own.end());
  own.erase(std::unique(own.begin(), own.end()), own.end());
  if (auto change = mesos_.set_own_addresses(own); !change.empty()) mesos_table_->apply_unloaded(change);
}

void DnsNode::check_device() {
  own_addresses();
  auto& r = config_.resolver;
  if (!config_.node.has_role(Role::kAgent) || !r.enabled || r.device.empty()) return;
  std::vector<IpAddress> wanted;
  for (auto& e : r.listen) {
    if (!e.address.is_zero() && std::find(wanted.begin(), wanted.end(), e.address) == wanted.end()) wanted.push_back(e.address);
  }
  auto done = netlink::ensure_address_device(r.device, wanted, std::string(kDeviceMark));
  std::string problem = done ? "" : done.error().text();
  if (done && (done->made || done->added))
    log::info("resolver_device", {{"device", r.device}, {"kind", done->kind}, {"made", done->made}, {"addresses_added", done->added}});
  if (!problem.empty() && problem != device_problem_) log::warn("resolver_device", {{"device", r.device}, {"error", problem}});
  device_problem_ = problem;
}

void DnsNode::tick(const ClusterState& state, const std::function<std::vector<Service>()>& services) {
  Instant now = clock_.now();
  if (now >= next_look_) {
    next_look_ = now + kLook;
    check_device();
    if (kernel_) {
      look_at_listeners();
      kernel_->tick();
    }
  }
  if (!synced_ || !widened_) return;
  bool back = state.recovered_agents().empty() && state.waiting().empty();
  if (back || now >= widened_until_) complete(state, services());
}

// --- the kernel's answers ------------------------------------------------------------------------------------------------

void DnsNode::use_kernel(const datapath::Programs& programs) {
  auto opened = DnsKernel::open(programs, epoch_, config_.dns.kernel_cached);
  if (opened) {
    kernel_ = std::move(*opened);
  } else {
    kernel_problem_ = opened.error().text();
    log::error("dns_kernel", {{"error", kernel_problem_}});
  }
}

void DnsNode::start_kernel() {
  if (!kernel_) return;
  kernel_->tick();
  look_at_listeners();
  kernel_->enable(true);
  live_->set_kernel({[this] { return kernel_->view(); },
                     [this](ServiceKind service, std::span<const uint8_t> question) { return kernel_->try_question(service, question); },
                     [this](const DnsName& suffix) { boost::asio::post(io_, [this, suffix] { kernel_->flush(suffix); }); }});
}

void DnsNode::look_at_listeners() {
  auto listeners = server_->view().listeners;
  std::vector<IpAddress> own;
  if (std::any_of(listeners.begin(), listeners.end(), [](auto& l) { return l.endpoint.address.is_zero(); })) {
    auto devices = netlink::list_devices();
    if (!devices) return;
    for (auto& d : *devices) own.insert(own.end(), d.addresses.begin(), d.addresses.end());
  }
  kernel_->set_listeners(listeners, own);
}

void DnsNode::take_hot() {
  for (auto& answer : hot_.take().values) kernel_->hot(answer);
}

// --- routes --------------------------------------------------------------------------------------------------------------

std::vector<Endpoint> DnsNode::endpoints(const std::vector<std::string>& texts, uint16_t port) const {
  std::vector<Endpoint> out;
  for (auto& t : texts) {
    if (auto e = parse_upstream(t, port)) out.push_back(*e);
  }
  return out;
}

dns::ForwardZones DnsNode::forward_zones(const NameLists& lists) const {
  dns::ForwardZones out;
  for (auto& [zone, servers] : lists) out[zone] = endpoints(servers, 53);
  return out;
}

void DnsNode::publish_routes() {
  auto& a = config_.authority;
  dns::AuthoritySetup authority;
  authority.mesos = mesos_domain(a, mesos_table_);
  authority.name_server = authority.mesos.soa.mname;
  authority.strict = a.strict;
  authority.empty_is_nxdomain = a.empty_is_nxdomain;
  authority.recursion_available = a.recursion_available;
  authority.upstreams = endpoints(a.upstreams, 53);
  authority.forward_zones = forward_zones(a.forward_zones);
  set_routes(ServiceKind::kAuthority, dns::authority_routes(authority));

  auto& r = config_.resolver;
  dns::ResolverSetup resolver;
  resolver.mesos = authority.mesos;
  resolver.mesos_servers = endpoints(r.mesos_servers, 61053);
  resolver.zones = {{"spartan", spartan_},
                    {"localhost", localhost_},
                    {"zk", zk_},
                    {"thisnode.thisdcos.directory", thisnode_},
                    {"dcos.thisdcos.directory", dcos_},
                    {"l4lb.thisdcos.directory", l4lb_}};
  // A zone that the last record left says "no such name" until the routes are made anew, so that zones do not pile up.
  std::erase_if(custom_, [](auto& z) { return z.second.unused(); });
  for (auto& [zone, custom] : custom_) resolver.zones[zone] = custom.table;
  resolver.empty = empty_;
  resolver.upstreams = endpoints(r.upstreams, 53);
  resolver.forward_zones = forward_zones(r.forward_zones);
  resolver.cluster_id = r.cluster_id;
  resolver.rotation = rotation_of(r.rotation);
  set_routes(ServiceKind::kResolver, dns::resolver_routes(resolver));
}

void DnsNode::set_routes(ServiceKind service, dns::Routes routes) {
  if (!server_ || !server_->serves(service)) return;  // serve() does it
  auto shared = std::make_shared<const dns::Routes>(std::move(routes));
  server_->set_routes(service, shared);
  live_->set_routes(service, shared);
  if (kernel_) kernel_->set_routes(service, shared);
}

/// Admin thread. A name of a zone may be a further one; its table says which zone it is.
dns::Table DnsNode::table_of(const DnsName& apex) const {
  for (auto kind : {ServiceKind::kResolver, ServiceKind::kAuthority}) {
    auto routes = live_->routes(kind);
    if (!routes) continue;
    for (auto& view : routes->views()) {
      if (view.apex.folded() == apex.folded()) return view.table;
    }
  }
  return nullptr;
}

std::vector<std::string> DnsNode::warnings() const {
  std::vector<std::string> out;
  if (!device_problem_.empty()) out.push_back("device " + config_.resolver.device + ": " + device_problem_);
  for (auto& why : zone_problems_) out.push_back("static zones: " + why);
  if (keeper_ && !keeper_->problem().empty()) out.push_back("zones are not kept on disk: " + keeper_->problem());
  if (widened_ && synced_) out.push_back("serving names as they were before the restart until all agents are back");
  if (widened_ && !synced_) out.push_back("serving names as they were before the restart until the first complete state");
  if (!kernel_problem_.empty()) out.push_back("DNS is answered by the process alone: " + kernel_problem_);
  if (config_.resolver.enabled && config_.node.has_role(Role::kAgent) && config_.resolver.upstreams.empty())
    out.push_back("no resolver.upstreams: names outside the cluster are answered with SERVFAIL");
  return out;
}

}  // namespace ls
