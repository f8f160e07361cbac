#pragma once
/// DnsNode: the DNS half of a node: zones kept equal to the cluster's state, the two servers, the device with the resolver's
/// addresses, registrations.
///
/// Thread: control loop, except the functions said to be for any thread. Cost: a change costs its records; a complete state costs the
/// zone once.
/// Before the first complete state the zones are what was kept on disk; without that they are "not loaded" and answered by SERVFAIL.
/// After a restart while a new leader does not know all its agents yet, what was kept stays beside what is known until they are
/// back, or StateOptions::reregister_timeout is over.
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/dns_live.h"
#include "api/mesos_dns_http.h"
#include "app/dns_kernel.h"
#include "app/dns_origins.h"
#include "app/host_names.h"
#include "app/mesos_dns_data.h"
#include "app/settings.h"
#include "app/zone_keeper.h"
#include "derive/mesos_zone.h"
#include "derive/vip_table.h"
#include "dns/server.h"
#include "dns/standard_routes.h"
#include "util/bounded_queue.h"

namespace ls {

/// Alias of the device that loadstar made, so that purge removes no other.
inline constexpr std::string_view kDeviceMark = "loadstar";

class DnsNode {
 public:
  DnsNode(boost::asio::io_context& io, const Config& config, std::filesystem::path config_file, const Clock& clock);
  ~DnsNode();

  /// Answers are given in the kernel too. Before start(). An error leaves them to the process and shows among the warnings.
  void use_kernel(const datapath::Programs& programs);

  /// Makes the zones, from what was kept and is configured.
  Result<> start();
  /// Begins to answer. Before it, apply_registered() brings the names that are known already: none of them is missing at the start.
  Result<> serve();
  /// Answers no more, keeps the zones on disk.
  void stop();
  /// Takes over what may change while the daemon runs. `config` is the object given at the start, changed.
  void reload();
  /// Every few seconds: the device, own addresses, and the end of what was kept from before.
  void tick(const ClusterState& state, const std::function<std::vector<Service>()>& services);

  /// A complete state. `services`: the VIP table after it.
  void on_snapshot(const StateDelta& delta, const ClusterState& state, const std::vector<Service>& services);
  /// A change. Names of VIPs that go are taken away before the data path, names that come are added after it.
  void before_change(const VipDelta& vips);
  void after_change(const StateDelta& delta, const VipDelta& vips);
  /// The leading master, "10.0.0.1:5050".
  void set_leader(const std::string& address);
  /// All masters that were found, the leader first; those of the configuration count while none was.
  void set_masters(std::vector<HostPort> masters);
  /// Records that were registered or followed; makes the zone if it is new.
  void apply_registered(const std::string& zone, const RecordDelta& delta);

  std::vector<std::string> warnings() const;

  /// Where the origins of VIP names and of registered names come from. After serve(), before the API starts.
  void set_origin_sources(DnsOrigins::Sources sources) { origins_.set_sources(std::move(sources)); }

  /// For the API; from serve() on. Its functions are for the admin thread.
  api::DnsSource* source() { return live_.get(); }

 private:
  using TablePtr = std::shared_ptr<dns::ZoneTable>;
  struct Custom {
    TablePtr table;
    std::vector<Record> from_config;
    bool in_config = false;
    bool unused() const { return !in_config && table->records() == 0; }
  };

  void complete(const ClusterState& state, const std::vector<Service>& services);
  void load(const StateDelta& delta, const std::vector<Service>& services);
  void name_services(const std::vector<Service>& services);
  void rename_services(const std::vector<Service>& services);
  void load_static_zones();
  void custom_changed();
  void publish_routes();
  void set_routes(dns::ServiceKind service, dns::Routes routes);
  void start_kernel();
  void look_at_listeners();
  void take_hot();
  void check_device();
  void own_addresses();
  void masters_changed();
  dns::Table table_of(const DnsName& apex) const;
  std::vector<IpAddress> master_addresses();
  const std::vector<HostPort>& masters() const { return found_.empty() ? config_.mesos.masters : found_; }
  std::vector<Endpoint> endpoints(const std::vector<std::string>& texts, uint16_t port) const;
  dns::ForwardZones forward_zones(const NameLists& lists) const;
  TablePtr make_table(uint32_t fixed_serial);

  boost::asio::io_context& io_;
  const Config& config_;
  const bool resolver_;  ///< this node serves the zones below thisdcos.directory; else they are not made
  const std::filesystem::path config_file_;
  const Clock& clock_;
  std::vector<HostPort> found_;  ///< masters
  Epoch epoch_;
  HostNames hosts_;
  MesosZone mesos_;
  TablePtr mesos_table_, dcos_, l4lb_, spartan_, localhost_, zk_, thisnode_, empty_;
  std::map<std::string, Custom> custom_;  ///< static and registered zones by name
  std::map<ServiceKey, std::vector<Record>> service_records_;
  std::vector<Record> master_records_, zk_records_, own_node_records_;
  std::optional<MasterAddress> leader_;
  std::unique_ptr<ZoneKeeper> keeper_;
  std::unique_ptr<DnsKernel> kernel_;  ///< nullptr: the process answers alone
  std::string kernel_problem_;
  BoundedQueue<dns::HotAnswer> hot_{1024};
  std::unique_ptr<dns::Server> server_;
  DnsOrigins origins_;
  std::unique_ptr<api::DnsLive> live_;
  std::unique_ptr<MesosDnsData> http_data_;
  std::unique_ptr<api::MesosDnsHttp> http_;
  bool custom_posted_ = false;
  bool synced_ = false, widened_ = false;  ///< widened: kept records are still beside the state's
  Instant widened_until_{};
  Instant next_look_{};
  std::string device_problem_;
  std::vector<std::string> zone_problems_;
};

}  // namespace ls
